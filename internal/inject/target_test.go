//go:build linux

package inject

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

// The main goroutine stays on the main thread, so that a role knows which
// thread it runs on.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	ipctest.Play(roles())
	leak.Main(m)
}

// trapped is the call that the targets' filter traps.
const trapped = unix.SYS_SHMAT

// trap makes the trapped call.
func trap() (uintptr, syscall.Errno) {
	result, _, errno := syscall.Syscall(trapped, 0, 0, 0)
	return result, errno
}

// socket is the descriptor by which a target hands over its listener, and is
// told to go on.
const socket = 3

// beTarget installs the filter for this thread and those that it starts.
func beTarget() error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	const userNotif = 0x7fc00000 // SECCOMP_RET_USER_NOTIF
	listener, err := setFilter(filterOf(trapped, userNotif), unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	return unix.Sendmsg(socket, []byte{0}, unix.UnixRights(listener), nil, 0)
}

// filterOf returns the filter that has the action for one call.
func filterOf(call uint32, action uint32) []unix.SockFilter {
	const allow = 0x7fff0000 // SECCOMP_RET_ALLOW
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number in struct seccomp_data
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET, K: action},
		{Code: unix.BPF_RET, K: allow},
	}
}

func setFilter(filter []unix.SockFilter, flags uintptr) (int, error) {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const setModeFilter = 1 // SECCOMP_SET_MODE_FILTER
	fd, _, errno := syscall.Syscall(unix.SYS_SECCOMP, setModeFilter, flags, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return -1, os.NewSyscallError("seccomp", errno)
	}
	return int(fd), nil
}

// awaitGoOn waits until the test tells the target to go on.
func awaitGoOn() error {
	_, err := unix.Read(socket, make([]byte, 1))
	return err
}

// A target is a process that makes trapped calls, and the Tracer for it.
type target struct {
	t        testing.TB
	tracer   Tracer
	cmd      *exec.Cmd
	listener int
	socket   int
}

// start starts a target, which ends with the test. It locks the test to its
// thread, as the Tracer wants it.
func start(t testing.TB, role string, args ...string) *target {
	t.Helper()
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	its := os.NewFile(uintptr(sockets[1]), "socket")
	defer its.Close()
	x := &target{t: t, cmd: ipctest.Again(role, args...), listener: -1, socket: sockets[0]}
	x.cmd.ExtraFiles = []*os.File{its}
	x.cmd.Stderr = os.Stderr
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	t.Cleanup(x.end)
	x.listener = receiveDescriptor(t, x.socket)
	const syncWakeUp = 1 // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
	if _, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(x.listener), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, syncWakeUp); errno != 0 {
		t.Fatal(errno)
	}
	return x
}

func receiveDescriptor(t testing.TB, socket int) int {
	t.Helper()
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		t.Fatal("the target has sent no listener: ", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		t.Fatal(err)
	}
	descriptors, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	return descriptors[0]
}

func (x *target) end() {
	defer runtime.UnlockOSThread()
	if x.cmd.ProcessState == nil {
		x.cmd.Process.Kill()
		x.wait()
	}
	unix.Close(x.listener)
	unix.Close(x.socket)
}

// wait waits for the target to end. The wait for a process would take a stop
// of it for its end, and must not find it traced.
func (x *target) wait() error {
	x.t.Helper()
	x.settle()
	return x.cmd.Wait()
}

// settle waits until no thread is late.
func (x *target) settle() {
	x.t.Helper()
	ipctest.Eventually(x.t, "the thread is let go", func() bool {
		x.tracer.Settle()
		return x.tracer.Late() == 0
	})
}

// succeeds waits for the target to end and expects that it has found all as
// it should be.
func (x *target) succeeds() {
	x.t.Helper()
	if err := x.wait(); err != nil {
		x.t.Error("the target: ", err)
	}
}

func (x *target) goOn() {
	x.t.Helper()
	if _, err := unix.Write(x.socket, []byte{0}); err != nil {
		x.t.Fatal(err)
	}
}

// A notification is struct seccomp_notif.
type notification struct {
	id           uint64
	tid          uint32
	flags        uint32
	number, arch uint32
	ip           uint64
	args         [6]uint64
}

// receive waits for a trapped call. It returns nil when there will be none.
func (x *target) receive() *notification {
	x.t.Helper()
	for {
		fds := []unix.PollFd{{Fd: int32(x.listener), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(ipctest.Hang.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			x.t.Fatal("the target makes no call: ", err)
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return nil
		}
		var got notification
		if errno := x.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&got)); errno == 0 {
			return &got
		}
	}
}

func (x *target) ioctl(request uintptr, argument unsafe.Pointer) syscall.Errno {
	_, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(x.listener), request, uintptr(argument))
	return errno
}

// send answers a call.
func (x *target) send(id uint64, value int64) error {
	response := struct { // struct seccomp_notif_resp
		id    uint64
		value int64
		error int32
		flags uint32
	}{id: id, value: value}
	if errno := x.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&response)); errno != 0 {
		return os.NewSyscallError("SECCOMP_IOCTL_NOTIF_SEND", errno)
	}
	return nil
}

// addFD gives the target a descriptor.
func (x *target) addFD(id uint64, fd int) (int, error) {
	argument := struct { // struct seccomp_notif_addfd
		id           uint64
		flags        uint32
		fd, newfd    uint32
		newfdOptions uint32
	}{id: id, fd: uint32(fd), newfdOptions: unix.O_CLOEXEC}
	n, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(x.listener), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(&argument)))
	if errno != 0 {
		return -1, os.NewSyscallError("SECCOMP_IOCTL_NOTIF_ADDFD", errno)
	}
	return int(n), nil
}

// next receives a call and answers it with what f makes in the target, within
// the time that Do may take.
func (x *target) next(f func(t *Thread) int64) error {
	x.t.Helper()
	n := x.receive()
	if n == nil {
		x.t.Fatal("the target has ended")
	}
	return x.do(n, f)
}

func (x *target) do(n *notification, f func(t *Thread) int64) error {
	x.t.Helper()
	began := time.Now()
	err := x.tracer.Do(int(n.tid), func() error { return x.send(n.id, 0) }, f)
	if took := time.Since(began); took > 2*(patience+grace) {
		x.t.Errorf("Do took %v", took)
	}
	return err
}

// state returns the letter of a thread's state; see proc_pid_stat(5).
func state(tid int) (letter byte) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	if err != nil {
		return 0
	}
	for i := range text {
		if text[i] == ')' && i+2 < len(text) {
			letter = text[i+2]
		}
	}
	return letter
}

const pageSize = 4096

// mapPage maps an anonymous page and returns what the thread's call is to
// return.
func mapPage(t *Thread) int64 {
	address, errno := t.Call(unix.SYS_MMAP, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	if errno != 0 {
		return -int64(errno)
	}
	return int64(address)
}
