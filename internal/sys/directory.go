package sys

import (
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Directory is an open directory that is read without an allocation for each
// entry, as thousands of a proc file system are. Names are given with a NUL at
// their end.
type Directory int

func rawOpenat(at int, name []byte, flags int) (int, syscall.Errno) {
	fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&name[0])), uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
	return int(fd), errno
}

// OpenDirectory opens a directory by its path name.
func OpenDirectory(path string) (Directory, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return Directory(fd), err
}

// Open opens a directory in this one.
func (d Directory) Open(name []byte) (Directory, syscall.Errno) {
	fd, errno := rawOpenat(int(d), name, unix.O_RDONLY|unix.O_DIRECTORY)
	return Directory(fd), errno
}

// Close closes the directory.
func (d Directory) Close() { unix.Close(int(d)) }

// Link returns where a symbolic link in the directory points to, as far as that
// fits into the buffer.
func (d Directory) Link(name, buffer []byte) ([]byte, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_READLINKAT, uintptr(d), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return buffer[:n], 0
}

// Numbers appends the entries that are numbers, in the order of the directory.
func (d Directory) Numbers(numbers []int, buffer []byte) ([]int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_GETDENTS64, uintptr(d), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
		if errno != 0 || n == 0 {
			return numbers, errno
		}
		for entries := buffer[:n]; len(entries) > 0; {
			const lengthAt, nameAt = 16, 19
			entry := entries[:*(*uint16)(unsafe.Pointer(&entries[lengthAt]))]
			entries = entries[len(entry):]
			if number, is := decimal(entry[nameAt:]); is {
				numbers = append(numbers, number)
			}
		}
	}
}

// decimal reads a number that a NUL ends.
func decimal(name []byte) (number int, is bool) {
	for i, c := range name {
		switch {
		case c == 0:
			return number, i > 0
		case c < '0' || c > '9' || i > 9:
			return 0, false
		}
		number = 10*number + int(c-'0')
	}
	return 0, false
}

// Numbered writes a number, a rest of a path name and a NUL into a buffer.
func Numbered(buffer []byte, number int, rest string) []byte {
	return append(append(strconv.AppendInt(buffer[:0], int64(number), 10), rest...), 0)
}

// SameFiles reports whether two threads have one table of descriptors; see
// kcmp(2). It also says so where the kernel does not tell.
func SameFiles(tid, other int) bool {
	const kcmpFiles = 2
	result, _, errno := syscall.RawSyscall6(unix.SYS_KCMP, uintptr(tid), uintptr(other), kcmpFiles, 0, 0, 0)
	return errno != 0 || result == 0
}
