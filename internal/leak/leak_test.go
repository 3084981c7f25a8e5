//go:build linux

package leak_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	roles := map[string]func() error{
		segmentMaker: func() error { _, err := unix.SysvShmGet(11, 1, ipc.Creat); return err },
	}
	for name, r := range runs {
		roles[name] = func() error { return r.watched() }
	}
	ipctest.Play(roles)
	leak.Main(m)
}

// segmentMaker is a role.
const segmentMaker = "make a segment"

// A run stands for the tests of a package.
type run struct {
	apart  bool         // it is for namespaces of its own, with its own /dev/shm
	before func() error // what there is before the tests
	tests  func() error
	status int // that of the tests
	want   []string
}

// Run is the tests, as [leak.Main] wants them.
func (r run) Run() int {
	if err := r.tests(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot leak:", err)
	}
	return r.status
}

// watched does not return, unless it fails.
func (r run) watched() error {
	if r.apart {
		if err := unix.Mount("tmpfs", "/dev/shm", "tmpfs", 0, ""); err != nil {
			return err
		}
	}
	if len(r.want) > 0 {
		leak.SetGrace(10 * time.Millisecond)
	}
	if r.before != nil {
		if err := r.before(); err != nil {
			return err
		}
	}
	leak.Main(r)
	return nil
}

var runs = map[string]run{
	"a run that leaves nothing": {tests: func() error { return nil }},

	"an open file": {
		tests: func() error {
			_, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
			return err
		},
		want: []string{`a descriptor of /etc/passwd was left`},
	},
	"a file that is forgotten": {
		tests: func() error {
			_, err := os.Open("/etc/passwd")
			for range 1000 {
				garbage = make([]byte, 1<<17)
			}
			return err
		},
		want: []string{`a descriptor of /etc/passwd was left`},
	},
	"a second descriptor of what was open": {
		tests: func() error { _, err := unix.Dup(0); return err },
		want:  []string{`a descriptor of /dev/null was left`},
	},
	"a closed descriptor of somebody else": {
		tests: func() error { return unix.Close(0) },
		want:  []string{`a descriptor of /dev/null is gone`},
	},
	"the runtime's own descriptors are no finding": {
		tests: func() error {
			r, w, err := os.Pipe()
			if err != nil {
				return err
			}
			defer r.Close()
			defer w.Close()
			if err := r.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
				return err
			}
			if _, err = r.Read(make([]byte, 1)); !os.IsTimeout(err) {
				return err
			}
			return exec.Command("true").Run()
		},
	},

	"a process": {
		tests: func() error { return start("sleep 1001") },
		want:  []string{`process \d+ is alive: .*sleep.*`},
	},
	"a process of a process that has ended": {
		tests: func() error { return exec.Command("sh", "-c", "sleep 1002 &").Run() },
		want:  []string{`process \d+ is alive: .*sleep.*`},
	},
	"a process that ends by itself is no finding": {
		tests: func() error { return start("sleep 0.2") },
	},
	"a zombie is no finding": {
		tests: func() error { return start("true") },
	},

	"a thread in another namespace": {
		apart: true,
		tests: func() error { return enterNew(func() { select {} }) },
		want:  []string{`thread \d+ is in ipc:\[\d+\] mnt:\[\d+\], its process is in ipc:\[\d+\] mnt:\[\d+\]`},
	},
	"a thread that ends by itself is no finding": {
		apart: true,
		tests: func() error { return enterNew(func() { time.Sleep(100 * time.Millisecond) }) },
	},

	"a mount": {
		apart: true,
		tests: func() error { return unix.Mount("tmpfs", "/dev", "tmpfs", 0, "") },
		want:  []string{`the mount .* /dev .* tmpfs .* was left`},
	},
	"a message queue": {
		apart: true,
		tests: func() error { _, err := kernel.System{}.Msgget(7, ipc.Creat); return err },
		want:  []string{`message queue 0 with key 0x00000007 was left`},
	},
	"a message queue of somebody else": {
		apart:  true,
		before: func() error { _, err := kernel.System{}.Msgget(8, ipc.Creat); return err },
		tests:  func() error { return kernel.System{}.MsgctlRmid(0) },
		want:   []string{`message queue 0 with key 0x00000008 is gone`},
	},
	"a semaphore set": {
		apart: true,
		tests: func() error { _, err := ipctest.Semget(9, 1, ipc.Creat); return err },
		want:  []string{`semaphore set 0 with key 0x00000009 was left`},
	},
	"a segment": {
		apart: true,
		tests: func() error { _, err := unix.SysvShmGet(10, 1, ipc.Creat); return err },
		want:  []string{`segment 0 with key 0x0000000a was left`},
	},
	"a segment of a process that has ended": {
		apart: true,
		tests: func() error { return ipctest.Again(segmentMaker).Run() },
		want:  []string{`segment 0 with key 0x0000000b was left`},
	},
	"a POSIX message queue": {
		apart: true,
		tests: func() error {
			fd, err := ipctest.MqOpen("q", unix.O_RDONLY|unix.O_CREAT, 0, nil)
			unix.Close(fd)
			return err
		},
		want: []string{`POSIX message queue /q was left`},
	},
	"a limit": {
		apart: true,
		tests: func() error { return os.WriteFile("/proc/sys/kernel/msgmax", []byte("100"), 0) },
		want:  []string{`the limit msgmax was 8192 and is 100`},
	},
	"a shared memory object": {
		apart: true,
		tests: func() error { return os.WriteFile("/dev/shm/x", nil, 0) },
		want:  []string{`the file /dev/shm/x was left`},
	},

	"a process with a process and a pipe": {
		tests: func() error { return start("sleep 1003 & exec sleep 1004") },
		want:  []string{`process \d+ is alive: .*sleep.*`},
	},
	"tests that fail keep their status": {
		status: 3,
		tests:  func() error { _, err := unix.Dup(0); return err },
		want:   []string{`a descriptor of /dev/null was left`},
	},
}

var garbage []byte

// start starts a command of the shell and forgets it. The standard library
// would leave a descriptor of the process.
func start(command string) error {
	_, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "exec " + command}, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	return err
}

// enterNew calls f on a thread in a namespace of its own, which ends with f.
func enterNew(f func()) error {
	entered := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // it would not end
			entered <- enterNew(f)
			runtime.UnlockOSThread()
			return
		}
		entered <- unix.Unshare(unix.CLONE_NEWIPC)
		f()
	}()
	return <-entered
}

// TestFindings runs the runs. They are processes of their own, as what they
// leave would be found in this one.
func TestFindings(t *testing.T) {
	for name, r := range runs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := ipctest.Again(name)
			if r.apart {
				ipctest.Apart(t, cmd)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			cmd.Run()

			wantStatus := r.status
			if wantStatus == 0 && len(r.want) > 0 {
				wantStatus = 1
			}
			if got := cmd.ProcessState.ExitCode(); got != wantStatus {
				t.Errorf("exit status %d, want %d", got, wantStatus)
			}
			checkLines(t, stderr.String(), r.want)
		})
	}
}

// checkLines expects one line for each pattern, in their order.
func checkLines(t *testing.T, text string, patterns []string) {
	t.Helper()
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1]
	matches := len(lines) == len(patterns)
	for i := range min(len(lines), len(patterns)) {
		matches = matches && regexp.MustCompile("^leak: "+patterns[i]+"\n$").MatchString(lines[i])
	}
	if !matches {
		t.Errorf("printed %q\nwant lines that match %q", text, patterns)
	}
}

// TestLeftProcessesAreKilled waits for the end of a pipe that only a process
// that the tests have left holds open.
func TestLeftProcessesAreKilled(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := ipctest.Again("a process with a process and a pipe")
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Run(); err == nil {
		t.Error("no error")
	}
	w.Close()
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
		t.Errorf("read %d bytes, error %v", n, err)
	}
}

// TestSegmentsOfStrangersAreNoFinding expects that what a desktop's programs
// make during a run is not held against it.
func TestSegmentsOfStrangersAreNoFinding(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for creator, want := range map[int]bool{
		os.Getppid():               true,
		os.Getpid():                false,
		ended.ProcessState.Pid():   false,
		0 /* one not seen here */ : false,
	} {
		if got := leak.OfAnother(host.Segment{ShmidDS: ipc.ShmidDS{Cpid: int32(creator)}}); got != want {
			t.Errorf("created by %d (this is %d): of another: %v, want %v", creator, os.Getpid(), got, want)
		}
	}
}
