//go:build linux

package supervise

import (
	"bytes"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A thread whose call sleeps is in state S (sleeping). The first thing that
// wants it, be it a signal, a stop or a debugger, brings it to D, where it
// waits for the supervisor: nothing else tells of that. So the states of those
// that sleep are looked at, first after 2 ms, then each 20 ms.
const (
	firstLook = 2 * time.Millisecond
	laterLook = 20 * time.Millisecond
	// looking may take a 20th of a CPU, however many sleep.
	patienceFactor = 20
)

// A watch is what the watcher knows of a call that sleeps.
type watch struct {
	next  time.Time
	pause time.Duration
	stat  int // a descriptor of /proc/TID/stat, from the first look on
}

// sleeps notes that a call sleeps.
func (s *Supervisor) sleeps(c *call) {
	c.watch = watch{next: time.Now().Add(firstLook), pause: firstLook, stat: -1}
	s.waiting[c] = struct{}{}
	if len(s.waiting) == 1 {
		select {
		case s.watching <- struct{}{}:
		default:
		}
	}
}

// wakes notes that a call does not sleep any more.
func (s *Supervisor) wakes(c *call) {
	delete(s.waiting, c)
	c.closeStat()
	if c.queue != nil {
		c.queue.sleepers--
	}
}

func (c *call) closeStat() {
	if c.watch.stat >= 0 {
		unix.Close(c.watch.stat)
		c.watch.stat = -1
	}
}

// watchSleepers looks at those that sleep.
func (s *Supervisor) watchSleepers() {
	pause := firstLook
	for range s.watching {
		for {
			time.Sleep(pause)
			s.mu.Lock()
			began := time.Now() // not before, as waiting for others takes no CPU
			left := s.look(began)
			took := time.Since(began)
			s.mu.Unlock()
			if left == 0 {
				break
			}
			pause = max(firstLook, took*patienceFactor)
		}
	}
}

// look looks at those whose time has come, and returns how many sleep.
func (s *Supervisor) look(now time.Time) int {
	for c := range s.waiting {
		if now.Before(c.watch.next) {
			continue
		}
		c.watch.pause = min(2*c.watch.pause, laterLook)
		c.watch.next = now.Add(c.watch.pause)
		switch c.state() {
		case 'D':
			c.interrupt()
		case 0: // the thread has ended
			if c.parked.Withdraw() {
				s.wakes(c)
			}
		}
	}
	return len(s.waiting)
}

// interrupt ends a call that something else is waiting for, and that has done
// nothing.
func (c *call) interrupt() {
	if c.parked.Withdraw() {
		c.s.wakes(c)
		c.fail(c.restart)
	}
}

// state returns the state of the thread, as in proc_pid_stat(5); 0 for none.
func (c *call) state() byte {
	if c.watch.stat < 0 {
		fd, err := unix.Open(procPath(c.tid, "stat"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EMFILE || err == unix.ENFILE {
			return 'S' // as far as can be told
		}
		if err != nil {
			return 0
		}
		if c.watch.stat = fd; fd >= c.s.spare {
			defer c.closeStat()
		}
	}
	var text [128]byte // more than the name before the state may take
	n, err := unix.Pread(c.watch.stat, text[:], 0)
	if err == syscall.ESRCH {
		return 0
	}
	end := bytes.LastIndex(text[:max(n, 0)], []byte(") "))
	if end < 0 || end+2 >= n {
		return 0
	}
	return text[end+2]
}
