//go:build linux

package ipcns

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs f on a thread in the namespace and returns its error. The thread is
// f's alone and ends with it: f may change what belongs to a thread. Other
// goroutines, also those that f starts, stay where they are. Do may be called
// from any goroutine, also inside another Do.
//
// It takes CAP_SYS_ADMIN in the user namespace that owns the namespace, and
// in the caller's own (EPERM).
//
// Two things outlive f: a segment that it attaches, and a descriptor of a
// POSIX queue that it opens; every goroutine may use them. One thing does
// not: an operation with SEM_UNDO is undone soon after f has returned, when the
// thread ends. The undo list of the process is not touched (SEMANTICS A.5.11).
func (ns *Namespace) Do(f func() error) error {
	return onThread(func() error {
		err := ns.control(func(fd int) error { return unix.Setns(fd, unix.CLONE_NEWIPC) })
		if err != nil {
			return ns.enterFailure(err)
		}
		return f()
	})
}

func (ns *Namespace) enterFailure(err error) error {
	if err == unix.EPERM {
		return fail(err, "cannot enter %s: it takes CAP_SYS_ADMIN there and here", ns)
	}
	return fmt.Errorf("cannot enter %s: %w", ns, err)
}

// errExited is what f's runtime.Goexit becomes for the goroutine that waits.
var errExited = errors.New("the function called runtime.Goexit")

// onThread runs f on a thread that ends when f returns. A panic of f is
// passed on.
func onThread(f func() error) error {
	var panicked any
	err := errExited
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		// A goroutine that ends locked takes its thread along.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end: the runtime would park it for
			// ever, where /proc/PID/ns/ipc shows it as the process. Hold it
			// while f runs on another.
			defer runtime.UnlockOSThread()
			err = onThread(f)
			return
		}
		err = f()
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}
