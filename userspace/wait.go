package userspace

import (
	"cmp"
	"slices"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// A Wait is a call that sleeps: who waits for what, and since when.
type Wait struct {
	PID, TID int
	Call     string        // as in errors: msgrcv, msgsnd, semop, semtimedop, mq_timedreceive, mq_timedsend
	ID       int           // of the queue or the set
	Name     string        // of a POSIX queue, with its slash
	Type     int64         // that msgrcv asks for, and of the message of msgsnd
	Bytes    int           // that msgrcv has room for, and of the message of msgsnd and mq_timedsend
	Sops     []ipc.Sembuf  // of semop and semtimedop
	For      time.Duration // until now
}

// Waits returns the calls that sleep, the longest first.
func (ns *Namespace) Waits() []Wait {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	l := look{now: ns.clock.Now()}
	for _, q := range ns.queues.at {
		if q != nil {
			l.queue(q)
		}
	}
	for _, s := range ns.sets.at {
		if s != nil {
			l.set(s)
		}
	}
	for _, q := range ns.allMqueues() {
		l.mqueue(q)
	}
	slices.SortStableFunc(l.waits, func(a, b Wait) int { return cmp.Compare(b.For, a.For) })
	return l.waits
}

// A look collects what sleeps.
type look struct {
	now   time.Time
	waits []Wait
}

func (l *look) add(s *sleeper, w Wait) {
	w.PID, w.TID, w.Call, w.ID, w.For = s.task.pid, s.task.tid, s.act.call, s.act.id, l.now.Sub(s.since)
	l.waits = append(l.waits, w)
}

func (l *look) queue(q *queue) {
	q.eachReceiver(func(r *receiver) {
		l.add(&r.sleeper, Wait{Type: r.selector.typ, Bytes: r.size})
	})
	for n := q.senders.first; n != nil; n = n.next {
		l.add(&n.value.sleeper, Wait{Type: n.value.typ, Bytes: len(n.value.text)})
	}
}

func (l *look) set(s *set) {
	l.operations(&s.zeros)
	l.operations(&s.alters)
	for i := range s.sems {
		l.operations(&s.sems[i].zero)
		l.operations(&s.sems[i].grow)
	}
}

func (l *look) operations(waiting *list[*operation]) {
	for n := waiting.first; n != nil; n = n.next {
		l.add(&n.value.sleeper, Wait{Sops: slices.Clone(n.value.sops)})
	}
}

func (l *look) mqueue(q *mqueue) {
	for n := q.receivers.first; n != nil; n = n.next {
		l.add(&n.value.sleeper, Wait{Name: "/" + q.name})
	}
	for n := q.senders.first; n != nil; n = n.next {
		l.add(&n.value.sleeper, Wait{Name: "/" + q.name, Bytes: len(n.value.text)})
	}
}
