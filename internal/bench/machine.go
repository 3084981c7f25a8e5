//go:build linux

package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// onlyMachine is the part of this program that looks at many namespaces, and
// onlyPeak starts a program for its peak of memory.
const (
	onlyMachine = "machine"
	onlyPeak    = "peak"
)

//go:embed testdata/machine-in-c.c
var machineInCSource []byte

// A machine is a running machine-in-c: many namespaces, with what keeps them.
type machine struct {
	cmd    *exec.Cmd
	end    io.Closer
	inodes []string
	pids   []string // one of each namespace that has any
}

// compareMachine compares looks at ever more namespaces.
func (t tools) compareMachine(dir string) error {
	if os.Geteuid() != 0 {
		fmt.Print("Many namespaces: skipped, since it takes root to make them\n\n")
		return nil
	}
	program := filepath.Join(dir, "machine-in-c")
	if err := compileC(machineInCSource, program); err != nil {
		fmt.Printf("Many namespaces: skipped: %v\n\n", err)
		return nil
	}
	mounts := filepath.Join(dir, "mounts")
	if err := os.Mkdir(mounts, 0o700); err != nil {
		return err
	}
	fmt.Print("Looks at N namespaces, half of them kept by processes, the others by mounts and\ndescriptors, with 10 N objects, N blocked threads and N processes that have attached a segment:\n\n")
	for _, n := range []int{10, 100, 1000} {
		if err := t.lookAtMachine(program, mounts, n); err != nil {
			return err
		}
	}
	return nil
}

// lookAtMachine measures with so many namespaces, and compares if they are the
// most.
func (t tools) lookAtMachine(program, mounts string, n int) (err error) {
	m, err := startMachine(program, mounts, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	for _, line := range []string{"ipcns ls", "ipcns ls --wide", "ipcns ps --all"} {
		if err := t.measureLook(line, n); err != nil {
			return err
		}
	}
	const most = 1000
	if n < most {
		fmt.Println()
		return nil
	}
	for _, line := range []string{"ipcns ls", "lsns -n -t ipc -o NS"} {
		if err := t.printFound(line, m); err != nil {
			return err
		}
	}
	fmt.Println()
	return t.compareLooks(m)
}

// measureLook prints what a look takes of time and memory.
func (t tools) measureLook(line string, n int) error {
	c := t.command(line, "", nil)
	if err := c.try(); err != nil {
		fmt.Printf("%-16s %5d namespaces: skipped: %v\n", line, n, err)
		return nil
	}
	var times []float64
	for range *listings {
		if err := c.time(); err != nil {
			return err
		}
		times = append(times, c.took)
	}
	peak, err := selfAs(onlyPeak, c.steps[0]...)
	if err != nil {
		return err
	}
	kib, err := printed(peak)
	if err != nil {
		return err
	}
	fmt.Printf("%-16s %5d namespaces: %6.1f ms (%.1f to %.1f, %d runs), %4.1f MiB%s\n", line, n,
		quartile(2, times), quartile(1, times), quartile(3, times), len(times), kib/1024, wantedOfLook[line])
	return nil
}

var wantedOfLook = map[string]string{
	"ipcns ls":       "   wanted: 60 ms at most",
	"ipcns ps --all": "   wanted: 150 ms at most",
}

// printPeak runs a program and prints its peak of memory, in KiB. This process is
// new: a child's peak is not below what its parent had.
func printPeak(args []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	if err := cmd.Run(); err != nil {
		return err
	}
	_, err := fmt.Println(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	return err
}

// printFound prints how many of the namespaces a list has.
func (t tools) printFound(line string, m *machine) error {
	args := t.resolve(strings.Fields(line))
	list, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		fmt.Printf("%s: skipped: %v\n", line, err)
		return nil
	}
	words := strings.Fields(string(list))
	slices.Sort(words)
	found := 0
	for _, inode := range m.inodes {
		if _, has := slices.BinarySearch(words, inode); has {
			found++
		}
	}
	fmt.Printf("%-20s finds %4d of %d namespaces\n", line, found, len(m.inodes))
	return nil
}

// compareLooks compares a look at all namespaces with one look for each of those
// that have processes, and so can be entered by one.
func (t tools) compareLooks(m *machine) error {
	pids, err := os.CreateTemp("", "pids")
	if err != nil {
		return err
	}
	defer os.Remove(pids.Name())
	_, err = pids.WriteString(strings.Join(m.pids[:single], "\n"))
	if err := errors.Join(err, pids.Close()); err != nil {
		return err
	}
	t["PIDS"] = pids.Name()
	fmt.Printf("PIDS is a file of %d processes, each in another namespace:\n\n", single)
	_, err = t.compare(comparison{
		ours:   "ipcns ls",
		theirs: "xargs -a PIDS -I PID nsenter -i -t PID ipcs",
		times:  float64(len(m.inodes)) / single,
		wanted: "0.05 at most",
	}, *listings, nil)
	return err
}

func startMachine(program, mounts string, n int) (*machine, error) {
	m := &machine{cmd: exec.Command(program, strconv.Itoa(n), mounts)}
	stdin, err := m.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.end, m.cmd.Stderr = stdin, os.Stderr
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(stdout); lines.Scan() && lines.Text() != ""; {
		inode, pid, inhabited := strings.Cut(lines.Text(), " ")
		if m.inodes = append(m.inodes, inode); inhabited {
			m.pids = append(m.pids, pid)
		}
	}
	if len(m.inodes) != n {
		return nil, errors.Join(fmt.Errorf("%s made %d namespaces of %d", program, len(m.inodes), n), m.stop())
	}
	return m, nil
}

func (m *machine) stop() error { return errors.Join(m.end.Close(), m.cmd.Wait()) }
