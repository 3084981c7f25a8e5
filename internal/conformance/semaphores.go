package conformance

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

var semaphores = []Case{
	{"A.5.1 new semaphores are 0", func(t *testing.T, w World) {
		p := w.Root()
		equal(t, "values", getall(t, p, semget(t, p, ipc.Private, 3, create)), "[0 0 0]")
	}},
	{"A.5.1 SETVAL takes 0 to 32767", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 5)
		for _, c := range []struct {
			value int
			errno syscall.Errno
		}{
			{0, 0}, {1, 0}, {ipc.SemMaxValue, 0},
			{-1, syscall.ERANGE}, {ipc.SemMaxValue + 1, syscall.ERANGE},
			{1<<31 - 1, syscall.ERANGE}, {-1 << 31, syscall.ERANGE},
		} {
			before := getval(t, p, id, 0)
			wantErrno(t, p.SemctlSetval(id, 0, c.value), c.errno)
			want := before
			if c.errno == 0 {
				want = c.value
			}
			equal(t, fmt.Sprint("after SETVAL ", c.value, ", the value"), getval(t, p, id, 0), want)
		}
	}},
	{"A.5.1 semop does nothing at all if one value would pass 32767", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, ipc.SemMaxValue)
		wantErrno(t, p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, +1), sembuf(1, +1)}), syscall.ERANGE)
		equal(t, "values", getall(t, p, id), "[1 32767]")
	}},

	{"A.5.2 semop does all of its operations or none", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, 0, 1)
		ops := []ipc.Sembuf{sembuf(0, -1), sembuf(1, -1, ipc.NoWait), sembuf(2, -1)}
		wantErrno(t, p.Semop(ctx, id, ops), syscall.EAGAIN)
		equal(t, "values", getall(t, p, id), "[1 0 1]")
		must(t, p.SemctlSetval(id, 1, 1))
		must(t, p.Semop(ctx, id, ops))
		equal(t, "values", getall(t, p, id), "[0 0 0]")
	}},
	{"A.5.2 each operation works on what those before it have left", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0)
		for _, c := range []struct {
			value int
			ops   []int16
			errno syscall.Errno
			left  int
		}{
			{0, []int16{+1, -1}, 0, 0},
			{0, []int16{-1, +1}, syscall.EAGAIN, 0},
			{1, []int16{-1, 0, +5}, 0, 5},
			{1, []int16{0, -1}, syscall.EAGAIN, 1},
			{2, []int16{-1, 0, +5}, syscall.EAGAIN, 2},
			{32767, []int16{-1, +1}, 0, 32767},
			{32767, []int16{+1, -1}, syscall.ERANGE, 32767},
			{0, []int16{+32767, -32767, 0, +7, -3}, 0, 4},
			{32767, []int16{-32768}, syscall.EAGAIN, 32767},
		} {
			must(t, p.SemctlSetval(id, 0, c.value))
			var ops []ipc.Sembuf
			for _, op := range c.ops {
				ops = append(ops, sembuf(0, op, ipc.NoWait))
			}
			t.Log(c.value, c.ops)
			wantErrno(t, p.Semop(ctx, id, ops), c.errno)
			equal(t, "the value", getval(t, p, id, 0), c.left)
		}
	}},
	{"A.5.2 a sleeper is not woken by a value that the same semop takes back", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0)
		over := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}) })
		semop(t, p, id, sembuf(0, +1), sembuf(0, -1))
		waiters(t, p, id, 0, 1, 0)
		semop(t, p, id, sembuf(0, +1))
		must(t, outcome(t, over))
	}},
	{"A.5.2 nobody reads values from the middle of a semop", func(t *testing.T, w World) {
		p, reader := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 1, 0)
		moved := make(chan error, 1)
		go func() {
			for range 500 {
				there, back := []ipc.Sembuf{sembuf(0, -1), sembuf(1, +1)}, []ipc.Sembuf{sembuf(1, -1), sembuf(0, +1)}
				if err := errors.Join(p.Semop(ctx, id, there), p.Semop(ctx, id, back)); err != nil {
					moved <- err
					return
				}
			}
			moved <- nil
		}()
		for len(moved) == 0 {
			if values := getall(t, reader, id); values != "[1 0]" && values != "[0 1]" {
				t.Errorf("values are %s", values)
				break
			}
		}
		must(t, outcome(t, moved))
	}},

	{"A.5.3 the first operation that cannot be done decides whether the call sleeps", func(t *testing.T, w World) {
		p := w.Root()
		for _, c := range []struct {
			values []uint16
			ops    []ipc.Sembuf
			errno  syscall.Errno // 0: it sleeps
		}{
			{[]uint16{0, 0}, []ipc.Sembuf{sembuf(0, -1, ipc.NoWait), sembuf(1, -1)}, syscall.EAGAIN},
			{[]uint16{0, 0}, []ipc.Sembuf{sembuf(0, -1), sembuf(1, -1, ipc.NoWait)}, 0},
			{[]uint16{1, 0}, []ipc.Sembuf{sembuf(0, -1), sembuf(1, -1, ipc.NoWait)}, syscall.EAGAIN},
			{[]uint16{1, 0}, []ipc.Sembuf{sembuf(0, -1, ipc.NoWait), sembuf(1, -1)}, 0},
			{[]uint16{1, 1}, []ipc.Sembuf{sembuf(0, 0, ipc.NoWait), sembuf(1, 0)}, syscall.EAGAIN},
			{[]uint16{1, 1}, []ipc.Sembuf{sembuf(0, 0), sembuf(1, 0, ipc.NoWait)}, 0},
		} {
			id := newSet(t, p, c.values...)
			t.Log(c.values, c.ops)
			if c.errno != 0 {
				wantErrno(t, p.Semop(ctx, id, c.ops), c.errno)
				continue
			}
			over := asleep(t, p, func() error { return p.Semop(ctx, id, c.ops) })
			must(t, p.SemctlRmid(id))
			wantErrno(t, outcome(t, over), syscall.EIDRM)
		}
	}},
	{"A.5.3 a sleeper fails with EAGAIN at an operation with IPC_NOWAIT that it comes to", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0, 0)
		over := asleep(t, p, func() error {
			return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1), sembuf(1, -1, ipc.NoWait)})
		})
		semop(t, p, id, sembuf(0, +1))
		wantErrno(t, outcome(t, over), syscall.EAGAIN)
		equal(t, "values", getall(t, p, id), "[1 0]")
	}},
	{"A.5.3 a sleeper fails with ERANGE at an operation that it comes to", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0, ipc.SemMaxValue)
		over := asleep(t, p, func() error {
			return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1), sembuf(1, +1)})
		})
		semop(t, p, id, sembuf(0, +1))
		wantErrno(t, outcome(t, over), syscall.ERANGE)
		equal(t, "values", getall(t, p, id), "[1 32767]")
	}},

	{"A.5.4 of two that wait for the same, the first gets it", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0)
		down := func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}) }
		first := asleep(t, p, down)
		second := asleep(t, p, down)
		semop(t, p, id, sembuf(0, +1))
		must(t, outcome(t, first))
		waiters(t, p, id, 0, 1, 0)
		stillAsleep(t, second)
		semop(t, p, id, sembuf(0, +1))
		must(t, outcome(t, second))
	}},
	{"A.5.4 a -2 waiter does not hold up a later -1 waiter", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0)
		two := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -2)}) })
		for range 3 {
			one := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}) })
			semop(t, p, id, sembuf(0, +1))
			must(t, outcome(t, one))
			waiters(t, p, id, 0, 1, 0)
		}
		stillAsleep(t, two)
		semop(t, p, id, sembuf(0, +2))
		must(t, outcome(t, two))
		equal(t, "the value", getval(t, p, id, 0), 0)
	}},
	{"A.5.4 all that wait for 0 are released by one 0", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, 0)
		zero := func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, 0)}) }
		over := []<-chan error{asleep(t, p, zero), asleep(t, p, zero), asleep(t, p, zero)}
		waiters(t, p, id, 0, 0, 3)
		semop(t, p, id, sembuf(0, -1), sembuf(1, 0))
		waiters(t, p, id, 0, 0, 0)
		for _, over := range over {
			must(t, outcome(t, over))
		}
	}},
	{"A.5.4 who waits for 0 goes before who then adds, whoever came first", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1)
		adds := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, 0), sembuf(0, +1)}) })
		zero := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, 0)}) })
		waiters(t, p, id, 0, 0, 2)
		semop(t, p, id, sembuf(0, -1))
		// Had the one that adds gone first, the other would wait on.
		waiters(t, p, id, 0, 0, 0)
		must(t, outcome(t, adds))
		must(t, outcome(t, zero))
		equal(t, "the value", getval(t, p, id, 0), 1)
	}},
	{"A.5.4 what one sleeper does wakes the next", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0, 0, 0)
		last := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(1, -1), sembuf(2, +1)}) })
		first := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1), sembuf(1, +1)}) })
		semop(t, p, id, sembuf(0, +1))
		must(t, outcome(t, first))
		must(t, outcome(t, last))
		equal(t, "values", getall(t, p, id), "[0 0 1]")
	}},

	{"A.5.5 a sleeper counts at its first operation that cannot be done, and nowhere else", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0, 0, 1)
		over := asleep(t, p, func() error {
			return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1), sembuf(1, -1), sembuf(2, 0)})
		})
		type counts struct{ ncnt, zcnt int }
		check := func(what string, want ...counts) {
			t.Helper()
			t.Log(what)
			for num, count := range want {
				waiters(t, p, id, num, count.ncnt, count.zcnt)
			}
		}
		check("at first", counts{1, 0}, counts{}, counts{})
		semop(t, p, id, sembuf(0, +1))
		check("semaphore 0 is 1", counts{}, counts{1, 0}, counts{})
		semop(t, p, id, sembuf(1, +1))
		check("semaphore 1 too", counts{}, counts{}, counts{0, 1})
		must(t, p.SemctlSetval(id, 0, 0))
		check("semaphore 0 is 0 again", counts{1, 0}, counts{}, counts{})
		equal(t, "values", getall(t, p, id), "[0 1 1]")
		must(t, p.SemctlSetall(id, []uint16{1, 1, 0}))
		must(t, outcome(t, over))
		check("at last", counts{}, counts{}, counts{})
	}},

	{"A.5.6 sempid is 0 at first", func(t *testing.T, w World) {
		p := w.Root()
		equal(t, "sempids", sempids(t, p, semget(t, p, ipc.Private, 2, create)), "[0 0]")
	}},
	{"A.5.6 sempid is the process of the last operation on that semaphore, a wait for 0 too", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := semget(t, p, ipc.Private, 3, create)
		semop(t, p, id, sembuf(0, +1), sembuf(1, +1))
		equal(t, "sempids", sempids(t, p, id), fmt.Sprint([]int{p.PID(), p.PID(), 0}))
		semop(t, q, id, sembuf(0, -1), sembuf(2, 0))
		equal(t, "sempids", sempids(t, p, id), fmt.Sprint([]int{q.PID(), p.PID(), q.PID()}))
	}},
	{"A.5.6 a semop that fails leaves sempid", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := semget(t, p, ipc.Private, 2, create)
		semop(t, p, id, sembuf(0, +1))
		wantErrno(t, q.Semop(ctx, id, []ipc.Sembuf{sembuf(0, +1), sembuf(1, -1, ipc.NoWait)}), syscall.EAGAIN)
		wantErrno(t, q.Semop(ctx, id, []ipc.Sembuf{sembuf(0, +32767)}), syscall.ERANGE)
		equal(t, "sempids", sempids(t, p, id), fmt.Sprint([]int{p.PID(), 0}))
	}},
	{"A.5.6 SETVAL sets sempid of its semaphore, SETALL of all", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := semget(t, p, ipc.Private, 2, create)
		must(t, p.SemctlSetval(id, 1, 1))
		equal(t, "sempids", sempids(t, p, id), fmt.Sprint([]int{0, p.PID()}))
		must(t, q.SemctlSetall(id, []uint16{1, 1}))
		equal(t, "sempids", sempids(t, p, id), fmt.Sprint([]int{q.PID(), q.PID()}))
		wantErrno(t, p.SemctlSetval(id, 0, -1), syscall.ERANGE)
		wantErrno(t, p.SemctlSetall(id, []uint16{1, 40000}), syscall.ERANGE)
		equal(t, "sempids", sempids(t, p, id), fmt.Sprint([]int{q.PID(), q.PID()}))
	}},
	{"A.5.6 sempid is who slept, not who woke it", func(t *testing.T, w World) {
		p, sleeper := w.Root(), w.Process(t, Credentials{})
		id := semget(t, p, ipc.Private, 1, create)
		over := asleep(t, sleeper, func() error { return sleeper.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}) })
		semop(t, p, id, sembuf(0, +1))
		must(t, outcome(t, over))
		equal(t, "sempids", sempids(t, p, id), fmt.Sprint([]int{sleeper.PID()}))
	}},

	{"A.5.7 otime is set by semop, a wait for 0 too, and by nothing else", func(t *testing.T, w World) {
		p := w.Root()
		id := semget(t, p, ipc.Private, 1, create)
		must(t, p.SemctlSetval(id, 0, 1))
		must(t, p.SemctlSetall(id, []uint16{0}))
		must(t, p.SemctlSet(id, ipc.PermSet{Mode: 0o600}))
		wantErrno(t, p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1, ipc.NoWait)}), syscall.EAGAIN)
		equal(t, "otime without a semop", semStat(t, p, id).Otime, 0)
		semop(t, p, id, sembuf(0, 0))
		if semStat(t, p, id).Otime == 0 {
			t.Error("otime is 0 after a wait for 0")
		}
	}},
	{"A.5.7 a SETVAL that releases a sleeper sets otime", func(t *testing.T, w World) {
		p := w.Root()
		id := semget(t, p, ipc.Private, 1, create)
		over := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}) })
		equal(t, "otime while it sleeps", semStat(t, p, id).Otime, 0)
		must(t, p.SemctlSetval(id, 0, 1))
		must(t, outcome(t, over))
		if semStat(t, p, id).Otime == 0 {
			t.Error("otime is 0")
		}
	}},
	{"A.5.7 ctime is set by SETVAL, SETALL and IPC_SET, not by semop", func(t *testing.T, w World) {
		p := w.Root()
		id := semget(t, p, ipc.Private, 1, create)
		ctime := semStat(t, p, id).Ctime
		// By the time that otime has passed it, a semop would have changed it.
		eventually(t, "a second passes", func() bool {
			semop(t, p, id, sembuf(0, 0))
			return semStat(t, p, id).Otime > ctime
		})
		equal(t, "ctime after semop", semStat(t, p, id).Ctime, ctime)
		for _, c := range []struct {
			call string
			set  func() error
		}{
			{"SETVAL", func() error { return p.SemctlSetval(id, 0, 1) }},
			{"SETALL", func() error { return p.SemctlSetall(id, []uint16{1}) }},
			{"IPC_SET", func() error { return p.SemctlSet(id, ipc.PermSet{Mode: 0o600}) }},
		} {
			ctime := semStat(t, p, id).Ctime
			eventually(t, c.call+" sets ctime", func() bool {
				must(t, c.set())
				return semStat(t, p, id).Ctime > ctime
			})
		}
	}},

	{"A.5.8 semtimedop fails with EAGAIN when its time is over", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, 0)
		wantErrno(t, p.Semtimedop(ctx, id, []ipc.Sembuf{sembuf(0, -1), sembuf(1, -1)}, 20*time.Millisecond), syscall.EAGAIN)
		equal(t, "values", getall(t, p, id), "[1 0]")
		waiters(t, p, id, 1, 0, 0)
	}},
	{"A.5.8 a semtimedop that is woken in time succeeds", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0)
		over := asleep(t, p, func() error { return p.Semtimedop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}, time.Hour) })
		semop(t, p, id, sembuf(0, +1))
		must(t, outcome(t, over))
	}},
	{"A.5.8 the timeout 0 is for trying", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1)
		down := []ipc.Sembuf{sembuf(0, -1)}
		must(t, p.Semtimedop(ctx, id, down, 0))
		wantErrno(t, p.Semtimedop(ctx, id, down, 0), syscall.EAGAIN)
	}},
	{"A.5.8 a timeout below 0 is EINVAL, also if there is nothing to wait for", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1)
		for _, timeout := range []time.Duration{-1, -time.Second, -time.Hour} {
			wantErrno(t, p.Semtimedop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}, timeout), syscall.EINVAL)
		}
		equal(t, "the value", getval(t, p, id, 0), 1)
	}},

	{"A.5.9 a semop whose context ends has done nothing and counts no more", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, 0)
		for _, c := range []struct {
			name string
			call func(context.Context, []ipc.Sembuf) error
		}{
			{"semop", func(ctx context.Context, ops []ipc.Sembuf) error { return p.Semop(ctx, id, ops) }},
			{"semtimedop", func(ctx context.Context, ops []ipc.Sembuf) error { return p.Semtimedop(ctx, id, ops, time.Hour) }},
		} {
			t.Log(c.name)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			over := asleep(t, p, func() error { return c.call(ctx, []ipc.Sembuf{sembuf(0, -1), sembuf(1, -1)}) })
			waiters(t, p, id, 1, 1, 0)
			cancel()
			if err := outcome(t, over); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want %v", err, context.Canceled)
			}
			equal(t, "values", getall(t, p, id), "[1 0]")
			waiters(t, p, id, 1, 0, 0)
		}
	}},

	{"A.5.9 a context that has ended before keeps a semop from what may sleep, and from nothing else", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, 0)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		sleeps := []ipc.Sembuf{sembuf(0, -1)}
		for _, err := range []error{p.Semop(ended, id, sleeps), p.Semtimedop(ended, id, sleeps, time.Hour)} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want %v", err, context.Canceled)
			}
		}
		equal(t, "values", getall(t, p, id), "[1 0]")
		must(t, p.Semop(ended, id, []ipc.Sembuf{sembuf(0, -1, ipc.NoWait)}))
		wantErrno(t, p.Semop(ended, id, []ipc.Sembuf{sembuf(0, -1, ipc.NoWait)}), syscall.EAGAIN)
		must(t, p.Semtimedop(ended, id, []ipc.Sembuf{sembuf(0, +1, ipc.NoWait)}, time.Hour))
		equal(t, "values", getall(t, p, id), "[1 0]")
	}},

	{"A.5.10 semop on a semaphore that the set does not have is EFBIG", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, 1)
		for _, num := range []uint16{2, 3, 65535} {
			wantErrno(t, p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1), sembuf(num, 0)}), syscall.EFBIG)
		}
		equal(t, "values", getall(t, p, id), "[1 1]")
	}},
	{"A.5.10 semop asks for the semaphore before the permission", func(t *testing.T, w World) {
		p, stranger := w.Root(), w.Process(t, Credentials{UID: 1000, GID: 1000})
		id := newSet(t, p, 1)
		wantErrno(t, stranger.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}), syscall.EACCES)
		wantErrno(t, stranger.Semop(ctx, id, []ipc.Sembuf{sembuf(1, -1)}), syscall.EFBIG)
	}},
	{"A.5.10 SETALL sets all or, with ERANGE, none", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, 2, 3)
		for _, values := range [][]uint16{{7, 8, 32768}, {32768, 7, 8}, {7, 65535, 8}} {
			wantErrno(t, p.SemctlSetall(id, values), syscall.ERANGE)
		}
		equal(t, "values", getall(t, p, id), "[1 2 3]")
		must(t, p.SemctlSetall(id, []uint16{0, 32767, 9}))
		equal(t, "values", getall(t, p, id), "[0 32767 9]")
	}},
	{"A.5.10 SETALL takes as many values as there are semaphores", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 1, 2)
		for _, values := range [][]uint16{nil, {7}, {7, 7, 7}} {
			wantErrno(t, p.SemctlSetall(id, values), syscall.EINVAL)
		}
		equal(t, "values", getall(t, p, id), "[1 2]")
	}},

	{"A.5.11, A.5.6, A.5.7 what a process has done with SEM_UNDO is undone at its exit", func(t *testing.T, w World) {
		for _, c := range ends {
			t.Log(c.name)
			p, q := w.Root(), w.Process(t, Credentials{})
			id := semget(t, p, ipc.Private, 3, create)
			must(t, p.SemctlSetall(id, []uint16{5, 5, 5}))
			semop(t, q, id, sembuf(0, -2, ipc.SemUndo), sembuf(1, +2, ipc.SemUndo), sembuf(2, +2))
			semop(t, q, id, sembuf(0, -3, ipc.SemUndo), sembuf(1, -1))
			equal(t, "values", getall(t, p, id), "[0 6 7]")
			pid := q.PID()
			must(t, p.SemctlSetval(id, 2, 7))
			c.end(q)
			equal(t, "values after its end", getall(t, p, id), "[5 4 7]")
			equal(t, "sempids after its end", sempids(t, p, id), fmt.Sprint([]int{pid, pid, p.PID()}))
		}
	}},
	{"A.5.11, A.5.7 an undo sets otime", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 1)
		semop(t, q, id, sembuf(0, -1, ipc.SemUndo))
		otime := semStat(t, p, id).Otime
		other := newSet(t, p, 0)
		eventually(t, "a second passes", func() bool {
			semop(t, p, other, sembuf(0, 0))
			return semStat(t, p, other).Otime > otime
		})
		q.Exit()
		if now := semStat(t, p, id).Otime; now <= otime {
			t.Errorf("otime is %d, want it later than %d", now, otime)
		}
	}},
	{"A.5.11 an undo stops at 0 and at 32767, and does not sleep", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 5, 0)
		semop(t, q, id, sembuf(0, -5, ipc.SemUndo), sembuf(1, +5, ipc.SemUndo))
		semop(t, p, id, sembuf(0, +32765), sembuf(1, -3))
		equal(t, "values", getall(t, p, id), "[32765 2]")
		q.Exit()
		equal(t, "values after the exit", getall(t, p, id), "[32767 0]")
	}},
	{"A.5.11 an undo wakes sleepers", func(t *testing.T, w World) {
		for _, c := range ends {
			t.Log(c.name)
			p, q := w.Root(), w.Process(t, Credentials{})
			id := newSet(t, p, 1, 0)
			semop(t, q, id, sembuf(0, -1, ipc.SemUndo), sembuf(1, +1, ipc.SemUndo))
			// It could go on at no moment but one at which both are undone.
			over := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1), sembuf(1, 0)}) })
			c.end(q)
			must(t, outcome(t, over))
			equal(t, "values", getall(t, p, id), "[0 0]")
		}
	}},
	{"A.5.11 the adjustment is -32768 to 32767, and past that semop does nothing", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 32767, 0)

		semop(t, q, id, sembuf(0, -32767, ipc.SemUndo)) // adjustment 32767
		semop(t, p, id, sembuf(0, +1))
		wantErrno(t, q.Semop(ctx, id, []ipc.Sembuf{sembuf(1, +1), sembuf(0, -1, ipc.SemUndo)}), syscall.ERANGE)
		equal(t, "values", getall(t, p, id), "[1 0]")
		semop(t, p, id, sembuf(0, -1))

		semop(t, q, id, sembuf(1, +32767, ipc.SemUndo)) // adjustment -32767
		semop(t, p, id, sembuf(1, -32767))
		semop(t, q, id, sembuf(1, +1, ipc.SemUndo)) // -32768
		wantErrno(t, q.Semop(ctx, id, []ipc.Sembuf{sembuf(1, +1, ipc.SemUndo)}), syscall.ERANGE)
		equal(t, "values", getall(t, p, id), "[0 1]")

		q.Exit()
		equal(t, "values after the exit", getall(t, p, id), "[32767 0]")
	}},
	{"A.5.11 a semop that fails adjusts nothing", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 5, 0)
		wantErrno(t, q.Semop(ctx, id, []ipc.Sembuf{
			sembuf(0, -1, ipc.SemUndo), sembuf(0, -1, ipc.SemUndo), sembuf(1, -1, ipc.SemUndo|ipc.NoWait),
		}), syscall.EAGAIN)
		q.Exit()
		equal(t, "values after the exit", getall(t, p, id), "[5 0]")
	}},
	{"A.5.11 the adjustment is the sleeper's, not that of who woke it", func(t *testing.T, w World) {
		p, sleeper, waker := w.Root(), w.Process(t, Credentials{}), w.Process(t, Credentials{})
		id := newSet(t, p, 0)
		over := asleep(t, sleeper, func() error { return sleeper.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1, ipc.SemUndo)}) })
		semop(t, waker, id, sembuf(0, +1))
		must(t, outcome(t, over))
		waker.Exit()
		equal(t, "the value after the waker's exit", getval(t, p, id, 0), 0)
		sleeper.Exit()
		equal(t, "the value after the sleeper's exit", getval(t, p, id, 0), 1)
	}},
	{"A.5.11 a process that ends asleep has nothing to undo for that", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 1, 0)
		asleep(t, q, func() error {
			return q.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1, ipc.SemUndo), sembuf(1, -1, ipc.SemUndo)})
		})
		q.Kill()
		equal(t, "values", getall(t, p, id), "[1 0]")
		waiters(t, p, id, 1, 0, 0)
	}},
	{"A.5.11 a process has one adjustment, whichever of its threads makes the calls", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 0)
		down := func() error { return q.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1, ipc.SemUndo)}) }
		first, second := asleep(t, q, down), asleep(t, q, down)
		semop(t, p, id, sembuf(0, +2))
		must(t, outcome(t, first))
		must(t, outcome(t, second))
		// Back on another thread: nothing is left to undo.
		semop(t, q, id, sembuf(0, +2, ipc.SemUndo))
		q.Exit()
		equal(t, "the value after the exit", getval(t, p, id, 0), 2)
	}},
	{"A.5.11 a child begins without adjustments, and its parent keeps its own", func(t *testing.T, w World) {
		p, parent := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 8)
		semop(t, parent, id, sembuf(0, -1, ipc.SemUndo))
		child := parent.Fork(t)
		semop(t, child, id, sembuf(0, -2, ipc.SemUndo))
		equal(t, "the value", getval(t, p, id, 0), 5)
		child.Exit()
		equal(t, "the value after the child's exit", getval(t, p, id, 0), 7)
		parent.Exit()
		equal(t, "the value after the parent's exit", getval(t, p, id, 0), 8)
	}},
	{"A.5.11 SETVAL forgets everybody's adjustment of its semaphore, SETALL of all", func(t *testing.T, w World) {
		for _, c := range []struct {
			call string
			set  func(p Process, id int) error
			left string
		}{
			{"SETVAL", func(p Process, id int) error { return p.SemctlSetval(id, 0, 9) }, "[9 5 9]"},
			{"SETALL", func(p Process, id int) error { return p.SemctlSetall(id, []uint16{9, 3, 9}) }, "[9 3 9]"},
		} {
			t.Log(c.call)
			p, q, r := w.Root(), w.Process(t, Credentials{}), w.Process(t, Credentials{})
			id := newSet(t, p, 5, 5, 9)
			semop(t, q, id, sembuf(0, -1, ipc.SemUndo), sembuf(1, -1, ipc.SemUndo))
			semop(t, r, id, sembuf(0, -1, ipc.SemUndo), sembuf(1, -1, ipc.SemUndo))
			must(t, c.set(p, id))
			q.Exit()
			r.Exit()
			equal(t, "values after the exits", getall(t, p, id), c.left)
		}
	}},
	{"A.5.11 a SETVAL that fails forgets nothing", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 5)
		semop(t, q, id, sembuf(0, -1, ipc.SemUndo))
		wantErrno(t, p.SemctlSetval(id, 0, -1), syscall.ERANGE)
		wantErrno(t, p.SemctlSetall(id, []uint16{32768}), syscall.ERANGE)
		q.Exit()
		equal(t, "the value after the exit", getval(t, p, id, 0), 5)
	}},
	{"A.5.11 adjustments of a removed set are not applied to one that gets its id", func(t *testing.T, w World) {
		need(t, w, NextID)
		p, q := w.Root(), w.Process(t, Credentials{})
		id := newSet(t, p, 5)
		semop(t, q, id, sembuf(0, -1, ipc.SemUndo))
		must(t, p.SemctlRmid(id))
		must(t, w.SetNextID("sem", id))
		equal(t, "the new set's id", newSet(t, p, 5), id)
		q.Exit()
		equal(t, "the value after the exit", getval(t, p, id, 0), 5)
	}},
	{"A.5.11 each set is adjusted by what was done to it", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		one, other := newSet(t, p, 5), newSet(t, p, 5, 5)
		semop(t, q, one, sembuf(0, -1, ipc.SemUndo))
		semop(t, q, other, sembuf(1, -2, ipc.SemUndo))
		q.Exit()
		equal(t, "values of one", getall(t, p, one), "[5]")
		equal(t, "values of the other", getall(t, p, other), "[5 5]")
	}},

	{"A.1.8 who sleeps on a set that is removed gets EIDRM, whoever calls later EINVAL", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 0, 1)
		down := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}) })
		zero := asleep(t, p, func() error { return p.Semtimedop(ctx, id, []ipc.Sembuf{sembuf(1, 0)}, time.Hour) })
		must(t, p.SemctlRmid(id))
		wantErrno(t, outcome(t, down), syscall.EIDRM)
		wantErrno(t, outcome(t, zero), syscall.EIDRM)
		wantErrno(t, p.Semop(ctx, id, []ipc.Sembuf{sembuf(0, -1)}), syscall.EINVAL)
	}},
	{"A.1.8 no number of more than 32 bits is the id, the number or the value that its lower bits are", func(t *testing.T, w World) {
		p := w.Root()
		id := newSet(t, p, 5)
		beyond := 1 << 32
		_, err := p.Semget(ipc.Private, beyond+1, create)
		wantErrno(t, err, syscall.EINVAL)
		wantErrno(t, p.Semop(ctx, id+beyond, []ipc.Sembuf{sembuf(0, -1)}), syscall.EINVAL)
		wantErrno(t, p.Semop(ctx, id+beyond, []ipc.Sembuf{sembuf(0, -1, ipc.NoWait)}), syscall.EINVAL)
		wantErrno(t, p.Semtimedop(ctx, id+beyond, []ipc.Sembuf{sembuf(0, -1)}, 0), syscall.EINVAL)
		wantErrno(t, p.SemctlSetval(id, 0, beyond), syscall.ERANGE)
		wantErrno(t, p.SemctlSetval(id, beyond, 7), syscall.EINVAL)
		wantErrno(t, p.SemctlSetall(id+beyond, []uint16{7}), syscall.EINVAL)
		_, err = p.SemctlGetval(id, beyond)
		wantErrno(t, err, syscall.EINVAL)
		_, err = p.SemctlGetall(id + beyond)
		wantErrno(t, err, syscall.EINVAL)
		_, err = p.SemctlStat(id + beyond)
		wantErrno(t, err, syscall.EINVAL)
		wantErrno(t, p.SemctlSet(id+beyond, ipc.PermSet{}), syscall.EINVAL)
		wantErrno(t, p.SemctlRmid(id+beyond), syscall.EINVAL)
		equal(t, "the value", getval(t, p, id, 0), 5)
	}},
	{"A.3.semop semop names its first reason to fail", func(t *testing.T, w World) {
		p, stranger := w.Root(), w.Process(t, Credentials{UID: 1000, GID: 1000})
		id := newSet(t, p, 32767)
		must(t, w.SetLimit("semopm", 2))
		for _, c := range []struct {
			what  string
			by    Process
			id    int
			ops   []ipc.Sembuf
			errno syscall.Errno
		}{
			{"too many operations, no such set", p, id + 1, []ipc.Sembuf{{}, {}, {}}, syscall.E2BIG},
			{"no operation, no such set", p, id + 1, nil, syscall.EINVAL},
			{"no operation", p, id, nil, syscall.EINVAL},
			{"no set with an id below 0", p, -1, []ipc.Sembuf{sembuf(0, 0)}, syscall.EINVAL},
			{"no such set", p, id + 1, []ipc.Sembuf{sembuf(9, 0)}, syscall.EINVAL},
			{"no such semaphore, no permission", stranger, id, []ipc.Sembuf{sembuf(1, 0)}, syscall.EFBIG},
			{"no permission, beyond the range", stranger, id, []ipc.Sembuf{sembuf(0, +1)}, syscall.EACCES},
			{"beyond the range", p, id, []ipc.Sembuf{sembuf(0, +1)}, syscall.ERANGE},
		} {
			t.Log(c.what)
			wantErrno(t, c.by.Semop(ctx, c.id, c.ops), c.errno)
			wantErrno(t, c.by.Semtimedop(ctx, c.id, c.ops, time.Hour), c.errno)
		}
		wantErrno(t, p.Semtimedop(ctx, id, []ipc.Sembuf{{}, {}, {}}, -1), syscall.E2BIG)
	}},
	{"A.3.semop SETVAL and GETVAL name their first reason to fail", func(t *testing.T, w World) {
		p, stranger := w.Root(), w.Process(t, Credentials{UID: 1000, GID: 1000})
		id := newSet(t, p, 5)
		wantErrno(t, p.SemctlSetval(id+1, 0, -1), syscall.ERANGE)
		wantErrno(t, p.SemctlSetval(id+1, 0, 1), syscall.EINVAL)
		wantErrno(t, stranger.SemctlSetval(id, 1, -1), syscall.ERANGE)
		wantErrno(t, stranger.SemctlSetval(id, 1, 1), syscall.EINVAL)
		wantErrno(t, stranger.SemctlSetval(id, -1, 1), syscall.EINVAL)
		wantErrno(t, stranger.SemctlSetval(id, 0, 1), syscall.EACCES)
		for _, get := range []func(p Process, id, num int) (int, error){
			Process.SemctlGetval, Process.SemctlGetpid, Process.SemctlGetncnt, Process.SemctlGetzcnt,
		} {
			for _, c := range []struct {
				by      Process
				id, num int
				errno   syscall.Errno
			}{
				{stranger, id + 1, 0, syscall.EINVAL},
				{stranger, id, 1, syscall.EACCES},
				{p, id, 1, syscall.EINVAL},
				{p, id, -1, syscall.EINVAL},
				{p, id, 0, 0},
			} {
				_, err := get(c.by, c.id, c.num)
				wantErrno(t, err, c.errno)
			}
		}
		equal(t, "the value", getval(t, p, id, 0), 5)
	}},
}

// ends are the ways in which a process ends.
var ends = []struct {
	name string
	end  func(Process)
}{
	{"exit", Process.Exit},
	{"SIGKILL", Process.Kill},
}

// sembuf is an operation on a semaphore; for flags there are ipc.NoWait and
// ipc.SemUndo.
func sembuf(num uint16, op int16, flags ...int16) ipc.Sembuf {
	b := ipc.Sembuf{Num: num, Op: op}
	for _, flag := range flags {
		b.Flg |= flag
	}
	return b
}

// newSet makes a private set with these values.
func newSet(t *testing.T, p Process, values ...uint16) int {
	t.Helper()
	id := semget(t, p, ipc.Private, len(values), create)
	must(t, p.SemctlSetall(id, values))
	return id
}

// getall returns the values of a set, as fmt prints them.
func getall(t *testing.T, p Process, id int) string {
	t.Helper()
	values, err := p.SemctlGetall(id)
	must(t, err)
	return fmt.Sprint(values)
}

// sempids returns each semaphore's process of the last operation, as fmt
// prints them.
func sempids(t *testing.T, p Process, id int) string {
	t.Helper()
	pids := make([]int, semStat(t, p, id).Nsems)
	for num := range pids {
		var err error
		pids[num], err = p.SemctlGetpid(id, num)
		must(t, err)
	}
	return fmt.Sprint(pids)
}

// waiters checks how many wait for a semaphore to grow, and how many for it
// to be 0.
func waiters(t *testing.T, p Process, id, num, ncnt, zcnt int) {
	t.Helper()
	n, err := p.SemctlGetncnt(id, num)
	must(t, err)
	equal(t, fmt.Sprintf("GETNCNT of semaphore %d", num), n, ncnt)
	z, err := p.SemctlGetzcnt(id, num)
	must(t, err)
	equal(t, fmt.Sprintf("GETZCNT of semaphore %d", num), z, zcnt)
}
