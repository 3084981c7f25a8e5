//go:build linux

package sys

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// MemoryFile returns a descriptor of a file in memory with that content, which is
// for reading alone; see memfd_create(2).
func MemoryFile(name string, content []byte) (fd int, err error) {
	writable, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(writable)
	for left := content; len(left) > 0; {
		n, err := unix.Write(writable, left)
		if err != nil && err != unix.EINTR {
			return -1, fmt.Errorf("cannot write a file of %d bytes: %w", len(content), err)
		}
		left = left[max(n, 0):]
	}
	return unix.Open("/proc/self/fd/"+strconv.Itoa(writable), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}
