package userspace

import (
	"context"
	"math"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// A queue is a System V message queue.
type queue struct {
	ns   *Namespace
	ds   ipc.MsqidDS // its Cbytes and Qnum are kept up to date
	slot int

	messages list[*message] // in the order of their arrival
	types    lanes

	// Receivers that sleep: for any message, for one type, and the rest.
	anyType   list[*receiver]
	exactType map[int64]*list[*receiver]
	otherType list[*receiver]
	senders   list[*sender]
}

func newQueue(ns *Namespace) *queue {
	return &queue{ns: ns, types: newLanes(), exactType: map[int64]*list[*receiver]{}}
}

func (q *queue) permissions() *ipc.Perm { return &q.ds.Perm }

func (q *queue) index() *int { return &q.slot }

// A message is in a queue, or free to be used.
type message struct {
	typ      int64
	text     []byte
	inQueue  node[*message]
	inLane   node[*message]
	lane     *lane
	nextFree *message
}

// What is kept to be used again: messages whose texts are not larger, and not
// more of them, so that a queue that was long once takes no memory for ever.
const keptText, keptMessages = 8192, 256

func (ns *Namespace) newMessage(typ int64, text []byte) *message {
	m := ns.freeMessages
	if m == nil {
		m = &message{}
		m.inQueue.value, m.inLane.value = m, m
	} else {
		ns.freeMessages = m.nextFree
		ns.kept--
	}
	m.typ, m.text = typ, append(m.text[:0], text...)
	return m
}

func (ns *Namespace) freeMessage(m *message) {
	if cap(m.text) > keptText || ns.kept == keptMessages {
		return
	}
	m.nextFree = ns.freeMessages
	ns.freeMessages = m
	ns.kept++
}

// put appends a message.
func (q *queue) put(typ int64, text []byte) {
	m := q.ns.newMessage(typ, text)
	q.messages.push(&m.inQueue)
	q.types.put(typ, m)
	q.ds.Cbytes += uint64(len(text))
	q.ds.Qnum++
}

// drop takes a message out.
func (q *queue) drop(m *message) {
	m.inQueue.remove()
	q.types.drop(m)
	q.ds.Cbytes -= uint64(len(m.text))
	q.ds.Qnum--
	q.ns.freeMessage(m)
}

// fits reports whether the queue has room (SEMANTICS A.3).
func (q *queue) fits(size int) bool {
	return q.ds.Cbytes+uint64(size) <= q.ds.Qbytes && q.ds.Qnum+1 <= q.ds.Qbytes
}

// A selector says which messages a receiver wants: typ and flags of msgrcv(2).
type selector struct {
	typ    int64
	except bool
}

// wants reports whether a selector of several types, but not of all, has typ
// among them.
func (s selector) wants(typ int64) bool {
	if s.typ < 0 {
		return typ <= s.highest()
	}
	return typ != s.typ
}

// highest is the highest type that a selector below 0 wants.
func (s selector) highest() int64 {
	if s.typ == math.MinInt64 {
		return math.MaxInt64
	}
	return -s.typ
}

// first returns the message that a selector gets, nil for none.
func (q *queue) first(s selector) *message {
	switch {
	case s.typ == 0:
		return valueOf(q.messages.first)
	case s.typ < 0:
		if lowest := q.types.first(); lowest != nil && lowest.rank <= s.highest() {
			return valueOf(lowest.messages.first)
		}
		return nil
	case s.except:
		for n := q.messages.first; n != nil; n = n.next {
			if n.value.typ != s.typ {
				return n.value
			}
		}
		return nil
	}
	if l := q.types.byRank[s.typ]; l != nil {
		return valueOf(l.messages.first)
	}
	return nil
}

func valueOf[T any](n *node[*T]) *T {
	if n == nil {
		return nil
	}
	return n.value
}

// A receiver is a msgrcv that sleeps.
type receiver struct {
	sleeper
	queue    *queue
	waits    node[*receiver]
	selector selector
	text     []byte // where the message goes, if no caller takes it
	size     int    // what the receiver has room for
	cut      bool   // a message may be cut
	typ      int64  // of the message
	n        int    // bytes of it
	nextFree *receiver
	leave    func() // stopWaiting
}

// A sender is a msgsnd that sleeps.
type sender struct {
	sleeper
	waits node[*sender]
	typ   int64
	text  []byte
}

// receivers returns the list in which a receiver waits.
func (q *queue) receivers(s selector) *list[*receiver] {
	switch {
	case s.typ == 0:
		return &q.anyType
	case s.typ < 0 || s.except:
		return &q.otherType
	}
	l := q.exactType[s.typ]
	if l == nil {
		l = &list[*receiver]{}
		q.exactType[s.typ] = l
	}
	return l
}

// match returns the receiver that came first of those that want the type.
func (q *queue) match(typ int64) *receiver {
	r := valueOf(q.anyType.first)
	if l := q.exactType[typ]; l != nil {
		r = earlier(r, valueOf(l.first))
	}
	for n := q.otherType.first; n != nil; n = n.next {
		if n.value.selector.wants(typ) {
			return earlier(r, n.value)
		}
	}
	return r
}

func earlier(a, b *receiver) *receiver {
	if a == nil || b != nil && b.arrival < a.arrival {
		return b
	}
	return a
}

// deliver hands a message to the receiver that sleeps for it, or puts it into
// the queue (SEMANTICS A.4.6).
func (q *queue) deliver(t *Task, typ int64, text []byte) {
	now := q.ns.seconds()
	q.ds.Lspid, q.ds.Stime = int32(t.pid), now
	for {
		r := q.match(typ)
		if r == nil {
			q.put(typ, text)
			return
		}
		n := min(len(text), r.size)
		if len(text) > r.size && !r.cut {
			r.settle(syscall.E2BIG)
			continue
		}
		if !r.takes(Outcome{Type: typ, Message: text[:n]}) {
			continue
		}
		r.typ, r.n = typ, copy(r.text, text)
		q.ds.Lrpid, q.ds.Rtime = int32(r.task.tid), now
		r.settle(0)
		return
	}
}

// admit lets the senders go that have room, and those that may not send any
// more (SEMANTICS A.4.8, A.2.10).
func (q *queue) admit() {
	for n := q.senders.first; n != nil; {
		s := n.value
		n = n.next
		if !q.fits(len(s.text)) {
			continue
		}
		if !s.task.may(&q.ds.Perm, mayWrite) {
			s.settle(syscall.EACCES)
			continue
		}
		if !s.takes(Outcome{}) {
			continue
		}
		q.deliver(s.task, s.typ, s.text)
		s.settle(0)
	}
}

// Msgget is msgget(2).
func (t *Task) Msgget(key ipc.Key, flags int) (_ int, err error) {
	defer t.begin(act{call: "msgget", key: key}).end(&err)
	ns := t.ns
	q, errno := get(t, &ns.queues, key, flags, func(*queue) syscall.Errno { return 0 })
	if q == nil && errno == 0 {
		q = newQueue(ns)
		q.ds = ipc.MsqidDS{Perm: t.newPerm(key, flags), Ctime: ns.seconds(), Qbytes: ns.limits.Msgmnb}
		errno = ns.queues.add(q, int(ns.limits.Msgmni))
	}
	if errno != 0 {
		return 0, outcome(errno)
	}
	return id(q), nil
}

// Msgsnd is msgsnd(2).
func (t *Task) Msgsnd(ctx context.Context, id int, typ int64, text []byte, flags int) error {
	if err := ctx.Err(); err != nil && flags&ipc.NoWait == 0 {
		return err
	}
	ns := t.ns
	b := t.begin(act{call: "msgsnd", id: id})
	errno := t.trySend(nil, id, typ, text)
	if errno != syscall.EAGAIN || flags&ipc.NoWait != 0 {
		return b.done(errno)
	}
	s := &sender{typ: typ, text: text}
	t.parkSender(ctx, b.act, s)
	ns.mu.Unlock()
	return s.wait()
}

// parkSender parks a msgsnd of the queue that the act is on.
func (t *Task) parkSender(ctx context.Context, a act, s *sender) {
	s.waits.value = s
	s.park(ctx, t, a, s.waits.remove)
	t.ns.queues.find(a.id).senders.push(&s.waits)
}

// trySend sends, if there is room. The caller, if there is one, is asked first.
func (t *Task) trySend(c Caller, id int, typ int64, text []byte) syscall.Errno {
	ns := t.ns
	if uint64(len(text)) > ns.limits.Msgmax || typ < 1 {
		return syscall.EINVAL
	}
	q, errno := accessible(t, &ns.queues, id, mayWrite)
	if errno != 0 {
		return errno
	}
	if !q.fits(len(text)) {
		return syscall.EAGAIN
	}
	if c != nil && !c.Take(Outcome{}) {
		return declined
	}
	q.deliver(t, typ, text)
	return 0
}

// Msgrcv is msgrcv(2).
func (t *Task) Msgrcv(ctx context.Context, id int, typ int64, text []byte, flags int) (int64, int, error) {
	if err := ctx.Err(); err != nil && flags&ipc.NoWait == 0 {
		return 0, 0, err
	}
	ns := t.ns
	b := t.begin(act{call: "msgrcv", id: id})
	wanted := selector{typ, flags&ipc.MsgExcept != 0}
	q, m, n, errno := t.tryReceive(id, wanted, len(text), flags)
	if errno == 0 {
		got := m.typ
		copy(text, m.text[:n])
		t.took(q, m)
		return got, n, b.done(0)
	}
	if errno != syscall.ENOMSG || flags&ipc.NoWait != 0 {
		return 0, 0, b.done(errno)
	}
	r := ns.newReceiver(text)
	t.parkReceiver(ctx, b.act, r, q, wanted, flags)
	ns.mu.Unlock()
	err := r.wait()
	got, n := r.typ, r.n
	ns.freeReceiver(r)
	if err != nil {
		return 0, 0, err
	}
	return got, n, nil
}

// tryReceive finds the message that a receiver with that much room gets, and how
// much of it. With MSG_COPY the message is one that stays, and there is no queue.
func (t *Task) tryReceive(id int, wanted selector, size, flags int) (q *queue, m *message, n int, errno syscall.Errno) {
	if flags&ipc.MsgCopy != 0 {
		m, n, errno = t.messageAt(id, wanted.typ, size, flags)
		return nil, m, n, errno
	}
	if q, errno = accessible(t, &t.ns.queues, id, mayRead); errno != 0 {
		return nil, nil, 0, errno
	}
	if m = q.first(wanted); m == nil {
		return q, nil, 0, syscall.ENOMSG
	}
	if len(m.text) > size && flags&ipc.MsgNoError == 0 {
		return nil, nil, 0, syscall.E2BIG
	}
	return q, m, min(len(m.text), size), 0
}

// took is the end of a receive: the message leaves the queue, if it is to.
func (t *Task) took(q *queue, m *message) {
	if q == nil {
		return
	}
	q.drop(m)
	q.ds.Lrpid, q.ds.Rtime = int32(t.pid), q.ns.seconds()
	q.admit()
}

// parkReceiver parks a msgrcv.
func (t *Task) parkReceiver(ctx context.Context, a act, r *receiver, q *queue, s selector, flags int) {
	r.queue, r.selector, r.cut = q, s, flags&ipc.MsgNoError != 0
	r.park(ctx, t, a, r.leave)
	q.receivers(s).push(&r.waits)
}

func (ns *Namespace) newReceiver(text []byte) *receiver {
	r := ns.freeReceivers
	if r == nil {
		r = &receiver{}
		r.waits.value = r
		r.leave = r.stopWaiting
	} else {
		ns.freeReceivers = r.nextFree
	}
	r.text, r.size = text, len(text)
	return r
}

func (r *receiver) stopWaiting() {
	r.waits.remove()
	if l := r.queue.exactType[r.selector.typ]; l != nil && l.n == 0 {
		delete(r.queue.exactType, r.selector.typ)
	}
}

func (ns *Namespace) freeReceiver(r *receiver) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	r.text, r.queue, r.task, r.ctx, r.caller = nil, nil, nil, nil, nil
	r.nextFree = ns.freeReceivers
	ns.freeReceivers = r
}

// messageAt is msgrcv with MSG_COPY (SEMANTICS A.4.5).
func (t *Task) messageAt(id int, position int64, size, flags int) (*message, int, syscall.Errno) {
	if flags&ipc.MsgExcept != 0 || flags&ipc.NoWait == 0 {
		return nil, 0, syscall.EINVAL
	}
	q, errno := accessible(t, &t.ns.queues, id, mayRead)
	if errno != 0 {
		return nil, 0, errno
	}
	if position < 0 || position >= int64(q.messages.n) {
		return nil, 0, syscall.ENOMSG
	}
	n := q.messages.first
	for range position {
		n = n.next
	}
	m := n.value
	if len(m.text) > size && flags&ipc.MsgNoError == 0 {
		return nil, 0, syscall.E2BIG
	}
	if uint64(len(m.text)) > min(uint64(size), t.ns.limits.Msgmax) {
		return nil, 0, syscall.EINVAL
	}
	return m, len(m.text), 0
}

// MsgctlStat is IPC_STAT of msgctl(2).
func (t *Task) MsgctlStat(id int) (_ ipc.MsqidDS, err error) {
	defer t.begin(act{call: "msgctl(IPC_STAT)", id: id}).end(&err)
	ns := t.ns
	q, errno := accessible(t, &ns.queues, id, mayRead)
	_, ds, err := t.msgStat(q, errno)
	return ds, err
}

// MsgStat is MSG_STAT of msgctl(2).
func (t *Task) MsgStat(index int) (_ int, _ ipc.MsqidDS, err error) {
	defer t.begin(act{call: "msgctl(MSG_STAT)", id: index}).end(&err)
	ns := t.ns
	q := ns.queues.atIndex(index)
	return t.msgStat(q, allowed(t, q, mayRead))
}

// MsgStatAny is MSG_STAT_ANY of msgctl(2).
func (t *Task) MsgStatAny(index int) (_ int, _ ipc.MsqidDS, err error) {
	defer t.begin(act{call: "msgctl(MSG_STAT_ANY)", id: index}).end(&err)
	ns := t.ns
	q := ns.queues.atIndex(index)
	return t.msgStat(q, allowed(t, q, 0))
}

func (t *Task) msgStat(q *queue, errno syscall.Errno) (int, ipc.MsqidDS, error) {
	if errno != 0 {
		return 0, ipc.MsqidDS{}, outcome(errno)
	}
	ds := q.ds
	ds.Perm = t.show(ds.Perm)
	return id(q), ds, nil
}

// MsgctlSet is IPC_SET of msgctl(2).
func (t *Task) MsgctlSet(id int, set ipc.MsqidSet) (err error) {
	defer t.begin(act{call: "msgctl(IPC_SET)", id: id}).end(&err)
	return outcome(t.setQueue(id, set))
}

func (t *Task) setQueue(id int, set ipc.MsqidSet) syscall.Errno {
	q, errno := controlled(t, &t.ns.queues, id)
	if errno != 0 {
		return errno
	}
	qbytes := uint64(uint32(set.Qbytes)) // SEMANTICS A.2.7
	if qbytes > t.ns.limits.Msgmnb && t.Capabilities&CapSysResource == 0 {
		return syscall.EPERM
	}
	if errno := t.change(&q.ds.Perm, set.PermSet); errno != 0 {
		return errno
	}
	q.ds.Qbytes, q.ds.Ctime = qbytes, t.ns.seconds()
	q.eachReceiver(func(r *receiver) {
		if !r.task.may(&q.ds.Perm, mayRead) {
			r.settle(syscall.EACCES)
		}
	})
	q.admit()
	return 0
}

// eachReceiver calls f with every receiver that sleeps, whose sleep it may end.
func (q *queue) eachReceiver(f func(*receiver)) {
	each := func(l *list[*receiver]) {
		for n := l.first; n != nil; {
			next := n.next
			f(n.value)
			n = next
		}
	}
	each(&q.anyType)
	each(&q.otherType)
	for _, l := range q.exactType {
		each(l)
	}
}

// MsgctlRmid is IPC_RMID of msgctl(2).
func (t *Task) MsgctlRmid(id int) (err error) {
	defer t.begin(act{call: "msgctl(IPC_RMID)", id: id}).end(&err)
	ns := t.ns
	q, errno := controlled(t, &ns.queues, id)
	if errno != 0 {
		return outcome(errno)
	}
	ns.queues.remove(q)
	q.eachReceiver(func(r *receiver) { r.settle(syscall.EIDRM) })
	for q.senders.first != nil {
		q.senders.first.value.settle(syscall.EIDRM)
	}
	return nil
}

// Constants that IPC_INFO tells, and that Linux does not use (SEMANTICS A.3).
const (
	msgpool, msgmap, msgssz, msgtql, msgseg = 512000, 16384, 16, 16384, 65535
)

// MsgctlInfo is IPC_INFO of msgctl(2).
func (t *Task) MsgctlInfo() (_ ipc.Msginfo, _ int, err error) {
	defer t.begin(act{call: "msgctl(IPC_INFO)"}).end(&err)
	ns := t.ns
	l := &ns.limits
	return ipc.Msginfo{
		Msgmax: int(l.Msgmax), Msgmnb: int(l.Msgmnb), Msgmni: int(l.Msgmni),
		Msgpool: msgpool, Msgmap: msgmap, Msgssz: msgssz, Msgtql: msgtql, Msgseg: msgseg,
	}, ns.queues.highest(), nil
}

// MsgInfo is MSG_INFO of msgctl(2).
func (t *Task) MsgInfo() (_ ipc.MsgInfo, _ int, err error) {
	defer t.begin(act{call: "msgctl(MSG_INFO)"}).end(&err)
	ns := t.ns
	info := ipc.MsgInfo{Queues: ns.queues.inUse}
	for _, q := range ns.queues.at {
		if q != nil {
			info.Messages += int(q.ds.Qnum)
			info.Bytes += int(q.ds.Cbytes)
		}
	}
	return info, ns.queues.highest(), nil
}
