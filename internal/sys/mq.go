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

// MqUnreachable reports whether the calling thread's namespace has no POSIX
// queue of that name, given without its slash.
func MqUnreachable(name string) bool {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return true
	}
	fd, _, errno := syscall.RawSyscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(path)), unix.O_RDONLY, 0, 0, 0, 0)
	if errno == 0 {
		unix.Close(int(fd))
	}
	return errno == unix.ENOENT
}
