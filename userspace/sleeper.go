package userspace

import (
	"context"
	"syscall"
	"time"
)

// A sleeper is a call that is parked until it is offered its outcome. All of it
// belongs to the namespace's lock, but for the channel.
type sleeper struct {
	task    *Task
	act     act
	since   time.Time // if there is an observer
	arrival uint64
	of      node[*sleeper] // in the process's list
	unpark  func()         // takes the call out of what it waits for
	wake    chan struct{}
	settled bool
	errno   syscall.Errno
}

// park makes the call one that sleeps.
func (s *sleeper) park(t *Task, a act, unpark func()) {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
		s.of.value = s
	}
	t.ns.arrivals++
	s.task, s.arrival, s.unpark, s.settled, s.errno = t, t.ns.arrivals, unpark, false, 0
	t.asleep.push(&s.of)
	if s.act = a; t.ns.observer != nil {
		s.since = t.ns.clock.Now()
	}
}

// settle gives the call its outcome. It is not parked any more.
func (s *sleeper) settle(errno syscall.Errno) {
	s.over(failed(s.act.call, errno))
	s.settled, s.errno = true, errno
	s.wake <- struct{}{}
}

// over ends the sleep.
func (s *sleeper) over(err error) {
	s.unpark()
	s.of.remove()
	if s.task.ns.observer != nil {
		s.task.observe(s.act, err, s.task.ns.clock.Now().Sub(s.since))
	}
}

// interrupt ends the call, which has done nothing.
func (s *sleeper) interrupt() { s.settle(syscall.EINTR) }

// wait waits for the outcome, without the lock, or for the end of ctx. When
// both come at once, the outcome counts: it has happened.
func (s *sleeper) wait(ctx context.Context) error {
	select {
	case <-s.wake:
		return failed(s.act.call, s.errno)
	case <-ctx.Done():
	}
	ns := s.task.ns
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if s.settled {
		<-s.wake
		return failed(s.act.call, s.errno)
	}
	s.over(ctx.Err())
	return ctx.Err()
}
