//go:build linux

package kernel

import (
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An mqdThreads makes the calls of an mqd that nothing but the queue itself
// can end. They sleep in the kernel, each on a thread, which answers faster
// than the runtime's polling does.
type mqdThreads struct {
	// mu is held for reading while fd is in use.
	mu sync.RWMutex
	fd int // another open description of the queue, without O_NONBLOCK; -1 if there is none

	once   sync.Once
	closed chan struct{}
}

// nap is how long a thread sleeps before it looks whether the descriptor was
// closed. A signal could not tell it: the runtime's handlers restart these
// calls (SEMANTICS A.7.10).
const nap = 100 * time.Millisecond

// open opens the queue once more, behind the descriptor fd.
func (t *mqdThreads) open(fd, access int) {
	var err error
	if t.fd, err = unix.Open("/proc/self/fd/"+strconv.Itoa(fd), access|unix.O_CLOEXEC, 0); err != nil {
		t.fd = -1
	}
}

// sleep makes a call that sleeps in the descriptor until the time that it is
// given. It reports false, and has done nothing, where there is no descriptor
// to sleep in.
func (t *mqdThreads) sleep(fd, access int, call func(fd int, until *unix.Timespec) syscall.Errno) (errno syscall.Errno, slept bool) {
	t.once.Do(func() { t.open(fd, access) })
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.fd < 0 {
		return 0, false
	}
	for {
		until := unix.NsecToTimespec(time.Now().Add(nap).UnixNano())
		if errno := call(t.fd, &until); errno != unix.ETIMEDOUT && errno != unix.EINTR {
			return errno, true
		}
		select {
		case <-t.closed:
			return unix.EBADF, true
		default:
		}
	}
}

// close closes the descriptor when nobody sleeps in it any more.
func (t *mqdThreads) close() {
	close(t.closed)
	t.once.Do(func() { t.fd = -1 })
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fd >= 0 {
		unix.Close(t.fd)
		t.fd = -1
	}
}
