//go:build linux

package kernel

import (
	"context"
	"encoding/binary"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
)

// Msgget is msgget(2).
func (System) Msgget(key ipc.Key, flags int) (int, error) {
	id, errno := sys.Msgget(int32(key), flags)
	return id, failed("msgget", errno)
}

// mtypeSize is the size of a message's type, which stands before its text.
const mtypeSize = 8

// Msgsnd is msgsnd(2).
func (System) Msgsnd(ctx context.Context, id int, typ int64, text []byte, flags int) error {
	msg := make([]byte, mtypeSize, mtypeSize+len(text))
	binary.NativeEndian.PutUint64(msg, uint64(typ))
	msg = append(msg, text...)
	return wait(ctx, "msgsnd", flags, syscall.EAGAIN, func(flags int) syscall.Errno {
		return sys.Msgsnd(id, unsafe.Pointer(&msg[0]), len(text), flags)
	})
}

// Msgrcv is msgrcv(2).
func (System) Msgrcv(ctx context.Context, id int, typ int64, buf []byte, flags int) (int64, int, error) {
	msg := make([]byte, mtypeSize+len(buf))
	n := 0
	err := wait(ctx, "msgrcv", flags, syscall.ENOMSG, func(flags int) (errno syscall.Errno) {
		n, errno = sys.Msgrcv(id, unsafe.Pointer(&msg[0]), len(buf), typ, flags)
		return errno
	})
	if err != nil {
		return 0, 0, err
	}
	copy(buf, msg[mtypeSize:mtypeSize+n])
	return int64(binary.NativeEndian.Uint64(msg)), n, nil
}

// MsgctlStat is IPC_STAT of msgctl(2).
func (System) MsgctlStat(id int) (ipc.MsqidDS, error) {
	var ds sys.MsqidDS
	_, errno := sys.Msgctl(id, sys.IPCStat, unsafe.Pointer(&ds))
	return msqidOf(&ds), failed("msgctl(IPC_STAT)", errno)
}

// MsgctlRmid is IPC_RMID of msgctl(2).
func (System) MsgctlRmid(id int) error {
	_, errno := sys.Msgctl(id, sys.IPCRmid, nil)
	return failed("msgctl(IPC_RMID)", errno)
}

// MsgInfo is MSG_INFO of msgctl(2).
func (System) MsgInfo() (ipc.MsgInfo, int, error) {
	var info sys.MsgInfoDS
	highest, errno := sys.Msgctl(0, sys.MsgInfo, unsafe.Pointer(&info))
	return ipc.MsgInfo{Queues: int(info.Pool), Messages: int(info.Map), Bytes: int(info.Tql)}, highest, failed("msgctl(MSG_INFO)", errno)
}

// MsgStatAny is MSG_STAT_ANY of msgctl(2).
func (System) MsgStatAny(index int) (int, ipc.MsqidDS, error) {
	var ds sys.MsqidDS
	id, errno := sys.Msgctl(index, sys.MsgStatAny, unsafe.Pointer(&ds))
	return id, msqidOf(&ds), failed("msgctl(MSG_STAT_ANY)", errno)
}

func msqidOf(ds *sys.MsqidDS) ipc.MsqidDS {
	return ipc.MsqidDS{
		Perm: permOf(ds.Perm), Stime: ds.Stime, Rtime: ds.Rtime, Ctime: ds.Ctime,
		Cbytes: ds.Cbytes, Qnum: ds.Qnum, Qbytes: ds.Qbytes, Lspid: ds.Lspid, Lrpid: ds.Lrpid,
	}
}
