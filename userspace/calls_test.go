package userspace_test

import (
	"context"
	"fmt"
	"math"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
	"pgregory.net/rapid"
)

// FuzzCalls makes calls with all kinds of arguments, whose results do not
// matter here: none may panic, or leave a namespace that contradicts itself or
// that a snapshot does not bring back. At last every process ends, and every
// sleep with it.
func FuzzCalls(f *testing.F) {
	for call := range byte(calls) {
		f.Add([]byte{call, 1, 0xc0, 0x03, 0, 0, call, 1, 0xc0, 0x13, 1, 1, 1, 1, call, 2, 2, 2, 2, 2, 2})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			if err := play(data); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// TestSnapshotOfAnyNamespace makes calls as FuzzCalls does.
func TestSnapshotOfAnyNamespace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 1500).Draw(rt, "calls")
		var err error
		synctest.Test(t, func(*testing.T) { err = play(data) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// play makes the calls that data stands for, in a bubble.
func play(data []byte) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := &player{data: data, ctx: ctx, ns: userspace.New(userspace.Options{Memory: little{}})}
	p.tasks = []*userspace.Task{p.ns.Start(userspace.User(0, 0)), p.ns.Start(userspace.User(1000, 1000, 100))}
	for len(p.data) > 0 {
		p.call()
		synctest.Wait()
		if err := p.ns.Broken(); err != nil {
			return fmt.Errorf("after %s: %w", p.made, err)
		}
	}
	if err := sameAfterRestore(p.ns); err != nil {
		return err
	}
	for _, task := range p.tasks {
		task.Exit()
	}
	synctest.Wait()
	if _, sleepers, processes := p.ns.Counts(); sleepers != 0 || processes != 0 {
		return fmt.Errorf("%d calls sleep in %d processes after the end of all", sleepers, processes)
	}
	return p.ns.Broken()
}

// little is memory without large segments.
type little struct{ userspace.Anonymous }

func (l little) Allocate(bytes uint64) (userspace.SegmentMemory, error) {
	if bytes > 1<<20 {
		return nil, syscall.ENOMEM
	}
	return l.Anonymous.Allocate(bytes)
}

// A player takes its calls and their arguments from bytes.
type player struct {
	ns    *userspace.Namespace
	tasks []*userspace.Task
	task  *userspace.Task // who calls
	data  []byte
	ctx   context.Context
	made  string // the last call
}

func (p *player) byte() int {
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return int(b)
}

func pick[T any](p *player, from ...T) T { return from[p.byte()%len(from)] }

// flags are any 16 bits, or any at all.
func (p *player) flags() int {
	flags := p.byte() | p.byte()<<8
	if flags == 0xffff {
		return pick(p, flags, -1, math.MinInt, math.MaxInt)
	}
	return flags
}

// id is mostly one of the first.
func (p *player) id() int {
	if b := p.byte(); b < 240 {
		return b & 3
	}
	return pick(p, 4, 63, 32768, 32769, math.MaxInt32, -1, math.MinInt, math.MaxInt, 1<<32)
}

func (p *player) key() ipc.Key { return pick[ipc.Key](p, 1, 2, 3, 0, -1) }

func (p *player) name() string {
	return pick(p, "/a", "/b", "/c", "/", "a", "/.", "/a/b", "/a\x00", "/\xff\n")
}

func (p *player) text() []byte {
	text := make([]byte, pick(p, 0, 1, 8, 100, 8192, 8193, 16384))
	for i := range text {
		text[i] = byte(i)
	}
	return text
}

func (p *player) typ() int64 {
	return pick[int64](p, 1, 2, 3, 0, -1, -2, -3, math.MaxInt64, math.MinInt64)
}

func (p *player) num() int { return pick(p, 0, 1, 2, -1, math.MaxInt) }

func (p *player) sops() []ipc.Sembuf {
	sops := make([]ipc.Sembuf, pick(p, 1, 1, 2, 3, 0, 501))
	for i := range sops {
		flags := int16(0)
		if b := p.byte(); b&1 != 0 {
			flags = ipc.NoWait
		} else if b&2 != 0 {
			flags = ipc.SemUndo
		} else if b&4 != 0 {
			flags = -1
		}
		sops[i] = ipc.Sembuf{Num: pick[uint16](p, 0, 1, 2, 65535), Op: pick[int16](p, 1, -1, 0, 2, -3, 32767, -32768), Flg: flags}
	}
	return sops
}

func (p *player) permissions() ipc.PermSet {
	return ipc.PermSet{UID: pick[uint32](p, 0, 1000, 5, math.MaxUint32), GID: pick[uint32](p, 0, 1000, 100, math.MaxUint32), Mode: uint32(p.flags())}
}

// sleepy makes a call that may sleep, without waiting for it.
func (p *player) sleepy(call func(ctx context.Context, t *userspace.Task)) {
	task, ctx := p.task, p.ctx
	cancel := func() {}
	if p.byte()%4 == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Second)
	}
	go func() {
		defer cancel()
		call(ctx, task)
	}()
}

func (p *player) descriptor() (ipc.Mqd, bool) {
	open := p.task.Descriptors()
	if len(open) == 0 {
		return nil, false
	}
	return open[p.byte()%len(open)], true
}

// calls is how many kinds of calls there are.
const calls = 9

func (p *player) call() {
	kind := p.byte() % calls
	p.task = p.tasks[p.byte()%len(p.tasks)]
	p.made = fmt.Sprintf("call %d of process %d, %d bytes before the end", kind, p.task.PID(), len(p.data))
	[calls]func(){p.get, p.send, p.semop, p.attach, p.openQueue, p.useQueue, p.control, p.look, p.live}[kind]()
}

func (p *player) get() {
	key, flags := p.key(), p.flags()
	switch p.byte() % 3 {
	case 0:
		p.task.Msgget(key, flags)
	case 1:
		p.task.Semget(key, pick(p, 1, 2, 3, 0, -1, 300, 32001, math.MaxInt), flags)
	case 2:
		p.task.Shmget(key, pick[uint64](p, 1, 4096, 5000, 0, 1<<20+1, 1<<62, math.MaxUint64), flags)
	}
}

func (p *player) send() {
	id, typ, text, flags := p.id(), p.typ(), p.text(), p.flags()
	if p.byte()%2 == 0 {
		p.sleepy(func(ctx context.Context, t *userspace.Task) { t.Msgsnd(ctx, id, typ, text, flags) })
		return
	}
	p.sleepy(func(ctx context.Context, t *userspace.Task) { t.Msgrcv(ctx, id, typ, text, flags) })
}

func (p *player) semop() {
	id, sops := p.id(), p.sops()
	if p.byte()%2 == 0 {
		p.sleepy(func(ctx context.Context, t *userspace.Task) { t.Semop(ctx, id, sops) })
		return
	}
	timeout := pick(p, 0, time.Second, -1, math.MaxInt64)
	p.sleepy(func(ctx context.Context, t *userspace.Task) { t.Semtimedop(ctx, id, sops, timeout) })
}

func (p *player) attach() {
	if attached := p.task.Attachments(); len(attached) > 0 && p.byte()%2 == 0 {
		p.task.Shmdt(attached[p.byte()%len(attached)].Memory)
		return
	}
	memory, err := p.task.Shmat(p.id(), pick[uintptr](p, 0, 0, 0, 1, 4096), p.flags())
	if err == nil {
		memory[p.byte()%len(memory)] = byte(p.byte())
	}
	p.task.Shmdt(pick(p, make([]byte, 1), nil))
}

func (p *player) openQueue() {
	name := p.name()
	if p.byte()%3 == 0 {
		p.task.MqUnlink(name)
		return
	}
	attr := &ipc.MqAttr{Flags: int64(p.flags()), Maxmsg: pick[int64](p, 1, 2, 10, 0, -1, 65536, math.MaxInt64), Msgsize: pick[int64](p, 8, 100, 8192, 0, -1, 1<<24, math.MaxInt64)}
	flags := pick(p, syscall.O_CREAT|syscall.O_RDWR, syscall.O_RDWR, syscall.O_CREAT|syscall.O_WRONLY, syscall.O_CREAT|syscall.O_EXCL, 3, p.flags())
	p.task.MqOpen(name, flags, uint32(p.flags()), pick(p, attr, nil))
}

func (p *player) useQueue() {
	d, open := p.descriptor()
	if !open {
		return
	}
	text, priority := p.text(), pick[uint](p, 0, 1, 32767, 32768, math.MaxUint)
	switch p.byte() % 6 {
	case 0, 1:
		p.sleepy(func(ctx context.Context, _ *userspace.Task) { d.Timedsend(ctx, text, priority) })
	case 2:
		p.sleepy(func(ctx context.Context, _ *userspace.Task) { d.Timedreceive(ctx, text) })
	case 3:
		cancel, err := d.Notify(func() {})
		if err == nil && p.byte()%2 == 0 {
			cancel()
		}
	case 4:
		d.SetNonblock(p.byte()%2 == 0)
		d.Getattr()
	case 5:
		d.Close()
		d.Close()
	}
}

func (p *player) control() {
	t, id := p.task, p.id()
	switch p.byte() % 10 {
	case 0:
		t.MsgctlSet(id, ipc.MsqidSet{PermSet: p.permissions(), Qbytes: pick[uint64](p, 16384, 0, 1, 100, 16385, 1<<33, math.MaxUint64)})
	case 1:
		t.SemctlSet(id, p.permissions())
	case 2:
		t.ShmctlSet(id, p.permissions())
	case 3:
		t.MsgctlRmid(id)
	case 4:
		t.SemctlRmid(id)
	case 5:
		t.ShmctlRmid(id)
	case 6:
		t.SemctlSetval(id, p.num(), pick(p, 0, 1, 2, 32767, 32768, -1, math.MaxInt))
	case 7:
		t.SemctlSetall(id, pick(p, []uint16{1}, []uint16{0, 1}, []uint16{2, 0, 1}, nil, []uint16{32768}))
	case 8:
		t.ShmctlLock(id)
	case 9:
		t.ShmctlUnlock(id)
	}
}

// look makes all the calls that change nothing.
func (p *player) look() {
	t, id, num := p.task, p.id(), p.num()
	t.MsgctlStat(id)
	t.MsgStat(id)
	t.MsgStatAny(id)
	t.MsgctlInfo()
	t.MsgInfo()
	t.SemctlStat(id)
	t.SemStat(id)
	t.SemStatAny(id)
	t.SemctlInfo()
	t.SemInfo()
	t.SemctlGetall(id)
	t.SemctlGetval(id, num)
	t.SemctlGetpid(id, num)
	t.SemctlGetncnt(id, num)
	t.SemctlGetzcnt(id, num)
	t.ShmctlStat(id)
	t.ShmStat(id)
	t.ShmStatAny(id)
	t.ShmctlInfo()
	t.ShmInfo()
	t.MqCount()
	t.MqList()
	t.Limits()
	t.Sleeping()
	p.ns.NextID(pick(p, "msg", "sem", "shm", "mq"))
}

// live starts and ends processes, changes limits, and lets time pass.
func (p *player) live() {
	switch p.byte() % 7 {
	case 0:
		p.tasks = append(p.tasks, p.task.Fork())
	case 1:
		p.tasks = append(p.tasks, p.task.Thread())
	case 2:
		limit := uint64(p.byte() << 10)
		who := userspace.User(1000, 1000)
		who.RlimitMemlock, who.RlimitMsgqueue, who.Nice = &limit, &limit, p.byte()
		p.tasks = append(p.tasks, p.ns.Start(who))
	case 3:
		p.task.Exit()
	case 4:
		limit := ipc.AllLimits[p.byte()%len(ipc.AllLimits)]
		p.ns.SetLimit(limit.Name, pick[int64](p, 1, 0, 2, 128, 32000, -1, 32768, 65536, math.MaxInt32, math.MaxInt64, math.MinInt64))
	case 5:
		p.ns.SetNextID(pick(p, "msg", "sem", "shm", "mq"), pick(p, 0, 1, 2, 32768, math.MaxInt32, -1, math.MaxInt))
	case 6:
		time.Sleep(time.Second)
	}
}
