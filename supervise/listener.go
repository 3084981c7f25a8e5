//go:build linux

package supervise

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// Listen installs the filter on the calling thread, and returns the listener,
// which is to be given to a supervisor before the thread makes a call of those
// that [Supervisor] answers, execve(2) among them. Privileges cannot be gained
// by execve(2) any more, unless the caller has CAP_SYS_ADMIN. EBUSY: a
// supervisor, of whatever kind, has the thread already.
func Listen() (listener int, err error) {
	if !sys.Capable(unix.CAP_SYS_ADMIN) {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return -1, err
		}
	}
	fd, errno := sys.SeccompListen(filter())
	if errno != 0 {
		return -1, errno
	}
	return fd, nil
}

// A listener is where calls come from.
type listener struct {
	s       *Supervisor
	fd      int
	buffer  []byte // for what is read of a program's memory
	spare   *call  // that is over
	errands sync.WaitGroup
	tid     int           // of its thread
	ended   chan struct{} // closed when it answers no more
}

// turn is how many calls are answered before other goroutines have their turn.
// The runtime takes a goroutine that gives them none for 10 ms for one that keeps
// them waiting, and from then on looks every 20 us whether it is in a call of the
// system, to take its processor away, which it has to get back then.
const turn = 1024

// loop answers calls.
func (l *listener) loop() {
	sys.SeccompSyncWakeUp(l.fd) // without which it is slower
	var n sys.SeccompNotification
	for i := 1; ; i++ {
		if i%turn == 0 {
			runtime.Gosched()
		}
		switch errno := sys.SeccompReceive(l.fd, &n); errno {
		case 0:
			l.s.mu.Lock()
			l.answer(&n)
			l.s.mu.Unlock()
		case syscall.EINTR, syscall.ENOENT: // a call was cancelled, or there is nobody any more
			if l.hungUp() {
				return
			}
		default:
			return
		}
	}
}

// wake has the listener look whether there is anybody. Before Linux 6.11, whose
// SECCOMP_IOCTL_NOTIF_RECV tells, it would wait for ever.
func (l *listener) wake() {
	const pause = 10 * time.Millisecond
	for {
		unix.Tgkill(os.Getpid(), l.tid, unix.SIGURG) // which the runtime ignores
		select {
		case <-l.ended:
			return
		case <-time.After(pause): // it may not have waited yet
		}
	}
}

func (l *listener) hungUp() bool {
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLHUP != 0
}

// answer answers a call, unless it begins to sleep or takes an errand.
func (l *listener) answer(n *sys.SeccompNotification) {
	c := l.spare
	if c == nil {
		c = &call{}
	}
	l.spare = nil
	*c = call{listener: l, id: n.ID, tid: int(n.PID), number: n.Data.Number, arch: n.Data.Arch, args: n.Data.Args}
	c.handle()
	if !c.asleep && !c.away {
		l.spare = c
	}
}
