//go:build linux

// Package kernel is [ipc.System] by system calls: the IPC namespace of the
// calling thread, as the Linux kernel implements it.
//
// To use it on another namespace, call it inside ipcns.Namespace.Do.
package kernel

import (
	"os"
	"syscall"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
)

// System is the namespace of the thread that calls its methods. Any goroutine
// may call them; they hold no state.
type System struct{}

var _ ipc.System = System{}

// failed returns errno as an error that names the call, nil for 0.
func failed(call string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, errno)
}

func permOf(p sys.IPCPerm) ipc.Perm {
	return ipc.Perm{Key: ipc.Key(p.Key), UID: p.UID, GID: p.GID, CUID: p.CUID, CGID: p.CGID, Mode: p.Mode, Seq: p.Seq}
}

func permFrom(set ipc.PermSet) sys.IPCPerm {
	return sys.IPCPerm{UID: set.UID, GID: set.GID, Mode: set.Mode}
}

// uncut returns n, or -1 if the kernel would take n for another number: the
// one that its lower 32 bits are. No id, index, size or value is -1.
func uncut(n int) int {
	if n != int(int32(n)) {
		return -1
	}
	return n
}
