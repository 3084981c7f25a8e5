package properties

import (
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"pgregory.net/rapid"
)

// An mqueue is the model of what a POSIX message queue holds. Its methods
// return it as it is afterwards, and do not change it.
type mqueue struct {
	messages []mqMessage // in the order in which they are received
	maxmsg   int
}

type mqMessage struct {
	priority uint
	text     string
}

// send is mq_timedsend on a descriptor with O_NONBLOCK.
func (q mqueue) send(m mqMessage) (mqueue, syscall.Errno) {
	if len(q.messages) >= q.maxmsg {
		return q, syscall.EAGAIN
	}
	at := slices.IndexFunc(q.messages, func(other mqMessage) bool { return other.priority < m.priority })
	if at < 0 {
		at = len(q.messages)
	}
	q.messages = slices.Insert(slices.Clone(q.messages), at, m)
	return q, 0
}

// receive is mq_timedreceive on a descriptor with O_NONBLOCK.
func (q mqueue) receive() (mqueue, mqMessage, syscall.Errno) {
	if len(q.messages) == 0 {
		return q, mqMessage{}, syscall.EAGAIN
	}
	first := q.messages[0]
	q.messages = q.messages[1:]
	return q, first, 0
}

func (q mqueue) bytes() (n int) {
	for _, m := range q.messages {
		n += len(m.text)
	}
	return n
}

// A namedMqueue is the model of a POSIX message queue.
type namedMqueue struct {
	mqueue
	name         string
	mode         uint32
	msgsize      int
	registration *registration
}

// A registration is one by mq_notify.
type registration struct {
	notified chan struct{}
	calls    atomic.Int32
	cancel   func() error
}

// A descriptor is the model of an open descriptor, and that descriptor.
type descriptor struct {
	ipc.Mqd
	queue    *namedMqueue
	access   int
	nonblock bool
}

// mqueues is the model of the POSIX message queues of a namespace.
type mqueues struct {
	byName      map[string]*namedMqueue
	descriptors []*descriptor
	ended       []*registration // without a call
}

// draw returns one of the open descriptors.
func (m *mqueues) draw(t *rapid.T) *descriptor {
	if len(m.descriptors) == 0 {
		t.Skip("none is open")
	}
	return m.descriptors[rapid.IntRange(0, len(m.descriptors)-1).Draw(t, "descriptor")]
}

// endRegistration ends one that has not been used.
func (m *mqueues) endRegistration(q *namedMqueue) {
	if q.registration != nil {
		m.ended = append(m.ended, q.registration)
		q.registration = nil
	}
}

func TestMqueue(t *testing.T) { check(t, mqueueActions) }

func mqueueActions(t *rapid.T, s process) {
	model := mqueues{byName: map[string]*namedMqueue{}}
	defer func() {
		for _, d := range model.descriptors {
			d.Close()
		}
	}()
	t.Repeat(map[string]func(*rapid.T){
		// Its name is the first: rapid prefers it, and without a descriptor
		// most of the others have to be drawn again.
		"add":            func(t *rapid.T) { model.open(t, s) },
		"close":          model.close,
		"unlink":         func(t *rapid.T) { model.unlink(t, s) },
		"send":           model.send,
		"receive":        model.receive,
		"set O_NONBLOCK": model.setNonblock,
		"notify":         model.notify,
		"end a notify":   model.endNotify,
		"list":           func(t *rapid.T) { model.list(t, s) },
		"": func(t *rapid.T) {
			for _, d := range model.descriptors {
				attr, err := d.Getattr()
				must(t, err)
				equal(t, "the attributes", attr, d.attr())
			}
			n, err := s.MqCount()
			must(t, err)
			equal(t, "the number of queues", n, len(model.byName))
		},
	})
	for _, r := range model.ended {
		must(t, r.cancel())
		equal(t, "notifications by a registration that was ended", r.calls.Load(), 0)
	}
}

func (d *descriptor) attr() ipc.MqAttr {
	attr := ipc.MqAttr{
		Maxmsg: int64(d.queue.maxmsg), Msgsize: int64(d.queue.msgsize), Curmsgs: int64(len(d.queue.messages)),
	}
	if d.nonblock {
		attr.Flags = syscall.O_NONBLOCK
	}
	return attr
}

func (m *mqueues) open(t *rapid.T, s ipc.System) {
	if len(m.descriptors) >= 6 {
		t.Skip("enough are open")
	}
	name := rapid.SampledFrom([]string{"/a", "/b"}).Draw(t, "name")
	access := rapid.SampledFrom([]int{syscall.O_RDONLY, syscall.O_WRONLY, syscall.O_RDWR}).Draw(t, "access")
	create := rapid.SampledFrom([]int{0, syscall.O_CREAT, syscall.O_CREAT | syscall.O_EXCL}).Draw(t, "create")
	nonblock := rapid.SampledFrom([]int{0, syscall.O_NONBLOCK}).Draw(t, "O_NONBLOCK")
	mode := rapid.SampledFrom([]uint32{0, 0o600, 0o444}).Draw(t, "mode")
	maxmsg, msgsize := rapid.IntRange(-1, 11).Draw(t, "maxmsg"), rapid.IntRange(0, 40).Draw(t, "msgsize")

	queue, exists := m.byName[name]
	var errno syscall.Errno
	switch {
	case exists && create&syscall.O_EXCL != 0:
		errno = syscall.EEXIST
	case !exists && create == 0:
		errno = syscall.ENOENT
	case !exists && (maxmsg < 1 || maxmsg > 10 || msgsize < 1):
		errno = syscall.EINVAL
	}
	mqd, err := s.MqOpen(name, access|create|nonblock, mode, &ipc.MqAttr{Maxmsg: int64(maxmsg), Msgsize: int64(msgsize)})
	wantErrno(t, err, errno)
	if errno != 0 {
		return
	}
	if !exists {
		queue = &namedMqueue{mqueue: mqueue{maxmsg: maxmsg}, name: name, mode: mode, msgsize: msgsize}
		m.byName[name] = queue
	}
	m.descriptors = append(m.descriptors, &descriptor{mqd, queue, access, nonblock != 0})
}

func (m *mqueues) close(t *rapid.T) {
	d := m.draw(t)
	must(t, d.Close())
	m.descriptors = slices.DeleteFunc(m.descriptors, func(other *descriptor) bool { return other == d })
	// Whichever descriptor of the queue it is (SEMANTICS A.7.14).
	m.endRegistration(d.queue)

	wantErrno(t, d.Close(), syscall.EBADF)
	wantErrno(t, d.Timedsend(ctx, nil, 0), syscall.EBADF)
	_, err := d.Getattr()
	wantErrno(t, err, syscall.EBADF)
}

func (m *mqueues) unlink(t *rapid.T, s ipc.System) {
	name := rapid.SampledFrom([]string{"/a", "/b"}).Draw(t, "name")
	var errno syscall.Errno
	if m.byName[name] == nil {
		errno = syscall.ENOENT
	}
	wantErrno(t, s.MqUnlink(name), errno)
	delete(m.byName, name)
}

func (m *mqueues) send(t *rapid.T) {
	d := m.draw(t)
	message := mqMessage{
		priority: rapid.OneOf(rapid.UintRange(0, 3), rapid.SampledFrom([]uint{32767, 32768})).Draw(t, "priority"),
		text:     drawText(t, rapid.IntRange(0, d.queue.msgsize+1)),
	}
	next, errno := d.queue.mqueue.send(message)
	switch {
	case message.priority > 32767:
		errno = syscall.EINVAL
	case d.access == syscall.O_RDONLY:
		errno = syscall.EBADF
	case len(message.text) > d.queue.msgsize:
		errno = syscall.EMSGSIZE
	case errno == syscall.EAGAIN && !d.nonblock:
		t.Skip("it would sleep")
	}
	wantErrno(t, d.Timedsend(ctx, []byte(message.text), message.priority), errno)
	if errno != 0 {
		return
	}
	if r := d.queue.registration; r != nil && len(d.queue.messages) == 0 {
		select {
		case <-r.notified:
		case <-time.After(30 * time.Second):
			t.Fatal("there was no notification")
		}
		d.queue.registration = nil
		must(t, r.cancel())
		equal(t, "the number of notifications", r.calls.Load(), 1)
	}
	d.queue.mqueue = next
}

func (m *mqueues) receive(t *rapid.T) {
	d := m.draw(t)
	buffer := make([]byte, d.queue.msgsize+rapid.IntRange(-1, 5).Draw(t, "more room than msgsize"))
	next, want, errno := d.queue.mqueue.receive()
	switch {
	case d.access == syscall.O_WRONLY:
		errno = syscall.EBADF
	case len(buffer) < d.queue.msgsize:
		errno = syscall.EMSGSIZE
	case errno == syscall.EAGAIN && !d.nonblock:
		t.Skip("it would sleep")
	}
	n, priority, err := d.Timedreceive(ctx, buffer)
	wantErrno(t, err, errno)
	if errno == 0 {
		equal(t, "the message", mqMessage{priority, string(buffer[:n])}, want)
		d.queue.mqueue = next
	}
}

func (m *mqueues) setNonblock(t *rapid.T) {
	d := m.draw(t)
	nonblock := rapid.Bool().Draw(t, "O_NONBLOCK")
	before, err := d.SetNonblock(nonblock)
	must(t, err)
	equal(t, "the attributes from before", before, d.attr())
	d.nonblock = nonblock
}

func (m *mqueues) notify(t *rapid.T) {
	d := m.draw(t)
	r := &registration{notified: make(chan struct{})}
	cancel, err := d.Notify(func() {
		if r.calls.Add(1) == 1 {
			close(r.notified)
		}
	})
	if d.queue.registration != nil {
		wantErrno(t, err, syscall.EBUSY)
		return
	}
	must(t, err)
	r.cancel = cancel
	d.queue.registration = r
}

func (m *mqueues) endNotify(t *rapid.T) {
	d := m.draw(t)
	r := d.queue.registration
	if r == nil {
		t.Skip("nobody is registered")
	}
	must(t, r.cancel())
	m.endRegistration(d.queue)
}

func (m *mqueues) list(t *rapid.T, s ipc.System) {
	var want []ipc.MqueueStat
	for _, q := range m.byName {
		if q.registration != nil {
			t.Skip("listing may end a registration")
		}
		want = append(want, ipc.MqueueStat{
			Name: q.name, Mode: q.mode, Bytes: uint64(q.bytes()),
			Attr: ipc.MqAttr{Maxmsg: int64(q.maxmsg), Msgsize: int64(q.msgsize), Curmsgs: int64(len(q.messages))},
		})
	}
	slices.SortFunc(want, func(a, b ipc.MqueueStat) int { return int(a.Name[1]) - int(b.Name[1]) })
	list, err := s.MqList()
	must(t, err)
	equal(t, "the number of queues", len(list), len(want))
	for i, got := range list {
		if got.Inode == 0 {
			t.Fatal("the inode number of a queue is 0")
		}
		got.Inode = 0
		equal(t, "a queue in the list", got, want[i])
	}
}
