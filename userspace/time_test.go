package userspace_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// TestTimes lets a second pass before every call, and looks at which of an
// object's times are those of the call (SEMANTICS A.4.10, A.5.7, A.6.1, A.6.2).
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
		start := time.Now().Unix()
		var memory []byte
		for i, step := range []struct {
			call string
			do   func() error
			want string // stime rtime ctime, otime ctime, atime dtime ctime: seconds since the start, - for never
		}{
			{"msgget", func() error { _, err := p.Msgget(1, ipc.Creat|0o600); return err }, "- - 0"},
			{"semget", func() error { _, err := p.Semget(1, 1, ipc.Creat|0o600); return err }, "- - 0, - 1"},
			{"shmget", func() error { _, err := p.Shmget(1, 1, ipc.Creat|0o600); return err }, "- - 0, - 1, - - 2"},
			{"msgsnd", func() error { return p.Msgsnd(t.Context(), 0, 1, nil, 0) }, "3 - 0, - 1, - - 2"},
			{"msgrcv", func() error { _, _, err := p.Msgrcv(t.Context(), 0, 0, nil, 0); return err }, "3 4 0, - 1, - - 2"},
			{"msgctl", func() error { return p.MsgctlSet(0, ipc.MsqidSet{Qbytes: 100}) }, "3 4 5, - 1, - - 2"},
			{"semop", func() error { return p.Semop(t.Context(), 0, []ipc.Sembuf{{Op: 1}}) }, "3 4 5, 6 1, - - 2"},
			{"SETVAL", func() error { return p.SemctlSetval(0, 0, 0) }, "3 4 5, 6 7, - - 2"},
			{"semop 0", func() error { return p.Semop(t.Context(), 0, []ipc.Sembuf{{}}) }, "3 4 5, 8 7, - - 2"},
			{"SETALL", func() error { return p.SemctlSetall(0, []uint16{1}) }, "3 4 5, 8 9, - - 2"},
			{"semctl", func() error { return p.SemctlSet(0, ipc.PermSet{}) }, "3 4 5, 8 10, - - 2"},
			{"shmat", func() (err error) { memory, err = p.Shmat(0, 0, 0); return err }, "3 4 5, 8 10, 11 - 2"},
			{"shmdt", func() error { return p.Shmdt(memory) }, "3 4 5, 8 10, 11 12 2"},
			{"shmctl", func() error { return p.ShmctlSet(0, ipc.PermSet{Mode: 0o600}) }, "3 4 5, 8 10, 11 12 13"},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.call, err)
			}
			if got := times(p, start); got != step.want {
				t.Errorf("%d %s: %s, want %s", i, step.call, got, step.want)
			}
			time.Sleep(time.Second)
		}
	})
}

func times(p *userspace.Task, start int64) string {
	since := func(times ...int64) string {
		var texts []string
		for _, at := range times {
			if at == 0 {
				texts = append(texts, "-")
			} else {
				texts = append(texts, strconv.FormatInt(at-start, 10))
			}
		}
		return strings.Join(texts, " ")
	}
	text := ""
	if ds, err := p.MsgctlStat(0); err == nil {
		text += since(ds.Stime, ds.Rtime, ds.Ctime)
	}
	if _, ds, err := p.SemStatAny(0); err == nil {
		text += ", " + since(ds.Otime, ds.Ctime)
	}
	if ds, err := p.ShmctlStat(0); err == nil {
		text += ", " + since(ds.Atime, ds.Dtime, ds.Ctime)
	}
	return text
}

// TestTimeOfHandOver: who sleeps gets its message, and both times are that of
// the call that has sent it.
func TestTimeOfHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{})
		p := ns.Start(userspace.User(0, 0))
		id := must(p.Msgget(1, ipc.Creat|0o600))(t)
		go p.Msgrcv(t.Context(), id, 0, nil, 0)
		time.Sleep(time.Minute)
		noError(t, p.Msgsnd(t.Context(), id, 1, nil, 0))
		if ds := must(p.MsgctlStat(id))(t); ds.Rtime != time.Now().Unix() || ds.Stime != ds.Rtime {
			t.Errorf("rtime %d, stime %d, want %d", ds.Rtime, ds.Stime, time.Now().Unix())
		}
	})
}

// TestSemtimedopExpiry waits exactly as long as it was told to.
func TestSemtimedopExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{})
		p := ns.Start(userspace.User(0, 0))
		id := must(p.Semget(1, 2, ipc.Creat|0o600))(t)
		down := []ipc.Sembuf{{Op: -1}}
		for _, timeout := range []time.Duration{0, 1, time.Second, 48 * time.Hour} {
			begin := time.Now()
			err := p.Semtimedop(t.Context(), id, down, timeout)
			if took := time.Since(begin); !errors.Is(err, syscall.EAGAIN) || took != timeout {
				t.Errorf("a timeout of %v: %v after %v", timeout, err, took)
			}
		}
		if err := p.Semtimedop(t.Context(), id, down, -1); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("a timeout below 0: %v, want EINVAL", err)
		}

		done := make(chan error, 1)
		go func() { done <- p.Semtimedop(t.Context(), id, down, time.Second) }()
		time.Sleep(time.Second - 1)
		noError(t, p.Semop(t.Context(), id, []ipc.Sembuf{{Op: 1}}))
		noError(t, <-done)
		time.Sleep(time.Hour) // the time is over, and nobody sleeps
		if _, sleepers, _ := ns.Counts(); sleepers != 0 {
			t.Errorf("%d calls sleep", sleepers)
		}
		noError(t, ns.Broken())
	})
}

// sleepers are calls that nobody lets go on.
func sleepers(t *testing.T, p *userspace.Task) map[string]func(context.Context) error {
	queue := must(p.Msgget(1, ipc.Creat|0o600))(t)
	full := must(p.Msgget(2, ipc.Creat|0o600))(t)
	noError(t, p.MsgctlSet(full, ipc.MsqidSet{Qbytes: 0}))
	set := must(p.Semget(1, 2, ipc.Creat|0o600))(t)
	attr := &ipc.MqAttr{Maxmsg: 1, Msgsize: 8}
	empty := must(p.MqOpen("/empty", syscall.O_CREAT|syscall.O_RDWR, 0o600, attr))(t)
	fullMq := must(p.MqOpen("/full", syscall.O_CREAT|syscall.O_RDWR, 0o600, attr))(t)
	noError(t, fullMq.Timedsend(t.Context(), nil, 0))
	return map[string]func(context.Context) error{
		"msgrcv":      func(ctx context.Context) error { _, _, err := p.Msgrcv(ctx, queue, 0, nil, 0); return err },
		"msgrcv of 5": func(ctx context.Context) error { _, _, err := p.Msgrcv(ctx, queue, 5, nil, 0); return err },
		"msgsnd":      func(ctx context.Context) error { return p.Msgsnd(ctx, full, 1, nil, 0) },
		"semop":       func(ctx context.Context) error { return p.Semop(ctx, set, []ipc.Sembuf{{Op: -1}}) },
		"semop of several": func(ctx context.Context) error {
			return p.Semop(ctx, set, []ipc.Sembuf{{Op: 1, Flg: ipc.SemUndo}, {Num: 1, Op: -1}})
		},
		"semtimedop":      func(ctx context.Context) error { return p.Semtimedop(ctx, set, []ipc.Sembuf{{Op: -1}}, time.Hour) },
		"mq_timedreceive": func(ctx context.Context) error { _, _, err := empty.Timedreceive(ctx, make([]byte, 8)); return err },
		"mq_timedsend":    func(ctx context.Context) error { return fullMq.Timedsend(ctx, nil, 0) },
	}
}

// TestDeadline ends calls that sleep, at the deadline of their contexts and
// not before; one that is past ends a call that would sleep at once.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{Observer: func(userspace.Event) {}})
		p := ns.Start(userspace.User(0, 0))
		for name, call := range sleepers(t, p) {
			for _, wait := range []time.Duration{time.Minute, 0} {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				begin := time.Now()
				err := call(ctx)
				if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != wait {
					t.Errorf("%s, deadline after %v: %v after %v", name, wait, err, took)
				}
				cancel()
			}
			noError(t, ns.Broken())
		}
		if _, sleepers, _ := ns.Counts(); sleepers != 0 {
			t.Errorf("%d calls sleep", sleepers)
		}
	})
}

// TestSnapshotWithoutSleepers: calls that sleep go on, and are not restored.
func TestSnapshotWithoutSleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := userspace.New(userspace.Options{})
		p := ns.Start(userspace.User(0, 0))
		calls := sleepers(t, p)
		for _, call := range calls {
			go call(t.Context())
		}
		synctest.Wait()
		noError(t, sameAfterRestore(ns))
		if _, sleepers, _ := ns.Counts(); sleepers != len(calls) {
			t.Errorf("%d calls sleep, of %d", sleepers, len(calls))
		}
		p.Exit()
	})
}

// TestSoak has thousands of tasks work together for hours of the bubble's
// clock: each round ends without an object, without a sleeper, and with no more
// memory than the first. IPCNS_SOAK=1h goes on for an hour, again and again.
func TestSoak(t *testing.T) {
	var duration time.Duration
	if text := os.Getenv("IPCNS_SOAK"); text != "" {
		duration = must(time.ParseDuration(text))(t)
	}
	for begin := time.Now(); ; {
		synctest.Test(t, soak)
		if time.Since(begin) >= duration || t.Failed() {
			return
		}
	}
}

func soak(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	first := uint64(0)
	for round := range 3 {
		soakRound(t, ns)
		switch now := heapInUse(); {
		case round == 0: // after which there is what is used again
			first = now
		case now > first+1<<20:
			t.Errorf("round %d: %d bytes are in use, %d were after the first", round, now, first)
		}
	}
}

// soakRound has 2000 tasks send, receive, lock and attach, some of which give
// up, and end by themselves or not.
func soakRound(t *testing.T, ns *userspace.Namespace) {
	root := ns.Start(userspace.User(0, 0))
	queue := must(root.Msgget(1, ipc.Creat|0o666))(t)
	set := must(root.Semget(1, 2, ipc.Creat|0o666))(t)
	segment := must(root.Shmget(1, 4096, ipc.Creat|0o666))(t)
	noError(t, root.SemctlSetval(set, 0, 10))
	for i := range 2000 {
		task := ns.Start(userspace.User(uint32(i%7), 0))
		go func() {
			defer task.Exit()
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%50)*time.Minute)
			defer cancel()
			work(ctx, task, i, queue, set, segment)
		}()
	}
	time.Sleep(30 * time.Minute)
	noError(t, ns.Broken())
	noError(t, sameAfterRestore(ns))
	time.Sleep(time.Hour)
	synctest.Wait()
	noError(t, root.MsgctlRmid(queue))
	noError(t, root.SemctlRmid(set))
	noError(t, root.ShmctlRmid(segment))
	root.Exit()
	if objects, sleepers, processes := ns.Counts(); objects+sleepers+processes != 0 {
		t.Errorf("%d objects, %d sleepers, %d processes are left", objects, sleepers, processes)
	}
	noError(t, ns.Broken())
}

// work uses one of everything until the context ends it.
func work(ctx context.Context, p *userspace.Task, i, queue, set, segment int) {
	text := make([]byte, 8+i%1000)
	memory, _ := p.Shmat(segment, 0, 0)
	defer p.Shmdt(memory)
	d, err := p.MqOpen(fmt.Sprintf("/%d", i%3), syscall.O_CREAT|syscall.O_RDWR, 0o666, &ipc.MqAttr{Maxmsg: 2, Msgsize: 8})
	if err == nil && i%2 == 0 {
		defer d.Close()
	}
	if i%10 == 0 {
		defer p.MqUnlink(fmt.Sprintf("/%d", i%3))
	}
	for ctx.Err() == nil {
		if p.Semtimedop(ctx, set, []ipc.Sembuf{{Op: -1, Flg: ipc.SemUndo}}, time.Minute) == nil {
			p.Msgsnd(ctx, queue, int64(i%5+1), text, 0)
			time.Sleep(time.Duration(i) * time.Millisecond)
			p.Semop(ctx, set, []ipc.Sembuf{{Op: 1, Flg: ipc.SemUndo}})
		}
		p.Msgrcv(ctx, queue, int64(-i%5), make([]byte, 1024), ipc.MsgNoError)
		if err == nil && i%2 == 0 {
			d.Timedsend(ctx, text[:8], uint(i%4))
		} else if err == nil {
			d.Timedreceive(ctx, text[:8])
		}
	}
}
