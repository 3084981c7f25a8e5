package userspace

import (
	"context"
	"sync"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// An mqd is an open POSIX queue: a message queue descriptor.
type mqd struct {
	task     *Task
	queue    *mqueue
	access   int
	nonblock *bool // of the open description, which a fork shares
	closed   bool
	of       node[*mqd] // in the process's list
}

var _ ipc.Mqd = (*mqd)(nil)

func (t *Task) openMqueue(q *mqueue, flags int) *mqd {
	nonblock := flags&syscall.O_NONBLOCK != 0
	d := &mqd{task: t, queue: q, access: flags & accessMode, nonblock: &nonblock}
	d.join()
	return d
}

// join makes the descriptor one of its process.
func (d *mqd) join() {
	d.of.value = d
	d.queue.open++
	d.task.open.push(&d.of)
}

// An mqSleeper is an mq_timedsend or an mq_timedreceive that sleeps.
type mqSleeper struct {
	sleeper
	mqd      *mqd
	waits    node[*mqSleeper]
	text     []byte
	priority uint
	n        int
}

// sleep parks the call in a list, behind those that are as nice (SEMANTICS
// A.7.8), gives the lock back, and waits.
func (s *mqSleeper) sleep(ctx context.Context, a act, d *mqd, l *list[*mqSleeper]) error {
	s.mqd = d
	s.waits.value = s
	s.park(ctx, d.task, a, s.waits.remove)
	at := l.last
	for at != nil && at.value.task.Nice > d.task.Nice {
		at = at.prev
	}
	l.insertAfter(at, &s.waits)
	d.task.ns.mu.Unlock()
	return s.wait()
}

// Timedsend is mq_timedsend(2).
func (d *mqd) Timedsend(ctx context.Context, message []byte, priority uint) error {
	q := d.queue
	b := d.task.begin(act{call: "mq_timedsend", name: q.name})
	var errno syscall.Errno
	switch {
	case priority >= maxPriority:
		errno = syscall.EINVAL
	case d.closed, d.access != syscall.O_WRONLY && d.access != syscall.O_RDWR:
		errno = syscall.EBADF
	case int64(len(message)) > q.attr.Msgsize:
		errno = syscall.EMSGSIZE
	case !*d.nonblock && ctx.Err() != nil:
		err := ctx.Err()
		b.end(&err)
		return err
	case q.attr.Curmsgs < q.attr.Maxmsg:
		q.send(priority, message)
	case *d.nonblock:
		errno = syscall.EAGAIN
	default:
		s := &mqSleeper{text: message, priority: priority}
		return s.sleep(ctx, b.act, d, &q.senders)
	}
	return b.done(errno)
}

// Timedreceive is mq_timedreceive(2).
func (d *mqd) Timedreceive(ctx context.Context, buffer []byte) (n int, priority uint, err error) {
	q := d.queue
	b := d.task.begin(act{call: "mq_timedreceive", name: q.name})
	var errno syscall.Errno
	switch {
	case d.closed, d.access != syscall.O_RDONLY && d.access != syscall.O_RDWR:
		errno = syscall.EBADF
	case int64(len(buffer)) < q.attr.Msgsize:
		errno = syscall.EMSGSIZE
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
		if err := s.sleep(ctx, b.act, d, &q.receivers); err != nil {
			return 0, 0, err
		}
		return s.n, s.priority, nil
	}
	return n, priority, b.done(errno)
}

// A registration is a process that is to be notified.
type registration struct {
	process *process
	queue   *mqueue
	f       func()
	running sync.WaitGroup
}

// fire ends the registration with a notification.
func (r *registration) fire() {
	r.queue.notify = nil
	r.running.Go(r.f)
}

// Notify is mq_notify(2).
func (d *mqd) Notify(f func()) (cancel func() error, err error) {
	ns := d.task.ns
	defer d.task.begin(act{call: "mq_notify", name: d.queue.name}).end(&err)
	switch {
	case d.closed:
		return nil, syscall.EBADF
	case d.queue.notify != nil:
		return nil, syscall.EBUSY
	}
	r := &registration{process: d.task.process, queue: d.queue, f: f}
	d.queue.notify = r
	return func() error {
		ns.mu.Lock()
		if r.queue.notify == r {
			r.queue.notify = nil
		}
		ns.mu.Unlock()
		r.running.Wait()
		return nil
	}, nil
}

// Getattr is mq_getattr(3).
func (d *mqd) Getattr() (_ ipc.MqAttr, err error) {
	defer d.task.begin(act{call: "mq_getsetattr", name: d.queue.name}).end(&err)
	if d.closed {
		return ipc.MqAttr{}, outcome(syscall.EBADF)
	}
	return d.attr(), nil
}

func (d *mqd) attr() ipc.MqAttr {
	attr := d.queue.attr
	if *d.nonblock {
		attr.Flags = syscall.O_NONBLOCK
	}
	return attr
}

// SetNonblock is mq_setattr(3).
func (d *mqd) SetNonblock(nonblock bool) (_ ipc.MqAttr, err error) {
	defer d.task.begin(act{call: "mq_getsetattr", name: d.queue.name}).end(&err)
	if d.closed {
		return ipc.MqAttr{}, outcome(syscall.EBADF)
	}
	before := d.attr()
	*d.nonblock = nonblock
	return before, nil
}

// Close is mq_close(3).
func (d *mqd) Close() (err error) {
	defer d.task.begin(act{call: "mq_close", name: d.queue.name}).end(&err)
	if d.closed {
		return outcome(syscall.EBADF)
	}
	d.close()
	return nil
}

// close ends what sleeps in the descriptor, and the registration of its
// process, whichever descriptor that was made with (SEMANTICS A.7.14).
func (d *mqd) close() {
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
