//go:build linux

package supervise_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/supervise"
	"golang.org/x/sys/unix"
)

// TestSoak has programs make random calls, in threads and processes that come
// and go, for a few seconds or for IPCNS_SOAK=10m. Another program gets all its
// answers meanwhile, right and soon, and in the end nothing is left of them.
func TestSoak(t *testing.T) {
	duration := 3 * time.Second
	if text := os.Getenv("IPCNS_SOAK"); text != "" {
		var err error
		duration, err = time.ParseDuration(text)
		ipctest.Must(t, err)
	}
	// The collector would let the heap grow as far as it may.
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	s := newSupervisor(t)
	// Which has what the supervisor uses again.
	t.Run("beforehand", func(t *testing.T) { soak(t, s, min(duration/4, time.Minute)) })
	before := usageOf(t, s)
	t.Run("measured", func(t *testing.T) { soak(t, s, duration) })
	after := usageOf(t, s)
	t.Logf("before %+v, after %+v", before, after)
	before.allow(t, after)
}

// soak does it once.
func soak(t *testing.T, s *supervise.Supervisor, duration time.Duration) {
	t.Helper()
	dir := t.TempDir()
	counter := filepath.Join(dir, "calls")
	ipctest.Must(t, os.WriteFile(counter, make([]byte, os.Getpagesize()), 0o666))
	ipctest.Must(t, os.Chmod(counter, 0o666))
	random := playingBelow(t, s, fuzzRole, duration.String(), strconv.Itoa(int(time.Now().UnixNano())), counter)
	random.Dir = dir
	random.Stderr = newTail(t)
	checked := playingBelow(t, s, checkRole, duration.String())
	var report bytes.Buffer
	checked.Stdout, checked.Stderr = &report, &report
	ipctest.Must(t, random.Start())
	ipctest.Must(t, checked.Start())
	peak := watchMemory(duration)
	defer reapOrphans(random.Process.Pid, checked.Process.Pid)()
	err := checked.Wait()
	if err != nil {
		t.Errorf("the program that makes no mistakes: %v: %s", err, &report)
	}
	if err := random.Wait(); err != nil {
		t.Errorf("the programs that make mistakes: %v", err)
	}
	awaitUnused(t, s)
	calls, err := sharedCounter(counter)
	ipctest.Must(t, err)
	t.Logf("%d random calls; beside them: %s; at most %d MiB in memory", calls.Load(), strings.TrimSpace(report.String()), <-peak>>20)
	empty(t, s)
}

// reapOrphans waits for the children that this process gets when theirs have
// ended: there may be as many as the machine has numbers for. Those of its own
// are left to their Wait. Stop ends it.
func reapOrphans(own ...int) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond):
			}
			for _, pid := range childrenOf(os.Getpid()) {
				if !slices.Contains(own, pid) {
					unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG, nil)
				}
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// childrenOf returns the children of all threads of a process.
func childrenOf(pid int) (children []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is right
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for _, field := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(field)
			children = append(children, child)
		}
	}
	return children
}

// awaitUnused waits until nobody is served.
func awaitUnused(t *testing.T, s *supervise.Supervisor) {
	t.Helper()
	select {
	case <-s.Unused():
	case <-time.After(ipctest.Hang):
		t.Fatalf("the supervisor still serves processes %v", s.Members())
	}
}

// watchMemory returns where the most memory comes out that the process has had
// in that time.
func watchMemory(duration time.Duration) <-chan int {
	peak := make(chan int, 1)
	go func() {
		most := 0
		for end := time.Now().Add(duration); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			most = max(most, resident())
		}
		peak <- most
	}()
	return peak
}

// resident is how many bytes of memory the process has; see proc_pid_statm(5).
func resident() int {
	text, _ := os.ReadFile("/proc/self/statm")
	var all, pages int
	fmt.Sscan(string(text), &all, &pages)
	return pages * os.Getpagesize()
}

// A usage is what a supervisor's process uses.
type usage struct {
	Objects, Bytes, Resident         int
	Goroutines, Descriptors, Threads int
}

func usageOf(t *testing.T, s *supervise.Supervisor) usage {
	t.Helper()
	ipctest.Eventually(t, "the supervisor forgets all programs", func() bool { return s.Entries() == "" })
	time.Sleep(50 * time.Millisecond) // for goroutines that are about to end
	for range 3 {
		debug.FreeOSMemory()
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	count := func(dir string) int {
		entries, err := os.ReadDir(dir)
		ipctest.Must(t, err)
		return len(entries)
	}
	return usage{
		Objects: int(memory.HeapObjects), Bytes: int(memory.HeapAlloc), Resident: resident(),
		Goroutines: runtime.NumGoroutine(), Descriptors: count("/proc/self/fd"), Threads: count("/proc/self/task"),
	}
}

// allow fails the test if more is used afterwards than there is reason for.
func (before usage) allow(t *testing.T, after usage) {
	t.Helper()
	for _, of := range []struct {
		what                 string
		before, after, spare int
	}{
		{"objects", before.Objects, after.Objects, 2000},
		{"bytes", before.Bytes, after.Bytes, 1 << 19},
		{"bytes in memory", before.Resident, after.Resident, 16 << 20},
		{"goroutines", before.Goroutines, after.Goroutines, 0},
		{"descriptors", before.Descriptors, after.Descriptors, 0},
		{"threads", before.Threads, after.Threads, 8},
	} {
		if of.after > of.before+of.spare {
			t.Errorf("%d %s are used after %d", of.after, of.what, of.before)
		}
	}
}

// empty removes what programs have left in the namespace.
func empty(t *testing.T, s *supervise.Supervisor) {
	t.Helper()
	ipctest.Must(t, s.RemoveAll())
	if entries := s.Entries(); entries != "" {
		t.Errorf("of programs that have all ended the supervisor knows: %s", entries)
	}
}

// newTail returns a file that the test shows the end of, if it fails. A pipe
// would be read until the last process has ended that has it.
func newTail(t *testing.T) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	ipctest.Must(t, err)
	t.Cleanup(func() {
		defer file.Close()
		if !t.Failed() {
			return
		}
		text, _ := os.ReadFile(file.Name())
		t.Logf("%s", text[max(0, len(text)-4000):])
	})
	return file
}

// belowRole is that of a process that has another become a program.
const belowRole = "have another play a role"

// playingBelow is [playing] by a process that this one does not wait for: who
// waits for a child of its own and is its debugger as well, as the supervisor
// is, gets to know of its stops too.
func playingBelow(t testing.TB, s *supervise.Supervisor, role string, args ...string) *exec.Cmd {
	t.Helper()
	return listening(t, s, ipctest.Again(belowRole, append([]string{role}, args...)...))
}

// playBelow waits for all processes that the other one leaves: they would be
// zombies of the test's until it ends.
func playBelow() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	cmd := ipctest.Again(roleRole, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{os.NewFile(3, "socket")}
	if err := cmd.Start(); err != nil {
		return err
	}
	var failure error
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == unix.ECHILD {
			return failure
		}
		if err == nil && pid == cmd.Process.Pid && status != 0 {
			failure = fmt.Errorf("wait status %#x", int(status))
		}
	}
}

// checkRole is that of a program which verifies what its calls return.
const checkRole = "make calls and verify them"

// promptly is how soon every call returns that does not sleep, whatever others
// do.
const promptly = 2 * time.Second

// check makes calls of every kind in a namespace of its own, for as long as the
// argument says, and prints how many and how long the slowest took.
func check() error {
	duration, err := time.ParseDuration(os.Args[1])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil {
		return err
	}
	c := checker{}
	for end := time.Now().Add(duration); time.Now().Before(end); {
		for _, f := range []func(){c.messages, c.semaphores, c.segment, c.mqueue, c.table} {
			f()
			if c.err != nil {
				return fmt.Errorf("after %d calls: %w", c.calls, c.err)
			}
		}
	}
	fmt.Printf("%d calls, the slowest, %s, took %v\n", c.calls, c.slowestName, c.slowest)
	if c.slowest > promptly {
		return errors.New("that is too slow")
	}
	return nil
}

// A checker makes calls until one goes wrong.
type checker struct {
	calls       int
	slowest     time.Duration
	slowestName string
	err         error
}

// call makes a call that works.
func (c *checker) call(name string, number uintptr, args ...uintptr) uintptr {
	if c.err != nil {
		return 0
	}
	var a [6]uintptr
	copy(a[:], args)
	began := time.Now()
	r, _, errno := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if took := time.Since(began); took > c.slowest {
		c.slowest, c.slowestName = took, name
	}
	c.calls++
	if errno != 0 {
		c.err = fmt.Errorf("%s%x: %w", name, args, errno)
	}
	return r
}

// want notes that something has not the value that it has to have.
func (c *checker) want(what string, got, want any) {
	if c.err == nil && got != want {
		c.err = fmt.Errorf("%s is %v, not %v", what, got, want)
	}
}

func (c *checker) messages() {
	id := c.call("msgget", unix.SYS_MSGGET, 0, 0o600)
	sent := struct {
		typ  int64
		text [100]byte
	}{typ: int64(c.calls)}
	for i := range sent.text {
		sent.text[i] = byte(c.calls + i)
	}
	received := sent
	received.text = [100]byte{}
	c.call("msgsnd", unix.SYS_MSGSND, id, uintptr(unsafe.Pointer(&sent)), 100, 0)
	n := c.call("msgrcv", unix.SYS_MSGRCV, id, uintptr(unsafe.Pointer(&received)), 100, uintptr(sent.typ), 0)
	c.want("a message's length", n, uintptr(100))
	c.want("a message", received, sent)
	c.call("msgctl", unix.SYS_MSGCTL, id, sys.IPCRmid)
}

func (c *checker) semaphores() {
	id := c.call("semget", unix.SYS_SEMGET, 0, 3, 0o600)
	c.call("semctl", unix.SYS_SEMCTL, id, 1, sys.SemSetVal, 5)
	operations := [2]ipctest.Sembuf{{Num: 1, Op: -2, Flg: ipc.SemUndo}, {Num: 2, Op: 1}}
	c.call("semop", unix.SYS_SEMOP, id, uintptr(unsafe.Pointer(&operations)), 2)
	c.want("a semaphore", c.call("semctl", unix.SYS_SEMCTL, id, 1, sys.SemGetVal), uintptr(3))
	c.call("semctl", unix.SYS_SEMCTL, id, 0, sys.IPCRmid)
}

func (c *checker) segment() {
	id := c.call("shmget", unix.SYS_SHMGET, 0, 8192, 0o600)
	at := c.call("shmat", unix.SYS_SHMAT, id)
	if c.err != nil {
		return
	}
	memory := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), 8192)
	c.want("new memory", memory[c.calls%8192], byte(0))
	memory[c.calls%8192] = 1
	var ds sys.ShmidDS
	c.call("shmctl", unix.SYS_SHMCTL, id, sys.IPCStat, uintptr(unsafe.Pointer(&ds)))
	c.want("nattch", ds.Nattch, uint64(1))
	c.call("shmdt", unix.SYS_SHMDT, at)
	c.call("shmctl", unix.SYS_SHMCTL, id, sys.IPCRmid)
}

func (c *checker) mqueue() {
	name := [2]byte{'q'}
	attr := sys.MqAttr{Maxmsg: 2, Msgsize: 50}
	fd := c.call("mq_open", unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(&name)), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600, uintptr(unsafe.Pointer(&attr)))
	sent, received := [50]byte{byte(c.calls), 49: 1}, [50]byte{}
	var priority uint32
	c.call("mq_timedsend", unix.SYS_MQ_TIMEDSEND, fd, uintptr(unsafe.Pointer(&sent)), 50, 7, 0)
	n := c.call("mq_timedreceive", unix.SYS_MQ_TIMEDRECEIVE, fd, uintptr(unsafe.Pointer(&received)), 50, uintptr(unsafe.Pointer(&priority)), 0)
	c.want("a message's length", n, uintptr(50))
	c.want("a message", received, sent)
	c.want("its priority", priority, uint32(7))
	c.call("close", unix.SYS_CLOSE, fd)
	c.call("mq_unlink", unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(&name)))
}

// table reads a table in which there is nothing, as the namespace is empty by
// now.
func (c *checker) table() {
	if c.err != nil {
		return
	}
	began := time.Now()
	text, err := os.ReadFile("/proc/sysvipc/msg")
	if took := time.Since(began); took > c.slowest {
		c.slowest, c.slowestName = took, "open"
	}
	c.calls++
	if c.err = err; err == nil {
		c.want("lines of the table", strings.Count(string(text), "\n"), 1)
	}
}
