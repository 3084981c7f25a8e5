//go:build linux

package ipcns_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// expectHere says where the calling goroutine should be.
func expectHere(t *testing.T, what, want string) {
	t.Helper()
	if got, err := here(); got != want {
		t.Errorf("%s is in %s, want %s (error %v)", what, got, want, err)
	}
}

func TestDoIsThereAndNobodyElse(t *testing.T) {
	home, ns := home(t), ipctest.New(t)
	entered, looked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(looked)
		<-entered
		expectHere(t, "another goroutine", home)
	}()
	ipctest.Do(t, ns, func() error {
		expectHere(t, "the function", ns.String())
		close(entered)
		<-looked
		expectHere(t, "the function", ns.String())

		var started sync.WaitGroup
		started.Go(func() { expectHere(t, "a goroutine that the function started", home) })
		started.Wait()
		return nil
	})
	expectHere(t, "the caller", home)
}

func TestDoInsideDo(t *testing.T) {
	home, outer, inner := home(t), ipctest.New(t), ipctest.New(t)
	ipctest.Do(t, outer, func() error {
		ipctest.Do(t, inner, func() error {
			expectHere(t, "the inner function", inner.String())
			return outer.Do(func() error {
				expectHere(t, "the innermost function", outer.String())
				return nil
			})
		})
		expectHere(t, "the outer function", outer.String())
		return nil
	})
	expectHere(t, "the caller", home)
}

func TestDoReturnsTheError(t *testing.T) {
	ns, want := ipctest.New(t), errors.New("an error")
	if got := ns.Do(func() error { return want }); got != want {
		t.Errorf("got %v", got)
	}
	if got := ns.Do(func() error { return nil }); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestDoPassesAPanicOn(t *testing.T) {
	ns := ipctest.New(t)
	for _, want := range []any{"a string", 42, errors.New("an error")} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("got %v, want %v", got, want)
				}
			}()
			ns.Do(func() error { panic(want) })
			t.Errorf("Do returned after a panic with %v", want)
		}()
	}
	ipctest.Do(t, ns, func() error { expectHere(t, "the next function", ns.String()); return nil })
}

func TestDoSurvivesGoexit(t *testing.T) {
	ns := ipctest.New(t)
	err := ns.Do(func() error { runtime.Goexit(); return nil })
	if err == nil || err.Error() != "the function called runtime.Goexit" {
		t.Errorf("error %v", err)
	}
	ipctest.Do(t, ns, func() error { expectHere(t, "the next function", ns.String()); return nil })
}

// TestThreadOfDoIsItsOwn changes what belongs to a thread.
func TestThreadOfDoIsItsOwn(t *testing.T) {
	ns, home := ipctest.New(t), home(t)
	used := map[int]bool{}
	for range 20 {
		ipctest.Do(t, ns, func() error {
			used[unix.Gettid()] = true
			return unix.Unshare(unix.CLONE_NEWIPC)
		})
	}
	if used[os.Getpid()] {
		t.Error("a function was on the main thread")
	}
	expectHere(t, "the caller", home)
	expectNoGhost(t, home)
}

// expectNoGhost waits until every thread of the process is at home: one that
// Do has used is about to end.
func expectNoGhost(t *testing.T, home string) {
	t.Helper()
	ipctest.Eventually(t, "every thread is in "+home, func() bool {
		links, err := filepath.Glob("/proc/self/task/*/ns/ipc")
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if in, err := os.Readlink(link); err == nil && in != home {
				return false
			}
		}
		return true
	})
}

func TestManyDosLeaveNoGhost(t *testing.T) {
	home := home(t)
	namespaces := [...]*ipcns.Namespace{ipctest.New(t), ipctest.New(t), ipctest.New(t)}
	var all sync.WaitGroup
	for i := range 1000 {
		ns := namespaces[i%len(namespaces)]
		all.Go(func() {
			err := ns.Do(func() error {
				expectHere(t, "the function", ns.String())
				runtime.Gosched()
				expectHere(t, "the function", ns.String())
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	expectHere(t, "the caller", home)
	expectNoGhost(t, home)
}

const onMainThread = "call Do on the main thread"

// TestDoSparesTheMainThread calls Do in a program's main function. The
// goroutine of Do then starts on the main thread, which may not enter a
// namespace: it cannot end, and stands for the process in /proc.
func TestDoSparesTheMainThread(t *testing.T) {
	ipctest.New(t)
	for _, finish := range []string{"return", "panic", "exit"} {
		cmd := ipctest.Again(onMainThread, finish)
		// On one processor it starts on the thread that its caller leaves.
		cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", finish, err, out)
		}
	}
}

// held is the stack of a goroutine that holds the main thread while another
// one runs the function.
var held = regexp.MustCompile(`thread\.Do\(.*\n.*\n.*thread\.Do\.func1\(`)

func sparingTheMainThread() error {
	before, err := here()
	if err != nil {
		return err
	}
	ns, err := ipcns.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	seen := false
	for i := 0; i < 20 || !seen; i++ {
		if i == 1000 {
			return errors.New("Do has never found itself on the main thread")
		}
		finish := map[string]func(){"return": func() {}, "panic": func() { panic("on purpose") }, "exit": runtime.Goexit}[os.Args[1]]
		func() {
			defer func() { recover() }()
			ns.Do(func() error {
				stacks := make([]byte, 1<<16)
				seen = seen || held.Match(stacks[:runtime.Stack(stacks, true)])
				finish()
				return nil
			})
		}()
		if after, err := os.Readlink("/proc/self/ns/ipc"); after != before {
			return fmt.Errorf("the process was in %s and is in %s, error %w", before, after, err)
		}
	}
	return expectMainThreadRuns()
}

// expectMainThreadRuns starts goroutines that keep their threads, until one
// has got the main thread.
func expectMainThreadRuns() error {
	keep := make(chan struct{})
	defer close(keep)
	for range 1000 {
		tid := make(chan int)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tid <- unix.Gettid()
			<-keep
		}()
		if <-tid == os.Getpid() {
			return nil
		}
	}
	return errors.New("the main thread runs no goroutine any more")
}

// TestWhatOutlivesDo attaches a segment in a namespace and uses it outside.
func TestWhatOutlivesDo(t *testing.T) {
	ns := ipctest.New(t)
	var memory []byte
	attachments := func() (n uint64) {
		ipctest.Do(t, ns, func() error {
			_, ds, err := kernel.System{}.ShmStatAny(0)
			n = ds.Nattch
			return err
		})
		return n
	}
	ipctest.Do(t, ns, func() error {
		id, err := unix.SysvShmGet(1, 4096, ipc.Creat|0o600)
		if err != nil {
			return err
		}
		memory, err = unix.SysvShmAttach(id, 0, 0)
		return err
	})
	memory[0] = 42
	if n := attachments(); n != 1 {
		t.Errorf("%d attachments", n)
	}
	if err := unix.SysvShmDetach(memory); err != nil {
		t.Error(err)
	}
	if n := attachments(); n != 0 {
		t.Errorf("%d attachments after the detach", n)
	}
}

const undoing = "make operations with SEM_UNDO"

// TestUndoOfDoIsApartFromThatOfTheProcess runs a program at home in a
// namespace. What it does there is undone when it ends.
func TestUndoOfDoIsApartFromThatOfTheProcess(t *testing.T) {
	ns := ipctest.New(t)
	program := ipctest.Again(undoing)
	cmd := ns.Command("")
	cmd.Cmd = program
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("error %v: %s", err, out)
	}
	ipctest.Do(t, ns, func() error { return expectSem(0) })
}

// undo makes an operation at home and one in another namespace.
func undo() error {
	if err := increase(); err != nil {
		return err
	}
	ns, err := ipcns.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := ns.Do(increase); err != nil {
		return err
	}
	// The thread ends soon.
	for deadline := time.Now().Add(20 * time.Second); ns.Do(func() error { return expectSem(0) }) != nil; {
		if time.Now().After(deadline) {
			return errors.New("what Do did is never undone")
		}
	}
	return expectSem(1)
}

// increase makes a semaphore set with one semaphore that is 1 for now.
func increase() error {
	id, err := ipctest.Semget(1, 1, ipc.Creat|0o600)
	if err != nil {
		return err
	}
	if err := ipctest.Semop(id, ipctest.Sembuf{Op: 1, Flg: ipc.SemUndo}); err != nil {
		return err
	}
	return expectSem(1)
}

func expectSem(want int) error {
	value, err := kernel.System{}.SemctlGetval(0, 0)
	if err == nil && value != want {
		return fmt.Errorf("the semaphore is %d, not %d", value, want)
	}
	return err
}
