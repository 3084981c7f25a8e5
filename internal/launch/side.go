//go:build linux

package launch

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A side is the stub as a process beside this one. It makes its calls, says
// so, and waits to be told to go on. Until then it ends with this process.
type side struct {
	process *os.Process
	goOn    *os.File // a byte lets the process go on, and the end does not
	said    *os.File
	failed  *os.File
}

// sideFile is the descriptor that the first of a side's files gets.
const sideFile = 3

// doneCall is how a side says that its calls are done.
var doneCall = call{number: unix.SYS_WRITE, args: []arg{number(1), text("."), number(1)}, step: stepSelf}

// waitToGoOn reads a byte. The end of the file may be that of this process,
// whose signal to the side can come later: then the second call, which does
// nothing to descriptor 1, fails on descriptor 0, which is for reading.
var waitToGoOn = []call{
	{number: unix.SYS_READ, args: []arg{number(0), memory(make([]byte, 1)), number(1)}, pass: true, step: stepSelf},
	{number: unix.SYS_WRITE, args: []arg{{}, text("."), {}}, step: stepSelf},
}

// What a side is called in the list of processes.
const (
	HolderName = "ipcns-holder"
	LookName   = "ipcns-look" // it is in a namespace for a moment
)

// startSide starts a side of that command line that makes the calls and, when told to go on, those
// in after; the last of these must not return. The caller stays on its thread,
// whose end is that of the process for the side.
func startSide(args []string, calls, after []call, results [][]byte, files ...*os.File) (*side, error) {
	runtime.LockOSThread()
	stub, err := sideStub(calls, after, results)
	if err != nil {
		return nil, err
	}
	defer unix.Close(stub)
	var ours, its [3]*os.File
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, stepSelf.failure(errnoOf(err))
		}
		defer func() { its[i].Close() }()
		if ours[i], its[i] = r, w; i == 0 {
			ours[i], its[i] = w, r
		}
	}
	process, err := os.StartProcess(stubPath(stub), args, &os.ProcAttr{
		Dir:   "/",
		Files: append(its[:], files...),
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		for _, file := range ours {
			file.Close()
		}
		return nil, stepMemfd.failure(errnoOf(err))
	}
	s := &side{process: process, goOn: ours[0], said: ours[1], failed: ours[2]}
	for _, file := range its {
		file.Close()
	}
	if err := s.read(results); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// sideStub returns a descriptor of the stub for a side. Its number is none
// that the side's files get.
func sideStub(calls, after []call, results [][]byte) (int, error) {
	plan := append(calls[:len(calls):len(calls)], doneCall)
	for _, result := range results {
		plan = append(plan, call{number: unix.SYS_WRITE, args: []arg{number(1), memory(result), number(len(result))}, step: stepSelf})
	}
	file, err := stubFile(layOutSide(append(append(plan, waitToGoOn...), after...)))
	if err != nil {
		return -1, err
	}
	defer unix.Close(file)
	const above = 64
	high, err := unix.FcntlInt(uintptr(file), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return -1, stepMemfd.failure(errnoOf(err))
	}
	return high, nil
}

// maxStep is more than the bytes of a step.
const maxStep = 512

// layOutSide returns the data of a stub that, when a call fails, writes the
// error number and the step to descriptor 2.
func layOutSide(calls []call) []byte {
	l := newLayout()
	first := l.calls(calls)
	errno := l.words(0)
	failure := l.calls([]call{
		{number: unix.SYS_WRITE, args: []arg{number(2), number(uintptr(errno)), number(1)}},
		{number: unix.SYS_WRITE, args: []arg{number(2), {}, number(maxStep)}},
		exitGroup(StatusFailed),
	})
	stepArg := failure + (recordWords+2)*8
	l.setHeader(first, failure, errno, stepArg)
	l.data = append(l.data, make([]byte, maxStep)...) // behind the last step
	return l.data
}

// read waits until the calls are done and fills the results.
func (s *side) read(results [][]byte) error {
	results = append([][]byte{make([]byte, 1)}, results...)
	for _, result := range results {
		if _, err := io.ReadFull(s.said, result); err != nil {
			return s.failure()
		}
	}
	return nil
}

// failure returns why the side has ended.
func (s *side) failure() error {
	report, err := io.ReadAll(s.failed)
	if err != nil || len(report) < 2 {
		return stepSelf.failure(syscall.EPIPE)
	}
	text, _, _ := bytes.Cut(report[1:], []byte{0})
	return step(text).failure(syscall.Errno(report[0]))
}

// end ends the process, wherever it is, and lets go of it.
func (s *side) end() {
	s.process.Kill() // which fails only if it has ended
	s.process.Wait()
	s.close()
	runtime.UnlockOSThread()
}

func (s *side) close() {
	s.goOn.Close()
	s.said.Close()
	s.failed.Close()
}

// root returns the root directory of the process as this one sees it.
func (s *side) root() string { return "/proc/" + strconv.Itoa(s.process.Pid) + "/root" }
