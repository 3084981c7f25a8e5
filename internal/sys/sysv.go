// Package sys makes the raw Linux calls that the standard library and
// golang.org/x/sys/unix lack, on the calling thread, and holds the layouts of
// their structures. The facts are in SEMANTICS D and B.5.
package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of msgctl(2), semctl(2) and shmctl(2).
const (
	IPCRmid = 0
	IPCSet  = 1
	IPCStat = 2
	IPCInfo = 3

	MsgStat    = 11
	MsgInfo    = 12
	MsgStatAny = 13

	SemGetPID  = 11
	SemGetVal  = 12
	SemGetAll  = 13
	SemGetNcnt = 14
	SemGetZcnt = 15
	SemSetVal  = 16
	SemSetAll  = 17
	SemStat    = 18
	SemInfo    = 19
	SemStatAny = 20

	ShmLock    = 11
	ShmUnlock  = 12
	ShmStat    = 13
	ShmInfo    = 14
	ShmStatAny = 15
)

// noWait is IPC_NOWAIT.
const noWait = 0o4000

// IPCPerm is struct ipc64_perm.
type IPCPerm struct {
	Key                  int32
	UID, GID, CUID, CGID uint32
	Mode                 uint32
	Seq                  uint16
	_                    uint16
	_                    [4]byte
	_                    [2]uint64
}

// MsqidDS is struct msqid64_ds.
type MsqidDS struct {
	Perm                 IPCPerm
	Stime, Rtime, Ctime  int64
	Cbytes, Qnum, Qbytes uint64
	Lspid, Lrpid         int32
	_                    [2]uint64
}

// ShmidDS is struct shmid64_ds.
type ShmidDS struct {
	Perm                IPCPerm
	Segsz               uint64
	Atime, Dtime, Ctime int64
	Cpid, Lpid          int32
	Nattch              uint64
	_                   [2]uint64
}

// MsgInfoDS is struct msginfo.
type MsgInfoDS struct {
	Pool, Map, Max, Mnb, Mni, Ssz, Tql int32
	Seg                                uint16
	_                                  [2]byte
}

// SemInfoDS is struct seminfo.
type SemInfoDS struct {
	Map, Mni, Mns, Mnu, Msl, Opm, Ume, Usz, Vmx, Aem int32
}

// ShmIPCInfoDS is struct shminfo.
type ShmIPCInfoDS struct {
	Max, Min, Mni, Seg, All uint64
	_                       [4]uint64
}

// ShmInfoDS is struct shm_info.
type ShmInfoDS struct {
	UsedIDs                     int32
	_                           [4]byte
	Tot, Rss, Swp               uint64
	SwapAttempts, SwapSuccesses uint64
}

// Msgctl is msgctl(2). It cannot sleep.
func Msgctl(id, cmd int, buf unsafe.Pointer) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall(unix.SYS_MSGCTL, uintptr(id), uintptr(cmd), uintptr(buf))
	return int(r), errno
}

// Semctl is semctl(2). Its last argument is a union, which the kernel takes
// by value: a number, or a pointer. It cannot sleep.
func Semctl(id, num, cmd int, value uintptr, buf unsafe.Pointer) (int, syscall.Errno) {
	if buf != nil {
		r, _, errno := syscall.RawSyscall6(unix.SYS_SEMCTL, uintptr(id), uintptr(num), uintptr(cmd), uintptr(buf), 0, 0)
		return int(r), errno
	}
	r, _, errno := syscall.RawSyscall6(unix.SYS_SEMCTL, uintptr(id), uintptr(num), uintptr(cmd), value, 0, 0)
	return int(r), errno
}

// Shmctl is shmctl(2). It cannot sleep.
func Shmctl(id, cmd int, buf unsafe.Pointer) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall(unix.SYS_SHMCTL, uintptr(id), uintptr(cmd), uintptr(buf))
	return int(r), errno
}

// Msgget is msgget(2).
func Msgget(key int32, flags int) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall(unix.SYS_MSGGET, uintptr(key), uintptr(flags), 0)
	return int(r), errno
}

// Semget is semget(2).
func Semget(key int32, nsems, flags int) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall(unix.SYS_SEMGET, uintptr(key), uintptr(nsems), uintptr(flags))
	return int(r), errno
}

// Shmget is shmget(2).
func Shmget(key int32, size uint64, flags int) (int, syscall.Errno) {
	r, _, errno := syscall.Syscall(unix.SYS_SHMGET, uintptr(key), uintptr(size), uintptr(flags))
	return int(r), errno
}

// Msgsnd is msgsnd(2); buf holds the type and then size bytes of text. With
// IPC_NOWAIT it cannot sleep. Without, a signal ends it with EINTR.
func Msgsnd(id int, buf unsafe.Pointer, size, flags int) syscall.Errno {
	if flags&noWait != 0 {
		_, _, errno := syscall.RawSyscall6(unix.SYS_MSGSND, uintptr(id), uintptr(buf), uintptr(size), uintptr(flags), 0, 0)
		return errno
	}
	_, _, errno := syscall.Syscall6(unix.SYS_MSGSND, uintptr(id), uintptr(buf), uintptr(size), uintptr(flags), 0, 0)
	return errno
}

// Msgrcv is msgrcv(2); buf has room for the type and size bytes of text. With
// IPC_NOWAIT it cannot sleep. Without, a signal ends it with EINTR.
func Msgrcv(id int, buf unsafe.Pointer, size int, typ int64, flags int) (int, syscall.Errno) {
	if flags&noWait != 0 {
		r, _, errno := syscall.RawSyscall6(unix.SYS_MSGRCV, uintptr(id), uintptr(buf), uintptr(size), uintptr(typ), uintptr(flags), 0)
		return int(r), errno
	}
	r, _, errno := syscall.Syscall6(unix.SYS_MSGRCV, uintptr(id), uintptr(buf), uintptr(size), uintptr(typ), uintptr(flags), 0)
	return int(r), errno
}

// Semtimedop is semtimedop(2) on n operations; a nil timeout is none. A
// signal ends it with EINTR.
func Semtimedop(id int, ops unsafe.Pointer, n int, timeout *unix.Timespec) syscall.Errno {
	_, _, errno := syscall.Syscall6(unix.SYS_SEMTIMEDOP, uintptr(id), uintptr(ops), uintptr(n), uintptr(unsafe.Pointer(timeout)), 0, 0)
	return errno
}

// SemopNow is semop(2) on n operations that all have IPC_NOWAIT: it cannot
// sleep.
func SemopNow(id int, ops unsafe.Pointer, n int) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_SEMTIMEDOP, uintptr(id), uintptr(ops), uintptr(n), 0, 0, 0)
	return errno
}

// Shmat is shmat(2).
func Shmat(id int, addr uintptr, flags int) (uintptr, syscall.Errno) {
	r, _, errno := syscall.Syscall(unix.SYS_SHMAT, uintptr(id), addr, uintptr(flags))
	return r, errno
}

// Shmdt is shmdt(2).
func Shmdt(addr uintptr) syscall.Errno {
	_, _, errno := syscall.Syscall(unix.SYS_SHMDT, addr, 0, 0)
	return errno
}
