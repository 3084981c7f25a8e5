//go:build linux

package kernel

import (
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
)

// SemInfo is SEM_INFO of semctl(2).
func (System) SemInfo() (ipc.SemInfo, int, error) {
	var info sys.SemInfoDS
	highest, errno := sys.Semctl(0, 0, sys.SemInfo, 0, unsafe.Pointer(&info))
	return ipc.SemInfo{Sets: int(info.Usz), Semaphores: int(info.Aem)}, highest, failed("semctl(SEM_INFO)", errno)
}

// SemStatAny is SEM_STAT_ANY of semctl(2).
func (System) SemStatAny(index int) (int, ipc.SemidDS, error) {
	var ds sys.SemidDS
	id, errno := sys.Semctl(index, 0, sys.SemStatAny, 0, unsafe.Pointer(&ds))
	return id, ipc.SemidDS{Perm: permOf(ds.Perm), Otime: ds.Otime, Ctime: ds.Ctime, Nsems: ds.Nsems}, failed("semctl(SEM_STAT_ANY)", errno)
}

// SemctlGet is GETVAL, GETNCNT, GETZCNT and GETPID of semctl(2).
func (System) SemctlGet(id, num int) (ipc.Sem, error) {
	var sem ipc.Sem
	var pid int
	for _, get := range [...]struct {
		name string
		cmd  int
		to   *int
	}{
		{"semctl(GETVAL)", sys.SemGetVal, &sem.Value},
		{"semctl(GETNCNT)", sys.SemGetNcnt, &sem.Ncnt},
		{"semctl(GETZCNT)", sys.SemGetZcnt, &sem.Zcnt},
		{"semctl(GETPID)", sys.SemGetPID, &pid},
	} {
		n, errno := sys.Semctl(id, num, get.cmd, 0, nil)
		if errno != 0 {
			return ipc.Sem{}, failed(get.name, errno)
		}
		*get.to = n
	}
	sem.PID = int32(pid)
	return sem, nil
}
