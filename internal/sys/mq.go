package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MqAttr is struct mq_attr.
type MqAttr struct {
	Flags, Maxmsg, Msgsize, Curmsgs int64
	_                               [4]int64
}

// MqGetattr is mq_getsetattr(2) without a new attribute.
func MqGetattr(fd int, attr *MqAttr) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_MQ_GETSETATTR, uintptr(fd), 0, uintptr(unsafe.Pointer(attr)))
	return errno
}

// MqOpen is mq_open(2) of a name without its slash. A nil attr is none.
func MqOpen(name string, flags int, mode uint32, attr *MqAttr) (int, syscall.Errno) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, unix.EINVAL
	}
	fd, _, errno := syscall.RawSyscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(path)), uintptr(flags), uintptr(mode), uintptr(unsafe.Pointer(attr)), 0, 0)
	return int(fd), errno
}

// MqUnlink is mq_unlink(2) of a name without its slash.
func MqUnlink(name string) syscall.Errno {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return unix.EINVAL
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(path)), 0, 0)
	return errno
}

// MqSendNow is mq_timedsend(2) on a descriptor that is O_NONBLOCK: it cannot
// sleep.
func MqSendNow(fd int, message []byte, priority uint) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_MQ_TIMEDSEND, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(message))), uintptr(len(message)), uintptr(priority), 0, 0)
	return errno
}

// MqReceiveNow is mq_timedreceive(2) on a descriptor that is O_NONBLOCK: it
// cannot sleep.
func MqReceiveNow(fd int, buffer []byte) (n int, priority uint, errno syscall.Errno) {
	var prio uint32
	r, _, errno := syscall.RawSyscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buffer))), uintptr(len(buffer)), uintptr(unsafe.Pointer(&prio)), 0, 0)
	return int(r), uint(prio), errno
}

// MqSend is mq_timedsend(2).
func MqSend(fd int, message []byte, priority uint, until *unix.Timespec) syscall.Errno {
	_, _, errno := syscall.Syscall6(unix.SYS_MQ_TIMEDSEND, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(message))), uintptr(len(message)), uintptr(priority), uintptr(unsafe.Pointer(until)), 0)
	return errno
}

// MqReceive is mq_timedreceive(2).
func MqReceive(fd int, buffer []byte, until *unix.Timespec) (n int, priority uint, errno syscall.Errno) {
	var prio uint32
	r, _, errno := syscall.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buffer))), uintptr(len(buffer)), uintptr(unsafe.Pointer(&prio)), uintptr(unsafe.Pointer(until)), 0)
	return int(r), uint(prio), errno
}

// MqCookieSize is the size of what mq_notify(2) sends to a socket.
const MqCookieSize = 32

// MqWokenUp is the last byte of a cookie that a message has sent; a cookie
// that the end of the registration sends has another.
const MqWokenUp = 1

// MqNotify is mq_notify(2) with SIGEV_THREAD as the kernel has it: it sends
// the cookie to a netlink socket (SEMANTICS A.7.16).
func MqNotify(fd, socket int, cookie *[MqCookieSize]byte) syscall.Errno {
	event := struct {
		value  unsafe.Pointer
		signo  int32
		notify int32
		_      [48]byte
	}{unsafe.Pointer(cookie), int32(socket), 2 /* SIGEV_THREAD */, [48]byte{}}
	_, _, errno := syscall.RawSyscall(unix.SYS_MQ_NOTIFY, uintptr(fd), uintptr(unsafe.Pointer(&event)), 0)
	return errno
}

// MqNotifyEnd is mq_notify(2) with NULL: the process's registration ends.
func MqNotifyEnd(fd int) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_MQ_NOTIFY, uintptr(fd), 0, 0)
	return errno
}
