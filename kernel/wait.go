//go:build linux

package kernel

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"sync"
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
// sleeps.
func interruptible(ctx context.Context, call func() syscall.Errno) syscall.Errno {
	if ctx.Done() == nil {
		return call()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := &sleeper{tid: unix.Gettid()}
	stop := context.AfterFunc(ctx, s.wake)
	errno := call()
	s.end()
	stop()
	return errno
}

// A sleeper is a thread in a call that may sleep.
type sleeper struct {
	tid   int
	mu    sync.Mutex
	awake bool
}

// wake interrupts the call with SIGURG, which the runtime does nothing on. The
// first signal may come before the thread sleeps in the call, so it is
// repeated until the call is over. It goes to this thread alone and only
// until then: no other work on any thread is interrupted.
func (s *sleeper) wake() {
	for pause := 50 * time.Microsecond; s.interrupt(); pause = min(2*pause, 10*time.Millisecond) {
		time.Sleep(pause)
	}
}

// interrupt sends a signal and reports whether the call is not over.
func (s *sleeper) interrupt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.awake {
		return false
	}
	// A program that ignores all signals must not ignore this one: a signal
	// that is ignored interrupts nothing.
	if signal.Ignored(unix.SIGURG) {
		signal.Notify(make(chan os.Signal, 1), unix.SIGURG)
	}
	return unix.Tgkill(unix.Getpid(), s.tid, unix.SIGURG) == nil
}

// end says that the call is over.
func (s *sleeper) end() {
	s.mu.Lock()
	s.awake = true
	s.mu.Unlock()
}
