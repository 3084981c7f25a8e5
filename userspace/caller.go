package userspace

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// A Caller waits for a call without a goroutine, such as a program for which a
// supervisor makes it.
type Caller interface {
	// Take offers the outcome, once. It returns whether the caller has it: if
	// not, nothing has happened, and the next that waits is asked. A failure
	// is told in the same way, and that nobody is there to hear it changes
	// nothing. Take may be called by the call itself, and by whatever makes it
	// possible later; the namespace waits for it, and it may not call that.
	Take(Outcome) bool
}

// An Outcome is what comes of a call.
type Outcome struct {
	Errno    syscall.Errno // 0 for a success
	Type     int64         // of the message that msgrcv gets
	Priority uint          // of the message that mq_timedreceive gets
	Message  []byte        // as much of it as there is room for; of no use after Take
}

// declined is the error of a call that its caller has not taken.
const declined = syscall.EINTR

// Parked is a call of a [Caller] that sleeps. The zero value is one that does not.
type Parked struct{ s *sleeper }

// Sleeps reports whether the call has slept. It may be over by now.
func (p Parked) Sleeps() bool { return p.s != nil }

// Withdraw ends the call, which has done nothing, and whose caller hears nothing.
// It returns false if the call was over.
func (p Parked) Withdraw() bool {
	if p.s == nil {
		return false
	}
	ns := p.s.task.ns
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if p.s.settled {
		return false
	}
	p.s.over(failed(p.s.act.call, declined))
	return true
}

// answer ends an operation that does not sleep, and tells the caller of a failure.
func (b begun) answer(c Caller, errno syscall.Errno) Parked {
	if errno != 0 && errno != declined {
		c.Take(Outcome{Errno: errno})
	}
	b.done(errno)
	return Parked{}
}

// StartMsgsnd is [Task.Msgsnd] for a caller.
func (t *Task) StartMsgsnd(c Caller, id int, typ int64, text []byte, flags int) Parked {
	b := t.begin(act{call: "msgsnd", id: id})
	errno := t.trySend(c, id, typ, text)
	if errno != syscall.EAGAIN || flags&ipc.NoWait != 0 {
		return b.answer(c, errno)
	}
	s := &sender{sleeper: sleeper{caller: c}, typ: typ, text: slices.Clone(text)}
	t.parkSender(context.Background(), b.act, s)
	t.ns.mu.Unlock()
	return Parked{&s.sleeper}
}

// StartMsgrcv is [Task.Msgrcv], of up to size bytes, for a caller.
func (t *Task) StartMsgrcv(c Caller, id int, typ int64, size, flags int) Parked {
	b := t.begin(act{call: "msgrcv", id: id})
	wanted := selector{typ, flags&ipc.MsgExcept != 0}
	q, m, n, errno := t.tryReceive(id, wanted, size, flags)
	if errno == 0 {
		if !c.Take(Outcome{Type: m.typ, Message: m.text[:n]}) {
			return b.answer(c, declined)
		}
		t.took(q, m)
	}
	if errno != syscall.ENOMSG || flags&ipc.NoWait != 0 {
		return b.answer(c, errno)
	}
	r := &receiver{sleeper: sleeper{caller: c}, size: size}
	r.waits.value, r.leave = r, r.stopWaiting
	t.parkReceiver(context.Background(), b.act, r, q, wanted, flags)
	t.ns.mu.Unlock()
	return Parked{&r.sleeper}
}

// StartSemtimedop is [Task.Semtimedop] for a caller. The timeout is nil for none.
func (t *Task) StartSemtimedop(c Caller, id int, sops []ipc.Sembuf, timeout *time.Duration) Parked {
	b := t.begin(act{call: "semtimedop", id: id})
	patience := forever
	if timeout != nil {
		patience = *timeout
	}
	var o operation
	errno := t.trySemop(c, &o, id, sops, patience)
	if !o.sleeps(errno, patience) {
		return b.answer(c, errno)
	}
	asleep := o
	asleep.caller, asleep.sops = c, slices.Clone(sops)
	asleep.stop = asleep.sleep(context.Background(), b.act, patience)
	t.ns.mu.Unlock()
	return Parked{&asleep.sleeper}
}

// StartTimedsend is Timedsend for a caller, of which t is the thread, whoever
// has opened the queue. The call sleeps no longer than until, unless that is
// the zero time (ETIMEDOUT).
func (t *Task) StartTimedsend(c Caller, d *Mqd, message []byte, priority uint, nonblock bool, until time.Time) Parked {
	q := d.queue
	b := t.begin(act{call: "mq_timedsend", name: q.name})
	switch errno := d.sendable(message, priority); {
	case errno != 0:
		return b.answer(c, errno)
	case q.attr.Curmsgs < q.attr.Maxmsg:
		if !c.Take(Outcome{}) {
			return b.answer(c, declined)
		}
		q.send(t, priority, message)
		return b.answer(c, 0)
	case nonblock:
		return b.answer(c, syscall.EAGAIN)
	}
	s := &mqSleeper{sleeper: sleeper{caller: c}, text: slices.Clone(message), priority: priority}
	return s.start(t, b.act, d, &q.senders, until)
}

// StartTimedreceive is Timedreceive, into a buffer of that size, for a caller;
// see [Task.StartTimedsend].
func (t *Task) StartTimedreceive(c Caller, d *Mqd, size int, nonblock bool, until time.Time) Parked {
	q := d.queue
	b := t.begin(act{call: "mq_timedreceive", name: q.name})
	switch errno := d.receivable(size); {
	case errno != 0:
		return b.answer(c, errno)
	case q.attr.Curmsgs > 0:
		m := q.first()
		if !c.Take(Outcome{Priority: uint(m.typ), Message: m.text}) {
			return b.answer(c, declined)
		}
		q.take(nil)
		q.admit()
		return b.answer(c, 0)
	case nonblock:
		return b.answer(c, syscall.EAGAIN)
	}
	s := &mqSleeper{sleeper: sleeper{caller: c}}
	return s.start(t, b.act, d, &q.receivers, until)
}

// start parks the call, and gives the lock back.
func (s *mqSleeper) start(t *Task, a act, d *Mqd, l *list[*mqSleeper], until time.Time) Parked {
	s.sleep(context.Background(), t, a, d, l)
	if clock := t.ns.clock; !until.IsZero() {
		s.stop = clock.AfterFunc(until.Sub(clock.Now()), s.expire)
	}
	t.ns.mu.Unlock()
	return Parked{&s.sleeper}
}

// expire ends a call whose time is over.
func (s *mqSleeper) expire() {
	ns := s.task.ns
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if !s.settled {
		s.settle(syscall.ETIMEDOUT)
	}
}
