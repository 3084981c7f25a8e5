//go:build linux

// Package leak fails a test run that leaves something behind: a descriptor, a
// process, a thread in another namespace, a mount, an object or a limit of
// the IPC namespace, a file in /dev/shm.
//
// What belongs to the machine is watched too, because no test may touch it:
// tests work in namespaces of their own, which no other test binary sees.
//
// During the run the process is a subreaper, see PR_SET_CHILD_SUBREAPER(2const):
// a process whose parent has ended becomes its child, and a zombie until the
// run is over.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// A Runner runs tests, as [testing.M] does.
type Runner interface{ Run() int }

// Main runs the tests and exits: with 1 if they passed and left something
// behind, which it names on standard error, otherwise with their status. It
// is for TestMain.
func Main(m Runner) { os.Exit(Checked(m).Run()) }

// Checked returns the tests with the check that [Main] makes. It is for what
// runs the tests and exits itself.
func Checked(m Runner) Runner { return checked{m} }

type checked struct{ tests Runner }

func (c checked) Run() int {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "leak: cannot watch the tests:", err)
		return 1
	}
	before := look()
	status := c.tests.Run()
	findings := settled(before)
	for _, finding := range findings {
		fmt.Fprintln(os.Stderr, "leak:", finding)
	}
	if status == 0 && len(findings) > 0 {
		return 1
	}
	return status
}

// heap is where the garbage collector begins to work.
const heap = 1 << 29

// prepare makes the runtime open the descriptors that it keeps, and this
// process the parent of every process that the tests leave. It keeps the
// garbage collector, which closes a forgotten [os.File], from hiding it, unless
// GOGC is set.
func prepare() error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(heap)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	r.Close()
	w.Close()
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// A state is what a run can change. What this user may not see is not in it.
type state struct {
	home      string         // the IPC namespace and the mount namespace of the process
	processes []process      // its children
	threads   []string       // of it, in another namespace than home
	things    map[string]int // what there is, and how many of that
	limits    map[string]uint64
}

func look() state {
	// If this thread is the one that was left in another namespace, it lists
	// the objects there; but it is a finding itself.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := state{home: namespacesOf("/proc/self"), processes: children(), things: map[string]int{}}
	s.threads = threadsOutside(s.home)
	for _, list := range [...]func() []string{descriptors, mounts, objects, sharedMemory} {
		for _, thing := range list() {
			s.things[thing]++
		}
	}
	s.limits = limits()
	return s
}

// grace is how long what ends by itself may take to.
var grace = 2 * time.Second

// settled returns what the run has changed for good, and ends the processes
// that it has left.
func settled(before state) []string {
	for deadline := time.Now().Add(grace); ; time.Sleep(5 * time.Millisecond) {
		findings := look().since(before)
		if len(findings) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			killChildren()
			return findings
		}
	}
}

// since returns what has changed, one line each.
func (s state) since(before state) (findings []string) {
	if s.home != before.home {
		findings = append(findings, fmt.Sprintf("the process was in %s and is in %s", before.home, s.home))
	}
	for _, p := range s.processes {
		findings = append(findings, fmt.Sprintf("process %d is alive: %s", p.pid, p.command))
	}
	findings = append(findings, s.threads...)
	findings = append(findings, added("%s was left", before.things, s.things)...)
	findings = append(findings, added("%s is gone", s.things, before.things)...)
	for _, name := range sortedKeys(s.limits) {
		if was, known := before.limits[name]; known && was != s.limits[name] {
			findings = append(findings, fmt.Sprintf("the limit %s was %d and is %d", name, was, s.limits[name]))
		}
	}
	return findings
}

// added returns a line for each thing that there is more of in now.
func added(format string, then, now map[string]int) (lines []string) {
	for _, thing := range sortedKeys(now) {
		for range now[thing] - then[thing] {
			lines = append(lines, fmt.Sprintf(format, thing))
		}
	}
	return lines
}
