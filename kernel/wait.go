//go:build linux

package kernel

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sleep makes a call that may sleep, until it is over or ctx ends. A call
// that was interrupted has done nothing.
func sleep(ctx context.Context, name string, call func() syscall.Errno) error {
	for {
		errno := interruptible(ctx, call)
		if errno != syscall.EINTR {
			return failed(name, errno)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// interruptible makes the call, which returns EINTR when ctx ends while it
// sleeps. The signal goes to this thread alone and only until the call has
// returned, so no other work on any thread is interrupted.
func interruptible(ctx context.Context, call func() syscall.Errno) syscall.Errno {
	if ctx.Done() == nil {
		return call()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, tid := unix.Getpid(), unix.Gettid()
	returned, finished := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(finished)
		// The first signal may come before the thread sleeps in the call:
		// repeat it until the call is over. The runtime does nothing on
		// SIGURG, but a program that ignores all signals must not ignore
		// this one: a signal that is ignored interrupts nothing.
		for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
			if signal.Ignored(unix.SIGURG) {
				signal.Notify(make(chan os.Signal, 1), unix.SIGURG)
			}
			if err := unix.Tgkill(pid, tid, unix.SIGURG); err != nil {
				return
			}
			select {
			case <-returned:
				return
			case <-time.After(pause):
			}
		}
	})
	errno := call()
	close(returned)
	if !stop() {
		<-finished
	}
	return errno
}
