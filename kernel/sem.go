//go:build linux

package kernel

import (
	"context"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// Semget is semget(2).
func (System) Semget(key ipc.Key, nsems, flags int) (int, error) {
	id, errno := sys.Semget(int32(key), uncut(nsems), flags)
	return id, failed("semget", errno)
}

// Semop is semop(2).
func (System) Semop(ctx context.Context, id int, ops []ipc.Sembuf) error {
	if !maySleep(ops) {
		return failed("semop", sys.SemopNow(uncut(id), unsafe.Pointer(unsafe.SliceData(ops)), len(ops)))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if errno := semopNow(id, ops); errno != syscall.EAGAIN {
		return failed("semop", errno)
	}
	// Whether it was an operation with IPC_NOWAIT that failed, the kernel
	// tells when asked again.
	return sleep(ctx, "semop", func() syscall.Errno { return semtimedop(id, ops, nil) })
}

// Semtimedop is semtimedop(2).
func (System) Semtimedop(ctx context.Context, id int, ops []ipc.Sembuf, timeout time.Duration) error {
	if err := ctx.Err(); err != nil && maySleep(ops) {
		return err
	}
	deadline := time.Now().Add(timeout)
	spec := unix.NsecToTimespec(int64(timeout))
	return sleep(ctx, "semtimedop", func() syscall.Errno {
		errno := semtimedop(id, ops, &spec)
		if errno == syscall.EINTR {
			spec = unix.NsecToTimespec(int64(max(0, time.Until(deadline))))
		}
		return errno
	})
}

// maySleep reports whether an operation lacks IPC_NOWAIT.
func maySleep(ops []ipc.Sembuf) bool {
	for i := range ops {
		if ops[i].Flg&ipc.NoWait == 0 {
			return true
		}
	}
	return false
}

func semtimedop(id int, ops []ipc.Sembuf, timeout *unix.Timespec) syscall.Errno {
	return sys.Semtimedop(uncut(id), unsafe.Pointer(unsafe.SliceData(ops)), len(ops), timeout)
}

// semopNow does the operations if they can be done at once, and fails with
// EAGAIN otherwise. It leaves more of them than are common to a call that may
// sleep.
func semopNow(id int, ops []ipc.Sembuf) syscall.Errno {
	var now [8]ipc.Sembuf
	if len(ops) > len(now) {
		return syscall.EAGAIN
	}
	for i, op := range ops {
		op.Flg |= ipc.NoWait
		now[i] = op
	}
	return sys.SemopNow(uncut(id), unsafe.Pointer(&now), len(ops))
}

// SemctlGetval is GETVAL of semctl(2).
func (System) SemctlGetval(id, num int) (int, error) {
	return semGet("semctl(GETVAL)", id, num, sys.SemGetVal)
}

// SemctlGetpid is GETPID of semctl(2).
func (System) SemctlGetpid(id, num int) (int, error) {
	return semGet("semctl(GETPID)", id, num, sys.SemGetPID)
}

// SemctlGetncnt is GETNCNT of semctl(2).
func (System) SemctlGetncnt(id, num int) (int, error) {
	return semGet("semctl(GETNCNT)", id, num, sys.SemGetNcnt)
}

// SemctlGetzcnt is GETZCNT of semctl(2).
func (System) SemctlGetzcnt(id, num int) (int, error) {
	return semGet("semctl(GETZCNT)", id, num, sys.SemGetZcnt)
}

func semGet(call string, id, num, cmd int) (int, error) {
	n, errno := sys.Semctl(uncut(id), uncut(num), cmd, 0, nil)
	if errno != 0 {
		return 0, failed(call, errno)
	}
	return n, nil
}

// SemctlSetval is SETVAL of semctl(2).
func (System) SemctlSetval(id, num, value int) error {
	_, errno := sys.Semctl(uncut(id), uncut(num), sys.SemSetVal, uintptr(uncut(value)), nil)
	return failed("semctl(SETVAL)", errno)
}

// SemctlGetall is GETALL of semctl(2).
func (s System) SemctlGetall(id int) ([]uint16, error) {
	nsems, errno := setSize(id)
	if errno != 0 {
		return nil, failed("semctl(GETALL)", errno)
	}
	values := make([]uint16, nsems)
	_, errno = sys.Semctl(id, 0, sys.SemGetAll, 0, unsafe.Pointer(unsafe.SliceData(values)))
	if errno != 0 {
		return nil, failed("semctl(GETALL)", errno)
	}
	return values, nil
}

// SemctlSetall is SETALL of semctl(2).
func (s System) SemctlSetall(id int, values []uint16) error {
	nsems, errno := setSize(id)
	if errno == 0 && len(values) != nsems {
		errno = syscall.EINVAL
	}
	if errno != 0 {
		return failed("semctl(SETALL)", errno)
	}
	_, errno = sys.Semctl(id, 0, sys.SemSetAll, 0, unsafe.Pointer(unsafe.SliceData(values)))
	return failed("semctl(SETALL)", errno)
}

// setSize returns the number of semaphores of a set, which the kernel does
// not ask for: it reads and writes as many values. The size behind an id
// never changes. It is read by index, which takes no permission.
func setSize(id int) (int, syscall.Errno) {
	var ds sys.SemidDS
	found, errno := sys.Semctl(uncut(id), 0, sys.SemStatAny, 0, unsafe.Pointer(&ds))
	if errno == 0 && found != id {
		errno = syscall.EINVAL
	}
	return int(ds.Nsems), errno
}

// SemctlStat is IPC_STAT of semctl(2).
func (System) SemctlStat(id int) (ipc.SemidDS, error) {
	_, ds, err := semStat("semctl(IPC_STAT)", id, sys.IPCStat)
	return ds, err
}

// SemStat is SEM_STAT of semctl(2).
func (System) SemStat(index int) (int, ipc.SemidDS, error) {
	return semStat("semctl(SEM_STAT)", index, sys.SemStat)
}

// SemStatAny is SEM_STAT_ANY of semctl(2).
func (System) SemStatAny(index int) (int, ipc.SemidDS, error) {
	return semStat("semctl(SEM_STAT_ANY)", index, sys.SemStatAny)
}

func semStat(call string, id, cmd int) (int, ipc.SemidDS, error) {
	var ds sys.SemidDS
	id, errno := sys.Semctl(uncut(id), 0, cmd, 0, unsafe.Pointer(&ds))
	if errno != 0 {
		return 0, ipc.SemidDS{}, failed(call, errno)
	}
	return id, ipc.SemidDS{Perm: permOf(ds.Perm), Otime: ds.Otime, Ctime: ds.Ctime, Nsems: ds.Nsems}, nil
}

// SemctlSet is IPC_SET of semctl(2).
func (System) SemctlSet(id int, set ipc.PermSet) error {
	ds := sys.SemidDS{Perm: permFrom(set)}
	_, errno := sys.Semctl(uncut(id), 0, sys.IPCSet, 0, unsafe.Pointer(&ds))
	return failed("semctl(IPC_SET)", errno)
}

// SemctlRmid is IPC_RMID of semctl(2).
func (System) SemctlRmid(id int) error {
	_, errno := sys.Semctl(uncut(id), 0, sys.IPCRmid, 0, nil)
	return failed("semctl(IPC_RMID)", errno)
}

// SemctlInfo is IPC_INFO of semctl(2).
func (System) SemctlInfo() (ipc.Seminfo, int, error) {
	var i sys.SemInfoDS
	highest, errno := sys.Semctl(0, 0, sys.IPCInfo, 0, unsafe.Pointer(&i))
	if errno != 0 {
		return ipc.Seminfo{}, 0, failed("semctl(IPC_INFO)", errno)
	}
	return ipc.Seminfo{
		Semmsl: int(i.Msl), Semmns: int(i.Mns), Semopm: int(i.Opm), Semmni: int(i.Mni),
		Semmap: int(i.Map), Semmnu: int(i.Mnu), Semume: int(i.Ume), Semusz: int(i.Usz), Semvmx: int(i.Vmx), Semaem: int(i.Aem),
	}, highest, nil
}

// SemInfo is SEM_INFO of semctl(2).
func (System) SemInfo() (ipc.SemInfo, int, error) {
	var i sys.SemInfoDS
	highest, errno := sys.Semctl(0, 0, sys.SemInfo, 0, unsafe.Pointer(&i))
	if errno != 0 {
		return ipc.SemInfo{}, 0, failed("semctl(SEM_INFO)", errno)
	}
	return ipc.SemInfo{Sets: int(i.Usz), Semaphores: int(i.Aem)}, highest, nil
}
