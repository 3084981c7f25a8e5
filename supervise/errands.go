//go:build linux

package supervise

import (
	"runtime"
	"time"

	"github.com/ipcns/ipcns/internal/inject"
)

// An errand is the part of a call that waits for its program: to stop, so as to
// make a call of the supervisor's, or to take a descriptor. A program can make
// that last, so errands are run on threads of their own, without the supervisor's
// lock, and one after the other for each process: who keeps them waiting keeps
// nobody else.
type errand func(*inject.Tracer)

// errands are those of a process.
type errands struct {
	pid  int
	todo []errand
}

const (
	mostRunners = 64
	idleRunners = 4
)

// later leaves the rest of a call to an errand.
func (c *call) later(pid int, f errand) {
	c.away = true
	c.errands.Add(1)
	done := func(tr *inject.Tracer) {
		defer c.errands.Done()
		f(tr)
	}
	s := c.s
	if of := s.errands[pid]; of != nil {
		of.todo = append(of.todo, done)
		return
	}
	of := &errands{pid, []errand{done}}
	s.errands[pid] = of
	s.ready = append(s.ready, of)
	if s.idle < len(s.ready) && s.runners < mostRunners {
		s.runners++
		s.watchers.Go(s.runErrands)
	}
	s.runnable.Signal()
}

// runErrands is a thread that does so until there are enough others.
func (s *Supervisor) runErrands() {
	runtime.LockOSThread() // which ptrace(2) insists on
	var tracer inject.Tracer
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && s.idle < idleRunners {
		if len(s.ready) == 0 {
			s.idle++
			s.runnable.Wait()
			s.idle--
			continue
		}
		of := s.ready[0]
		s.ready = s.ready[1:]
		s.runAll(of, &tracer)
	}
	s.runners--
}

// runAll runs the errands of a process, until there is none and no thread of it
// is late: another tracer would not know of that.
func (s *Supervisor) runAll(of *errands, tracer *inject.Tracer) {
	const pause = 5 * time.Millisecond
	for !s.closed && (len(of.todo) > 0 || tracer.Late() > 0) {
		next := func(tracer *inject.Tracer) {
			time.Sleep(pause)
			tracer.Settle()
		}
		if len(of.todo) > 0 {
			next, of.todo = of.todo[0], of.todo[1:]
		}
		s.mu.Unlock()
		next(tracer)
		s.mu.Lock()
	}
	delete(s.errands, of.pid)
}

// locked calls f with the supervisor's lock, for an errand that has come to
// something, if the process has not ended.
func (c *call) locked(f func()) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if p := c.thread.process; c.s.processes[p.pid] == p {
		f()
	}
}
