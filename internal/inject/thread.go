//go:build linux

package inject

import (
	"bytes"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Thread is a thread of another process, which has stopped.
type Thread struct {
	tid   int
	until time.Time // no call is waited for any longer

	stopped, ended bool
	signal         syscall.Signal // the thread is to get it when it goes on
	failure        syscall.Errno  // why no more calls can be made

	registers unix.PtraceRegs // on its way back from its own call
	mask      uint64          // the signals that it blocks itself
	taken     bool            // there are registers
	masked    bool            // there is a mask, to be restored

	anew     *ownCall
	answered bool // its own call has got an answer, and is to return result
	result   int64
}

// take waits for the thread to come back from its call, and prepares it for
// others. All signals are blocked, so that they stay pending until it goes on:
// the handler of one would run in place of a call.
func (t *Thread) take() syscall.Errno {
	status, errno := t.wait(t.until)
	if errno != 0 {
		return errno
	}
	if !status.isEvent() {
		return unix.EINTR
	}
	if err := unix.PtraceGetRegs(t.tid, &t.registers); err != nil {
		return errnoOf(err)
	}
	t.taken = true
	if !t.isAfterCall() {
		return unix.EFAULT
	}
	if errno := t.sigmask(unix.PTRACE_GETSIGMASK, &t.mask); errno != 0 {
		return errno
	}
	t.masked = true
	all := ^uint64(0)
	return t.sigmask(unix.PTRACE_SETSIGMASK, &all)
}

// isAfterCall reports whether the instruction that the thread has come from
// still makes system calls: another thread may have changed the code.
func (t *Thread) isAfterCall() bool {
	code := make([]byte, len(callInstruction))
	_, err := unix.PtracePeekText(t.tid, callAddress(&t.registers), code)
	return err == nil && bytes.Equal(code, callInstruction)
}

func (t *Thread) sigmask(request int, mask *uint64) syscall.Errno {
	return ptracePointer(request, t.tid, unsafe.Sizeof(*mask), unsafe.Pointer(mask))
}

// detach lets a stopped thread go on, with the result of its own call if that
// was answered. It reports whether the thread is no longer traced.
func (t *Thread) detach() bool {
	if !t.stopped {
		return false
	}
	if t.anew != nil && t.taken {
		setCall(&t.registers, t.anew.number, t.anew.args)
		unix.PtraceSetRegs(t.tid, &t.registers)
	} else if t.answered && (t.taken || unix.PtraceGetRegs(t.tid, &t.registers) == nil) {
		setResult(t.tid, t.registers, t.result)
	}
	if t.masked {
		t.sigmask(unix.PTRACE_SETSIGMASK, &t.mask)
	}
	errno := ptrace(unix.PTRACE_DETACH, t.tid, 0, uintptr(t.signal))
	if errno != 0 { // it was killed, which all the requests show
		t.stopped, t.failure = false, errno
	}
	return errno == 0
}

// MakeAnew lets the thread make a call once more, when it goes on, instead of
// returning from it.
func (t *Thread) MakeAnew(number uintptr, args ...uintptr) {
	t.anew = &ownCall{number, args}
}

// An ownCall is one that the thread makes itself.
type ownCall struct {
	number uintptr
	args   []uintptr
}

// Call makes a system call in the thread. It is not for one that sleeps, nor
// one that a filter of the caller traps: nobody would answer. A filter that
// the program has itself decides about it as about the program's own.
func (t *Thread) Call(number uintptr, args ...uintptr) (uintptr, syscall.Errno) {
	if t.failure != 0 {
		return 0, t.failure
	}
	var result int64
	result, t.failure = t.call(number, args)
	if t.failure != 0 {
		return 0, t.failure
	}
	const maxErrno = 4095 // as in the kernel's err.h
	if -maxErrno <= result && result < 0 {
		return 0, syscall.Errno(-result)
	}
	return uintptr(result), 0
}

// call returns the result of a call, and an error if it could not be made.
func (t *Thread) call(number uintptr, args []uintptr) (int64, syscall.Errno) {
	registers := t.registers
	setCall(&registers, number, args)
	if err := unix.PtraceSetRegs(t.tid, &registers); err != nil {
		return 0, errnoOf(err)
	}
	for range 2 { // the beginning and the end of the call
		if errno := t.runToCall(); errno != 0 {
			return 0, errno
		}
	}
	if err := unix.PtraceGetRegs(t.tid, &registers); err != nil {
		return 0, errnoOf(err)
	}
	if callAddress(&registers) != callAddress(&t.registers) { // the code was changed, and this is another call
		return 0, unix.EFAULT
	}
	return resultOf(&registers), 0
}

// runToCall lets the thread run until it makes a call or returns from one.
// Between them it stops when its process is stopped or continued, and for
// SIGSTOP, which cannot be blocked.
func (t *Thread) runToCall() syscall.Errno {
	for {
		if errno := ptrace(unix.PTRACE_SYSCALL, t.tid, 0, uintptr(t.signal)); errno != 0 {
			return errno
		}
		t.stopped = false
		status, errno := t.wait(t.until)
		switch {
		case errno != 0:
			return errno
		case status.isCall():
			return 0
		case !status.isEvent() && status.signal() != unix.SIGSTOP: // the code was changed
			return unix.EFAULT
		}
	}
}

// wait waits until the thread stops. ESRCH: it has ended, or has become
// another one in execve(2).
func (t *Thread) wait(until time.Time) (stopStatus, syscall.Errno) {
	for began := time.Now(); ; {
		status, errno := stopOf(t.tid)
		if errno != 0 {
			t.ended = true
			return 0, errno
		}
		if status != 0 {
			t.stopped, t.signal = true, t.toDeliver(status)
			return status, 0
		}
		now := time.Now()
		if !now.Before(until) {
			return 0, unix.ETIMEDOUT
		}
		pause(now.Sub(began))
	}
}

// toDeliver returns the signal for which the thread has stopped and that it
// is to get. SIGSTOP cannot be blocked; any other one that comes although all
// are blocked is the fault of code that was changed.
func (t *Thread) toDeliver(status stopStatus) syscall.Signal {
	if status.isEvent() || status.isCall() || t.masked && status.signal() != unix.SIGSTOP {
		return 0
	}
	return status.signal()
}

// pause pauses in a wait that has taken some time. Stops usually come within
// 50 us, sooner than a sleep ends.
func pause(waited time.Duration) {
	if waited < 200*time.Microsecond {
		syscall.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		return
	}
	request := unix.NsecToTimespec(int64(min(waited/4, time.Millisecond)))
	unix.Nanosleep(&request, nil)
}
