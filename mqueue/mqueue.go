// Package mqueue has POSIX message queues in hand; see mq_overview(7).
//
// A queue is opened in an [ipc.System]. With kernel.System, that is the
// namespace of the thread that calls [Open] or [Create]: the process's own, or
// another inside ipcns.Namespace.Do. An open queue stays in its namespace,
// whatever thread uses it.
//
// The methods of a [Queue] may be called from any goroutine, several at a
// time. With kernel.System, who waits in Send or Receive takes no thread, unless
// the context is one that never ends. Errors are [*ipc.Error] and hold a
// [syscall.Errno], or are the context's.
package mqueue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// A Queue is an open POSIX message queue. Close it when it is not needed any
// more; the queue itself stays until Unlink.
type Queue struct {
	mqd  ipc.Mqd
	name string
}

// How a queue may be used: one of the first three. With Nonblock, Send and
// Receive fail with EAGAIN instead of waiting, and do not look at their context.
const (
	ReadOnly  = syscall.O_RDONLY
	WriteOnly = syscall.O_WRONLY
	ReadWrite = syscall.O_RDWR
	Nonblock  = syscall.O_NONBLOCK
)

// Exclusive makes [Create] fail with EEXIST if the queue exists.
const Exclusive = syscall.O_EXCL

// Attributes are the sizes of a new queue. The zero value stands for the
// namespace's defaults, msg_default and msgsize_default.
type Attributes struct {
	Maxmsg  int // messages that it takes
	Msgsize int // bytes that a message may have
}

// Open opens a queue that exists, for access [ReadOnly], [WriteOnly] or
// [ReadWrite]; see mq_open(3). The name is a slash and up to 255 bytes without
// another. ENOENT: there is none; EACCES: its permissions do not allow that;
// EMFILE: the process has too many descriptors.
func Open(system ipc.Mqueues, name string, access int) (*Queue, error) {
	return open(system, name, access, 0, nil)
}

// Create opens a queue, or makes one with these permission bits, less the
// umask, and attributes, which do not matter if it exists. Access may have
// [Exclusive] too. EINVAL: an attribute is above the limit msg_max or
// msgsize_max, or only one is 0; EMFILE: RLIMIT_MSGQUEUE, which counts for a user
// in all namespaces together; ENOSPC: the limit queues_max.
func Create(system ipc.Mqueues, name string, access int, mode uint32, attributes Attributes) (*Queue, error) {
	var attr *ipc.MqAttr
	if attributes != (Attributes{}) {
		attr = &ipc.MqAttr{Maxmsg: int64(attributes.Maxmsg), Msgsize: int64(attributes.Msgsize)}
	}
	return open(system, name, access|syscall.O_CREAT, mode, attr)
}

func open(system ipc.Mqueues, name string, flags int, mode uint32, attr *ipc.MqAttr) (*Queue, error) {
	mqd, err := system.MqOpen(name, flags, mode, attr)
	if err != nil {
		return nil, failed("mq_open", name, openCause(name, err), err)
	}
	return &Queue{mqd, name}, nil
}

func openCause(name string, err error) string {
	if cause := nameCause(name); cause != "" {
		return cause
	}
	switch {
	case errors.Is(err, syscall.ENOENT):
		return "there is none"
	case errors.Is(err, syscall.EEXIST):
		return "there is one already"
	case errors.Is(err, syscall.EACCES):
		return "its permissions do not allow that"
	case errors.Is(err, syscall.EPERM):
		return "that takes its owner or CAP_FOWNER"
	case errors.Is(err, syscall.EINVAL):
		return "an attribute is 0 or above the limit msg_max or msgsize_max"
	case errors.Is(err, syscall.EMFILE):
		return "the user's queues would exceed RLIMIT_MSGQUEUE, or the process has too many descriptors"
	case errors.Is(err, syscall.ENOSPC):
		return "the limit queues_max is reached"
	}
	return ""
}

// nameCause returns what is wrong with a name, "" if nothing is.
func nameCause(name string) string {
	switch raw, found := strings.CutPrefix(name, "/"); {
	case !found:
		return "the name has no slash in front"
	case strings.Contains(raw, "/"):
		return "the name has a second slash"
	case strings.Contains(raw, "\x00"):
		return "the name has a zero byte"
	case raw == "" || raw == "." || raw == "..":
		return "that is no name"
	case len(raw) > 255:
		return "the name has more than 255 bytes"
	}
	return ""
}

// Unlink removes the name; see mq_unlink(3). The queue ends when everybody has
// closed it. ENOENT: there is none; EPERM: that takes its owner or CAP_FOWNER.
func Unlink(system ipc.Mqueues, name string) error {
	if err := system.MqUnlink(name); err != nil {
		return failed("mq_unlink", name, openCause(name, err), err)
	}
	return nil
}

// failed returns err as an [*ipc.Error].
func failed(call, name, cause string, err error) error {
	var bare *os.SyscallError
	if errors.As(err, &bare) {
		err = bare.Err
	}
	return &ipc.Error{Call: call, Object: name, Cause: cause, Err: err}
}

// Name returns the name that the queue was opened by.
func (q *Queue) Name() string { return q.name }

// Send adds a message with a priority from 0 to 32767 (EINVAL), behind those of
// that priority and above; see mq_send(3). While the queue is full it waits until
// there is room or ctx ends. EMSGSIZE: the message is longer than the queue's
// msgsize; EBADF: the queue is closed, or open for reading only.
func (q *Queue) Send(ctx context.Context, message []byte, priority uint) error {
	if err := q.mqd.Timedsend(ctx, message, priority); err != nil {
		return failed("mq_send", q.name, q.transferCause(len(message), err), err)
	}
	return nil
}

// Receive takes out the first message of the highest priority, stores it in
// buffer, and returns its length and its priority; see mq_receive(3). While there
// is none it waits until there is or ctx ends. EMSGSIZE: buffer is shorter than
// the queue's msgsize; EBADF: the queue is closed, or open for writing only.
func (q *Queue) Receive(ctx context.Context, buffer []byte) (n int, priority uint, err error) {
	n, priority, err = q.mqd.Timedreceive(ctx, buffer)
	if err != nil {
		return 0, 0, failed("mq_receive", q.name, q.transferCause(len(buffer), err), err)
	}
	return n, priority, nil
}

func (q *Queue) transferCause(size int, err error) string {
	switch {
	case errors.Is(err, syscall.EMSGSIZE):
		if attr, err := q.mqd.Getattr(); err == nil {
			return fmt.Sprintf("%d bytes, where the queue's msgsize is %d", size, attr.Msgsize)
		}
	case errors.Is(err, syscall.EAGAIN):
		return "it would have to wait"
	case errors.Is(err, syscall.EINVAL):
		return "a priority is 0 to 32767"
	case errors.Is(err, syscall.EBADF):
		return "it is closed, or open for the other direction only"
	}
	return ""
}

// Attributes returns the sizes of the queue.
func (q *Queue) Attributes() (Attributes, error) {
	attr, err := q.getattr()
	return Attributes{int(attr.Maxmsg), int(attr.Msgsize)}, err
}

// Len returns how many messages are in the queue.
func (q *Queue) Len() (int, error) {
	attr, err := q.getattr()
	return int(attr.Curmsgs), err
}

func (q *Queue) getattr() (ipc.MqAttr, error) {
	attr, err := q.mqd.Getattr()
	if err != nil {
		return ipc.MqAttr{}, failed("mq_getattr", q.name, closedCause(err), err)
	}
	return attr, nil
}

func closedCause(err error) string {
	if errors.Is(err, syscall.EBADF) {
		return "it is closed"
	}
	return ""
}

// Notify returns a channel that is closed when a message comes into the empty
// queue and nobody waits for it: once; see mq_notify(3). It is meant for a select
// with other work, on a queue that was opened with [Nonblock]: wait for the
// channel, call Notify again, and then receive until the queue is empty, which
// misses nothing. EBUSY: somebody, in whatever process, is registered already.
//
// Stop, which may be called more than once, ends the registration, and so does
// Close; the channel is not closed then. The kernel also ends it, and tells
// nobody, when the process closes another Queue of that name. With kernel.System,
// a goroutine that waits in Receive, with a context that can end, counts as
// nobody: it gets the message, and the channel is closed too.
func (q *Queue) Notify() (arrived <-chan struct{}, stop func() error, err error) {
	c := make(chan struct{})
	cancel, err := q.mqd.Notify(func() { close(c) })
	if err != nil {
		return nil, nil, failed("mq_notify", q.name, notifyCause(err), err)
	}
	return c, sync.OnceValue(cancel), nil
}

func notifyCause(err error) string {
	if errors.Is(err, syscall.EBUSY) {
		return "somebody is registered already"
	}
	return closedCause(err)
}

// Close closes the queue and ends the calls that wait in it (EBADF). The queue
// itself stays until Unlink.
func (q *Queue) Close() error {
	if err := q.mqd.Close(); err != nil {
		return failed("mq_close", q.name, closedCause(err), err)
	}
	return nil
}
