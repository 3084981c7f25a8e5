package userspace

import (
	"context"
	"syscall"
)

// A sleeper is a call that is parked until it is offered its outcome. All of it
// belongs to the namespace's lock, but for the channel.
type sleeper struct {
	task    *Task
	arrival uint64
	of      node[*sleeper] // in the process's list
	unpark  func()         // takes the call out of what it waits for
	wake    chan struct{}
	settled bool
	errno   syscall.Errno
}

// park makes the call one that sleeps.
func (s *sleeper) park(t *Task, unpark func()) {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
		s.of.value = s
	}
	t.ns.arrivals++
	s.task, s.arrival, s.unpark, s.settled, s.errno = t, t.ns.arrivals, unpark, false, 0
	t.asleep.push(&s.of)
}

// settle gives the call its outcome. It is not parked any more.
func (s *sleeper) settle(errno syscall.Errno) {
	s.unpark()
	s.of.remove()
	s.settled, s.errno = true, errno
	s.wake <- struct{}{}
}

// interrupt ends the call, which has done nothing.
func (s *sleeper) interrupt() { s.settle(syscall.EINTR) }

// wait waits for the outcome, without the lock, or for the end of ctx. When
// both come at once, the outcome counts: it has happened.
func (s *sleeper) wait(ctx context.Context) (syscall.Errno, error) {
	select {
	case <-s.wake:
		return s.errno, nil
	case <-ctx.Done():
	}
	ns := s.task.ns
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if s.settled {
		<-s.wake
		return s.errno, nil
	}
	s.unpark()
	s.of.remove()
	return 0, ctx.Err()
}
