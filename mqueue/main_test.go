//go:build linux

package mqueue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
)

// TestMain gives the tests a namespace in which no queue is but theirs.
func TestMain(m *testing.M) {
	ipctest.MainInNew(m, map[string]func() error{
		asStranger: beStranger,
	})
}

var system = kernel.System{}

// No call may end before a tick, where it has to wait that long, or take a
// hang.
const (
	tick = 10 * time.Millisecond
	hang = 20 * time.Second
)

// must ends the test if a call fails that has to work.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError expects an error of this package that is another, with this text.
func wantError(t *testing.T, err, is error, text string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", text)
		return
	}
	if !errors.As(err, new(*ipc.Error)) || !errors.Is(err, is) || err.Error() != text {
		t.Errorf("got  %q (%T)\nwant %q, which is %q", err, err, text, is)
	}
}

// received returns what comes out of a channel, which may not take long.
func received[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(hang):
		t.Fatal("nothing has happened for too long")
		panic("unreachable")
	}
}

// waiting starts a call that has to wait, and returns once a goroutine is
// parked in a method. The function that it returns gives the call's error.
func waiting(t *testing.T, method string, call func() error) (over func() error) {
	t.Helper()
	result := begun(call)
	ipctest.Parked(t, fmt.Sprintf("mqueue.(*Queue).%s", method), 1)
	return func() error {
		t.Helper()
		return received(t, result)
	}
}

// begun starts a call and returns where its error comes out.
func begun(call func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- call() }()
	return result
}

// soon is the context of calls that do not have to wait.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	return ctx
}
