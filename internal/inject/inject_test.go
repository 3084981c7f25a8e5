//go:build linux

package inject

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

const (
	mapsOnce     = "use one mapping"
	mapsOften    = "use many mappings"
	mapsInThread = "use one mapping, on another thread"
	sees         = "see what is in a mapping"
	fails        = "fail"
	keepsMask    = "keep the signal mask"
	refused      = "be refused a call"
	execs        = "exec on another thread"
	execsMain    = "exec on the main thread"
	parent       = "be the parent of a target"
)

// roles are those of the targets.
func roles() map[string]func() error {
	all := map[string]func() error{
		mapsOnce:  func() error { return useMappings(1) },
		mapsOften: func() error { return useMappings(1 << 30) },
		mapsInThread: func() error {
			return onAnotherThread(func() error { return useMappings(1) })
		},
		sees:      seeMapping,
		fails:     fail,
		keepsMask: keepMask,
		refused:   beRefused,
		execs:     func() error { return trapAndExec(func(f func() error) error { return f() }, onAnotherThread) },
		execsMain: func() error { return trapAndExec(onAnotherThread, func(f func() error) error { return f() }) },
		parent:    beParent,
	}
	for name, role := range codeRoles {
		all[name] = role
	}
	return all
}

// onAnotherThread calls f on a thread that is not the main thread.
func onAnotherThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}

// useMappings expects a writable page from each call.
func useMappings(n int) error {
	if err := beTarget(); err != nil {
		return err
	}
	for range n {
		if err := useMapping(); err != nil {
			return err
		}
	}
	return nil
}

func useMapping() error {
	address, errno := trap()
	if errno != 0 {
		return errno
	}
	page := pageAt(address)
	if page[0] != 0 || page[pageSize-1] != 0 {
		return errors.New("the page is not new")
	}
	page[0], page[pageSize-1] = 1, 2
	return unmap(address)
}

func pageAt(address uintptr) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), pageSize)
}

func unmap(address uintptr) error {
	if _, _, errno := syscall.Syscall(unix.SYS_MUNMAP, address, pageSize, 0); errno != 0 {
		return os.NewSyscallError("munmap", errno)
	}
	return nil
}

func TestAMappingMadeInTheTargetIsItsOwn(t *testing.T) {
	for _, role := range []string{mapsOnce, mapsInThread} {
		t.Run(role, func(t *testing.T) {
			x := start(t, role)
			if err := x.next(mapPage); err != nil {
				t.Error(err)
			}
			x.succeeds()
		})
	}
}

const seen = "what the test has written"

func seeMapping() error {
	before := countOpen()
	if err := beTarget(); err != nil {
		return err
	}
	address, errno := trap()
	if errno != 0 {
		return errno
	}
	if got := pageAt(address)[:len(seen)]; string(got) != seen {
		return fmt.Errorf("the mapping has %q", got)
	}
	copy(pageAt(address), bytes.ToUpper([]byte(seen)))
	if open := countOpen(); open != before {
		return fmt.Errorf("%d descriptors are open, not %d", open, before)
	}
	return nil
}

func countOpen() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

func TestADescriptorIsMappedAndClosedInTheTarget(t *testing.T) {
	x := start(t, sees)
	memfd, err := unix.MemfdCreate("shared", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memfd)
	if err := errors.Join(unix.Ftruncate(memfd, pageSize), writeAt(memfd, seen)); err != nil {
		t.Fatal(err)
	}
	n := x.receive()
	its := -1
	answer := func() error {
		if its, err = x.addFD(n.id, memfd); err != nil {
			return err
		}
		return x.send(n.id, 0)
	}
	err = x.tracer.Do(int(n.tid), answer, func(th *Thread) int64 {
		address, errno := th.Call(unix.SYS_MMAP, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, uintptr(its), 0)
		if errno != 0 {
			return -int64(errno)
		}
		if _, errno := th.Call(unix.SYS_CLOSE, uintptr(its)); errno != 0 {
			return -int64(errno)
		}
		return int64(address)
	})
	if err != nil {
		t.Error(err)
	}
	x.succeeds()
	got := make([]byte, len(seen))
	if _, err := unix.Pread(memfd, got, 0); err != nil || string(got) != string(bytes.ToUpper([]byte(seen))) {
		t.Errorf("the target has written %q (error %v)", got, err)
	}
}

func writeAt(fd int, text string) error {
	_, err := unix.Pwrite(fd, []byte(text), 0)
	return err
}

func fail() error {
	if err := beTarget(); err != nil {
		return err
	}
	for _, want := range []syscall.Errno{unix.ENOMEM, unix.EINTR, 0} {
		if _, errno := trap(); errno != want {
			return fmt.Errorf("error %v, want %v", errno, want)
		}
	}
	return nil
}

// failsWith answers the next calls with errors.
func (x *target) failsWith(errnos ...syscall.Errno) {
	x.t.Helper()
	for _, errno := range errnos {
		if err := x.next(func(*Thread) int64 { return -int64(errno) }); err != nil {
			x.t.Error(err)
		}
	}
}

func TestTheCallReturnsTheResult(t *testing.T) {
	x := start(t, fails)
	x.failsWith(unix.ENOMEM, unix.EINTR, 0)
	x.succeeds()
}

func TestAFailedCallInTheTargetHasItsErrorNumber(t *testing.T) {
	x := start(t, mapsOnce)
	err := x.next(func(th *Thread) int64 {
		if _, errno := th.Call(unix.SYS_CLOSE, 12345); errno != unix.EBADF {
			t.Errorf("close: %v", errno)
		}
		return mapPage(th)
	})
	if err != nil {
		t.Error(err)
	}
	x.succeeds()
}

func keepMask() error {
	if err := beTarget(); err != nil {
		return err
	}
	var mask, after unix.Sigset_t
	mask.Val[0] = 1<<(unix.SIGUSR2-1) | 1<<(unix.SIGTERM-1) | 1<<40
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil); err != nil {
		return err
	}
	err := useMapping()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, nil, &after); err != nil {
		return err
	}
	if after != mask {
		return fmt.Errorf("the mask is %x, was %x", after.Val[0], mask.Val[0])
	}
	return err
}

func TestTheSignalMaskIsKept(t *testing.T) {
	x := start(t, keepsMask)
	if err := x.next(mapPage); err != nil {
		t.Error(err)
	}
	x.succeeds()
}

func beRefused() error {
	if err := beTarget(); err != nil {
		return err
	}
	if _, errno := trap(); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.Syscall(unix.SYS_GETPRIORITY, 0, 0, 0); errno != unix.EXDEV {
		return fmt.Errorf("getpriority: %v", errno)
	}
	return nil
}

// TestMemoryHoldsArguments installs a filter in the target.
func TestMemoryHoldsArguments(t *testing.T) {
	x := start(t, refused)
	err := x.next(func(th *Thread) int64 {
		const retErrno, setModeFilter = 0x00050000, 1 // SECCOMP_RET_ERRNO, SECCOMP_SET_MODE_FILTER
		var errno syscall.Errno
		lent := th.WithMemory(512, func(address uintptr) {
			const program = 16 // after struct sock_fprog
			filter := filterOf(unix.SYS_GETPRIORITY, retErrno|uint32(unix.EXDEV))
			memory := make([]byte, program)
			binary.NativeEndian.PutUint16(memory, uint16(len(filter)))
			binary.NativeEndian.PutUint64(memory[8:], uint64(address)+program)
			for _, f := range filter {
				memory = binary.NativeEndian.AppendUint16(memory, f.Code)
				memory = append(memory, f.Jt, f.Jf)
				memory = binary.NativeEndian.AppendUint32(memory, f.K)
			}
			if errno = th.Write(address, memory); errno == 0 {
				_, errno = th.Call(unix.SYS_SECCOMP, setModeFilter, 0, address)
			}
		})
		return -int64(max(errno, lent))
	})
	if err != nil {
		t.Error(err)
	}
	x.succeeds()
}

func TestOnlyOneMayTrace(t *testing.T) {
	x := start(t, mapsOnce)
	n := x.receive()
	release := traceFromElsewhere(t, int(n.tid))
	called := false
	err := x.tracer.Do(int(n.tid), func() error { called = true; return nil }, func(*Thread) int64 { called = true; return 0 })
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("error %v, want EPERM", err)
	}
	if called {
		t.Error("the notification was answered")
	}
	release()
	if err := x.do(n, mapPage); err != nil {
		t.Error("then: ", err)
	}
	x.succeeds()
}

// traceFromElsewhere traces a thread from another one, until that ends.
func traceFromElsewhere(t *testing.T, tid int) (release func()) {
	began, end, ended := make(chan syscall.Errno), make(chan bool), make(chan bool)
	go func() {
		runtime.LockOSThread() // and never unlock: a thread that ends traces no longer
		defer close(ended)
		began <- ptrace(unix.PTRACE_SEIZE, tid, 0, 0)
		<-end
	}()
	if errno := <-began; errno != 0 {
		t.Fatal(errno)
	}
	return func() {
		close(end)
		<-ended
		ipctest.Eventually(t, "the tracer ends", func() bool {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
			return bytes.Contains(status, []byte("\nTracerPid:\t0\n"))
		})
	}
}

func TestThereIsNoSuchThread(t *testing.T) {
	x := start(t, mapsOnce)
	n := x.receive()
	x.cmd.Process.Kill()
	x.wait()
	err := x.tracer.Do(int(n.tid), func() error { t.Error("answered"); return nil }, nil)
	if !errors.Is(err, unix.ESRCH) {
		t.Errorf("error %v, want ESRCH", err)
	}
}

// TestAStoppedTargetStaysStopped stops the target at several moments, and
// expects that its call succeeds when it is continued.
func TestAStoppedTargetStaysStopped(t *testing.T) {
	for _, when := range []string{"before", "in the answer", "before a call", "after a call", "between, and continued"} {
		t.Run(when, func(t *testing.T) {
			x := start(t, mapsOnce)
			n := x.receive()
			pid := x.cmd.Process.Pid
			signal := func(at string, s syscall.Signal) {
				if at == when {
					unix.Kill(pid, s)
				}
			}
			signal("before", unix.SIGSTOP)
			answer := func() error {
				signal("in the answer", unix.SIGSTOP)
				return x.send(n.id, 0)
			}
			err := x.tracer.Do(int(n.tid), answer, func(th *Thread) int64 {
				signal("before a call", unix.SIGSTOP)
				signal("between, and continued", unix.SIGSTOP)
				page := mapPage(th)
				signal("between, and continued", unix.SIGCONT)
				if _, errno := th.Call(unix.SYS_GETPID); errno != 0 {
					t.Error("getpid: ", errno)
				}
				signal("after a call", unix.SIGSTOP)
				return page
			})
			if err != nil {
				t.Error(err)
			}
			if when != "between, and continued" {
				ipctest.Eventually(t, "the target stops", func() bool { return state(pid) == 'T' && state(int(n.tid)) == 'T' })
				time.Sleep(ipctest.Tick)
				if got := state(int(n.tid)); got != 'T' {
					t.Errorf("the thread goes on: %c", got)
				}
				unix.Kill(pid, unix.SIGCONT)
			}
			x.succeeds()
		})
	}
}

// TestAKilledTargetLeavesItsStatus kills the target while it is traced. Its
// end is for who started it.
func TestAKilledTargetLeavesItsStatus(t *testing.T) {
	for _, role := range []string{mapsOnce, mapsInThread} {
		for _, when := range []string{"in the answer", "after the answer", "before a call", "after a call"} {
			t.Run(role+", killed "+when, func(t *testing.T) {
				x := start(t, role)
				n := x.receive()
				kill := func(at string) {
					if at == when {
						x.cmd.Process.Kill()
					}
				}
				answer := func() error {
					kill("in the answer")
					err := x.send(n.id, 0)
					kill("after the answer")
					return err
				}
				err := x.tracer.Do(int(n.tid), answer, func(th *Thread) int64 {
					kill("before a call")
					page := mapPage(th)
					kill("after a call")
					return page
				})
				if !errors.Is(err, unix.ESRCH) && !(when == "in the answer" && errors.Is(err, unix.ENOENT)) {
					t.Errorf("error %v, want ESRCH", err)
				}
				err = x.wait()
				if status := x.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGKILL {
					t.Errorf("the target's end: %v, status %#x", err, status)
				}
			})
		}
	}
}

// beParent starts a target that the test kills, and waits for it.
func beParent() error {
	cmd := ipctest.Again(mapsOnce)
	cmd.ExtraFiles = []*os.File{os.NewFile(socket, "socket")}
	if err := cmd.Start(); err != nil {
		return err
	}
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGKILL {
		return fmt.Errorf("status %#x", status)
	}
	return nil
}

func TestAnotherParentSeesTheEndToo(t *testing.T) {
	x := start(t, parent)
	err := x.next(func(th *Thread) int64 {
		unix.Kill(th.tid, unix.SIGKILL)
		return mapPage(th)
	})
	if !errors.Is(err, unix.ESRCH) {
		t.Errorf("error %v, want ESRCH", err)
	}
	x.succeeds()
}

// trapAndExec makes a call on one thread, and executes true(1) on another when
// it is told to.
func trapAndExec(onOne, onOther func(func() error) error) error {
	trapping := func() error {
		if err := beTarget(); err != nil {
			return err
		}
		_, errno := trap()
		return fmt.Errorf("the call returned (%v)", errno)
	}
	executing := func() error {
		if err := awaitGoOn(); err != nil {
			return err
		}
		return unix.Exec("/bin/true", []string{"true"}, nil)
	}
	failed := make(chan error, 2)
	// The one that is for another thread is not waited for here.
	go func() { failed <- onOther(executing) }()
	if err := onOne(trapping); err != nil {
		return err
	}
	return <-failed
}

func TestExecOfAnotherThreadGoesOn(t *testing.T) {
	for _, role := range []string{execs, execsMain} {
		t.Run(role, func(t *testing.T) {
			x := start(t, role)
			err := x.next(func(th *Thread) int64 {
				x.goOn()
				for deadline := time.Now().Add(patience / 2); time.Now().Before(deadline); {
					if _, errno := th.Call(unix.SYS_GETPID); errno != 0 {
						return 0
					}
				}
				t.Error("the thread has not ended")
				return 0
			})
			if !errors.Is(err, unix.ESRCH) {
				t.Errorf("error %v, want ESRCH", err)
			}
			x.succeeds()
		})
	}
}

func TestAnUnansweredThreadIsLetGoLater(t *testing.T) {
	x := start(t, fails)
	n := x.receive()
	refusal := errors.New("not now")
	err := x.tracer.Do(int(n.tid), func() error { return refusal }, func(*Thread) int64 { t.Error("called"); return 0 })
	if err != refusal {
		t.Errorf("error %v", err)
	}
	if x.tracer.Late() != 1 {
		t.Errorf("%d are late", x.tracer.Late())
	}
	if err := x.send(n.id, -int64(unix.ENOMEM)); err != nil {
		t.Error(err)
	}
	x.settle()
	x.failsWith(unix.EINTR, 0)
	x.succeeds()
}

func TestAThreadThatStopsTooLateGetsItsResult(t *testing.T) {
	x := start(t, fails)
	n := x.receive()
	err := x.tracer.Do(int(n.tid), func() error { return nil }, func(th *Thread) int64 {
		if page := mapPage(th); page != -int64(unix.ETIMEDOUT) {
			t.Errorf("mmap has returned %#x", page)
		}
		return -int64(unix.ENOMEM)
	})
	if !errors.Is(err, unix.ETIMEDOUT) || x.tracer.Late() != 1 {
		t.Errorf("error %v, %d late", err, x.tracer.Late())
	}
	err = x.tracer.Do(int(n.tid), func() error { t.Error("answered"); return nil }, nil)
	if !errors.Is(err, unix.EBUSY) {
		t.Errorf("then: error %v, want EBUSY", err)
	}
	if err := x.send(n.id, 0); err != nil {
		t.Fatal(err)
	}
	x.settle()
	x.failsWith(unix.EINTR, 0)
	x.succeeds()
}

func TestALateThreadThatIsKilledIsForgotten(t *testing.T) {
	x := start(t, mapsInThread)
	n := x.receive()
	err := x.tracer.Do(int(n.tid), func() error { return nil }, func(th *Thread) int64 { return 0 })
	if err == nil {
		t.Error("no error")
	}
	x.cmd.Process.Kill()
	x.settle()
	x.wait()
}

// BenchmarkDo measures Do with one mmap.
func BenchmarkDo(b *testing.B) {
	x := start(b, mapsOften)
	var took time.Duration
	for b.Loop() {
		n := x.receive()
		began := time.Now()
		if err := x.do(n, mapPage); err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/1000, "us/Do")
}
