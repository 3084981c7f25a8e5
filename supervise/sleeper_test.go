//go:build linux

package supervise_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

// A sleepingProcess is one that sleeps in a call, as this one sees it.
type sleepingProcess struct {
	cmd    *exec.Cmd
	call   blockingCall
	tid    int         // of the thread that sleeps
	heard  chan byte   // one for each signal that was handled; closed at the end
	result chan string // what the call has returned
}

// enoughTicks are how many signals of a timer a call has to sleep through.
const enoughTicks = 20

// fallAsleep starts a process, and returns when it sleeps. It may be over by then,
// if it is brief or has a timer.
func fallAsleep(name string, object int, d disturbance) (*sleepingProcess, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := ipctest.Again(sleepRole, name, strconv.Itoa(object), d.handler, strconv.FormatBool(d.ticks))
	// The runtime's own signals would be others.
	cmd.Env = append(cmd.Env, "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	cmd.Stderr, cmd.ExtraFiles, cmd.SysProcAttr.Pdeathsig = os.Stderr, []*os.File{write}, unix.SIGKILL
	output, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	write.Close()
	if err != nil {
		read.Close()
		return nil, err
	}
	s := &sleepingProcess{cmd: cmd, call: blockingCalls[name], heard: make(chan byte, 1), result: make(chan string, 1)}
	go s.hear(read)
	go func() {
		text, _ := io.ReadAll(output)
		s.result <- string(text)
	}()
	s.settled()
	return s, nil
}

// hear passes on what the handler says, as far as anybody wants it.
func (s *sleepingProcess) hear(read *os.File) {
	defer read.Close()
	defer close(s.heard)
	for {
		var b [1]byte
		if _, err := read.Read(b[:]); err != nil {
			return
		}
		s.heard <- b[0]
	}
}

// asleep reports whether a thread sleeps in the call, which is s.tid then.
func (s *sleepingProcess) asleep() bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", s.cmd.Process.Pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		number, _, _ := strings.Cut(string(text), " ")
		if number == strconv.Itoa(s.call.number) {
			s.tid, _ = strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return s.state() == 'S'
		}
	}
	return false
}

// state returns the state of the thread; see proc_pid_stat(5).
func (s *sleepingProcess) state() byte {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", s.cmd.Process.Pid, s.tid))
	_, after, found := bytes.Cut(text, []byte(") "))
	if !found {
		return 0
	}
	return after[0]
}

// settled returns what has become of the call, once it sleeps or is over: after
// something that the thread leaves it for, if it sleeps again.
func (s *sleepingProcess) settled() string {
	for {
		if len(s.result) > 0 {
			return s.over()
		}
		if s.asleep() {
			return goesOn
		}
		time.Sleep(time.Millisecond)
	}
}

// over returns the result of the call, when it is over.
func (s *sleepingProcess) over() string {
	result := <-s.result
	s.result <- result
	return result
}

// end kills the process and waits for it, which nobody may do before: who waits
// for a child takes its stops from another thread that traces it.
func (s *sleepingProcess) end() {
	s.cmd.Process.Kill()
	for range s.heard {
	}
	<-s.result
	s.cmd.Wait()
}

func (s *sleepingProcess) kill(signal syscall.Signal) error {
	return unix.Tgkill(s.cmd.Process.Pid, s.tid, signal)
}

// signal sends SIGUSR1, and returns when that was handled.
func (s *sleepingProcess) signal() error {
	err := s.kill(unix.SIGUSR1)
	<-s.heard
	return err
}

// signalUnheard sends SIGUSR1, and returns when it could have done something.
func (s *sleepingProcess) signalUnheard() error {
	err := s.kill(unix.SIGUSR1)
	time.Sleep(5 * ipctest.Tick)
	return err
}

// hearTicks returns when signals have come for some time, or the process ends
// by the first.
func (s *sleepingProcess) hearTicks() error {
	for range enoughTicks {
		<-s.heard
	}
	return nil
}

func (s *sleepingProcess) stopAndGoOn() error {
	if err := s.kill(unix.SIGSTOP); err != nil {
		return err
	}
	for s.state() != 'T' {
		time.Sleep(time.Millisecond)
	}
	return s.kill(unix.SIGCONT)
}

// attachAndDetach does what a debugger does first and last.
func (s *sleepingProcess) attachAndDetach() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := errors.Join(ptrace(unix.PTRACE_SEIZE, s.tid), ptrace(unix.PTRACE_INTERRUPT, s.tid)); err != nil {
		return err
	}
	for {
		if _, err := unix.Wait4(s.tid, nil, unix.WALL, nil); err != unix.EINTR {
			return errors.Join(err, ptrace(unix.PTRACE_DETACH, s.tid))
		}
	}
}

func ptrace(request, tid int) error {
	if _, _, errno := syscall.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, 0, 0, 0); errno != 0 {
		return os.NewSyscallError("ptrace", errno)
	}
	return nil
}

// done is what a sleeping process prints of a call that has succeeded.
const done = "done"

// sleep makes the call that the arguments name, and prints what has become of it.
func sleep() error {
	call := blockingCalls[os.Args[1]]
	object, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	heard := os.NewFile(3, "heard")
	if err := handle(os.Args[3], func() { heard.Write([]byte{0}) }); err != nil {
		return err
	}
	if os.Args[4] == "true" {
		if err := tick(); err != nil {
			return err
		}
	}
	began := time.Now()
	errno := call.call(object)
	what := done
	if errno != 0 {
		what = unix.ErrnoName(errno)
	}
	if (errno == unix.EAGAIN || errno == unix.ETIMEDOUT) && time.Since(began) < briefly {
		what += " too early"
	}
	_, err = fmt.Print(what)
	return err
}

// handle handles SIGUSR1 in one of the ways that a [disturbance] has. Heard is
// called after the handler, if there is one.
func handle(how string, heard func()) error {
	switch how {
	case noHandler, "":
		return nil
	case ignores:
		signal.Ignore(unix.SIGUSR1)
		return nil
	}
	came := make(chan os.Signal, 1)
	signal.Notify(came, unix.SIGUSR1)
	go func() {
		for range came {
			heard()
		}
	}()
	if how == interrupts {
		return withoutRestart(unix.SIGUSR1)
	}
	return nil
}

// withoutRestart takes SA_RESTART, which the runtime's handlers all have.
func withoutRestart(signal syscall.Signal) error {
	const (
		maskSize = 8
		restart  = 0x10000000
	)
	var action struct{ handler, flags, restorer, mask uint64 }
	change := func(set, get unsafe.Pointer) error {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(set), uintptr(get), maskSize, 0, 0); errno != 0 {
			return os.NewSyscallError("rt_sigaction", errno)
		}
		return nil
	}
	if err := change(nil, unsafe.Pointer(&action)); err != nil {
		return err
	}
	action.flags &^= restart
	return change(unsafe.Pointer(&action), nil)
}

// tick starts a timer that sends SIGUSR1 to this thread, first when that sleeps.
func tick() error {
	const sigevThreadID = 4
	event := struct {
		value              uint64
		signo, notify, tid int32
		_                  [44]byte
	}{signo: int32(unix.SIGUSR1), notify: sigevThreadID, tid: int32(unix.Gettid())}
	var timer int32
	if _, _, errno := syscall.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&timer))); errno != 0 {
		return os.NewSyscallError("timer_create", errno)
	}
	spec := unix.ItimerSpec{Interval: unix.NsecToTimespec(int64(2 * time.Millisecond)), Value: unix.NsecToTimespec(int64(briefly / 2))}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 {
		return os.NewSyscallError("timer_settime", errno)
	}
	return nil
}
