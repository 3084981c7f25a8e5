//go:build linux

package host

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// There reports whether a process or thread is still there, also one that may
// not be looked at. One that has ended and that nobody has waited for is gone.
func (proc Proc) There(pid int) bool {
	if unix.Kill(pid, 0) == unix.ESRCH {
		return false
	}
	// The first thread may have ended long before the others.
	const state, threads = 0, 17
	fields, err := proc.stat(pid, threads)
	return err != nil || fields[state] != "Z" && fields[state] != "X" || fields[threads] != "0" && fields[threads] != "1"
}

// Threads returns how many threads a process has, 0 if that may not be known.
func (proc Proc) Threads(pid int) int {
	const threads = 17
	fields, err := proc.stat(pid, threads)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(fields[threads])
	if err != nil {
		return 0
	}
	return n
}
