//go:build linux

package kernel

import (
	"os"
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
)

// Shmget is shmget(2).
func (System) Shmget(key ipc.Key, size uint64, flags int) (int, error) {
	id, errno := sys.Shmget(int32(key), size, flags)
	return id, failed("shmget", errno)
}

// Shmat is shmat(2). The mapping belongs to the process: every thread may use
// it, and it outlives the thread's stay in the namespace.
func (System) Shmat(id int, addr uintptr, flags int) ([]byte, error) {
	at, errno := sys.Shmat(uncut(id), addr, flags)
	if errno != 0 {
		return nil, failed("shmat", errno)
	}
	// The size behind an id never changes, unlike the permission to read it.
	_, ds, err := shmStat("shmctl(SHM_STAT_ANY)", id, sys.ShmStatAny)
	if err != nil {
		sys.Shmdt(at)
		return nil, err
	}
	page := uint64(os.Getpagesize())
	// A uintptr is no pointer to the garbage collector, and here need not be.
	memory := *(*unsafe.Pointer)(unsafe.Pointer(&at))
	return unsafe.Slice((*byte)(memory), (ds.Segsz+page-1)/page*page), nil
}

// Shmdt is shmdt(2).
func (System) Shmdt(memory []byte) error {
	return failed("shmdt", sys.Shmdt(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))))
}

// ShmctlStat is IPC_STAT of shmctl(2).
func (System) ShmctlStat(id int) (ipc.ShmidDS, error) {
	_, ds, err := shmStat("shmctl(IPC_STAT)", id, sys.IPCStat)
	return ds, err
}

// ShmStat is SHM_STAT of shmctl(2).
func (System) ShmStat(index int) (int, ipc.ShmidDS, error) {
	return shmStat("shmctl(SHM_STAT)", index, sys.ShmStat)
}

// ShmStatAny is SHM_STAT_ANY of shmctl(2).
func (System) ShmStatAny(index int) (int, ipc.ShmidDS, error) {
	return shmStat("shmctl(SHM_STAT_ANY)", index, sys.ShmStatAny)
}

func shmStat(call string, id, cmd int) (int, ipc.ShmidDS, error) {
	var ds sys.ShmidDS
	id, errno := sys.Shmctl(uncut(id), cmd, unsafe.Pointer(&ds))
	if errno != 0 {
		return 0, ipc.ShmidDS{}, failed(call, errno)
	}
	return id, ipc.ShmidDS{
		Perm: permOf(ds.Perm), Segsz: ds.Segsz, Atime: ds.Atime, Dtime: ds.Dtime, Ctime: ds.Ctime,
		Cpid: ds.Cpid, Lpid: ds.Lpid, Nattch: ds.Nattch,
	}, nil
}

// ShmctlSet is IPC_SET of shmctl(2).
func (System) ShmctlSet(id int, set ipc.PermSet) error {
	ds := sys.ShmidDS{Perm: permFrom(set)}
	return shmctl("shmctl(IPC_SET)", id, sys.IPCSet, unsafe.Pointer(&ds))
}

// ShmctlRmid is IPC_RMID of shmctl(2).
func (System) ShmctlRmid(id int) error { return shmctl("shmctl(IPC_RMID)", id, sys.IPCRmid, nil) }

// ShmctlLock is SHM_LOCK of shmctl(2).
func (System) ShmctlLock(id int) error { return shmctl("shmctl(SHM_LOCK)", id, sys.ShmLock, nil) }

// ShmctlUnlock is SHM_UNLOCK of shmctl(2).
func (System) ShmctlUnlock(id int) error { return shmctl("shmctl(SHM_UNLOCK)", id, sys.ShmUnlock, nil) }

func shmctl(call string, id, cmd int, buf unsafe.Pointer) error {
	_, errno := sys.Shmctl(uncut(id), cmd, buf)
	return failed(call, errno)
}

// ShmctlInfo is IPC_INFO of shmctl(2).
func (System) ShmctlInfo() (ipc.Shminfo, int, error) {
	var i sys.ShmIPCInfoDS
	highest, errno := sys.Shmctl(0, sys.IPCInfo, unsafe.Pointer(&i))
	if errno != 0 {
		return ipc.Shminfo{}, 0, failed("shmctl(IPC_INFO)", errno)
	}
	return ipc.Shminfo{Shmmax: i.Max, Shmall: i.All, Shmmni: i.Mni, Shmmin: i.Min, Shmseg: i.Seg}, highest, nil
}

// ShmInfo is SHM_INFO of shmctl(2).
func (System) ShmInfo() (ipc.ShmInfo, int, error) {
	var i sys.ShmInfoDS
	highest, errno := sys.Shmctl(0, sys.ShmInfo, unsafe.Pointer(&i))
	if errno != 0 {
		return ipc.ShmInfo{}, 0, failed("shmctl(SHM_INFO)", errno)
	}
	return ipc.ShmInfo{
		Segments: int(i.UsedIDs), Pages: i.Tot, Resident: i.Rss, Swapped: i.Swp,
		SwapAttempts: i.SwapAttempts, SwapSuccesses: i.SwapSuccesses,
	}, highest, nil
}
