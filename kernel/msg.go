//go:build linux

package kernel

import (
	"context"
	"encoding/binary"
	"sync"
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

// A msgbuf is a struct msgbuf: a type and a text.
type msgbuf struct {
	bytes []byte
}

const mtypeSize = 8

// msgbufs keeps msgbufs for the next call.
var msgbufs = sync.Pool{New: func() any { return new(msgbuf) }}

// newMsgbuf returns a msgbuf with room for that many bytes of text, to be put
// back into msgbufs.
func newMsgbuf(size int) *msgbuf {
	m := msgbufs.Get().(*msgbuf)
	if cap(m.bytes) < mtypeSize+size {
		m.bytes = make([]byte, mtypeSize+size)
	}
	m.bytes = m.bytes[:mtypeSize+size]
	return m
}

func (m *msgbuf) text() []byte { return m.bytes[mtypeSize:] }

func (m *msgbuf) pointer() unsafe.Pointer { return unsafe.Pointer(&m.bytes[0]) }

// smallText is the length of a text whose msgbuf fits on the stack.
const smallText = 120

// Msgsnd is msgsnd(2).
func (System) Msgsnd(ctx context.Context, id int, typ int64, text []byte, flags int) error {
	if err := ctx.Err(); err != nil && flags&ipc.NoWait == 0 {
		return err
	}
	if len(text) > smallText {
		return sendLarge(ctx, id, typ, text, flags)
	}
	var small [mtypeSize + smallText]byte
	binary.NativeEndian.PutUint64(small[:], uint64(typ))
	copy(small[mtypeSize:], text)
	errno := sys.Msgsnd(uncut(id), unsafe.Pointer(&small), len(text), flags|ipc.NoWait)
	if errno == syscall.EAGAIN && flags&ipc.NoWait == 0 {
		return sendLarge(ctx, id, typ, text, flags)
	}
	return failed("msgsnd", errno)
}

// sendLarge sends a text of any length, and sleeps if it has to.
func sendLarge(ctx context.Context, id int, typ int64, text []byte, flags int) error {
	m := newMsgbuf(len(text))
	defer msgbufs.Put(m)
	binary.NativeEndian.PutUint64(m.bytes, uint64(typ))
	copy(m.text(), text)
	errno := sys.Msgsnd(uncut(id), m.pointer(), len(text), flags|ipc.NoWait)
	if errno != syscall.EAGAIN || flags&ipc.NoWait != 0 {
		return failed("msgsnd", errno)
	}
	return sleep(ctx, "msgsnd", func() syscall.Errno {
		return sys.Msgsnd(uncut(id), m.pointer(), len(m.text()), flags)
	})
}

// Msgrcv is msgrcv(2).
func (System) Msgrcv(ctx context.Context, id int, typ int64, text []byte, flags int) (int64, int, error) {
	if err := ctx.Err(); err != nil && flags&ipc.NoWait == 0 {
		return 0, 0, err
	}
	now := flags | ipc.NoWait
	if flags&ipc.MsgCopy != 0 {
		now = flags // EINVAL without IPC_NOWAIT
	}
	if len(text) > smallText {
		return receiveLarge(ctx, id, typ, text, flags, now)
	}
	var small [mtypeSize + smallText]byte
	n, errno := sys.Msgrcv(uncut(id), unsafe.Pointer(&small), len(text), typ, now)
	if errno == syscall.ENOMSG && flags&ipc.NoWait == 0 {
		return receiveLarge(ctx, id, typ, text, flags, now)
	}
	if errno != 0 {
		return 0, 0, failed("msgrcv", errno)
	}
	copy(text, small[mtypeSize:mtypeSize+n])
	return int64(binary.NativeEndian.Uint64(small[:])), n, nil
}

// receiveLarge receives a text of any length, and sleeps if it has to. Now
// are the flags with which it does not.
func receiveLarge(ctx context.Context, id int, typ int64, text []byte, flags, now int) (int64, int, error) {
	m := newMsgbuf(len(text))
	defer msgbufs.Put(m)
	n, errno := sys.Msgrcv(uncut(id), m.pointer(), len(text), typ, now)
	if errno != 0 && (errno != syscall.ENOMSG || flags&ipc.NoWait != 0) {
		return 0, 0, failed("msgrcv", errno)
	}
	if errno == syscall.ENOMSG {
		var err error
		if n, err = sleepReceiving(ctx, id, m, typ, flags); err != nil {
			return 0, 0, err
		}
	}
	copy(text, m.text()[:n])
	return int64(binary.NativeEndian.Uint64(m.bytes)), n, nil
}

func sleepReceiving(ctx context.Context, id int, m *msgbuf, typ int64, flags int) (n int, err error) {
	err = sleep(ctx, "msgrcv", func() (errno syscall.Errno) {
		n, errno = sys.Msgrcv(uncut(id), m.pointer(), len(m.text()), typ, flags)
		return errno
	})
	return n, err
}

// MsgctlStat is IPC_STAT of msgctl(2).
func (System) MsgctlStat(id int) (ipc.MsqidDS, error) {
	_, ds, err := msgStat("msgctl(IPC_STAT)", id, sys.IPCStat)
	return ds, err
}

// MsgStat is MSG_STAT of msgctl(2).
func (System) MsgStat(index int) (int, ipc.MsqidDS, error) {
	return msgStat("msgctl(MSG_STAT)", index, sys.MsgStat)
}

// MsgStatAny is MSG_STAT_ANY of msgctl(2).
func (System) MsgStatAny(index int) (int, ipc.MsqidDS, error) {
	return msgStat("msgctl(MSG_STAT_ANY)", index, sys.MsgStatAny)
}

func msgStat(call string, id, cmd int) (int, ipc.MsqidDS, error) {
	var ds sys.MsqidDS
	id, errno := sys.Msgctl(uncut(id), cmd, unsafe.Pointer(&ds))
	if errno != 0 {
		return 0, ipc.MsqidDS{}, failed(call, errno)
	}
	return id, ipc.MsqidDS{
		Perm: permOf(ds.Perm), Stime: ds.Stime, Rtime: ds.Rtime, Ctime: ds.Ctime,
		Cbytes: ds.Cbytes, Qnum: ds.Qnum, Qbytes: ds.Qbytes, Lspid: ds.Lspid, Lrpid: ds.Lrpid,
	}, nil
}

// MsgctlSet is IPC_SET of msgctl(2).
func (System) MsgctlSet(id int, set ipc.MsqidSet) error {
	ds := sys.MsqidDS{Perm: permFrom(set.PermSet), Qbytes: set.Qbytes}
	_, errno := sys.Msgctl(uncut(id), sys.IPCSet, unsafe.Pointer(&ds))
	return failed("msgctl(IPC_SET)", errno)
}

// MsgctlRmid is IPC_RMID of msgctl(2).
func (System) MsgctlRmid(id int) error {
	_, errno := sys.Msgctl(uncut(id), sys.IPCRmid, nil)
	return failed("msgctl(IPC_RMID)", errno)
}

// MsgctlInfo is IPC_INFO of msgctl(2).
func (System) MsgctlInfo() (ipc.Msginfo, int, error) {
	var i sys.MsgInfoDS
	highest, errno := sys.Msgctl(0, sys.IPCInfo, unsafe.Pointer(&i))
	if errno != 0 {
		return ipc.Msginfo{}, 0, failed("msgctl(IPC_INFO)", errno)
	}
	return ipc.Msginfo{
		Msgmax: int(i.Max), Msgmnb: int(i.Mnb), Msgmni: int(i.Mni),
		Msgpool: int(i.Pool), Msgmap: int(i.Map), Msgssz: int(i.Ssz), Msgtql: int(i.Tql), Msgseg: int(i.Seg),
	}, highest, nil
}

// MsgInfo is MSG_INFO of msgctl(2).
func (System) MsgInfo() (ipc.MsgInfo, int, error) {
	var i sys.MsgInfoDS
	highest, errno := sys.Msgctl(0, sys.MsgInfo, unsafe.Pointer(&i))
	if errno != 0 {
		return ipc.MsgInfo{}, 0, failed("msgctl(MSG_INFO)", errno)
	}
	return ipc.MsgInfo{Queues: int(i.Pool), Messages: int(i.Map), Bytes: int(i.Tql)}, highest, nil
}
