package ipc

import "strings"

// An Error is why a call on an object failed: the call, the object, what is
// known of the cause, and the error itself, which holds a [syscall.Errno] or
// is a context's. For example:
//
//	msgsnd queue id 5 (key 0x0000002a): message of 9000 bytes exceeds msgmax 8192: invalid argument
type Error struct {
	Call   string
	Object string
	Cause  string // "" if nothing more is known
	Err    error
}

func (e *Error) Error() string {
	parts := []string{e.Call + " " + e.Object}
	if e.Cause != "" {
		parts = append(parts, e.Cause)
	}
	return strings.Join(append(parts, e.Err.Error()), ": ")
}

func (e *Error) Unwrap() error { return e.Err }
