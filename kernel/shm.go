//go:build linux

package kernel

import (
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
)

// ShmInfo is SHM_INFO of shmctl(2).
func (System) ShmInfo() (ipc.ShmInfo, int, error) {
	var info sys.ShmInfoDS
	highest, errno := sys.Shmctl(0, sys.ShmInfo, unsafe.Pointer(&info))
	return ipc.ShmInfo{
		Segments: int(info.UsedIDs), Pages: info.Tot, Resident: info.Rss, Swapped: info.Swp,
		SwapAttempts: info.SwapAttempts, SwapSuccesses: info.SwapSuccesses,
	}, highest, failed("shmctl(SHM_INFO)", errno)
}

// ShmStatAny is SHM_STAT_ANY of shmctl(2).
func (System) ShmStatAny(index int) (int, ipc.ShmidDS, error) {
	var ds sys.ShmidDS
	id, errno := sys.Shmctl(index, sys.ShmStatAny, unsafe.Pointer(&ds))
	return id, ipc.ShmidDS{
		Perm: permOf(ds.Perm), Segsz: ds.Segsz, Atime: ds.Atime, Dtime: ds.Dtime, Ctime: ds.Ctime,
		Cpid: ds.Cpid, Lpid: ds.Lpid, Nattch: ds.Nattch,
	}, failed("shmctl(SHM_STAT_ANY)", errno)
}
