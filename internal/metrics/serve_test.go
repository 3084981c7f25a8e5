//go:build linux

package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/metrics"
)

// serve serves until the test ends, and returns the address. The function that
// it returns ends that before.
func serve(t *testing.T, look func() (metrics.Look, error), sharedFor time.Duration) (address string, end func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ipctest.Must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- metrics.Serve(ctx, listener, look, sharedFor) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return listener.Addr().String(), end
}

func example() (metrics.Look, error) { return exampleLook(), nil }

func get(t *testing.T, method, url, accept string) (response *http.Response, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ipctest.Soon(t), method, url, nil)
	ipctest.Must(t, err)
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	response, err = http.DefaultTransport.RoundTrip(request)
	ipctest.Must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	ipctest.Must(t, err)
	return response, string(text)
}

func TestServe(t *testing.T) {
	address, _ := serve(t, example, 0)
	for _, want := range []struct {
		method, path, accept string
		status               int
		contentType, body    string
	}{
		{"GET", "/metrics", "", 200, "text/plain; version=0.0.4; charset=utf-8", written(t, exampleLook(), metrics.Text)},
		{"GET", "/metrics?x=y", "application/openmetrics-text", 200, "application/openmetrics-text; version=1.0.0; charset=utf-8", written(t, exampleLook(), metrics.OpenMetrics)},
		{"HEAD", "/metrics", "", 200, "text/plain; version=0.0.4; charset=utf-8", ""},
		{"GET", "/", "", 404, "text/plain; charset=utf-8", "ipcns: there is nothing but /metrics\n"},
		{"POST", "/metrics", "", 405, "text/plain; charset=utf-8", "ipcns: there is nothing but to GET /metrics\n"},
		{"GET", "/metrics", strings.Repeat("x", 17<<10), 431, "text/plain; charset=utf-8", "ipcns: a header of more than 16384 bytes\n"},
	} {
		response, body := get(t, want.method, "http://"+address+want.path, want.accept)
		if response.StatusCode != want.status || response.Header.Get("Content-Type") != want.contentType || body != want.body {
			t.Errorf("%s %s: %s, %s:\n%s", want.method, want.path, response.Status, response.Header.Get("Content-Type"), body)
		}
		if response.ContentLength == 0 || !response.Close {
			t.Errorf("%s %s: a length of %d, and it is %t that the connection ends", want.method, want.path, response.ContentLength, response.Close)
		}
	}
}

func TestWhatIsNoRequest(t *testing.T) {
	address, _ := serve(t, example, 0)
	for _, text := range []string{"\r\n\r\n", "GET /metrics\r\n\r\n", "GET /metrics SPDY/3\r\n\r\n", "\x16\x03\x01 \n"} {
		conn, err := net.Dial("tcp", address)
		ipctest.Must(t, err)
		_, err = io.WriteString(conn, text)
		ipctest.Must(t, err)
		ipctest.Must(t, conn.(*net.TCPConn).CloseWrite())
		answer, err := io.ReadAll(conn)
		ipctest.Must(t, err)
		conn.Close()
		if !strings.HasPrefix(string(answer), "HTTP/1.1 400 Bad Request\r\n") {
			t.Errorf("%q: %q", text, answer)
		}
	}
}

func TestALookThatFails(t *testing.T) {
	address, _ := serve(t, func() (metrics.Look, error) { return metrics.Look{}, errors.New("cannot look:\nno") }, 0)
	if response, body := get(t, "GET", "http://"+address+"/metrics", ""); response.StatusCode != 500 || body != "ipcns: cannot look:?no\n" {
		t.Errorf("%s: %q", response.Status, body)
	}
}

// TestLooksAreShared has requests come while a look is under way, which lasts
// until all have come that may at a time.
func TestLooksAreShared(t *testing.T) {
	const requests = 10
	var looks, now atomic.Int32
	var come sync.WaitGroup
	come.Add(requests)
	address, _ := serve(t, func() (metrics.Look, error) {
		if looks.Add(1); now.Add(1) > 1 {
			t.Error("two looks at a time")
		}
		defer now.Add(-1)
		come.Wait()
		return example()
	}, time.Hour)
	var answered sync.WaitGroup
	for range requests {
		answered.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
			come.Done()
			if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK\r\n") {
				t.Errorf("error %v, %q", err, answer)
			}
		})
	}
	answered.Wait()
	if looks.Load() != 1 {
		t.Errorf("%d looks for %d requests", looks.Load(), requests)
	}
}

func TestALookLasts(t *testing.T) {
	for sharedFor, want := range map[time.Duration]int32{0: 3, time.Hour: 1} {
		var looks atomic.Int32
		address, _ := serve(t, func() (metrics.Look, error) { looks.Add(1); return example() }, sharedFor)
		for range 3 {
			get(t, "GET", "http://"+address+"/metrics", "")
		}
		if looks.Load() != want {
			t.Errorf("%d looks for 3 requests, when each lasts for %s", looks.Load(), sharedFor)
		}
	}
}

// TestTheEnd ends a server while one client is silent, which it does not wait
// for, and another waits for its answer, which it gets.
func TestTheEnd(t *testing.T) {
	begun, proceed := make(chan struct{}), make(chan struct{})
	address, end := serve(t, func() (metrics.Look, error) {
		close(begun)
		<-proceed
		return example()
	}, 0)
	silent, err := net.Dial("tcp", address)
	ipctest.Must(t, err)
	defer silent.Close()
	asks, err := net.Dial("tcp", address)
	ipctest.Must(t, err)
	defer asks.Close()
	fmt.Fprint(asks, "GET /metrics HTTP/1.0\r\n\r\n")
	ipctest.Received(t, begun)
	ended := make(chan struct{})
	go func() { end(); close(ended) }()
	if text, err := io.ReadAll(silent); err != nil || len(text) > 0 {
		t.Errorf("who was silent got %q, error %v", text, err)
	}
	close(proceed)
	if text, err := io.ReadAll(asks); err != nil || !strings.HasSuffix(string(text), written(t, exampleLook(), metrics.Text)) {
		t.Errorf("who asked got %q, error %v", text, err)
	}
	ipctest.Received(t, ended)
}

// TestNegotiate has what releases of Prometheus send.
func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]metrics.Format{
		"": metrics.Text, "*/*": metrics.Text, "text/plain": metrics.Text, "text/html": metrics.Text,
		"application/openmetrics-text":                                                         metrics.OpenMetrics,
		"Application/OpenMetrics-Text ; Version=\"1.0.0\" ; q=0.1":                             metrics.OpenMetrics,
		"application/openmetrics-text;version=0.0.1":                                           metrics.Text,
		"application/openmetrics-text;version=2.0.0":                                           metrics.Text,
		"application/openmetrics-text;q=0":                                                     metrics.Text,
		"application/openmetrics-text;q=2":                                                     metrics.Text,
		"application/openmetrics-text;q=nan":                                                   metrics.Text,
		"application/openmetrics-text;q=0.3,text/plain;q=0.4":                                  metrics.Text,
		"application/openmetrics-text;q=0.4,text/plain;q=0.4":                                  metrics.OpenMetrics,
		"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1": metrics.Text,
		"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1":                                                metrics.OpenMetrics,
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.2": metrics.OpenMetrics,
	} {
		if got := metrics.Negotiate(accept); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"9876": "127.0.0.1:9876", ":9876": "127.0.0.1:9876", ":0": "127.0.0.1:0",
		"0.0.0.0:9876": "0.0.0.0:9876", "[::]:9876": "[::]:9876", "localhost:1": "localhost:1",
		"": "", "localhost": "", ":": "", ":http": "", ":65536": "", "::1": "", "[::1]": "", ":-1": "",
	} {
		if got, err := metrics.Address(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, error %v", text, got, err)
		}
	}
}
