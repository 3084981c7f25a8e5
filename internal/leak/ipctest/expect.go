//go:build linux

package ipctest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// No call may end before a Tick, where it has to wait that long, or take a
// Hang.
const (
	Tick = 10 * time.Millisecond
	Hang = 20 * time.Second
)

// Must ends the test if a call fails that has to work.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantError expects an [*ipc.Error] that is another error, with this text.
func WantError(t *testing.T, err, is error, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if err == nil {
		t.Errorf("no error, want %q", text)
		return
	}
	if !errors.As(err, new(*ipc.Error)) || !errors.Is(err, is) || err.Error() != text {
		t.Errorf("got  %q (%T)\nwant %q, which is %q", err, err, text, is)
	}
}

// Begun starts a call and returns where its error comes out.
func Begun(call func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- call() }()
	return result
}

// Received returns what comes out of a channel, which may not take long.
func Received[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(Hang):
		t.Fatal("nothing has happened for too long")
		panic("unreachable")
	}
}

// Soon is the context of calls that do not have to wait.
func Soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Hang)
	t.Cleanup(cancel)
	return ctx
}
