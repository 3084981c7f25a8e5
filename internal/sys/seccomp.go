package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SeccompData is struct seccomp_data: a system call, as a filter sees it.
type SeccompData struct {
	Number             int32
	Arch               uint32 // an AUDIT_ARCH constant
	InstructionPointer uint64
	Args               [6]uint64
}

// SeccompNotification is struct seccomp_notif of seccomp_unotify(2): a call
// that waits for an answer.
type SeccompNotification struct {
	ID    uint64
	PID   uint32 // of the thread, in the PID namespace of the reader
	Flags uint32
	Data  SeccompData
}

// SeccompContinue tells the kernel to make the call after all.
const SeccompContinue = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE

type seccompResponse struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

type seccompAddFD struct {
	id         uint64
	flags      uint32
	source     uint32
	target     uint32
	descriptor uint32
}

// Requests of ioctl(2) on a listener; see linux/seccomp.h.
const (
	seccompReceive  = 0xc0502100
	seccompSend     = 0xc0182101
	seccompIDValid  = 0x40082102
	seccompAdd      = 0x40182103
	seccompSetFlags = 0x40082104

	seccompSyncWakeUp = 1 // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
)

// SeccompListen installs a filter on the calling thread, and returns its
// listener. EBUSY: the thread has a filter with a listener already; EACCES: it
// has neither CAP_SYS_ADMIN nor PR_SET_NO_NEW_PRIVS; EINVAL: the kernel is
// older than 5.19.
func SeccompListen(filter []unix.SockFilter) (listener int, errno syscall.Errno) {
	const setModeFilter, newListener, waitKillable = 1, 1 << 3, 1 << 5
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: unsafe.SliceData(filter)}
	fd, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, setModeFilter, newListener|waitKillable, uintptr(unsafe.Pointer(&program)))
	return int(fd), errno
}

// SeccompReceive waits for a call. ENOENT: one was cancelled, or no process has
// the filter any more.
func SeccompReceive(listener int, n *SeccompNotification) syscall.Errno {
	*n = SeccompNotification{} // which the kernel insists on
	_, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(listener), seccompReceive, uintptr(unsafe.Pointer(n)))
	return errno
}

// SeccompSend answers a call with a value or an error, or with the flag
// [SeccompContinue]. ENOENT: the call is no more.
func SeccompSend(listener int, id uint64, value int64, failure int32, flags uint32) syscall.Errno {
	response := seccompResponse{id, value, -failure, flags}
	_, errno := askListener(listener, seccompSend, unsafe.Pointer(&response))
	return errno
}

// askListener makes a request of ioctl(2). The kernel waits for the listener's lock
// before it does anything, and returns EINTR then for any signal, such as those that
// the runtime sends.
func askListener(listener int, request uintptr, argument unsafe.Pointer) (result uintptr, errno syscall.Errno) {
	for {
		result, _, errno = syscall.RawSyscall(unix.SYS_IOCTL, uintptr(listener), request, uintptr(argument))
		if errno != syscall.EINTR {
			return result, errno
		}
	}
}

// SeccompValid reports whether a call still waits.
func SeccompValid(listener int, id uint64) bool {
	_, errno := askListener(listener, seccompIDValid, unsafe.Pointer(&id))
	return errno == 0
}

// SeccompAddFD gives a descriptor to who calls, with the descriptor flags
// O_CLOEXEC or 0, and returns its number there.
func SeccompAddFD(listener int, id uint64, fd, flags int) (int, syscall.Errno) {
	return addFD(listener, seccompAddFD{id: id, source: uint32(fd), descriptor: uint32(flags)})
}

// SeccompReplaceFD puts a descriptor where who calls has another.
func SeccompReplaceFD(listener int, id uint64, fd, target, flags int) syscall.Errno {
	const setFD = 1 // SECCOMP_ADDFD_FLAG_SETFD
	_, errno := addFD(listener, seccompAddFD{id: id, flags: setFD, source: uint32(fd), target: uint32(target), descriptor: uint32(flags)})
	return errno
}

func addFD(listener int, add seccompAddFD) (int, syscall.Errno) {
	fd, errno := askListener(listener, seccompAdd, unsafe.Pointer(&add))
	return int(fd), errno
}

// SeccompSyncWakeUp makes the kernel run who calls on the CPU of who answers,
// which is ten times as fast. Kernels before 6.6 cannot.
func SeccompSyncWakeUp(listener int) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(listener), seccompSetFlags, seccompSyncWakeUp)
	return errno
}
