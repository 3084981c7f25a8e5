//go:build linux

package ipctest

import (
	"os"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

func failed(call string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, errno)
}

// Semget is semget(2).
func Semget(key int32, sems, flags int) (int, error) {
	id, _, errno := syscall.RawSyscall(unix.SYS_SEMGET, uintptr(key), uintptr(sems), uintptr(flags))
	return int(id), failed("semget", errno)
}

// A Sembuf is struct sembuf.
type Sembuf struct {
	Num     uint16
	Op, Flg int16
}

// Semop is semop(2).
func Semop(id int, operations ...Sembuf) error {
	_, _, errno := syscall.Syscall6(unix.SYS_SEMTIMEDOP, uintptr(id), uintptr(unsafe.Pointer(&operations[0])), uintptr(len(operations)), 0, 0, 0)
	return failed("semop", errno)
}

// SemctlRmid is IPC_RMID of semctl(2).
func SemctlRmid(id int) error {
	_, errno := sys.Semctl(id, 0, sys.IPCRmid, 0, nil)
	return failed("semctl", errno)
}

// ShmctlRmid is IPC_RMID of shmctl(2).
func ShmctlRmid(id int) error {
	_, errno := sys.Shmctl(id, sys.IPCRmid, nil)
	return failed("shmctl", errno)
}

// MqOpen is mq_open(2), with the name as the kernel has it: without a slash.
// The caller closes the descriptor.
func MqOpen(name string, flags int, mode uint32, attr *sys.MqAttr) (int, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	fd, _, errno := syscall.RawSyscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(path)), uintptr(flags), uintptr(mode), uintptr(unsafe.Pointer(attr)), 0, 0)
	return int(fd), failed("mq_open", errno)
}

// MqSend is mq_timedsend(2) without a timeout.
func MqSend(fd int, text string, priority uint) error {
	_, _, errno := syscall.Syscall6(unix.SYS_MQ_TIMEDSEND, uintptr(fd), uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text)), uintptr(priority), 0, 0)
	return failed("mq_timedsend", errno)
}
