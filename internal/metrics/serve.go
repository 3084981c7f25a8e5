//go:build linux

package metrics

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ipcns/ipcns/internal/oneline"
	"golang.org/x/sys/unix"
)

// What a server takes.
const (
	Path         = "/metrics"
	mostRequests = 16               // at a time; others wait to be accepted
	mostHeader   = 16 << 10         // bytes
	patience     = 10 * time.Second // for a request to come, and for an answer to be taken
)

// Serve answers requests of HTTP for [Path] until the context ends, and then
// finishes those that it has begun. It looks at the machine for a request, but
// not twice at the same time, and not before sharedFor has passed since the last
// time: what that has found serves for all requests that come meanwhile.
//
// It is no net/http, whose packages would be initialised by every command: that
// makes "ipcns run" slower by a tenth, and ipcns larger by two thirds.
func Serve(ctx context.Context, listener net.Listener, look func() (Look, error), sharedFor time.Duration) error {
	shared := &sharedLook{look: look, lasts: sharedFor}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var requests sync.WaitGroup
	defer requests.Wait()
	free := make(chan struct{}, mostRequests)
	for {
		free <- struct{}{}
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !temporary(err) {
			return fmt.Errorf("cannot serve any longer: %w", err)
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // until there is a descriptor again
			<-free
			continue
		}
		requests.Go(func() {
			defer func() { <-free }()
			defer conn.Close()
			answer(ctx, conn, shared)
		})
	}
}

// temporary reports whether an accept may succeed later; see accept(2).
func temporary(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// A sharedLook is a look that lasts for a time.
type sharedLook struct {
	look  func() (Look, error)
	lasts time.Duration

	mutex sync.Mutex
	ended time.Time // when the last one was done, zero before the first
	last  Look
	err   error
}

// get returns the last look, or a new one.
func (s *sharedLook) get() (Look, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.ended.IsZero() || time.Since(s.ended) >= s.lasts {
		s.last, s.err = s.look()
		s.ended = time.Now()
	}
	return s.last, s.err
}

// answer answers the one request of a connection. The end of the context ends
// the wait for one that has not come.
func answer(ctx context.Context, conn net.Conn, shared *sharedLook) {
	conn.SetDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	r, err := readRequest(conn)
	stop()
	if err != nil && r.status == 0 {
		return // nobody asks any more
	}
	response := r.respond(shared)
	conn.SetWriteDeadline(time.Now().Add(patience))
	if response.writeTo(conn, r.method == "HEAD") != nil {
		return
	}
	// What has not been read would make the kernel reset the connection, and the
	// client lose the answer.
	if tcp, ok := conn.(*net.TCPConn); ok && r.status != 0 {
		tcp.CloseWrite()
		conn.SetReadDeadline(time.Now().Add(time.Second))
		io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
	}
}

// A request is what matters of one.
type request struct {
	method, path string
	accept       string
	status       int // why it is refused, 0 if it is not
}

var errBadRequest = errors.New("no request of HTTP")

// readRequest reads the header of a request. A body, which none needs, is left.
func readRequest(r io.Reader) (req request, err error) {
	lines := bufio.NewReader(io.LimitReader(r, mostHeader))
	var total int
	for number := 0; ; number++ {
		line, err := lines.ReadString('\n')
		total += len(line)
		if err == io.EOF && total == mostHeader {
			return request{status: 431}, errBadRequest
		}
		if err != nil {
			return request{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case number == 0:
			words := strings.Split(line, " ")
			if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/1.") {
				return request{status: 400}, errBadRequest
			}
			req.method = words[0]
			req.path, _, _ = strings.Cut(words[1], "?")
		case line == "":
			return req, nil
		default:
			if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Accept") {
				req.accept += "," + value
			}
		}
	}
}

// A response is what is answered.
type response struct {
	status      int
	contentType string
	body        []byte
}

func refusal(status int, format string, args ...any) response {
	return response{status, "text/plain; charset=utf-8", fmt.Appendf(nil, "ipcns: "+format+"\n", args...)}
}

func (r request) respond(shared *sharedLook) response {
	switch {
	case r.status == 431:
		return refusal(431, "a header of more than %d bytes", mostHeader)
	case r.status != 0:
		return refusal(r.status, "this is no request of HTTP/1")
	case r.method != "GET" && r.method != "HEAD":
		return refusal(405, "there is nothing but to GET %s", Path)
	case r.path != Path:
		return refusal(404, "there is nothing but %s", Path)
	}
	look, err := shared.get()
	if err != nil {
		return refusal(500, "%s", oneline.Of(err.Error()))
	}
	format := Negotiate(r.accept)
	var body bytes.Buffer
	if err := Write(&body, look, format); err != nil {
		return refusal(500, "%s", oneline.Of(err.Error()))
	}
	return response{200, format.ContentType(), body.Bytes()}
}

// reasons are the phrases of the statuses that there are.
var reasons = map[int]string{
	200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
	431: "Request Header Fields Too Large", 500: "Internal Server Error",
}

func (r response) writeTo(w io.Writer, withoutBody bool) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n", r.status, reasons[r.status], r.contentType, len(r.body))
	if r.status == 405 {
		b.WriteString("Allow: GET, HEAD\r\n")
	}
	b.WriteString("\r\n")
	if !withoutBody {
		b.Write(r.body)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Negotiate chooses the format by the header Accept of a request: OpenMetrics if
// it asks for that no less than for other text.
func Negotiate(accept string) Format {
	openMetrics, text := 0.0, 0.0
	for item := range strings.SplitSeq(accept, ",") {
		kind, q := mediaRange(item)
		switch kind {
		case "application/openmetrics-text":
			openMetrics = max(openMetrics, q)
		case "text/plain":
			text = max(text, q)
		}
	}
	if openMetrics > 0 && openMetrics >= text {
		return OpenMetrics
	}
	return Text
}

// mediaRange returns the type that an item of Accept names, and its weight: 0
// for a version that is not written here.
func mediaRange(item string) (kind string, q float64) {
	kind, parameters, _ := strings.Cut(item, ";")
	kind, q = strings.ToLower(strings.TrimSpace(kind)), 1
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		switch {
		case strings.EqualFold(name, "q"):
			weight, err := strconv.ParseFloat(value, 64)
			if err != nil || !(weight >= 0 && weight <= 1) {
				return kind, 0
			}
			q = min(q, weight)
		case strings.EqualFold(name, "version") && kind == "application/openmetrics-text" && strings.Trim(value, `"`) != "1.0.0":
			q = 0
		}
	}
	return kind, q
}

// Address returns the address to listen on for what --listen says: loopback, if
// it names a port alone.
func Address(text string) (string, error) {
	if !strings.Contains(text, ":") {
		text = ":" + text
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%q is no address; write PORT, or ADDRESS:PORT such as 0.0.0.0:9876 or [::]:9876", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q is no port; it is a number from 0 to 65535", port)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
