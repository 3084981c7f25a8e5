//go:build linux

package inject

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// WithMemory calls f with the address of some memory of the process, zeroed,
// which is there as long as f runs: for arguments that are pointers. It is a
// mapping of its own, as there may be little below the stack pointer, and
// other threads' data below that: goroutines have small stacks.
func (t *Thread) WithMemory(size int, f func(address uintptr)) syscall.Errno {
	const noFile = ^uintptr(0)
	address, errno := t.Call(unix.SYS_MMAP, 0, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFile, 0)
	if errno != 0 {
		return errno
	}
	f(address)
	_, errno = t.Call(unix.SYS_MUNMAP, address, uintptr(size))
	return errno
}

// Write writes to the process's memory.
func (t *Thread) Write(address uintptr, data []byte) syscall.Errno {
	if t.failure != 0 {
		return t.failure
	}
	_, err := unix.PtracePokeData(t.tid, address, data)
	return errnoOf(err)
}
