package userspace

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// An Event is an operation that is over: who did what to which object, and
// what came of it.
type Event struct {
	Time time.Time // when it was over
	Task *Task
	Call string // as in errors: msgsnd, msgctl(IPC_RMID)

	// The object that was meant: a System V object's id or index, or the
	// key of a get call, or the name of a POSIX queue.
	ID   int
	Key  ipc.Key
	Name string

	// Err is nil, or holds a syscall.Errno or is a context's.
	Err error
	// Slept is how long it has waited for others, 0 if it has not.
	Slept time.Duration
}

// An Observer is told of every operation, in the order in which they happen,
// on the goroutine that makes one happen. It keeps the namespace waiting, and
// may not call it.
type Observer func(Event)

// An act is what a task does to which object, as in [Event].
type act struct {
	call string
	id   int
	key  ipc.Key
	name string
}

// A begun operation holds the namespace's lock.
type begun struct {
	task *Task
	act
}

// begin takes the lock for an operation.
func (t *Task) begin(a act) begun {
	t.ns.mu.Lock()
	return begun{t, a}
}

// end gives the lock back. It gives the error, which is nil or an errno, the
// name of the call.
func (b begun) end(err *error) {
	if *err != nil {
		*err = named(b.call, *err)
	}
	if b.task.ns.observer != nil {
		b.task.observe(b.act, *err, 0)
	}
	b.task.ns.mu.Unlock()
}

// named returns an error with the name of the call, if it is of an errno.
func named(call string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return os.NewSyscallError(call, errno)
	}
	return err
}

// done is end for an operation that needs no defer.
func (b begun) done(errno syscall.Errno) error {
	err := failed(b.call, errno)
	if b.task.ns.observer != nil {
		b.task.observe(b.act, err, 0)
	}
	b.task.ns.mu.Unlock()
	return err
}

// observe tells the observer, which there is, of an operation that is over.
func (t *Task) observe(a act, err error, slept time.Duration) {
	t.ns.observer(Event{Time: t.ns.clock.Now(), Task: t, Call: a.call, ID: a.id, Key: a.key, Name: a.name, Err: err, Slept: slept})
}

// outcome returns errno as an error, nil for 0.
func outcome(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// failed returns errno as an error that names the call, nil for 0.
func failed(call string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, errno)
}
