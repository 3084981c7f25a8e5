//go:build linux

package kernel

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// MqOpen is mq_open(3). Who sleeps in it with a context that can end is parked
// by the runtime and takes no thread. So for the kernel nobody sleeps there: a
// registration by Notify fires even so. With a context that cannot end, it is
// a thread that sleeps, as it would in C.
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
	q := &mqd{file: os.NewFile(uintptr(fd), name), fd: fd, access: flags & unix.O_ACCMODE}
	q.threads.closed = make(chan struct{})
	q.nonblock.Store(flags&unix.O_NONBLOCK != 0)
	q.sender, q.receiver = make(chan struct{}, 1), make(chan struct{}, 1)
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
	mu sync.RWMutex
	fd int // -1 when closed; always O_NONBLOCK

	access  int // O_RDONLY, O_WRONLY or O_RDWR
	threads mqdThreads

	nonblock atomic.Bool // as the callers see it

	// One goroutine at a time sleeps to send and one to receive, since a
	// deadline is the file's. Whoever is in the channel is the one.
	sender, receiver chan struct{}
}

// Timedsend is mq_timedsend(2).
func (q *mqd) Timedsend(ctx context.Context, message []byte, priority uint) error {
	nonblock := q.nonblock.Load()
	if err := ctx.Err(); err != nil && !nonblock {
		return err
	}
	priority = min(priority, math.MaxUint32) // the kernel would cut it
	q.mu.RLock()
	errno := sys.MqSendNow(q.fd, message, priority)
	q.mu.RUnlock()
	if errno != unix.EAGAIN || nonblock {
		return failed("mq_timedsend", errno)
	}
	return q.sleepSending(ctx, message, priority)
}

func (q *mqd) sleepSending(ctx context.Context, message []byte, priority uint) error {
	if ctx.Done() == nil {
		errno, slept := q.sleepOnThread(func(fd int, until *unix.Timespec) syscall.Errno {
			return sys.MqSend(fd, message, priority, until)
		})
		if slept {
			return failed("mq_timedsend", errno)
		}
	}
	return q.sleep(ctx, "mq_timedsend", q.sender, q.file.SetWriteDeadline, syscall.RawConn.Write, func(fd int) syscall.Errno {
		return sys.MqSendNow(fd, message, priority)
	})
}

// Timedreceive is mq_timedreceive(2).
func (q *mqd) Timedreceive(ctx context.Context, buffer []byte) (int, uint, error) {
	nonblock := q.nonblock.Load()
	if err := ctx.Err(); err != nil && !nonblock {
		return 0, 0, err
	}
	q.mu.RLock()
	n, priority, errno := sys.MqReceiveNow(q.fd, buffer)
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
	if ctx.Done() == nil {
		errno, slept := q.sleepOnThread(func(fd int, until *unix.Timespec) (errno syscall.Errno) {
			n, priority, errno = sys.MqReceive(fd, buffer, until)
			return errno
		})
		if slept && errno != 0 {
			return 0, 0, failed("mq_timedreceive", errno)
		}
		if slept {
			return n, priority, nil
		}
	}
	err = q.sleep(ctx, "mq_timedreceive", q.receiver, q.file.SetReadDeadline, syscall.RawConn.Read, func(fd int) (errno syscall.Errno) {
		n, priority, errno = sys.MqReceiveNow(fd, buffer)
		return errno
	})
	if err != nil {
		return 0, 0, err
	}
	return n, priority, nil
}

// sleepOnThread makes a call that sleeps, if there is a descriptor for that.
func (q *mqd) sleepOnThread(call func(fd int, until *unix.Timespec) syscall.Errno) (errno syscall.Errno, slept bool) {
	q.mu.RLock()
	fd := q.fd
	q.mu.RUnlock()
	if fd < 0 {
		return unix.EBADF, true
	}
	return q.threads.sleep(fd, q.access, call)
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
func (q *mqd) Getattr() (ipc.MqAttr, error) { return q.getattr("mq_getattr", q.nonblock.Load) }

// SetNonblock is mq_setattr(3).
func (q *mqd) SetNonblock(nonblock bool) (ipc.MqAttr, error) {
	return q.getattr("mq_setattr", func() bool { return q.nonblock.Swap(nonblock) })
}

func (q *mqd) getattr(call string, nonblock func() bool) (ipc.MqAttr, error) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	var a sys.MqAttr
	if errno := sys.MqGetattr(q.fd, &a); errno != 0 {
		return ipc.MqAttr{}, failed(call, errno)
	}
	attr := ipc.MqAttr{Maxmsg: a.Maxmsg, Msgsize: a.Msgsize, Curmsgs: a.Curmsgs}
	if nonblock() {
		attr.Flags = unix.O_NONBLOCK
	}
	return attr, nil
}

// Close is mq_close(3).
func (q *mqd) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fd < 0 {
		return failed("mq_close", unix.EBADF)
	}
	q.fd = -1
	q.threads.close()
	return q.file.Close()
}

// notifying is held while a registration begins or is ended. The kernel ends
// whichever this process has.
var notifying sync.Mutex

// Notify is mq_notify(3). The kernel also ends the registration when this
// process closes any other descriptor of the queue (SEMANTICS A.7.14). F must
// not call cancel, which waits for it.
func (q *mqd) Notify(f func()) (cancel func() error, err error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	notifying.Lock()
	q.mu.RLock()
	errno := sys.MqNotify(q.fd, socket, new([sys.MqCookieSize]byte))
	q.mu.RUnlock()
	notifying.Unlock()
	if errno != 0 {
		unix.Close(socket)
		return nil, failed("mq_notify", errno)
	}
	// Not before, as a supervisor puts a socket of its own in the place of this.
	r := registration{notices: os.NewFile(uintptr(socket), "mq_notify"), over: make(chan struct{})}
	go func() {
		defer close(r.over)
		defer r.notices.Close()
		if r.wait() == sys.MqWokenUp {
			f()
		}
	}()
	return func() error { return q.endNotify(r) }, nil
}

// endNotify ends the registration, if it has not ended by itself, and waits
// for its goroutine.
func (q *mqd) endNotify(r registration) error {
	notifying.Lock()
	var errno syscall.Errno
	if r.pending() {
		q.mu.RLock()
		errno = sys.MqNotifyEnd(q.fd)
		q.mu.RUnlock()
	}
	notifying.Unlock()
	if errno != 0 && errno != unix.EBADF { // closing has ended it too
		return failed("mq_notify", errno)
	}
	<-r.over
	return nil
}

// A registration is one by mq_notify(2). It ends when a notice arrives, which
// nobody takes out of the socket.
type registration struct {
	notices *os.File      // a socket
	over    chan struct{} // closed when its goroutine has ended
}

// wait returns the kind of the notice, once there is one.
func (r registration) wait() (kind byte) {
	conn, err := r.notices.SyscallConn()
	if err == nil {
		conn.Read(func(fd uintptr) (arrived bool) {
			kind, arrived = notice(int(fd))
			return arrived
		})
	}
	return kind
}

// pending reports that there is no notice yet.
func (r registration) pending() (pending bool) {
	conn, err := r.notices.SyscallConn()
	if err == nil { // else the goroutine has closed it
		conn.Control(func(fd uintptr) {
			_, arrived := notice(int(fd))
			pending = !arrived
		})
	}
	return pending
}

// notice returns the last byte of the cookie in the socket.
func notice(socket int) (kind byte, arrived bool) {
	var cookie [sys.MqCookieSize]byte
	n, _, err := unix.Recvfrom(socket, cookie[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err == nil && n == len(cookie) {
		kind = cookie[n-1]
	}
	return kind, err != unix.EAGAIN
}
