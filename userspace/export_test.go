package userspace

import (
	"fmt"
	"syscall"
)

// Broken returns what is wrong inside of a namespace, nil if nothing is: counts
// that do not count what there is, lists whose nodes are not in them, lanes
// without messages, keys of nothing, sleepers that could go on.
func (ns *Namespace) Broken() error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var c checker
	c.processes(ns)
	checkTable(&c, "queue", &ns.queues)
	checkTable(&c, "set", &ns.sets)
	checkTable(&c, "segment", &ns.segments)
	for q := range ns.queues.all() {
		c.queue(q)
	}
	c.sets(ns)
	c.segments(ns)
	c.mqueues(ns)
	return c.err
}

// Counts returns how many objects there are of any kind, and calls that sleep.
func (ns *Namespace) Counts() (objects, sleepers, processes int) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for n := ns.processes.first; n != nil; n = n.next {
		sleepers += n.value.asleep.n
	}
	return ns.queues.inUse + ns.sets.inUse + ns.segments.inUse + ns.mqueues.count, sleepers, ns.processes.n
}

// A checker keeps the first error.
type checker struct{ err error }

func (c *checker) that(holds bool, format string, args ...any) {
	if !holds && c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func checkList[T any](c *checker, what string, l *list[T]) {
	var before *node[T]
	n := 0
	for at := l.first; at != nil; at = at.next {
		c.that(at.in == l && at.prev == before, "%s: node %d is not linked", what, n)
		before = at
		n++
	}
	c.that(l.last == before, "%s: the last node is another", what)
	c.that(l.n == n, "%s: has %d nodes, not %d", what, n, l.n)
}

// lanes checks them, and returns how many messages they hold.
func (c *checker) lanes(ls *lanes, what string) (messages int) {
	for i, l := range ls.heap {
		c.that(l.position == i, "%s: lane %d thinks it is %d", what, i, l.position)
		c.that(ls.heap[(i-1)/2].rank <= l.rank, "%s: lane %d is below a higher one", what, i)
	}
	for rank, l := range ls.byRank {
		checkList(c, what+": a lane", &l.messages)
		c.that(l.rank == rank && l.messages.n > 0, "%s: a lane is empty", what)
		messages += l.messages.n
		for n := l.messages.first; n != nil; n = n.next {
			c.that(n.value.lane == l, "%s: a message thinks it is in another lane", what)
		}
	}
	c.that(len(ls.heap) == len(ls.byRank), "%s: %d lanes of %d have an order", what, len(ls.heap), len(ls.byRank))
	return messages
}

func checkTable[O object](c *checker, what string, t *table[O]) {
	var none O
	used, keyed := 0, 0
	for index, o := range t.at {
		if o == none {
			continue
		}
		used++
		perm := o.permissions()
		c.that(*o.index() == index, "%s %d thinks it is %d", what, index, *o.index())
		if perm.Key != 0 {
			keyed++
			c.that(t.keys[perm.Key] == o, "%s %d: its key finds another", what, index)
		}
	}
	c.that(used == t.inUse, "%ss: %d are in use, not %d", what, used, t.inUse)
	c.that(keyed == len(t.keys), "%ss: %d have keys, there are %d", what, keyed, len(t.keys))
	c.that(len(t.at) == 0 || t.at[len(t.at)-1] != none, "%ss: the highest index is free", what)
	c.that(t.cursor >= 0 && t.cursor <= maxObjects && t.last < maxObjects && t.seq < maxSeq && t.nextID >= -1, "%ss: counters are out of range", what)
}

func (c *checker) processes(ns *Namespace) {
	checkList(c, "processes", &ns.processes)
	pid := 0
	for n := ns.processes.first; n != nil; n = n.next {
		p := n.value
		c.that(p.pid > pid && p.pid < ns.nextPID && !p.ended, "process %d: has ended, or a wrong pid", p.pid)
		pid = p.pid
		checkList(c, "undos of a process", &p.undos)
		checkList(c, "descriptors", &p.open)
		checkList(c, "sleepers", &p.asleep)
		checkList(c, "created segments", &p.made)
		for n := p.asleep.first; n != nil; n = n.next {
			c.that(!n.value.settled && n.value.task.process == p, "process %d: a sleeper is settled, or another's", p.pid)
		}
		for n := p.undos.first; n != nil; n = n.next {
			u := n.value
			c.that(u.process == p && ns.sets.find(id(u.set)) == u.set && len(u.adjustments) == len(u.set.sems), "process %d: has an undo of another", p.pid)
		}
	}
}

// asleep checks one that waits for an object.
func (c *checker) asleep(s *sleeper, what string) {
	c.that(s.of.in == &s.task.asleep && !s.settled, "%s: a waiter is not asleep", what)
}

func (c *checker) queue(q *queue) {
	what := fmt.Sprintf("queue %d", id(q))
	checkList(c, what, &q.messages)
	bytes, inLanes := uint64(0), c.lanes(&q.types, what)
	for n := q.messages.first; n != nil; n = n.next {
		bytes += uint64(len(n.value.text))
		l := q.types.byRank[n.value.typ]
		c.that(l != nil && n.value.inLane.in == &l.messages, "%s: a message is not in its lane", what)
	}
	c.that(inLanes == q.messages.n, "%s: lanes have %d of %d messages", what, inLanes, q.messages.n)
	c.that(q.ds.Qnum == uint64(q.messages.n) && q.ds.Cbytes == bytes, "%s: %d messages of %d bytes are told as %d of %d", what, q.messages.n, bytes, q.ds.Qnum, q.ds.Cbytes)
	c.waiters(q, what)
}

func (c *checker) waiters(q *queue, what string) {
	checkList(c, what, &q.anyType)
	checkList(c, what, &q.otherType)
	for _, l := range q.exactType {
		checkList(c, what, l)
		c.that(l.n > 0, "%s: nobody waits for a type", what)
	}
	q.eachReceiver(func(r *receiver) {
		c.asleep(&r.sleeper, what)
		c.that(r.queue == q && q.first(r.selector) == nil, "%s: a receiver waits for what is there", what)
	})
	checkList(c, what, &q.senders)
	for n := q.senders.first; n != nil; n = n.next {
		c.asleep(&n.value.sleeper, what)
		c.that(!q.fits(len(n.value.text)), "%s: a sender waits for room that is there", what)
	}
}

func (c *checker) sets(ns *Namespace) {
	semaphores := 0
	for s := range ns.sets.all() {
		what := fmt.Sprintf("set %d", id(s))
		semaphores += len(s.sems)
		c.that(uint64(len(s.sems)) == s.ds.Nsems && len(s.sems) > 0, "%s: has %d semaphores", what, len(s.sems))
		checkList(c, what, &s.undos)
		for n := s.undos.first; n != nil; n = n.next {
			c.that(n.value.set == s && n.value.ofProcess.in == &n.value.process.undos, "%s: has an undo of nobody", what)
		}
		for i := range s.sems {
			c.semaphore(&s.sems[i], what)
		}
		complex := 0
		for _, l := range [...]*list[*operation]{&s.zeros, &s.alters} {
			checkList(c, what, l)
			for n := l.first; n != nil; n = n.next {
				c.asleep(&n.value.sleeper, what)
				c.that(n.value.tries() == syscall.EAGAIN, "%s: an operation waits that could be done", what)
				if len(n.value.sops) > 1 {
					complex++
				}
			}
		}
		c.that(complex == s.complex, "%s: %d operations have several sops, not %d", what, complex, s.complex)
	}
	c.that(semaphores == ns.semaphores, "there are %d semaphores, not %d", semaphores, ns.semaphores)
}

func (c *checker) semaphore(s *semaphore, what string) {
	c.that(s.value >= 0 && s.value <= 32767, "%s: a value is %d", what, s.value)
	checkList(c, what, &s.zero)
	checkList(c, what, &s.grow)
	for n := s.zero.first; n != nil; n = n.next {
		c.asleep(&n.value.sleeper, what)
		c.that(s.value != 0, "%s: an operation waits for a zero that is there", what)
	}
	for n := s.grow.first; n != nil; n = n.next {
		c.asleep(&n.value.sleeper, what)
		c.that(s.value+int32(n.value.sops[0].Op) < 0, "%s: an operation waits that could be done", what)
	}
}

// tries does an operation's sops and takes them back.
func (o *operation) tries() syscall.Errno {
	for i, sop := range o.sops {
		errno := o.do(sop)
		if errno == 0 && i < len(o.sops)-1 {
			continue
		}
		if errno == 0 {
			i++
		}
		for i--; i >= 0; i-- {
			o.takeBack(o.sops[i])
		}
		return errno
	}
	return 0
}

func (c *checker) segments(ns *Namespace) {
	attached := map[*segment]uint64{}
	for n := ns.processes.first; n != nil; n = n.next {
		for _, a := range n.value.mapped {
			c.that(a.count > 0 && a.readOnly <= a.count && a.uses >= a.count, "a process has %d attachments, %d to read only, of %d", a.count, a.readOnly, a.uses)
			attached[a.segment] += uint64(a.count)
		}
	}
	pages, locked := uint64(0), map[uint32]uint64{}
	for s := range ns.segments.all() {
		mode := s.ds.Perm.Mode
		pages += s.pages()
		if mode&0o2000 != 0 {
			locked[s.locker] += s.pages()
		}
		c.that(s.ds.Nattch == attached[s], "segment %d: has %d attachments, not %d", id(s), attached[s], s.ds.Nattch)
		c.that(mode&0o1000 == 0 || s.ds.Nattch > 0 && s.ds.Perm.Key == 0, "segment %d: was not destroyed", id(s))
		c.that(ns.limits.ShmRmidForced == 0 || s.ds.Nattch > 0 || s.made.in != nil, "segment %d: is an orphan", id(s))
		delete(attached, s)
	}
	c.that(len(attached) == 0, "segments are attached that are no more")
	c.that(pages == ns.pages, "segments have %d pages, not %d", pages, ns.pages)
	c.that(fmt.Sprint(locked) == fmt.Sprint(ns.locked), "users have locked %v, not %v", locked, ns.locked)
}

func (c *checker) mqueues(ns *Namespace) {
	m := &ns.mqueues
	all, bytes := ns.allMqueues(), map[uint32]uint64{}
	open := map[*mqueue]int{}
	for n := ns.processes.first; n != nil; n = n.next {
		for d := n.value.open.first; d != nil; d = d.next {
			open[d.value.queue]++
			c.that(!d.value.closed && d.value.task.process == n.value, "a descriptor is closed, or another's")
		}
	}
	for _, q := range all {
		bytes[q.uid] += q.charged
		c.that(q.linked == (m.byName[q.name] == q), "queue /%s: has a name, or not", q.name)
		c.that(q.open == open[q] && (q.linked || q.open > 0), "queue /%s: is open %d times, not %d", q.name, open[q], q.open)
		c.mqueue(q, "queue /"+q.name)
	}
	c.that(len(all) == m.count, "there are %d POSIX queues, not %d", len(all), m.count)
	c.that(fmt.Sprint(bytes) == fmt.Sprint(m.bytes), "users have queues of %v bytes, not %v", bytes, m.bytes)
}

func (c *checker) mqueue(q *mqueue, what string) {
	messages, bytes := c.lanes(&q.messages, what), 0
	for _, l := range q.messages.byRank {
		for n := l.messages.first; n != nil; n = n.next {
			bytes += len(n.value.text)
		}
	}
	c.that(int64(messages) == q.attr.Curmsgs && uint64(bytes) == q.bytes, "%s: %d messages of %d bytes are told as %d of %d", what, messages, bytes, q.attr.Curmsgs, q.bytes)
	checkList(c, what, &q.receivers)
	checkList(c, what, &q.senders)
	c.that(q.receivers.n == 0 || q.attr.Curmsgs == 0, "%s: a receiver waits for what is there", what)
	c.that(q.senders.n == 0 || q.attr.Curmsgs == q.attr.Maxmsg, "%s: a sender waits for room that is there", what)
	for _, l := range []*list[*mqSleeper]{&q.receivers, &q.senders} {
		for n := l.first; n != nil; n = n.next {
			c.asleep(&n.value.sleeper, what)
		}
	}
}
