//go:build linux

// Package inject makes system calls in a thread of another process, which
// waits for the answer to its seccomp user notification. The measurements
// behind it are in INTERCEPTION, "Shared memory".
package inject

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// How long [Tracer.Do] waits for a thread, which may be hostile: in all for
// what it has to do, and then for a stop to let go of it.
const (
	patience = time.Second
	grace    = 20 * time.Millisecond
)

// A Tracer makes calls in threads of other processes. As ptrace(2) takes
// requests only from the thread that traces, all methods of a Tracer are for
// one OS thread, to which the caller has locked its goroutine. The zero Tracer
// is ready to use.
type Tracer struct {
	late []*Thread // those that did not stop in time
}

// Do stops the thread tid, lets answer answer its notification with the value
// 0, and calls f while the thread is stopped on its way back from its call,
// which then returns what f returns: a value, or a negative error number. The
// notification is one that the caller has received, from a filter with
// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV. It is for answer to fail if it is
// no longer valid: tid may be another thread by now.
//
// An error without a call of answer means that nothing has changed; it is
// EPERM if the thread is traced by somebody else or may not be traced, ESRCH
// if it is gone, EBUSY if another thread of its process is still late. An error
// of answer is returned as it is. Once answer has succeeded, f is called,
// whatever happens: calls that cannot be made fail with an error number, Do
// returns that as an error too, and the thread, if it lives, still gets the
// result of f.
//
// Do waits no longer than a second, and a little for the thread to
// be let go. One that does not even stop then gets the result of f later, in
// another Do or in [Tracer.Settle].
func (tr *Tracer) Do(tid int, answer func() error, f func(t *Thread) (result int64)) error {
	t := &Thread{tid: tid, until: time.Now().Add(patience)}
	tr.Settle()
	if tr.isLateWith(tid) {
		return t.failed(unix.EBUSY)
	}
	if errno := ptrace(unix.PTRACE_SEIZE, tid, 0, unix.PTRACE_O_TRACESYSGOOD); errno != 0 {
		return t.failed(errno)
	}
	if errno := ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0); errno != 0 {
		tr.letGo(t, time.Now().Add(grace))
		return t.failed(errno)
	}
	if err := answer(); err != nil {
		tr.letGo(t, time.Now().Add(grace))
		return err
	}
	t.failure = t.take()
	t.result = f(t)
	t.answered = true
	tr.letGo(t, time.Now().Add(grace))
	if t.failure != 0 {
		return t.failed(t.failure)
	}
	return nil
}

func (t *Thread) failed(err error) error {
	return fmt.Errorf("cannot make calls in thread %d: %w", t.tid, err)
}

// letGo ends the tracing of a thread as soon as it stops, and remembers one
// that does not. One that was killed has to be waited for as well: its parent
// and execve(2) of another thread wait for its tracer.
func (tr *Tracer) letGo(t *Thread, until time.Time) {
	if t.detach() || t.ended {
		return
	}
	if ptrace(unix.PTRACE_INTERRUPT, t.tid, 0, 0) == unix.ESRCH { // it is not ours any more
		return
	}
	t.wait(until)
	if !t.detach() && !t.ended {
		tr.late = append(tr.late, t)
	}
}

// Settle lets go of the threads that did not stop in time and have stopped
// since. It does not wait, and costs nothing if there is none: it may be
// called often.
func (tr *Tracer) Settle() {
	late := tr.late
	tr.late = nil
	for _, t := range late {
		tr.letGo(t, time.Now())
	}
}

// isLateWith reports whether another thread of a thread's process is late.
// Then PTRACE_SEIZE might never return: it waits for an execve(2) in the
// process, which waits for the late thread to be let go.
func (tr *Tracer) isLateWith(tid int) bool {
	return slices.ContainsFunc(tr.late, func(t *Thread) bool {
		return unix.Access(fmt.Sprintf("/proc/%d/task/%d", tid, t.tid), unix.F_OK) == nil
	})
}

// Late is the number of threads that [Tracer.Settle] is still to be called for.
func (tr *Tracer) Late() int { return len(tr.late) }

// Kick makes a thread leave the call that it sleeps in and make it anew, as a
// stop and SIGCONT would. Errors are those of [Tracer.Do].
func (tr *Tracer) Kick(tid int) error {
	tr.Settle()
	t := &Thread{tid: tid}
	if tr.isLateWith(tid) {
		return t.failed(unix.EBUSY)
	}
	if errno := ptrace(unix.PTRACE_SEIZE, tid, 0, 0); errno != 0 {
		return t.failed(errno)
	}
	tr.letGo(t, time.Now().Add(grace))
	return nil
}
