package userspace

import (
	"context"
	"sync"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// An Mqd is an open POSIX queue: a message queue descriptor.
type Mqd struct {
	task     *Task
	queue    *mqueue
	access   int
	nonblock *bool // of the open description, which a fork shares
	closed   bool
	of       node[*Mqd] // in the process's list
}

var _ ipc.Mqd = (*Mqd)(nil)

func (t *Task) openMqueue(q *mqueue, flags int) *Mqd {
	nonblock := flags&syscall.O_NONBLOCK != 0
	d := &Mqd{task: t, queue: q, access: flags & accessMode, nonblock: &nonblock}
	d.join()
	return d
}

// join makes the descriptor one of its process.
func (d *Mqd) join() {
	d.of.value = d
	d.queue.open++
	d.task.open.push(&d.of)
}

// An mqSleeper is an mq_timedsend or an mq_timedreceive that sleeps.
type mqSleeper struct {
	sleeper
	mqd      *Mqd
	waits    node[*mqSleeper]
	text     []byte
	priority uint
	n        int
}

// sleep parks the call in a list, behind those that are as nice (SEMANTICS
// A.7.8).
func (s *mqSleeper) sleep(ctx context.Context, t *Task, a act, d *Mqd, l *list[*mqSleeper]) {
	s.mqd = d
	s.waits.value = s
	s.park(ctx, t, a, s.waits.remove)
	at := l.last
	for at != nil && at.value.task.Nice > t.Nice {
		at = at.prev
	}
	l.insertAfter(at, &s.waits)
}

// Timedsend is mq_timedsend(2).
func (d *Mqd) Timedsend(ctx context.Context, message []byte, priority uint) error {
	q := d.queue
	b := d.task.begin(act{call: "mq_timedsend", name: q.name})
	errno := d.sendable(message, priority)
	switch {
	case errno != 0:
	case !*d.nonblock && ctx.Err() != nil:
		err := ctx.Err()
		b.end(&err)
		return err
	case q.attr.Curmsgs < q.attr.Maxmsg:
		q.send(d.task, priority, message)
	case *d.nonblock:
		errno = syscall.EAGAIN
	default:
		s := &mqSleeper{text: message, priority: priority}
		s.sleep(ctx, d.task, b.act, d, &q.senders)
		d.task.ns.mu.Unlock()
		return s.wait()
	}
	return b.done(errno)
}

// sendable returns why a message cannot be sent, whether there is room or not.
func (d *Mqd) sendable(message []byte, priority uint) syscall.Errno {
	switch {
	case priority >= maxPriority:
		return syscall.EINVAL
	case d.closed, !d.Writable():
		return syscall.EBADF
	case int64(len(message)) > d.queue.attr.Msgsize:
		return syscall.EMSGSIZE
	}
	return 0
}

// Timedreceive is mq_timedreceive(2).
func (d *Mqd) Timedreceive(ctx context.Context, buffer []byte) (n int, priority uint, err error) {
	q := d.queue
	b := d.task.begin(act{call: "mq_timedreceive", name: q.name})
	errno := d.receivable(len(buffer))
	switch {
	case errno != 0:
	case !*d.nonblock && ctx.Err() != nil:
		err := ctx.Err()
		b.end(&err)
		return 0, 0, err
	case q.attr.Curmsgs > 0:
		n, priority = q.take(buffer)
		q.admit()
	case *d.nonblock:
		errno = syscall.EAGAIN
	default:
		s := &mqSleeper{text: buffer}
		s.sleep(ctx, d.task, b.act, d, &q.receivers)
		d.task.ns.mu.Unlock()
		if err := s.wait(); err != nil {
			return 0, 0, err
		}
		return s.n, s.priority, nil
	}
	return n, priority, b.done(errno)
}

// receivable returns why no message can be received into a buffer of that size,
// whether there is one or not.
func (d *Mqd) receivable(size int) syscall.Errno {
	switch {
	case d.closed, d.access != syscall.O_RDONLY && d.access != syscall.O_RDWR:
		return syscall.EBADF
	case int64(size) < d.queue.attr.Msgsize:
		return syscall.EMSGSIZE
	}
	return 0
}

// A registration is a process that is to be notified.
type registration struct {
	process *process
	queue   *mqueue
	notify  func(sender *Task)
}

// fire ends the registration with a notification.
func (r *registration) fire(sender *Task) {
	r.queue.notify = nil
	r.notify(sender)
}

// Notify is mq_notify(2).
func (d *Mqd) Notify(f func()) (cancel func() error, err error) {
	var running sync.WaitGroup
	end, err := d.NotifyTask(d.task, func(*Task) { running.Go(f) })
	if err != nil {
		return nil, err
	}
	return func() error {
		end()
		running.Wait()
		return nil
	}, nil
}

// NotifyTask registers the process of a task, whoever has opened the queue. The
// function is called with the task that sends the message, by the call that
// does, and may not call the namespace. End ends the registration; it reports
// false if that was over.
func (d *Mqd) NotifyTask(t *Task, notify func(sender *Task)) (end func() bool, err error) {
	ns := t.ns
	defer t.begin(act{call: "mq_notify", name: d.queue.name}).end(&err)
	switch {
	case d.closed:
		return nil, syscall.EBADF
	case d.queue.notify != nil:
		return nil, syscall.EBUSY
	}
	r := &registration{process: t.process, queue: d.queue, notify: notify}
	d.queue.notify = r
	return func() bool {
		ns.mu.Lock()
		defer ns.mu.Unlock()
		if r.queue.notify != r {
			return false
		}
		r.queue.notify = nil
		return true
	}, nil
}

// Sleeping returns how many receivers and how many senders sleep on the queue.
func (d *Mqd) Sleeping() (receivers, senders int) {
	d.task.ns.mu.Lock()
	defer d.task.ns.mu.Unlock()
	return d.queue.receivers.n, d.queue.senders.n
}

// Writable reports whether the descriptor is open for sending.
func (d *Mqd) Writable() bool {
	return d.access == syscall.O_WRONLY || d.access == syscall.O_RDWR
}

// Readable reports whether the descriptor is open for receiving.
func (d *Mqd) Readable() bool {
	return d.access == syscall.O_RDONLY || d.access == syscall.O_RDWR
}

// Inode returns the number of the queue, which no other queue of the namespace
// has.
func (d *Mqd) Inode() uint64 { return d.queue.inode }

// Name returns the name that the queue was made with.
func (d *Mqd) Name() string { return "/" + d.queue.name }

// Linked reports whether the queue still has its name.
func (d *Mqd) Linked() bool {
	d.task.ns.mu.Lock()
	defer d.task.ns.mu.Unlock()
	return d.queue.linked
}

// Getattr is mq_getattr(3).
func (d *Mqd) Getattr() (_ ipc.MqAttr, err error) {
	defer d.task.begin(act{call: "mq_getsetattr", name: d.queue.name}).end(&err)
	if d.closed {
		return ipc.MqAttr{}, outcome(syscall.EBADF)
	}
	return d.attr(), nil
}

func (d *Mqd) attr() ipc.MqAttr {
	attr := d.queue.attr
	if *d.nonblock {
		attr.Flags = syscall.O_NONBLOCK
	}
	return attr
}

// SetNonblock is mq_setattr(3).
func (d *Mqd) SetNonblock(nonblock bool) (_ ipc.MqAttr, err error) {
	defer d.task.begin(act{call: "mq_getsetattr", name: d.queue.name}).end(&err)
	if d.closed {
		return ipc.MqAttr{}, outcome(syscall.EBADF)
	}
	before := d.attr()
	*d.nonblock = nonblock
	return before, nil
}

// Close is mq_close(3).
func (d *Mqd) Close() (err error) {
	defer d.task.begin(act{call: "mq_close", name: d.queue.name}).end(&err)
	if d.closed {
		return outcome(syscall.EBADF)
	}
	d.close()
	return nil
}

// close ends what sleeps in the descriptor, and the registration of its
// process, whichever descriptor that was made with (SEMANTICS A.7.14).
func (d *Mqd) close() {
	q := d.queue
	d.closed = true
	d.of.remove()
	for _, l := range [...]*list[*mqSleeper]{&q.receivers, &q.senders} {
		for n := l.first; n != nil; {
			s := n.value
			n = n.next
			if s.mqd == d {
				s.settle(syscall.EBADF)
			}
		}
	}
	if q.notify != nil && q.notify.process == d.task.process {
		q.notify = nil
	}
	q.open--
	q.destroyIfUnused()
}
