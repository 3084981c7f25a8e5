//go:build linux

package supervise

import (
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

const semctlNumber = unix.SYS_SEMCTL

func (c *call) semget() {
	if t := c.task(); t != nil {
		c.result(t.Semget(ipc.Key(c.int(0)), c.int(1), c.int(2)))
	}
}

func (c *call) semop() { c.operate(nil) }

func (c *call) semtimedop() {
	if c.args[3] == 0 {
		c.operate(nil)
		return
	}
	var timeout unix.Timespec
	if errno := readStruct(c, c.args[3], &timeout); errno != 0 {
		c.fail(errno)
		return
	}
	d := time.Duration(-1) // which is invalid
	if timeout.Sec >= 0 && timeout.Nsec >= 0 && timeout.Nsec < int64(time.Second) {
		d = saturated(timeout.Sec, timeout.Nsec)
	}
	c.operate(&d)
}

// saturated is a duration of seconds and nanoseconds, the longest if it is
// longer than that.
func saturated(seconds, nanoseconds int64) time.Duration {
	const longest = time.Duration(1<<63 - 1)
	if seconds >= int64(longest/time.Second) {
		return longest
	}
	return time.Duration(seconds)*time.Second + time.Duration(nanoseconds)
}

// operate is semop and semtimedop. Who has ended has undone by now what was to
// be undone, if anybody has ever had anything.
func (c *call) operate(timeout *time.Duration) {
	if c.s.undoes {
		c.s.reap()
	}
	t := c.task()
	if t == nil {
		return
	}
	id, n := c.int(0), c.args[2]
	limits, _ := t.Limits()
	switch n = n & 0xffffffff; {
	case n > uint64(uint32(limits.Semopm)):
		c.fail(syscall.E2BIG)
		return
	case n == 0:
		c.fail(syscall.EINVAL)
		return
	}
	const size = int(unsafe.Sizeof(ipc.Sembuf{}))
	data := c.read(c.args[1], int(n)*size)
	if len(data) < int(n)*size {
		c.fail(syscall.EFAULT)
		return
	}
	sops := unsafe.Slice((*ipc.Sembuf)(unsafe.Pointer(unsafe.SliceData(data))), n)
	if id < 0 {
		c.fail(syscall.EINVAL)
		return
	}
	c.s.undoes = c.s.undoes || slices.ContainsFunc(sops, func(sop ipc.Sembuf) bool { return sop.Flg&ipc.SemUndo != 0 })
	c.sleep(t.StartSemtimedop(c, id, sops, timeout), syscall.EINTR)
}

// semctl is semctl(2), whose last argument is a number or a pointer.
func (c *call) semctl() {
	c.s.reap()
	t := c.task()
	if t == nil {
		return
	}
	id, num, cmd := c.int(0), c.int(1), c.int(2)
	if id < 0 {
		c.fail(syscall.EINVAL)
		return
	}
	switch cmd {
	case sys.IPCRmid:
		c.result(0, t.SemctlRmid(id))
	case sys.IPCSet:
		c.semctlSet(t, id)
	case sys.IPCStat:
		ds, err := t.SemctlStat(id)
		stat(c, 0, semidDS(ds), err)
	case sys.SemStat:
		got, ds, err := t.SemStat(id)
		stat(c, got, semidDS(ds), err)
	case sys.SemStatAny:
		got, ds, err := t.SemStatAny(id)
		stat(c, got, semidDS(ds), err)
	case sys.IPCInfo:
		info, highest, err := t.SemctlInfo()
		stat(c, highest, seminfo(info), err)
	case sys.SemInfo:
		info, highest, err := t.SemctlInfo()
		used, _, _ := t.SemInfo()
		into := seminfo(info)
		into.Usz, into.Aem = number(used.Sets), number(used.Semaphores)
		stat(c, highest, into, err)
	case sys.SemGetVal:
		c.result(t.SemctlGetval(id, num))
	case sys.SemGetPID:
		c.result(t.SemctlGetpid(id, num))
	case sys.SemGetNcnt:
		c.result(t.SemctlGetncnt(id, num))
	case sys.SemGetZcnt:
		c.result(t.SemctlGetzcnt(id, num))
	case sys.SemSetVal:
		c.result(0, t.SemctlSetval(id, num, c.int(3)))
	case sys.SemGetAll:
		c.getall(t, id)
	case sys.SemSetAll:
		c.setall(t, id)
	default:
		c.fail(syscall.EINVAL)
	}
}

func (c *call) semctlSet(t *userspace.Task, id int) {
	var ds sys.SemidDS
	if errno := readStruct(c, c.args[3], &ds); errno != 0 {
		c.fail(errno)
		return
	}
	c.result(0, t.SemctlSet(id, permSet(&ds.Perm)))
}

func (c *call) getall(t *userspace.Task, id int) {
	values, err := t.SemctlGetall(id)
	if err != nil {
		c.result(0, err)
		return
	}
	if errno := c.write(c.args[3], bytesOfAll(values)); errno != 0 {
		c.fail(errno)
		return
	}
	c.send(0)
}

// setall finds mistakes in the kernel's order: the set, permission, memory,
// values.
func (c *call) setall(t *userspace.Task, id int) {
	nsems, err := t.SemctlSettable(id)
	if err != nil {
		c.result(0, err)
		return
	}
	values := make([]uint16, nsems)
	data := bytesOfAll(values)
	if c.readInto(c.args[3], data) < len(data) {
		c.fail(syscall.EFAULT)
		return
	}
	c.result(0, t.SemctlSetall(id, values))
}

func bytesOfAll(values []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 2*len(values))
}

func semidDS(ds ipc.SemidDS) sys.SemidDS {
	return sys.SemidDS{Perm: ipcPerm(ds.Perm), Otime: ds.Otime, Ctime: ds.Ctime, Nsems: ds.Nsems}
}

func seminfo(info ipc.Seminfo) sys.SemInfoDS {
	return sys.SemInfoDS{
		Map: number(info.Semmap), Mni: number(info.Semmni), Mns: number(info.Semmns), Mnu: number(info.Semmnu), Msl: number(info.Semmsl),
		Opm: number(info.Semopm), Ume: number(info.Semume), Usz: number(info.Semusz), Vmx: number(info.Semvmx), Aem: number(info.Semaem),
	}
}
