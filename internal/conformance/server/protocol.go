//go:build linux

package server

import (
	"encoding/json"
	"syscall"
)

// A request goes to a server: make a call, or end the context of one.
type request struct {
	Call   int // its number, which no other call on the connection has
	Cancel bool

	Queue       int // the message queue descriptor that has the method; 0: the server
	Method      string
	Args        []json.RawMessage // without the context
	Cancellable bool              // the context can end
	Ended       bool              // the context has ended
}

// An answer comes from a server: the results of a call, or a notification
// from a registration.
type answer struct {
	Call    int
	Results []json.RawMessage // without the error
	Error   *failure

	Notification int // the registration; 0: none
}

// A failure is the error of a call.
type failure struct {
	Text    string
	Errno   syscall.Errno
	Context bool // it is the error of the context
}

func (f *failure) Error() string { return f.Text }

func (f *failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

// memory is what a server has attached.
type memory struct {
	Address uintptr
	Size    int
}
