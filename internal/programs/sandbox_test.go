//go:build linux

package programs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

// becomeSandboxed is the program sandbox: it becomes the program that its
// arguments name, as on a kernel without IPC in a container without namespaces.
func becomeSandboxed() {
	runtime.LockOSThread() // the thread that gets the filter
	fail := func(err error) {
		fmt.Fprintf(os.Stderr, "sandbox: %v\n", err)
		os.Exit(125)
	}
	if len(os.Args) < 2 {
		fail(errors.New("it takes a program"))
	}
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		fail(err)
	}
	if _, err := addFilter(sandboxFilter(), 0); err != nil {
		fail(err)
	}
	fail(syscall.Exec(path, os.Args[1:], os.Environ()))
}

// What filters return; see seccomp(2). Of two filters, the lower value counts.
// So a supervisor that was asked for inside the sandbox still sees the calls
// that the sandbox is without: where nobody traces them, they are ENOSYS as
// well. A call that the supervisor lets continue is made all the same.
const (
	forbidden = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	unknown   = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	ask       = unix.SECCOMP_RET_USER_NOTIF
	without   = unix.SECCOMP_RET_TRACE
	allowed   = unix.SECCOMP_RET_ALLOW
)

// ipcCalls are the numbers of all calls of System V IPC and of POSIX message
// queues.
var ipcCalls = map[string]uint32{
	"msgget": unix.SYS_MSGGET, "msgsnd": unix.SYS_MSGSND, "msgrcv": unix.SYS_MSGRCV, "msgctl": unix.SYS_MSGCTL,
	"semget": unix.SYS_SEMGET, "semop": unix.SYS_SEMOP, "semtimedop": unix.SYS_SEMTIMEDOP, "semctl": unix.SYS_SEMCTL,
	"shmget": unix.SYS_SHMGET, "shmat": unix.SYS_SHMAT, "shmdt": unix.SYS_SHMDT, "shmctl": unix.SYS_SHMCTL,
	"mq_open": unix.SYS_MQ_OPEN, "mq_unlink": unix.SYS_MQ_UNLINK, "mq_notify": unix.SYS_MQ_NOTIFY,
	"mq_timedsend": unix.SYS_MQ_TIMEDSEND, "mq_timedreceive": unix.SYS_MQ_TIMEDRECEIVE, "mq_getsetattr": unix.SYS_MQ_GETSETATTR,
}

// architectures are those that the numbers in this program are for.
var architectures = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

const (
	newNamespaces = unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWNS |
		unix.CLONE_NEWPID | unix.CLONE_NEWUSER | unix.CLONE_NEWUTS

	x32 = 1 << 30 // from this number on, calls of amd64 are those of x32
)

// Where struct seccomp_data has what the filters look at. Of the argument that
// is the lower half, as both architectures begin with it.
const (
	callNumber    = 0
	architecture  = 4
	firstArgument = 16
)

// sandboxFilter knows no call of another architecture, which could be any.
func sandboxFilter() []unix.SockFilter {
	filter := []unix.SockFilter{
		load(architecture),
		skipIf(unix.BPF_JEQ, architectures[runtime.GOARCH], 1),
		result(without),
		load(callNumber),
		skipUnless(unix.BPF_JGE, x32, 1),
		result(without),
	}
	for _, name := range slices.Sorted(maps.Keys(ipcCalls)) {
		filter = append(filter, onCall(ipcCalls[name], without)...)
	}
	filter = append(filter, onCall(unix.SYS_UNSHARE, forbidden)...)
	filter = append(filter, onCall(unix.SYS_SETNS, forbidden)...)
	filter = append(filter, onCall(unix.SYS_CLONE3, unknown)...) // its flags are out of reach
	return append(filter,
		skipUnless(unix.BPF_JEQ, unix.SYS_CLONE, 3),
		load(firstArgument),
		skipUnless(unix.BPF_JSET, newNamespaces, 1),
		result(forbidden),
		result(allowed))
}

// onCall is the part of a filter that returns something for one call.
func onCall(number, returns uint32) []unix.SockFilter {
	return []unix.SockFilter{skipUnless(unix.BPF_JEQ, number, 1), result(returns)}
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func result(returns uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: returns}
}

// skipIf skips instructions if the comparison holds, skipUnless if it does not.
func skipIf(comparison uint16, with uint32, instructions uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | comparison | unix.BPF_K, K: with, Jt: instructions}
}

func skipUnless(comparison uint16, with uint32, instructions uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | comparison | unix.BPF_K, K: with, Jf: instructions}
}

// addFilter adds a filter to the calling thread, which has to be locked. With
// SECCOMP_FILTER_FLAG_NEW_LISTENER it returns the supervisor's descriptor.
func addFilter(filter []unix.SockFilter, flags uintptr) (listener int, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, os.NewSyscallError("prctl", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return -1, os.NewSyscallError("seccomp", errno)
	}
	return int(fd), nil
}

func TestTheSandboxHasNoIPCAndMakesNoNamespaces(t *testing.T) { inSandbox(t, "try-refused-calls") }

func TestASupervisorInTheSandboxSeesTheCalls(t *testing.T) { inSandbox(t, "supervise-a-call") }

// inSandbox runs one of the programs of this package in the sandbox.
func inSandbox(t *testing.T, program string) {
	t.Parallel()
	if output, err := exec.Command("sandbox", program).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// tryRefusedCalls makes the calls with arguments that do no harm where they
// are not refused.
func tryRefusedCalls() error {
	var wrong []error
	expect := func(name string, err, want error) {
		if !errors.Is(err, want) {
			wrong = append(wrong, fmt.Errorf("%s: %v, not %v", name, err, want))
		}
	}
	for name, number := range ipcCalls {
		const none = ^uintptr(0) // no id, no descriptor, no address, and with flags of 0 no key to make something of
		_, _, errno := unix.RawSyscall(uintptr(number), none, 0, 0)
		expect(name, errno, unix.ENOSYS)
	}
	expect("unshare", unix.Unshare(unix.CLONE_NEWIPC), unix.EPERM)
	expect("setns", unix.Setns(-1, unix.CLONE_NEWIPC), unix.EPERM)
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	expect("clone3", errno, unix.ENOSYS)
	for _, flag := range [...]uintptr{unix.CLONE_NEWIPC, unix.CLONE_NEWUSER, unix.CLONE_NEWNS} {
		cmd := exec.Command("true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flag}
		expect(fmt.Sprintf("clone with flag %#x", flag), cmd.Run(), unix.EPERM)
	}
	expect("a program without", exec.Command("true").Run(), nil)
	return errors.Join(wrong...)
}

// superviseACall answers a call on another thread, which has a filter that
// asks this one.
func superviseACall() error {
	const answer = 4242
	listeners, answers, failures := make(chan int), make(chan uintptr), make(chan error)
	go func() {
		runtime.LockOSThread() // and ends with the filter
		filter := slices.Concat([]unix.SockFilter{load(callNumber)}, onCall(unix.SYS_MSGGET, ask), []unix.SockFilter{result(allowed)})
		listener, err := addFilter(filter, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
		if err != nil {
			failures <- err
			return
		}
		listeners <- listener
		id, _, _ := unix.Syscall(unix.SYS_MSGGET, ^uintptr(0), 0, 0)
		answers <- id
	}()
	select {
	case err := <-failures:
		return err
	case listener := <-listeners:
		if err := answerOnce(listener, answer); err != nil {
			return err
		}
	}
	if id := <-answers; id != answer {
		return fmt.Errorf("msgget returned %d, not the supervisor's answer", int(id))
	}
	return nil
}

// answerOnce lets the next call that a supervisor is asked about return a
// value. The structures are those of seccomp_unotify(2).
func answerOnce(listener int, value int64) error {
	poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, int(ipctest.Hang.Milliseconds())); n != 1 {
		return fmt.Errorf("the supervisor was asked nothing: %v", err)
	}
	var asked struct {
		id uint64
		_  [72]byte
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked))); errno != 0 {
		return os.NewSyscallError("SECCOMP_IOCTL_NOTIF_RECV", errno)
	}
	answer := struct {
		id           uint64
		value        int64
		error, flags int32
	}{id: asked.id, value: value}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer))); errno != 0 {
		return os.NewSyscallError("SECCOMP_IOCTL_NOTIF_SEND", errno)
	}
	return nil
}
