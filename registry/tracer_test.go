//go:build linux

package registry_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A killing ends a process of a command with SIGKILL at one of the system calls
// that change something.
type killing struct {
	at    int  // the call, counted from 1 in all processes
	after bool // when the call has been made, not before
	first bool // end the first process at a call of another; only such calls count
}

// mark is the signal that a command sends itself when it begins: what the Go
// runtime does before is of no interest. It is not delivered, and without a tracer, the
// runtime ignores it.
const mark = unix.SIGUSR1

// begin is what the command calls.
func begin() {
	runtime.LockOSThread()
	unix.Tgkill(unix.Getpid(), unix.Gettid(), mark)
	runtime.UnlockOSThread()
}

// A trace is a command under ptrace(2), with all its threads and processes.
// What belongs to a thread is the tracer's: it stays on one.
type trace struct {
	killing
	leader  int
	threads map[int]int // the process of each thread that has not ended
	seen    map[int]bool
	begun   bool         // calls stop the threads
	marked  int          // the thread that has sent the mark
	behind  map[int]bool // threads that run on without being stopped at calls
	count   int
	due     int            // the thread whose call has to return before its process is ended
	call    string         // the call at which a process was ended
	other   bool           // that was not the first
	made    map[string]int // how often, by name of the call, by others than the first process
	sides   []int          // the processes but for the first, in their order
	leaving bool           // the first process has ended; the others are let go
	status  unix.WaitStatus
}

// run runs the command and ends one of its processes.
func (k killing) run(cmd *exec.Cmd) (*trace, error) {
	t := &trace{killing: k, threads: map[int]int{}, seen: map[int]bool{}, behind: map[int]bool{}, made: map[string]int{}}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // which ends with the goroutine
		err := sameCPU()
		if err == nil {
			err = t.start(cmd)
		}
		if err == nil {
			err = t.follow()
		}
		result <- err
	}()
	return t, <-result
}

// sameCPU keeps the tracer's thread, and with it the command, on one CPU, which
// makes each stop faster. Root's commands need all of them to keep a mount
// namespace.
func sameCPU() error {
	if os.Geteuid() == 0 {
		return nil
	}
	cpu, err := currentCPU()
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}

func (t *trace) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Process.Release()
	t.leader = cmd.Process.Pid
	t.add(t.leader)
	if _, err := unix.Wait4(t.leader, nil, unix.WALL, nil); err != nil {
		return err
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.leader, options); err != nil {
		return err
	}
	return unix.PtraceCont(t.leader, 0)
}

// follow lets the threads run from stop to stop until none is traced any more.
// The tracer's thread may have other children, which are no threads of these.
func (t *trace) follow() error {
	for len(t.threads) > 0 {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			return nil
		case err != nil:
			return err
		case !status.Stopped():
			t.ended(tid, status)
			continue
		}
		if err := t.stopped(tid, status); err != nil && err != unix.ESRCH { // it has just been killed
			return fmt.Errorf("cannot trace thread %d at %#x: %w", tid, int(status), err)
		}
	}
	return nil
}

func (t *trace) ended(tid int, status unix.WaitStatus) {
	delete(t.threads, tid)
	delete(t.behind, tid)
	if tid == t.leader {
		t.status = status
		t.leave()
	}
}

// stopped lets a thread that has stopped go on.
func (t *trace) stopped(tid int, status unix.WaitStatus) error {
	t.add(tid)
	signal := status.StopSignal()
	event := status.TrapCause()
	switch {
	case signal == unix.SIGTRAP|0x80:
		if err := t.atCall(tid); err != nil {
			return err
		}
		signal = 0
	case signal == unix.SIGTRAP && event > 0:
		thread, err := unix.PtraceGetEventMsg(tid)
		if err != nil {
			return err
		}
		if event == unix.PTRACE_EVENT_EXEC {
			t.execed(int(thread), tid)
		} else {
			t.add(int(thread)) // a new one
		}
		signal = 0
	case signal == mark:
		return t.begin(tid)
	case signal == unix.SIGTRAP, signal == unix.SIGSTOP:
		signal = 0 // where a new thread begins, or leave
	}
	if t.leaving && t.threads[tid] != t.leader {
		return t.detach(tid, signal)
	}
	return t.resume(tid, signal)
}

// begin stops the other threads, so that all are stopped at calls from now on.
func (t *trace) begin(tid int) error {
	t.begun, t.marked = true, tid
	for other, process := range t.threads {
		if other != tid {
			t.behind[other] = true
			unix.Tgkill(process, other, unix.SIGSTOP)
		}
	}
	return t.catchUp()
}

// catchUp lets the command begin when no thread is behind.
func (t *trace) catchUp() error {
	if t.marked == 0 || len(t.behind) > 0 {
		return nil
	}
	tid := t.marked
	t.marked = 0
	return unix.PtraceSyscall(tid, 0)
}

func (t *trace) resume(tid int, signal syscall.Signal) error {
	if done := t.call != "" && t.due == 0; !t.begun || done || t.leaving {
		return unix.PtraceCont(tid, int(signal))
	}
	delete(t.behind, tid)
	if err := unix.PtraceSyscall(tid, int(signal)); err != nil {
		return err
	}
	return t.catchUp()
}

// add notes a thread. It may have ended before the event of its beginning is
// seen.
func (t *trace) add(tid int) {
	if !t.seen[tid] {
		t.seen[tid] = true
		t.threads[tid] = processOf(tid)
	}
}

// execed notes that a thread has got the number of its process by execve.
func (t *trace) execed(former, tid int) {
	if former == tid {
		return
	}
	delete(t.threads, former)
	if t.due == former {
		t.due = tid
	}
}

// atCall looks at a thread that is about to make a call, or has made one.
func (t *trace) atCall(tid int) error {
	call, err := callOf(tid)
	if err != nil {
		return err
	}
	if call.operation == exitOperation {
		if t.due == tid {
			t.kill(tid)
		}
		return nil
	}
	name := call.change()
	if name == "" || t.first && t.threads[tid] == t.leader || t.alike(tid, name) {
		return nil
	}
	if t.count++; t.count != t.at {
		return nil
	}
	t.call = name
	if t.after {
		t.due = tid
		return nil
	}
	t.kill(tid)
	return nil
}

// alike reports whether a call is one of many: all sides begin with the same
// calls, and where there is no /dev/mqueue, one mounts every entry of /dev.
func (t *trace) alike(tid int, name string) bool {
	process := t.threads[tid]
	if process == t.leader {
		return false
	}
	if len(t.sides) == 0 || t.sides[len(t.sides)-1] != process {
		t.sides = append(t.sides, process)
	}
	const most, first = 5, 2 // of which one is a probe of package os
	if t.made[name]++; len(t.sides) > first {
		return t.made[name] > 1
	}
	return t.made[name] > most
}

func (t *trace) kill(tid int) {
	t.due = 0
	process := t.threads[tid]
	if t.first {
		process = t.leader
	}
	t.other = process != t.leader
	unix.Kill(process, unix.SIGKILL)
	if process == t.leader {
		t.leave()
	}
}

// leave lets the other processes go on without being traced. Those that sleep
// have to be stopped for that.
func (t *trace) leave() {
	if t.leaving {
		return
	}
	t.leaving = true
	for tid, process := range t.threads {
		if process != t.leader {
			unix.Tgkill(process, tid, unix.SIGSTOP)
		}
	}
}

// detach takes a stop back that leave has ordered and that comes too late.
func (t *trace) detach(tid int, signal syscall.Signal) error {
	if _, _, errno := syscall.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0); errno != 0 {
		return errno
	}
	unix.Kill(t.threads[tid], unix.SIGCONT)
	delete(t.threads, tid)
	return nil
}

func processOf(tid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if found := regexp.MustCompile(`(?m)^Tgid:\s+(\d+)$`).FindSubmatch(text); found != nil {
		pid, _ := strconv.Atoi(string(found[1]))
		return pid
	}
	return tid
}

// A stoppedCall is struct ptrace_syscall_info of the kernel's linux/ptrace.h.
type stoppedCall struct {
	operation byte
	_         [7]byte // and the architecture
	_, _      uint64  // the instruction, the stack
	number    uint64
	args      [6]uint64
	_         uint64
}

const exitOperation = 2 // PTRACE_SYSCALL_INFO_EXIT

func callOf(tid int) (call stoppedCall, err error) {
	_, _, errno := syscall.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(call), uintptr(unsafe.Pointer(&call)), 0, 0)
	if errno != 0 {
		return call, errno
	}
	return call, nil
}

// changes are the calls that change something outside the process.
var changes = map[uint64]string{
	unix.SYS_MKDIRAT: "mkdirat", unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite", unix.SYS_FCHMODAT: "fchmodat",
	unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_MEMFD_CREATE: "memfd_create",
	unix.SYS_MOUNT: "mount", unix.SYS_UMOUNT2: "umount2", unix.SYS_MOVE_MOUNT: "move_mount", unix.SYS_OPEN_TREE: "open_tree",
	unix.SYS_UNSHARE: "unshare", unix.SYS_SETNS: "setns", unix.SYS_PRCTL: "prctl", unix.SYS_CAPSET: "capset", unix.SYS_SETSID: "setsid",
	unix.SYS_FLOCK: "flock", unix.SYS_CLOSE_RANGE: "close_range", unix.SYS_PPOLL: "ppoll",
	unix.SYS_MSGCTL: "msgctl", unix.SYS_SEMCTL: "semctl", unix.SYS_SHMCTL: "shmctl", unix.SYS_MQ_UNLINK: "mq_unlink",
	unix.SYS_PIDFD_OPEN: "pidfd_open", unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal",
	unix.SYS_EXECVE: "execve", unix.SYS_EXECVEAT: "execveat", unix.SYS_EXIT_GROUP: "exit_group",
}

// change returns the name of a call that changes something, "" of any other.
func (call stoppedCall) change() string {
	switch call.number {
	case unix.SYS_OPENAT:
		if call.args[2]&(unix.O_CREAT|unix.O_WRONLY|unix.O_RDWR) != 0 {
			return "openat"
		}
	case unix.SYS_CLONE:
		if call.args[0]&unix.CLONE_THREAD == 0 {
			return "clone"
		}
	}
	return changes[call.number]
}

// strangeChild names a child that is alive and not wanted.
func strangeChild(want map[int]bool) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || want[pid] {
			continue
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(text), ") ")
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == os.Getpid() && state != "Z" && state != "X" {
			return fmt.Errorf("the process %s is left", strings.TrimSpace(string(text)))
		}
	}
	return nil
}

func currentCPU() (int, error) {
	var cpu uint32
	if _, _, errno := syscall.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return 0, errno
	}
	return int(cpu), nil
}
