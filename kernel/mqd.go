//go:build linux

package kernel

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// MqOpen is mq_open(3). The descriptor is always O_NONBLOCK for the kernel:
// who sleeps in it is parked by the runtime and takes no thread. So for the
// kernel nobody sleeps in it: a registration by Notify fires even so.
func (System) MqOpen(name string, flags int, mode uint32, attr *ipc.MqAttr) (ipc.Mqd, error) {
	name, err := rawName("mq_open", name)
	if err != nil {
		return nil, err
	}
	var a *sys.MqAttr
	if attr != nil {
		a = &sys.MqAttr{Maxmsg: attr.Maxmsg, Msgsize: attr.Msgsize}
	}
	fd, errno := sys.MqOpen(name, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, mode, a)
	if errno != 0 {
		return nil, failed("mq_open", errno)
	}
	q := &mqd{file: os.NewFile(uintptr(fd), name), fd: fd, nonblock: flags&unix.O_NONBLOCK != 0}
	q.sender, q.receiver = make(chan struct{}, 1), make(chan struct{}, 1)
	q.closed = make(chan struct{})
	return q, nil
}

// MqUnlink is mq_unlink(3).
func (System) MqUnlink(name string) error {
	name, err := rawName("mq_unlink", name)
	if err != nil {
		return err
	}
	return failed("mq_unlink", sys.MqUnlink(name))
}

// rawName returns the name as the system call takes it, without its slash.
func rawName(call, name string) (string, error) {
	raw, found := strings.CutPrefix(name, "/")
	if !found {
		return "", failed(call, unix.EINVAL)
	}
	return raw, nil
}

// An mqd is a descriptor that the runtime polls.
type mqd struct {
	file *os.File

	// mu is held for reading while fd is in use.
	mu       sync.RWMutex
	fd       int // -1 when closed
	nonblock bool

	// One goroutine at a time sleeps to send and one to receive, since a
	// deadline is the file's. Whoever is in the channel is the one.
	sender, receiver chan struct{}
	closed           chan struct{}
}

// Timedsend is mq_timedsend(2).
func (q *mqd) Timedsend(ctx context.Context, message []byte, priority uint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.RLock()
	errno, nonblock := sys.MqSendNow(q.fd, message, priority), q.nonblock
	q.mu.RUnlock()
	if errno != unix.EAGAIN || nonblock {
		return failed("mq_timedsend", errno)
	}
	return q.sleepSending(ctx, message, priority)
}

func (q *mqd) sleepSending(ctx context.Context, message []byte, priority uint) error {
	return q.sleep(ctx, "mq_timedsend", q.sender, q.file.SetWriteDeadline, syscall.RawConn.Write, func(fd int) syscall.Errno {
		return sys.MqSendNow(fd, message, priority)
	})
}

// Timedreceive is mq_timedreceive(2).
func (q *mqd) Timedreceive(ctx context.Context, buffer []byte) (int, uint, error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	q.mu.RLock()
	n, priority, errno := sys.MqReceiveNow(q.fd, buffer)
	nonblock := q.nonblock
	q.mu.RUnlock()
	if errno == 0 {
		return n, priority, nil
	}
	if errno != unix.EAGAIN || nonblock {
		return 0, 0, failed("mq_timedreceive", errno)
	}
	return q.sleepReceiving(ctx, buffer)
}

func (q *mqd) sleepReceiving(ctx context.Context, buffer []byte) (n int, priority uint, err error) {
	err = q.sleep(ctx, "mq_timedreceive", q.receiver, q.file.SetReadDeadline, syscall.RawConn.Read, func(fd int) (errno syscall.Errno) {
		n, priority, errno = sys.MqReceiveNow(fd, buffer)
		return errno
	})
	if err != nil {
		return 0, 0, err
	}
	return n, priority, nil
}

// sleep makes the call whenever the descriptor is ready, until it does not
// fail with EAGAIN, ctx ends or the descriptor is closed.
func (q *mqd) sleep(ctx context.Context, name string, slot chan struct{}, setDeadline func(time.Time) error,
	whenReady func(syscall.RawConn, func(uintptr) bool) error, call func(fd int) syscall.Errno) error {
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return ctx.Err()
	case <-q.closed:
		return failed(name, unix.EBADF)
	}
	conn, err := q.file.SyscallConn()
	if err != nil {
		return failed(name, unix.EBADF)
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		setDeadline(time.Unix(1, 0)) // fails only on a closed file, which ends the sleep too
		close(ended)
	})
	var errno syscall.Errno
	err = whenReady(conn, func(fd uintptr) bool {
		for errno = unix.EINTR; errno == unix.EINTR; {
			errno = call(int(fd))
		}
		return errno != unix.EAGAIN
	})
	if !stop() {
		<-ended
		setDeadline(time.Time{})
	}
	switch {
	case err == nil:
		return failed(name, errno)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ctx.Err()
	}
	return failed(name, unix.EBADF)
}

// Getattr is mq_getattr(3).
func (q *mqd) Getattr() (ipc.MqAttr, error) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.getattr("mq_getattr")
}

func (q *mqd) getattr(call string) (ipc.MqAttr, error) {
	var a sys.MqAttr
	if errno := sys.MqGetattr(q.fd, &a); errno != 0 {
		return ipc.MqAttr{}, failed(call, errno)
	}
	attr := ipc.MqAttr{Maxmsg: a.Maxmsg, Msgsize: a.Msgsize, Curmsgs: a.Curmsgs}
	if q.nonblock {
		attr.Flags = unix.O_NONBLOCK
	}
	return attr, nil
}

// SetNonblock is mq_setattr(3).
func (q *mqd) SetNonblock(nonblock bool) (ipc.MqAttr, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	attr, err := q.getattr("mq_setattr")
	if err == nil {
		q.nonblock = nonblock
	}
	return attr, err
}

// Close is mq_close(3).
func (q *mqd) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fd < 0 {
		return failed("mq_close", unix.EBADF)
	}
	q.fd = -1
	close(q.closed)
	return q.file.Close()
}

// Notify is mq_notify(3). The kernel also ends the registration when this
// process closes any other descriptor of the queue (SEMANTICS A.7.14).
func (q *mqd) Notify(f func()) (cancel func() error, err error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	notices := os.NewFile(uintptr(socket), "mq_notify")
	var cookie [sys.MqCookieSize]byte
	q.mu.RLock()
	errno := sys.MqNotify(q.fd, socket, &cookie)
	q.mu.RUnlock()
	if errno != 0 {
		notices.Close()
		return nil, failed("mq_notify", errno)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer notices.Close()
		if n, err := notices.Read(cookie[:]); err == nil && n == len(cookie) && cookie[n-1] == sys.MqWokenUp {
			f()
		}
	}()
	return func() error { return q.endNotify(over) }, nil
}

// endNotify ends the registration whose goroutine closes over, if it has not
// ended by itself, and waits for that.
func (q *mqd) endNotify(over chan struct{}) error {
	select {
	case <-over:
		return nil
	default:
	}
	q.mu.RLock()
	errno := sys.MqNotifyEnd(q.fd)
	q.mu.RUnlock()
	if errno != 0 && errno != unix.EBADF { // closing has ended it too
		return failed("mq_notify", errno)
	}
	<-over
	return nil
}
