//go:build linux

package sysv_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/sysv"
	"golang.org/x/sys/unix"
)

// newSet makes a set that is removed with the test.
func newSet(t *testing.T, values ...uint16) *sysv.SemaphoreSet {
	t.Helper()
	s, err := sysv.CreateSemaphoreSet(soon(t), system, key, values, 0o600|ipc.Excl)
	must(t, err)
	removed(t, s)
	return s
}

func checkValues(t *testing.T, s *sysv.SemaphoreSet, want ...uint16) {
	t.Helper()
	got, err := s.Values()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got the values %v, error %v, want %v", got, err, want)
	}
}

func TestSemaphoreSetByKeyAndID(t *testing.T) {
	_, err := sysv.OpenSemaphoreSet(soon(t), system, key)
	wantError(t, err, syscall.ENOENT, "semget set key 0x0000002a: the key has none: no such file or directory")

	s, err := sysv.CreateSemaphoreSet(soon(t), system, key, []uint16{1, 0, 32767}, 0o640)
	must(t, err)
	removed(t, s)
	if want := fmt.Sprintf("set id %d (key 0x0000002a)", s.ID()); s.String() != want || s.Key() != key {
		t.Errorf("got %q with key %v, want %q", s, s.Key(), want)
	}
	same, err := sysv.OpenSemaphoreSet(soon(t), system, key)
	must(t, err)
	again, err := sysv.CreateSemaphoreSet(soon(t), system, key, []uint16{9, 9}, 0o600)
	must(t, err)
	byID := sysv.SemaphoreSetByID(system, s.ID())
	if want := fmt.Sprintf("set id %d", s.ID()); byID.String() != want || byID.Key() != ipc.Private {
		t.Errorf("got %q with key %v, want %q", byID, byID.Key(), want)
	}
	for _, other := range []*sysv.SemaphoreSet{s, same, again, byID} {
		ds, err := other.Stat()
		if err != nil || other.ID() != s.ID() || ds.Perm.Key != key || ds.Perm.Mode != 0o640 || ds.Nsems != 3 {
			t.Errorf("%v: got %+v, error %v", other, ds, err)
		}
		checkValues(t, other, 1, 0, 32767)
	}
}

func TestCreateSemaphoreSetErrors(t *testing.T) {
	create := func(flags, values int, value uint16) error {
		_, err := sysv.CreateSemaphoreSet(soon(t), system, key, slices.Repeat([]uint16{value}, values), 0o600|flags)
		return err
	}
	wantError(t, create(0, 0, 0), syscall.EINVAL, "semget set key 0x0000002a: a new one takes at least one semaphore: invalid argument")
	wantError(t, create(0, 32001, 0), syscall.EINVAL, "semget set key 0x0000002a: 32001 semaphores exceed semmsl 32000: invalid argument")

	err := create(0, 2, 32768)
	if _, err := system.Semget(key, 0, 0); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a set that cannot be initialised was left: %v", err)
	}
	if err == nil || !errors.Is(err, syscall.ERANGE) || !strings.HasSuffix(err.Error(), " (key 0x0000002a): value 32768 is above 32767: numerical result out of range") {
		t.Errorf("a value that is too high: %v", err)
	}

	newSet(t, 1)
	wantError(t, create(ipc.Excl, 1, 0), syscall.EEXIST, "semget set key 0x0000002a: the key has one already: file exists")
	wantError(t, create(0, 2, 0), syscall.EINVAL, "semget set key 0x0000002a: it has fewer than 2 semaphores: invalid argument")
}

func TestSemaphoreSetLimits(t *testing.T) {
	setLimit(t, "sem", "32000 2 500 32000")
	_, err := sysv.CreateSemaphoreSet(soon(t), system, key, make([]uint16, 3), 0o600)
	wantError(t, err, syscall.ENOSPC, "semget set key 0x0000002a: the limit semmni or semmns is reached: no space left on device")
}

func TestPrivateSemaphoreSet(t *testing.T) {
	first, err := sysv.CreateSemaphoreSet(soon(t), system, ipc.Private, []uint16{1}, 0o600)
	must(t, err)
	removed(t, first)
	second, err := sysv.CreateSemaphoreSet(soon(t), system, ipc.Private, []uint16{2}, 0o600)
	must(t, err)
	removed(t, second)
	checkValues(t, first, 1)
	checkValues(t, second, 2)
	_, err = sysv.OpenSemaphoreSet(soon(t), system, ipc.Private)
	wantError(t, err, syscall.ENOENT, "semget set key 0x00000000: the key IPC_PRIVATE finds none: no such file or directory")
}

// A slowMaker gives others time between making a set, setting its values and
// the first operation.
type slowMaker struct{ kernel.System }

const pause = 2 * time.Millisecond

func (s slowMaker) SemctlSetall(id int, values []uint16) error {
	time.Sleep(pause)
	defer time.Sleep(pause)
	return s.System.SemctlSetall(id, values)
}

const makers = 50

// TestManyCreateAtOnce has goroutines make the set that the others open.
func TestManyCreateAtOnce(t *testing.T) {
	ctx := soon(t)
	for _, value := range []uint16{0, 5} {
		for range 5 {
			var s *sysv.SemaphoreSet
			var wg sync.WaitGroup
			start := make(chan struct{})
			for i := range makers {
				wg.Go(func() {
					<-start
					made, err := sysv.CreateSemaphoreSet(ctx, slowMaker{}, key, []uint16{value, 6, 7}, 0o600)
					if err != nil {
						t.Error(err)
						return
					}
					checkValues(t, made, value, 6, 7)
					if i == 0 {
						s = made
					}
				})
			}
			close(start)
			wg.Wait()
			if s != nil {
				must(t, s.Remove())
			}
		}
	}
}

// TestOpenWaitsForTheMaker opens a set that is being made.
func TestOpenWaitsForTheMaker(t *testing.T) {
	over := make(chan error)
	go func() {
		_, err := sysv.CreateSemaphoreSet(soon(t), slowMaker{}, key, []uint16{5}, 0o600)
		over <- err
	}()
	var s *sysv.SemaphoreSet
	ipctest.Eventually(t, "the set is found", func() (found bool) {
		var err error
		s, err = sysv.OpenSemaphoreSet(soon(t), system, key)
		return err == nil
	})
	removed(t, s)
	checkValues(t, s, 5)
	must(t, ipctest.Received(t, over))
}

// createSet is the role of a process that makes a set or opens it, once its
// standard input ends.
const createSet = "create a set"

func createSlowSet() error {
	if _, err := io.ReadAll(os.Stdin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	s, err := sysv.CreateSemaphoreSet(ctx, slowMaker{}, key, []uint16{5, 6, 7}, 0o600)
	if err != nil {
		return err
	}
	values, err := s.Values()
	fmt.Println(values)
	return err
}

// TestManyProcessesCreateAtOnce does so with processes.
func TestManyProcessesCreateAtOnce(t *testing.T) {
	stdin, start, err := os.Pipe()
	must(t, err)
	lines := make(chan string, makers)
	var wg sync.WaitGroup
	for range makers {
		cmd := ipctest.Again(createSet)
		cmd.Stdin = stdin
		wg.Go(func() {
			cmd.Stderr = os.Stderr
			text, err := cmd.Output()
			if err != nil {
				t.Error(err)
			}
			lines <- string(text)
		})
	}
	start.Close()
	wg.Wait()
	stdin.Close()
	for range makers {
		if line := <-lines; line != "[5 6 7]\n" {
			t.Errorf("a process got the values %s", line)
		}
	}
	s, err := sysv.OpenSemaphoreSet(soon(t), system, key)
	must(t, err)
	must(t, s.Remove())
}

// halfMade makes a set as a process does that dies before it sets values.
func halfMade(t *testing.T) *sysv.SemaphoreSet {
	t.Helper()
	id, err := system.Semget(key, 1, ipc.Creat|ipc.Excl|0o600)
	must(t, err)
	s := sysv.SemaphoreSetByID(system, id)
	removed(t, s)
	return s
}

func TestMakerThatDies(t *testing.T) {
	s := halfMade(t)
	opens := map[string]func(context.Context) error{
		"OpenSemaphoreSet": func(ctx context.Context) error {
			_, err := sysv.OpenSemaphoreSet(ctx, system, key)
			return err
		},
		"CreateSemaphoreSet": func(ctx context.Context) error {
			_, err := sysv.CreateSemaphoreSet(ctx, system, key, []uint16{1}, 0o600)
			return err
		},
	}
	for name, open := range opens {
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), tick)
		err := ipctest.Received(t, begun(func() error { return open(ctx) }))
		wantError(t, err, context.DeadlineExceeded, "semget set id %d (key 0x0000002a): its maker has not initialised it: context deadline exceeded", s.ID())
		cancel()
		if took := time.Since(began); took < tick {
			t.Errorf("%s: ended after %v", name, took)
		}

		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(tick, cancel)
		wantError(t, open(ctx), context.Canceled, "semget set id %d (key 0x0000002a): its maker has not initialised it: context canceled", s.ID())
	}

	// As soon as somebody uses the set, it is taken as it is.
	must(t, s.Release(0))
	for name, open := range opens {
		if err := open(soon(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A removal is a system in which somebody removes a set that is waited for.
type removal struct {
	kernel.System
	looks, after int
}

func (r *removal) SemStatAny(index int) (int, ipc.SemidDS, error) {
	if r.looks++; r.looks == r.after {
		if err := r.System.SemctlRmid(index); err != nil {
			return 0, ipc.SemidDS{}, err
		}
	}
	return r.System.SemStatAny(index)
}

// A staleKey is a system in which somebody removes a set between the two calls
// that look whether there is one.
type staleKey struct {
	kernel.System
	looks int
}

func (s *staleKey) Semget(key ipc.Key, nsems, flags int) (int, error) {
	if s.looks++; s.looks == 1 {
		return 0, syscall.EEXIST
	}
	return s.System.Semget(key, nsems, flags)
}

func TestSetThatIsRemovedBeforeItIsWaitedFor(t *testing.T) {
	system := &staleKey{}
	s, err := sysv.CreateSemaphoreSet(soon(t), system, key, []uint16{3}, 0o600)
	must(t, err)
	removed(t, s)
	checkValues(t, s, 3)
	if system.looks != 3 {
		t.Errorf("looked %d times", system.looks)
	}
}

func TestSetThatIsRemovedWhileItIsWaitedFor(t *testing.T) {
	for after := 1; after <= 3; after++ {
		halfMade(t)
		s, err := sysv.CreateSemaphoreSet(soon(t), &removal{after: after}, key, []uint16{3}, 0o600)
		must(t, err)
		checkValues(t, s, 3)
		must(t, s.Remove())

		halfMade(t)
		_, err = sysv.OpenSemaphoreSet(soon(t), &removal{after: after}, key)
		wantError(t, err, syscall.ENOENT, "semget set key 0x0000002a: the key has none: no such file or directory")
	}
}

// An early user is a system in which somebody who does not wait uses a set
// that is being made.
type earlyUser struct{ kernel.System }

func (e earlyUser) Semop(ctx context.Context, id int, ops []ipc.Sembuf) error {
	if err := e.System.Semop(ctx, id, []ipc.Sembuf{{Op: -1}}); err != nil {
		return err
	}
	return e.System.Semop(ctx, id, ops)
}

func TestSetThatIsUsedWhileItIsMade(t *testing.T) {
	s, err := sysv.CreateSemaphoreSet(soon(t), earlyUser{}, key, []uint16{1}, 0o600)
	must(t, err)
	removed(t, s)
	checkValues(t, s, 0)
}

func TestOp(t *testing.T) {
	s := newSet(t, 1, 0)
	must(t, s.Op(soon(t), []ipc.Sembuf{{Num: 0, Op: -1}, {Num: 1, Op: 3}}))
	checkValues(t, s, 0, 3)

	// All or nothing.
	wantError(t, s.Op(soon(t), []ipc.Sembuf{{Num: 1, Op: -1}, {Num: 0, Op: -1, Flg: ipc.NoWait}}), syscall.EAGAIN,
		"semop set id %d (key 0x0000002a): an operation would have to wait: resource temporarily unavailable", s.ID())
	checkValues(t, s, 0, 3)

	over := waiting(t, unix.SYS_SEMTIMEDOP, func() error {
		return s.Op(soon(t), []ipc.Sembuf{{Num: 1, Op: -1}, {Num: 0, Op: -1}})
	})
	checkValues(t, s, 0, 3)
	must(t, s.Release(0))
	must(t, over())
	checkValues(t, s, 0, 2)
}

func TestOpErrors(t *testing.T) {
	s := newSet(t, 32767)
	for _, test := range []struct {
		ops  []ipc.Sembuf
		is   syscall.Errno
		want string
	}{
		{nil, syscall.EINVAL, "no operation: invalid argument"},
		{[]ipc.Sembuf{{Num: 1}}, syscall.EFBIG, "it has fewer semaphores: file too large"},
		{[]ipc.Sembuf{{Op: 1}}, syscall.ERANGE, "a value or an adjustment would be out of range: numerical result out of range"},
		{[]ipc.Sembuf{{Flg: ipc.NoWait}}, syscall.EAGAIN, "an operation would have to wait: resource temporarily unavailable"},
		{make([]ipc.Sembuf, 501), syscall.E2BIG, "more operations than the limit semopm: argument list too long"},
	} {
		wantError(t, s.Op(soon(t), test.ops), test.is, "semop set id %d (key 0x0000002a): %s", s.ID(), test.want)
	}
	for _, num := range []int{1, -1, 0x10000} {
		wantError(t, s.Acquire(soon(t), num), syscall.EFBIG, "semop set id %d (key 0x0000002a): it has fewer semaphores: file too large", s.ID())
	}
	checkValues(t, s, 32767)
}

// acquireWithUndo is the role of a process that ends with a semaphore in its
// hands.
const acquireWithUndo = "acquire with undo"

func acquireAndEnd() error {
	ctx := context.Background()
	s, err := sysv.OpenSemaphoreSet(ctx, system, key)
	if err != nil {
		return err
	}
	err = s.Op(ctx, []ipc.Sembuf{{Num: 0, Op: -1, Flg: ipc.SemUndo}, {Num: 1, Op: -1}})
	if err != nil {
		return err
	}
	values, err := s.Values()
	fmt.Println(values)
	return err
}

func TestUndo(t *testing.T) {
	s := newSet(t, 1, 1)
	if lines := output(t, ipctest.Again(acquireWithUndo)); lines[0] != "[0 0]" {
		t.Errorf("the process had the values %v", lines)
	}
	checkValues(t, s, 1, 0)
}

func TestEverydaySemaphore(t *testing.T) {
	s := newSet(t, 0, 1)
	must(t, s.Acquire(soon(t), 1))
	wantError(t, s.TryAcquire(1), syscall.EAGAIN, "semop set id %d (key 0x0000002a): an operation would have to wait: resource temporarily unavailable", s.ID())
	acquirer := waiting(t, unix.SYS_SEMTIMEDOP, func() error { return s.Acquire(soon(t), 1) })
	must(t, s.Release(1))
	must(t, acquirer())
	must(t, s.Release(1))
	must(t, s.TryAcquire(1))
	checkValues(t, s, 0, 0)

	must(t, s.WaitZero(soon(t), 0))
	must(t, s.Release(0))
	zero := waiting(t, unix.SYS_SEMTIMEDOP, func() error { return s.WaitZero(soon(t), 0) })
	must(t, s.Acquire(soon(t), 0))
	must(t, zero())

	must(t, s.SetValue(0, 32767))
	wantError(t, s.Release(0), syscall.ERANGE, "semop set id %d (key 0x0000002a): a value or an adjustment would be out of range: numerical result out of range", s.ID())
}

func TestSemaphoreSetContexts(t *testing.T) {
	s := newSet(t, 0, 1)
	prefix := fmt.Sprintf("semop set id %d (key 0x0000002a)", s.ID())
	for _, call := range []func(context.Context) error{
		func(ctx context.Context) error { return s.Acquire(ctx, 0) },
		func(ctx context.Context) error { return s.WaitZero(ctx, 1) },
		func(ctx context.Context) error {
			return s.Op(ctx, []ipc.Sembuf{{Num: 1, Op: -1}, {Num: 0, Op: -1}})
		},
	} {
		testContexts(t, unix.SYS_SEMTIMEDOP, prefix, call)
	}
	checkValues(t, s, 0, 1)
}

func TestWaiters(t *testing.T) {
	s := newSet(t, 0, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, wait := range []func() error{
		func() error { return s.Acquire(ctx, 0) },
		func() error { return s.Acquire(ctx, 0) },
		func() error { return s.WaitZero(ctx, 1) },
	} {
		wg.Go(func() {
			if err := wait(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	ipctest.Asleep(t, unix.SYS_SEMTIMEDOP, 3)
	for num, want := range []sysv.Waiters{{ForMore: 2}, {ForZero: 1}} {
		if got, err := s.Waiters(num); err != nil || got != want {
			t.Errorf("semaphore %d: got %+v, error %v, want %+v", num, got, err, want)
		}
	}
	cancel()
	wg.Wait()
	_, err := s.Waiters(2)
	wantError(t, err, syscall.EINVAL, "semctl(GETNCNT) set id %d (key 0x0000002a): there is none of that id, or it has another number of semaphores: invalid argument", s.ID())
}

func TestSetValues(t *testing.T) {
	s := newSet(t, 1, 2)
	must(t, s.SetValues([]uint16{3, 4}))
	must(t, s.SetValue(1, 5))
	checkValues(t, s, 3, 5)
	const number = "there is none of that id, or it has another number of semaphores: invalid argument"
	const high = "value 40000 is above 32767: numerical result out of range"
	wantError(t, s.SetValues([]uint16{3}), syscall.EINVAL, "semctl(SETALL) set id %d (key 0x0000002a): %s", s.ID(), number)
	wantError(t, s.SetValues(nil), syscall.EINVAL, "semctl(SETALL) set id %d (key 0x0000002a): %s", s.ID(), number)
	wantError(t, s.SetValues([]uint16{40000, 1}), syscall.ERANGE, "semctl(SETALL) set id %d (key 0x0000002a): %s", s.ID(), high)
	wantError(t, s.SetValue(2, 1), syscall.EINVAL, "semctl(SETVAL) set id %d (key 0x0000002a): %s", s.ID(), number)
	wantError(t, s.SetValue(0, 40000), syscall.ERANGE, "semctl(SETVAL) set id %d (key 0x0000002a): %s", s.ID(), high)
	checkValues(t, s, 3, 5)
}

func TestRemovedSemaphoreSet(t *testing.T) {
	s := newSet(t, 0)
	id := s.ID()
	over := waiting(t, unix.SYS_SEMTIMEDOP, func() error { return s.Acquire(soon(t), 0) })
	must(t, s.Remove())
	wantError(t, over(), syscall.EIDRM, "semop set id %d (key 0x0000002a): it was removed meanwhile: identifier removed", id)

	_, statError := s.Stat()
	_, valuesError := s.Values()
	for call, err := range map[string]error{
		"semop":                s.Release(0),
		"semctl(GETALL)":       valuesError,
		"semctl(IPC_STAT)":     statError,
		"semctl(SEM_STAT_ANY)": s.Chmod(0o600),
		"semctl(IPC_RMID)":     s.Remove(),
	} {
		wantError(t, err, syscall.EINVAL, "%s set id %d (key 0x0000002a): there is none of that id: invalid argument", call, id)
	}
	_, waitersError := s.Waiters(0)
	for call, err := range map[string]error{
		"semctl(SETALL)":  s.SetValues([]uint16{1}),
		"semctl(SETVAL)":  s.SetValue(0, 1),
		"semctl(GETNCNT)": waitersError,
	} {
		wantError(t, err, syscall.EINVAL, "%s set id %d (key 0x0000002a): there is none of that id, or it has another number of semaphores: invalid argument", call, id)
	}
}

func TestSemaphoreSetSettings(t *testing.T) {
	s := newSet(t, 1)
	before, err := s.Stat()
	must(t, err)
	if before.Perm.Mode != 0o600 || before.Nsems != 1 || before.Otime == 0 {
		t.Errorf("a new set: %+v", before)
	}
	must(t, s.Chmod(0o640))
	after, err := s.Stat()
	must(t, err)
	want := before
	want.Perm.Mode, want.Ctime = 0o640, after.Ctime
	if after != want {
		t.Errorf("got  %+v\nwant %+v", after, want)
	}
	wantError(t, s.Chown(^uint32(0), 0), syscall.EINVAL,
		"semctl(IPC_SET) set id %d (key 0x0000002a): there is none of that id, or no such user or group in the user namespace: invalid argument", s.ID())
}

func TestSemaphoreSetOwner(t *testing.T) {
	s := newSet(t, 1)
	testOwner(t, s.Chown, func() (ipc.Perm, error) {
		ds, err := s.Stat()
		return ds.Perm, err
	})
}

func TestSemaphoreSetAllocatesNothing(t *testing.T) {
	s := newSet(t, 1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	take := []ipc.Sembuf{{Num: 0, Op: -1}, {Num: 1, Op: -1}}
	give := []ipc.Sembuf{{Num: 0, Op: 1}, {Num: 1, Op: 1}}
	ipctest.NoAllocations(t, "Op", func() {
		if s.Op(ctx, take) != nil || s.Op(ctx, give) != nil {
			t.Error("Op failed")
		}
	})
	ipctest.NoAllocations(t, "Acquire, TryAcquire and Release", func() {
		if s.Acquire(ctx, 0) != nil || s.TryAcquire(1) != nil || s.Release(0) != nil || s.Release(1) != nil {
			t.Error("Acquire or Release failed")
		}
	})
}
