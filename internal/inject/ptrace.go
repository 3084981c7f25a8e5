//go:build linux

package inject

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func ptrace(request, tid int, addr, data uintptr) syscall.Errno {
	_, _, errno := syscall.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	return errno
}

func ptracePointer(request, tid int, addr uintptr, data unsafe.Pointer) syscall.Errno {
	_, _, errno := syscall.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, uintptr(data), 0, 0)
	return errno
}

// errnoOf is for errors of package unix, which are error numbers.
func errnoOf(err error) syscall.Errno {
	errno, _ := err.(syscall.Errno)
	return errno
}

// A stopStatus is why a traced thread has stopped: a signal, and an event; see
// ptrace(2).
type stopStatus int32

func (s stopStatus) signal() syscall.Signal { return syscall.Signal(s & 0xff) }

// isEvent reports whether the stop is that of PTRACE_INTERRUPT, or one with
// the whole process.
func (s stopStatus) isEvent() bool { return s>>8 == unix.PTRACE_EVENT_STOP }

// isCall reports whether the thread makes a call or returns from one, as
// PTRACE_O_TRACESYSGOOD tells.
func (s stopStatus) isCall() bool { return s == stopStatus(unix.SIGTRAP)|0x80 }

// stopOf returns why a traced thread has stopped, 0 while it runs. ESRCH: it
// has ended, or has become another one in execve(2).
func stopOf(tid int) (stopStatus, syscall.Errno) {
	var info struct { // siginfo_t of SIGCHLD
		_        [2]int32
		code     int32
		_        int32
		pid, uid int32
		status   int32
		_        [25]int32
	}
	// A stop needs not be taken with WNOWAIT: it ends when the thread goes on.
	const options = unix.WSTOPPED | unix.WEXITED | unix.WNOHANG | unix.WNOWAIT | unix.WALL
	_, _, errno := syscall.Syscall6(unix.SYS_WAITID, unix.P_PID, uintptr(tid), uintptr(unsafe.Pointer(&info)), options, 0, 0)
	if errno == unix.ECHILD {
		return 0, unix.ESRCH
	}
	if errno != 0 || info.pid == 0 {
		return 0, 0
	}
	const trapped, stopped = 4, 5 // CLD_TRAPPED, CLD_STOPPED
	if info.code == trapped || info.code == stopped {
		return stopStatus(info.status), 0
	}
	if !isChild(tid) {
		unix.Wait4(tid, nil, unix.WNOHANG|unix.WALL, nil)
	}
	return 0, unix.ESRCH
}

// isChild reports whether a thread is a child of this process: then its end is
// for who started it to wait for.
func isChild(tid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	return err == nil &&
		bytes.Contains(status, fmt.Appendf(nil, "\nTgid:\t%d\n", tid)) &&
		bytes.Contains(status, fmt.Appendf(nil, "\nPPid:\t%d\n", os.Getpid()))
}
