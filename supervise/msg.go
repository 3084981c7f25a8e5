//go:build linux

package supervise

import (
	"encoding/binary"
	"math"
	"syscall"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// Arguments of calls, as the kernel takes them out of registers.
func (c *call) int(i int) int { return int(int32(c.args[i])) }

func (c *call) long(i int) int64 { return int64(c.args[i]) }

const sizeofLong = 8

func (c *call) msgget() {
	if t := c.task(); t != nil {
		c.result(t.Msgget(ipc.Key(c.int(0)), c.int(1)))
	}
}

// msgsnd finds mistakes in the kernel's order (SEMANTICS A.3).
func (c *call) msgsnd() {
	t := c.task()
	if t == nil {
		return
	}
	id, size, flags := c.int(0), c.args[2], c.int(3)
	limits, _ := t.Limits()
	tooLong := size > limits.Msgmax
	wanted := sizeofLong
	if !tooLong {
		wanted += int(size)
	}
	data := c.read(c.args[1], wanted)
	if len(data) < sizeofLong {
		c.fail(syscall.EFAULT)
		return
	}
	typ := int64(binary.NativeEndian.Uint64(data))
	switch {
	case tooLong, id < 0, typ < 1:
		c.fail(syscall.EINVAL)
	case len(data) < wanted:
		c.fail(syscall.EFAULT)
	default:
		c.sleep(t.StartMsgsnd(c, id, typ, data[sizeofLong:], flags), erestartnohand)
	}
}

func (c *call) msgrcv() {
	t := c.task()
	if t == nil {
		return
	}
	id, size, flags := c.int(0), c.long(2), c.int(4)
	if id < 0 || size < 0 {
		c.fail(syscall.EINVAL)
		return
	}
	if flags&ipc.MsgCopy != 0 && !c.readable(t, flags) {
		return
	}
	c.take = (*call).tookMessage
	c.sleep(t.StartMsgrcv(c, id, c.long(3), int(size), flags), erestartnohand)
}

// readable does what the kernel does first with MSG_COPY: it reads the buffer
// (SEMANTICS A.4.5).
func (c *call) readable(t *userspace.Task, flags int) bool {
	if flags&ipc.MsgExcept != 0 || flags&ipc.NoWait == 0 {
		return true // an error that comes before
	}
	limits, _ := t.Limits()
	size := int(min(c.args[2], limits.Msgmax))
	if len(c.read(c.args[1]+sizeofLong, size)) < size {
		c.fail(syscall.EFAULT)
		return false
	}
	return true
}

// tookMessage puts a message where msgrcv wants it. One that cannot be put there
// is lost, as in the kernel (SEMANTICS A.4.4).
func (c *call) tookMessage(o userspace.Outcome) bool {
	var typ [sizeofLong]byte
	binary.NativeEndian.PutUint64(typ[:], uint64(o.Type))
	if errno := c.write(c.args[1], typ[:], o.Message); errno != 0 {
		return c.fail(errno)
	}
	return c.send(int64(len(o.Message)))
}

func (c *call) msgctl() {
	t := c.task()
	if t == nil {
		return
	}
	id, cmd, buf := c.int(0), c.int(1), c.args[2]
	if id < 0 || cmd < 0 {
		c.fail(syscall.EINVAL)
		return
	}
	switch cmd {
	case sys.IPCRmid:
		c.result(0, t.MsgctlRmid(id))
	case sys.IPCSet:
		c.msgctlSet(t, id, buf)
	case sys.IPCStat:
		ds, err := t.MsgctlStat(id)
		stat(c, 0, msqidDS(ds), err)
	case sys.MsgStat:
		got, ds, err := t.MsgStat(id)
		stat(c, got, msqidDS(ds), err)
	case sys.MsgStatAny:
		got, ds, err := t.MsgStatAny(id)
		stat(c, got, msqidDS(ds), err)
	case sys.IPCInfo:
		info, highest, err := t.MsgctlInfo()
		stat(c, highest, sys.MsgInfoDS{Pool: number(info.Msgpool), Map: number(info.Msgmap), Max: number(info.Msgmax), Mnb: number(info.Msgmnb), Mni: number(info.Msgmni), Ssz: number(info.Msgssz), Tql: number(info.Msgtql), Seg: uint16(info.Msgseg)}, err)
	case sys.MsgInfo:
		limits, _, _ := t.MsgctlInfo()
		info, highest, err := t.MsgInfo()
		stat(c, highest, sys.MsgInfoDS{Pool: number(info.Queues), Map: number(info.Messages), Tql: number(info.Bytes), Max: number(limits.Msgmax), Mnb: number(limits.Msgmnb), Mni: number(limits.Msgmni), Ssz: number(limits.Msgssz), Seg: uint16(limits.Msgseg)}, err)
	default:
		c.fail(syscall.EINVAL)
	}
}

// number is what an int of the kernel's structures holds.
func number(n int) int32 { return int32(min(n, math.MaxInt32)) }

// stat answers a call that fills a structure.
func stat[T any](c *call, result int, into T, err error) {
	if err != nil {
		c.result(0, err)
		return
	}
	if errno := writeStruct(c, c.buf(), &into); errno != 0 {
		c.fail(errno)
		return
	}
	c.send(int64(result))
}

// buf is the last argument of the calls msgctl, shmctl and semctl.
func (c *call) buf() uint64 {
	if uintptr(c.number) == semctlNumber {
		return c.args[3]
	}
	return c.args[2]
}

func (c *call) msgctlSet(t *userspace.Task, id int, buf uint64) {
	var ds sys.MsqidDS
	if errno := readStruct(c, buf, &ds); errno != 0 {
		c.fail(errno)
		return
	}
	c.result(0, t.MsgctlSet(id, ipc.MsqidSet{PermSet: permSet(&ds.Perm), Qbytes: ds.Qbytes}))
}

func permSet(p *sys.IPCPerm) ipc.PermSet { return ipc.PermSet{UID: p.UID, GID: p.GID, Mode: p.Mode} }

func ipcPerm(p ipc.Perm) sys.IPCPerm {
	return sys.IPCPerm{Key: int32(p.Key), UID: p.UID, GID: p.GID, CUID: p.CUID, CGID: p.CGID, Mode: p.Mode, Seq: p.Seq}
}

func msqidDS(ds ipc.MsqidDS) sys.MsqidDS {
	return sys.MsqidDS{
		Perm: ipcPerm(ds.Perm), Stime: ds.Stime, Rtime: ds.Rtime, Ctime: ds.Ctime,
		Cbytes: ds.Cbytes, Qnum: ds.Qnum, Qbytes: ds.Qbytes, Lspid: ds.Lspid, Lrpid: ds.Lrpid,
	}
}
