package userspace_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// TestUserNamespace: ids are shown as the task's user namespace has them,
// 65534 those that it has not, which IPC_SET refuses (SEMANTICS A.2.6, A.2.11).
func TestUserNamespace(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	mapped := &userspace.UserNamespace{
		UIDs: []userspace.IDRange{{Inside: 0, Outside: 1000, Count: 1}, {Inside: 1, Outside: 100000, Count: 10}},
		GIDs: []userspace.IDRange{{Inside: 5, Outside: 1000, Count: 1}},
	}
	inside, outside := userspace.User(1000, 1000), userspace.User(0, 0)
	inside.Users = mapped
	p, root := ns.Start(inside), ns.Start(outside)
	id := must(p.Msgget(1, ipc.Creat|0o666))(t)
	other := must(root.Msgget(2, ipc.Creat|0o666))(t)
	if perm := must(p.MsgctlStat(id))(t).Perm; perm.UID != 0 || perm.GID != 5 {
		t.Errorf("its own queue has owner %d:%d, want 0:5", perm.UID, perm.GID)
	}
	if perm := must(p.MsgctlStat(other))(t).Perm; perm.UID != 65534 || perm.CGID != 65534 {
		t.Errorf("root's queue has owner %d and creator's group %d, want 65534", perm.UID, perm.CGID)
	}
	noError(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{UID: 3, GID: 5}}))
	if perm := must(root.MsgctlStat(id))(t).Perm; perm.UID != 100002 || perm.GID != 1000 {
		t.Errorf("outside, the owner is %d:%d, want 100002:1000", perm.UID, perm.GID)
	}
	for _, set := range []ipc.PermSet{{UID: 11, GID: 5}, {UID: 3, GID: 6}} {
		if err := p.MsgctlSet(id, ipc.MsqidSet{PermSet: set}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("owner %d:%d: %v, want EINVAL", set.UID, set.GID, err)
		}
	}
}

// TestSeqWraps has the seq go from 65534 to 0 (SEMANTICS A.1.3), where a
// snapshot saves four million queues.
func TestSeqWraps(t *testing.T) {
	_, rest := header(snapshotOfNothing)
	const cursor, last, seq = 18, 19, 20
	namespace := records(assemble(rest[:len(rest)-21]))[0].with(cursor, 63).with(last, 62).with(seq, 65534)
	ns := must(userspace.Restore(bytes.NewReader(assemble(namespace.encode())), userspace.Options{}))(t)
	p := ns.Start(userspace.User(0, 0))
	for _, want := range []int{65534<<15 | 63, 0, 1} {
		if id := must(p.Msgget(ipc.Private, 0o600))(t); id != want {
			t.Errorf("id %d, want %d", id, want)
		}
	}
}

// TestOutcomeAndCancellation ends the context of a call just when its outcome
// comes: that has happened, and counts.
func TestOutcomeAndCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ns := userspace.New(userspace.Options{Observer: func(e userspace.Event) {
			if e.Call == "msgrcv" {
				cancel()
			}
		}})
		p := ns.Start(userspace.User(0, 0))
		id := must(p.Msgget(1, ipc.Creat|0o600))(t)
		result := make(chan error, 1)
		go func() {
			_, _, err := p.Msgrcv(ctx, id, 0, nil, 0)
			result <- err
		}()
		synctest.Wait()
		noError(t, p.Msgsnd(t.Context(), id, 1, nil, 0))
		noError(t, <-result)
	})
}

// TestRemovalOfWhatMuchSleepsOn ends all calls with EIDRM (SEMANTICS A.4.9),
// whatever they wait for.
func TestRemovalOfWhatMuchSleepsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{})
		p := ns.Start(userspace.User(0, 0))
		id := must(p.Msgget(1, ipc.Creat|0o600))(t)
		results := make(chan error)
		receive := func(typ int64, flags int) {
			_, _, err := p.Msgrcv(t.Context(), id, typ, nil, flags)
			results <- err
		}
		selectors := []int64{0, 1, 1, 2, -3, math.MinInt64}
		for _, typ := range selectors {
			go receive(typ, 0)
		}
		go receive(5, ipc.MsgExcept)
		synctest.Wait()
		noError(t, ns.Broken())
		// One that may not receive any more ends (A.2.10); all are root's.
		noError(t, p.MsgctlSet(id, ipc.MsqidSet{}))
		noError(t, p.MsgctlRmid(id))
		for range len(selectors) + 1 {
			if err := <-results; !errors.Is(err, syscall.EIDRM) {
				t.Errorf("%v, want EIDRM", err)
			}
		}
		if p.Sleeping() != 0 {
			t.Errorf("%d calls sleep", p.Sleeping())
		}
	})
}

// TestExcept receives the first message of another type (SEMANTICS A.4.1).
func TestExcept(t *testing.T) {
	p := userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
	id := must(p.Msgget(1, ipc.Creat|0o600))(t)
	large := make([]byte, 8192)
	for _, typ := range []int64{1, 1, 2} {
		noError(t, p.Msgsnd(t.Context(), id, typ, nil, ipc.NoWait))
	}
	typ, _, err := p.Msgrcv(t.Context(), id, 1, large, ipc.MsgExcept)
	if err != nil || typ != 2 {
		t.Errorf("received type %d (%v), want 2", typ, err)
	}
	if _, _, err := p.Msgrcv(t.Context(), id, 1, large, ipc.MsgExcept|ipc.NoWait); !errors.Is(err, syscall.ENOMSG) {
		t.Errorf("%v, want ENOMSG", err)
	}
}

// TestLargeMessage is of more bytes than one that is used again keeps.
func TestLargeMessage(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	p := ns.Start(userspace.User(0, 0))
	noError(t, ns.SetLimit("msgmax", 1<<20))
	noError(t, ns.SetLimit("msgmnb", 1<<20))
	id := must(p.Msgget(1, ipc.Creat|0o600))(t)
	text := bytes.Repeat([]byte("x"), 1<<20)
	noError(t, p.Msgsnd(t.Context(), id, 1, text, 0))
	noError(t, sameAfterRestore(ns))
	buffer := make([]byte, len(text))
	if _, n, err := p.Msgrcv(t.Context(), id, 0, buffer, 0); err != nil || !bytes.Equal(buffer[:n], text) {
		t.Errorf("received %d bytes, %v", n, err)
	}
}

// TestUndoOfSeveralSets keeps the set that was used last first (SEMANTICS
// A.5.11), through a snapshot too.
func TestUndoOfSeveralSets(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	p := ns.Start(userspace.User(0, 0))
	sets := []int{must(p.Semget(1, 1, ipc.Creat|0o600))(t), must(p.Semget(2, 1, ipc.Creat|0o600))(t)}
	up := []ipc.Sembuf{{Op: 1, Flg: ipc.SemUndo}}
	for _, set := range []int{0, 1, 0, 0} {
		noError(t, p.Semop(t.Context(), sets[set], up))
	}
	var order []byte
	for _, r := range records(snapshot(t, ns)) {
		if r.tag == 'u' {
			order = append(order, r.body[0])
		}
	}
	if !bytes.Equal(order, []byte{0, 1}) {
		t.Errorf("sets %v are given back to, want 0 before 1", order)
	}
	noError(t, sameAfterRestore(ns))
	p.Exit()
	root := ns.Start(userspace.User(0, 0))
	for _, set := range sets {
		if value := must(root.SemctlGetval(set, 0))(t); value != 0 {
			t.Errorf("set %d: %d is left", set, value)
		}
	}
}

// TestForkHasAttached: a child has attached what its parent has, which is who
// has attached it (SEMANTICS A.6.2), and a snapshot has both.
func TestForkHasAttached(t *testing.T) {
	for name, memory := range memories {
		t.Run(name, func(t *testing.T) {
			ns := userspace.New(userspace.Options{Memory: memory})
			parent := ns.Start(userspace.User(0, 0))
			id := must(parent.Shmget(1, 1, ipc.Creat|0o600))(t)
			attached := must(parent.Shmat(id, 0, 0))(t)
			child := parent.Fork()
			if ds := must(parent.ShmctlStat(id))(t); ds.Nattch != 2 || ds.Lpid != int32(parent.PID()) {
				t.Errorf("%d attachments, the last of process %d", ds.Nattch, ds.Lpid)
			}
			noError(t, sameAfterRestore(ns))
			noError(t, parent.Shmdt(attached))
			noError(t, child.Shmdt(child.Attachments()[0].Memory))
			noError(t, ns.Broken())
			noError(t, parent.ShmctlRmid(id))
		})
	}
}

// TestThreads share a process, and each has an id.
func TestThreads(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	first := ns.Start(userspace.User(0, 0))
	second := first.Thread()
	if first.TID() != first.PID() || second.PID() != first.PID() || second.TID() == first.TID() {
		t.Errorf("threads %d and %d of processes %d and %d", first.TID(), second.TID(), first.PID(), second.PID())
	}
}

// unwilling is memory whose error is no errno.
type unwilling struct{}

func (unwilling) Allocate(uint64) (userspace.SegmentMemory, error) {
	return nil, errors.New("not today")
}

func TestMemoryWithoutErrno(t *testing.T) {
	p := userspace.New(userspace.Options{Memory: unwilling{}}).Start(userspace.User(0, 0))
	if _, err := p.Shmget(1, 1, ipc.Creat|0o600); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("%v, want ENOMEM", err)
	}
}

// TestAnotherLimit: what there is not cannot be set (SEMANTICS A.3: auto_msgmni
// takes 0 and 1, and does nothing).
func TestAnotherLimit(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	for value, want := range map[int64]error{0: nil, 1: nil, 2: syscall.EINVAL} {
		if err := ns.SetLimit("auto_msgmni", value); !errors.Is(err, want) {
			t.Errorf("auto_msgmni %d: %v, want %v", value, err, want)
		}
	}
	if err := ns.SetLimit("msgall", 1); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want ENOENT", err)
	}
	if _, err := ns.NextID("mq"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want ENOENT", err)
	}
	if err := ns.SetNextID("mq", 1); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want ENOENT", err)
	}
}

// TestNotified: a queue tells who is to be notified.
func TestNotified(t *testing.T) {
	p := userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
	d := must(p.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, nil))(t)
	cancel := must(d.Notify(func() {}))(t)
	if list := must(p.MqList())(t); list[0].NotifyPID != int32(p.PID()) {
		t.Errorf("process %d is notified", list[0].NotifyPID)
	}
	noError(t, cancel())
	if list := must(p.MqList())(t); list[0].NotifyPID != 0 {
		t.Errorf("process %d is notified after all", list[0].NotifyPID)
	}
}

// TestFirstToGoOn: of two operations that can go on, the one that came first does
// (SEMANTICS A.5.4); the other waits on.
func TestFirstToGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{})
		p := ns.Start(userspace.User(0, 0))
		id := must(p.Semget(1, 3, ipc.Creat|0o600))(t)
		order := make(chan int, 3)
		for i, num := range []uint16{1, 0, 0} {
			go func() {
				p.Semop(t.Context(), id, []ipc.Sembuf{{Num: num, Op: -1}})
				order <- i
			}()
			synctest.Wait()
		}
		noError(t, p.SemctlSetall(id, []uint16{1, 1, 0}))
		synctest.Wait()
		noError(t, ns.Broken())
		if len(order) != 2 || p.Sleeping() != 1 {
			t.Errorf("%d have gone on, %d sleep", len(order), p.Sleeping())
		}
		p.Exit()
	})
}

// TestZerosOfSeveral: who waits for several zeros goes on when the last is there.
func TestZerosOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{})
		p := ns.Start(userspace.User(0, 0))
		id := must(p.Semget(1, 2, ipc.Creat|0o600))(t)
		noError(t, p.SemctlSetall(id, []uint16{1, 1}))
		result := make(chan error, 1)
		go func() { result <- p.Semop(t.Context(), id, []ipc.Sembuf{{Num: 0}, {Num: 1}}) }()
		go p.Semop(t.Context(), id, []ipc.Sembuf{{Num: 0, Op: 1}, {Num: 1, Op: -3}})
		synctest.Wait()
		noError(t, p.SemctlSetval(id, 0, 0))
		if zcnt := must(p.SemctlGetzcnt(id, 1))(t); zcnt != 1 {
			t.Errorf("%d wait for a zero of the second semaphore, want 1", zcnt)
		}
		noError(t, p.SemctlSetval(id, 1, 0))
		noError(t, <-result)
		noError(t, ns.Broken())
		p.Exit()
	})
}

// TestNice: of those that wait for a POSIX queue, who is less nice is served
// first (SEMANTICS A.7.8).
func TestNice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{})
		order := make(chan int, 4)
		for i, nice := range []int{10, 0, -5, 0} {
			who := userspace.User(0, 0)
			who.Nice = nice
			d := must(ns.Start(who).MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 1, Msgsize: 1}))(t)
			go func() {
				d.Timedreceive(t.Context(), make([]byte, 1))
				order <- i
			}()
			synctest.Wait()
		}
		d := must(ns.Start(userspace.User(0, 0)).MqOpen("/q", syscall.O_RDWR, 0, nil))(t)
		for _, want := range []int{2, 1, 3, 0} {
			noError(t, d.Timedsend(t.Context(), nil, 0))
			if got := <-order; got != want {
				t.Errorf("receiver %d is served, want %d", got, want)
			}
		}
	})
}

// TestUnreadable: of a queue that one may not read, the mode is told alone.
func TestUnreadable(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	must(ns.Start(userspace.User(0, 0)).MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, nil))(t)
	if list := must(ns.Start(userspace.User(1, 1)).MqList())(t); !list[0].Unreadable || list[0].Mode != 0o600 || list[0].Attr.Maxmsg != 0 {
		t.Errorf("it is told %+v", list[0])
	}
}

// TestRangeOfOneThatWaits: an operation that has waited and would pass the range
// of its adjustment fails, and the next one goes on (SEMANTICS A.5.3, A.5.11; the
// kernel was seen to do so).
func TestRangeOfOneThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{})
		p, other := ns.Start(userspace.User(0, 0)), ns.Start(userspace.User(0, 0))
		id := must(p.Semget(1, 1, ipc.Creat|0o600))(t)
		noError(t, p.SemctlSetval(id, 0, ipc.SemMaxValue))
		noError(t, p.Semop(t.Context(), id, []ipc.Sembuf{{Op: -ipc.SemMaxValue, Flg: ipc.SemUndo}}))
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- p.Semop(t.Context(), id, []ipc.Sembuf{{Op: -1, Flg: ipc.SemUndo}}) }()
		synctest.Wait()
		go func() { second <- other.Semop(t.Context(), id, []ipc.Sembuf{{Op: -1}}) }()
		synctest.Wait()
		noError(t, other.Semop(t.Context(), id, []ipc.Sembuf{{Op: 1}}))
		if err := <-first; !errors.Is(err, syscall.ERANGE) {
			t.Errorf("the first: %v, want ERANGE", err)
		}
		noError(t, <-second)
	})
}

// TestMemoryOfLongQueue: a queue that was long once takes no memory for ever.
func TestMemoryOfLongQueue(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	p := ns.Start(userspace.User(0, 0))
	noError(t, ns.SetLimit("msgmnb", 64<<20))
	id := must(p.Msgget(1, ipc.Creat|0o600))(t)
	text := make([]byte, 8192)
	before := heapInUse()
	for range 8000 {
		noError(t, p.Msgsnd(t.Context(), id, 1, text, ipc.NoWait))
	}
	for range 8000 {
		_, _, err := p.Msgrcv(t.Context(), id, 0, text, ipc.NoWait)
		noError(t, err)
	}
	if after := heapInUse(); after > before+8<<20 {
		t.Errorf("%d bytes are in use, %d were", after, before)
	}
	runtime.KeepAlive(ns)
}

func heapInUse() uint64 {
	runtime.GC()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return now.HeapAlloc
}
