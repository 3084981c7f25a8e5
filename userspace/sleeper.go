package userspace

import (
	"context"
	"syscall"
	"time"
)

// A sleeper is a call that is parked until it is offered its outcome. It may
// decline the offer: then nothing has happened, and the next is asked. All of
// it belongs to the namespace's lock, but for the channel.
type sleeper struct {
	ctx     context.Context
	caller  Caller // who waits without a goroutine, and then without ctx; nil for none
	task    *Task
	act     act
	since   time.Time
	arrival uint64
	of      node[*sleeper] // in the process's list
	unpark  func()         // takes the call out of what it waits for
	stop    func() bool    // its timer, if it has a caller and a timeout
	wake    chan struct{}
	settled bool
	err     error // the outcome
}

// park makes the call one that sleeps.
func (s *sleeper) park(ctx context.Context, t *Task, a act, unpark func()) {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	s.of.value = s
	t.ns.arrivals++
	s.ctx, s.task, s.arrival, s.unpark, s.settled, s.err = ctx, t, t.ns.arrivals, unpark, false, nil
	t.asleep.push(&s.of)
	s.act, s.since = a, t.ns.clock.Now()
}

// takes offers the call an outcome that is a success. If it declines, since its
// context has ended or its caller is gone, it is not parked any more.
func (s *sleeper) takes(o Outcome) bool {
	if s.caller != nil {
		if s.caller.Take(o) {
			return true
		}
		s.over(failed(s.act.call, declined))
		return false
	}
	err := s.ctx.Err()
	if err != nil {
		s.finish(err)
	}
	return err == nil
}

// settle ends the sleep of a call that has taken its outcome, or fails.
func (s *sleeper) settle(errno syscall.Errno) {
	if s.caller == nil {
		s.finish(failed(s.act.call, errno))
		return
	}
	s.over(failed(s.act.call, errno))
	if errno != 0 {
		s.caller.Take(Outcome{Errno: errno})
	}
}

func (s *sleeper) finish(err error) {
	s.over(err)
	s.err = err
	s.wake <- struct{}{}
}

// over ends the sleep.
func (s *sleeper) over(err error) {
	s.settled = true
	if s.stop != nil {
		s.stop()
	}
	s.unpark()
	s.of.remove()
	if s.task.ns.observer != nil {
		s.task.observe(s.act, err, s.task.ns.clock.Now().Sub(s.since))
	}
}

// interrupt ends the call, which has done nothing.
func (s *sleeper) interrupt() { s.settle(syscall.EINTR) }

// wait waits for the outcome, without the lock, or for the end of the context.
// When both come at once, the outcome counts: it has happened.
func (s *sleeper) wait() error {
	select {
	case <-s.wake:
		return s.err
	case <-s.ctx.Done():
	}
	ns := s.task.ns
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if s.settled {
		<-s.wake
		return s.err
	}
	s.over(s.ctx.Err())
	return s.ctx.Err()
}
