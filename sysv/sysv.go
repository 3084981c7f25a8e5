// Package sysv has the System V objects in hand: message queues, semaphore
// sets and shared memory segments; see sysvipc(7).
//
// Every object lives in the [ipc.System] that it was opened in. With
// kernel.System, that is the namespace of the thread that makes the call: the
// process's own, or another inside ipcns.Namespace.Do. With another
// implementation the same program runs in memory, in a test for instance.
//
// The methods of an object may be called from any goroutine, several at a
// time. An object is a name for what lives in the namespace: it needs no
// closing, and outlives the program until somebody calls Remove. Using one
// that was removed is an error ([syscall.EINVAL], or [syscall.EIDRM] for a
// call that slept in it).
//
// Errors are [*ipc.Error] and hold a [syscall.Errno], or are the context's.
// Permission bits are not subject to the umask.
package sysv

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// An object is what the three kinds have in common.
type object struct {
	kind string // "queue", "set" or "segment"
	id   int
	key  ipc.Key
	byID bool // the key is not known
}

// ID returns the id, by which another process can open the object too.
func (o *object) ID() int { return o.id }

// Key returns the key that the object was opened with, [ipc.Private] if it
// was opened by id or has none.
func (o *object) Key() ipc.Key { return o.key }

// String returns the object as errors name it.
func (o *object) String() string {
	if o.byID {
		return fmt.Sprintf("%s id %d", o.kind, o.id)
	}
	return fmt.Sprintf("%s id %d (key %v)", o.kind, o.id, o.key)
}

// failed returns err as an [*ipc.Error], nil for nil.
func (o *object) failed(call, cause string, err error) error {
	if err == nil {
		return nil
	}
	return &ipc.Error{Call: call, Object: o.String(), Cause: cause, Err: bare(err)}
}

// getFailed is failed for a call that was to find an object.
func getFailed(call, kind string, key ipc.Key, cause string, err error) error {
	return &ipc.Error{Call: call, Object: fmt.Sprintf("%s key %v", kind, key), Cause: cause, Err: bare(err)}
}

// privateFound is the error of opening by the key that only ever makes objects.
func privateFound(call, kind string) error {
	return getFailed(call, kind, ipc.Private, "the key IPC_PRIVATE finds none", syscall.ENOENT)
}

// bare takes the name of the call off an error, since [ipc.Error] has it.
func bare(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

// causeOf returns what an error means wherever it comes up, "" if it speaks
// for itself.
func causeOf(err error) string {
	switch {
	case errors.Is(err, syscall.EACCES):
		return "its permissions do not allow that"
	case errors.Is(err, syscall.EPERM):
		return "that takes its owner, its creator or CAP_SYS_ADMIN"
	case errors.Is(err, syscall.EIDRM):
		return "it was removed meanwhile"
	case errors.Is(err, syscall.EEXIST):
		return "the key has one already"
	case errors.Is(err, syscall.ENOENT):
		return "the key has none"
	case errors.Is(err, syscall.EINVAL):
		return "there is none of that id"
	}
	return ""
}

// limitCause returns the cause of an error of a get call that made an object.
func limitCause(err error, limits string) string {
	if errors.Is(err, syscall.ENOSPC) {
		return "the limit " + limits + " is reached"
	}
	return causeOf(err)
}

// setCause returns the cause of an error of IPC_SET on an object that was
// there a moment ago.
func setCause(err error) string {
	if errors.Is(err, syscall.EINVAL) {
		return "there is none of that id, or no such user or group in the user namespace"
	}
	return causeOf(err)
}

// same returns err, or EINVAL if what was found at the index of an id is
// another object.
func same(found, id int, err error) error {
	if err == nil && found != id {
		return syscall.EINVAL
	}
	return err
}
