//go:build linux

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Parent returns the process that a process is a child of; see
// proc_pid_stat(5).
func (proc Proc) Parent(pid int) (int, error) {
	const parent = 1
	fields, err := proc.stat(pid, parent)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(fields[parent])
}

// ProcessOf returns the process that a thread is of. A process is one of its
// own. ESRCH: it has ended.
func (proc Proc) ProcessOf(tid int) (pid int, err error) {
	text, err := os.ReadFile(filepath.Join(string(proc), strconv.Itoa(tid), "status"))
	if err != nil {
		return 0, unix.ESRCH
	}
	_, rest, _ := strings.Cut(string(text), "\nTgid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.Atoi(line)
}

// StartTime returns when a process was started, in clock ticks since the start
// of the machine; see proc_pid_stat(5). ESRCH: it has ended, though perhaps
// nobody has waited for it.
func (proc Proc) StartTime(pid int) (uint64, error) {
	const state, start = 0, 19
	fields, err := proc.stat(pid, start)
	if err != nil || fields[state] == "Z" || fields[state] == "X" {
		return 0, unix.ESRCH
	}
	return strconv.ParseUint(fields[start], 10, 64)
}

// Started returns when a process was started, to a hundredth of a second; see
// [Proc.StartTime].
func (proc Proc) Started(pid int) (time.Time, error) {
	ticks, err := proc.StartTime(pid)
	if err != nil {
		return time.Time{}, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}, err
	}
	const perSecond = 100 // USER_HZ, on all that we build for
	start := time.Duration(ticks) * (time.Second / perSecond)
	return time.Now().Add(start - time.Duration(now.Nano())), nil
}

// stat returns the fields of /proc/PID/stat behind the process's name, of which
// the last one that is wanted is there.
func (proc Proc) stat(pid, last int) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(string(proc), strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, err
	}
	// The name may hold anything, also parentheses.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) <= last {
		return nil, fmt.Errorf("%s/%d/stat holds %q", proc, pid, text)
	}
	return fields, nil
}

// Inode returns the inode number of the IPC namespace of a process.
func (proc Proc) Inode(pid int) (uint64, error) {
	return ipcInode(filepath.Join(string(proc), strconv.Itoa(pid)))
}
