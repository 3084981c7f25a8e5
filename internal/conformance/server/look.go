//go:build linux

package server

import (
	"context"
	"math"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/internal/conformance/picture"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// Look returns what the process sees of the namespace, in one request.
func (p *Process) Look() ([]string, error) { return one[[]string](&p.connection, "Look") }

// Look takes a picture.
func (s *server) Look() ([]string, error) { return picture.Take(s.System) }

// MqOpenPlain is MqOpen as in C: who sleeps in the descriptor sleeps in the
// kernel for as long as it takes, no context ends that, and Notify, which asks
// for no signal, does not call its function.
func (p *Process) MqOpenPlain(name string, flags int, mode uint32, attr *ipc.MqAttr) (ipc.Mqd, error) {
	handle, err := one[int](&p.connection, "MqOpenPlain", name, flags, mode, attr)
	if err != nil {
		return nil, err
	}
	return descriptor{&p.connection, handle}, nil
}

// MqOpenPlain opens a plain descriptor and returns its handle.
func (s *server) MqOpenPlain(name string, flags int, mode uint32, attr *ipc.MqAttr) (int, error) {
	if len(name) == 0 || name[0] != '/' {
		return 0, syscall.EINVAL
	}
	var a *sys.MqAttr
	if attr != nil {
		a = &sys.MqAttr{Maxmsg: attr.Maxmsg, Msgsize: attr.Msgsize}
	}
	fd, errno := sys.MqOpen(name[1:], flags|unix.O_CLOEXEC, mode, a)
	if errno != 0 {
		return 0, errno
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	handle := s.handle()
	s.queues[handle] = &queue{plainMqd(fd), s}
	return handle, nil
}

// A plainMqd is a descriptor.
type plainMqd int

func failed(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func (fd plainMqd) Timedsend(_ context.Context, message []byte, priority uint) error {
	priority = min(priority, math.MaxUint32) // the kernel would cut it
	return failed(sys.MqSend(int(fd), message, priority, nil))
}

func (fd plainMqd) Timedreceive(_ context.Context, buffer []byte) (n int, priority uint, err error) {
	n, priority, errno := sys.MqReceive(int(fd), buffer, nil)
	if errno != 0 {
		return 0, 0, errno
	}
	return n, priority, nil
}

func (fd plainMqd) Notify(func()) (cancel func() error, err error) {
	const sigevNone = 1
	event := struct {
		value         uint64
		signo, notify int32
		_             [48]byte
	}{notify: sigevNone}
	if _, _, errno := syscall.RawSyscall(unix.SYS_MQ_NOTIFY, uintptr(fd), uintptr(unsafe.Pointer(&event)), 0); errno != 0 {
		return nil, errno
	}
	return func() error { return failed(sys.MqNotifyEnd(int(fd))) }, nil
}

func (fd plainMqd) Getattr() (ipc.MqAttr, error) { return fd.getsetattr(nil) }

func (fd plainMqd) SetNonblock(nonblock bool) (ipc.MqAttr, error) {
	attr := &sys.MqAttr{}
	if nonblock {
		attr.Flags = unix.O_NONBLOCK
	}
	return fd.getsetattr(attr)
}

func (fd plainMqd) getsetattr(attr *sys.MqAttr) (ipc.MqAttr, error) {
	var before sys.MqAttr
	_, _, errno := syscall.RawSyscall(unix.SYS_MQ_GETSETATTR, uintptr(fd), uintptr(unsafe.Pointer(attr)), uintptr(unsafe.Pointer(&before)))
	return ipc.MqAttr{Flags: before.Flags, Maxmsg: before.Maxmsg, Msgsize: before.Msgsize, Curmsgs: before.Curmsgs}, failed(errno)
}

func (fd plainMqd) Close() error { return unix.Close(int(fd)) }
