//go:build unix

package userspace

import "golang.org/x/sys/unix"

// available reports whether the system lets this process have so much memory
// at once: a Go program that asks for more than that ends.
func available(bytes uint64) bool {
	memory, err := unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return false
	}
	unix.Munmap(memory)
	return true
}
