//go:build linux

package supervise

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// keptBuffer is the most that a listener keeps of its buffer.
const keptBuffer = 1 << 20

// space returns a buffer, which the next call uses again.
func (l *listener) space(size int) []byte {
	if size > keptBuffer {
		return make([]byte, size)
	}
	if cap(l.buffer) < size {
		l.buffer = make([]byte, max(size, 1<<13))
	}
	return l.buffer[:size]
}

// read reads the program's memory, once. It returns less than size where that
// ends.
func (c *call) read(address uint64, size int) []byte {
	buffer := c.space(size)
	return buffer[:c.readInto(address, buffer)]
}

func (c *call) readInto(address uint64, buffer []byte) int {
	if len(buffer) == 0 {
		return 0
	}
	if c.s.careful {
		return c.carefully(unix.O_RDONLY, func(mem int) (int, error) { return unix.Pread(mem, buffer, int64(address)) })
	}
	local := unix.Iovec{Base: unsafe.SliceData(buffer)}
	local.SetLen(len(buffer))
	remote := unix.RemoteIovec{Base: uintptr(address), Len: len(buffer)}
	n, _, errno := syscall.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(c.tid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	if errno != 0 {
		c.forbidden = errno == syscall.EPERM
		return 0
	}
	return int(n)
}

// readStruct reads a structure of the program's.
func readStruct[T any](c *call, address uint64, into *T) syscall.Errno {
	size := int(unsafe.Sizeof(*into))
	if c.readInto(address, unsafe.Slice((*byte)(unsafe.Pointer(into)), size)) != size {
		return syscall.EFAULT
	}
	return 0
}

// write writes to the program's memory, one piece behind the other. EFAULT: not
// all of it, or the program is gone, whose number another may have by now.
func (c *call) write(address uint64, pieces ...[]byte) syscall.Errno {
	if !sys.SeccompValid(c.fd, c.id) {
		return syscall.EFAULT
	}
	if c.s.careful {
		return c.writeCarefully(address, pieces)
	}
	var local [2]unix.Iovec
	size := 0
	for i, piece := range pieces {
		local[i].Base = unsafe.SliceData(piece)
		local[i].SetLen(len(piece))
		size += len(piece)
	}
	if size == 0 {
		return 0
	}
	remote := unix.RemoteIovec{Base: uintptr(address), Len: size}
	n, _, errno := syscall.RawSyscall6(unix.SYS_PROCESS_VM_WRITEV, uintptr(c.tid), uintptr(unsafe.Pointer(&local)), uintptr(len(pieces)), uintptr(unsafe.Pointer(&remote)), 1, 0)
	if errno != 0 || int(n) != size {
		c.forbidden = errno == syscall.EPERM
		return syscall.EFAULT
	}
	return 0
}

// carefully calls f with the program's memory as a file, and returns how much it
// has read or written. It ends there where a page is missing that
// userfaultfd(2) is to provide; process_vm_readv(2) would wait for it, for ever if
// the program so likes. On the other hand it also gets at pages that are
// protected, and takes longer.
func (c *call) carefully(mode int, f func(mem int) (int, error)) int {
	mem, err := unix.Open(procPath(c.tid, "mem"), mode|unix.O_CLOEXEC, 0)
	if err != nil {
		c.forbidden = err == unix.EACCES || err == unix.EPERM
		return 0
	}
	defer unix.Close(mem)
	n, _ := f(mem)
	return max(n, 0)
}

func (c *call) writeCarefully(address uint64, pieces [][]byte) syscall.Errno {
	for _, piece := range pieces {
		n := c.carefully(unix.O_RDWR, func(mem int) (int, error) { return unix.Pwrite(mem, piece, int64(address)) })
		if n < len(piece) {
			return syscall.EFAULT
		}
		address += uint64(n)
	}
	return 0
}

// userfaultfd lets a program have pages that it provides itself.
func (c *call) userfaultfd() {
	c.s.careful = true
	c.proceed()
}

func writeStruct[T any](c *call, address uint64, from *T) syscall.Errno {
	return c.write(address, bytesOf(from))
}

// bytesOf returns the memory of a structure.
func bytesOf[T any](of *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(of)), unsafe.Sizeof(*of))
}

// maxPath is PATH_MAX, with the zero that ends a path.
const maxPath = 4096

// readString reads a string that ends in a zero. ENAMETOOLONG: none of the
// first 4096 bytes is one; EFAULT: the memory ends before.
func (c *call) readString(address uint64) (string, syscall.Errno) {
	const step = 256 // which most are shorter than
	var text []byte
	for len(text) < maxPath {
		// A read does not cross pages, the next of which may be missing.
		size := min(step, maxPath-len(text), 4096-int(address&4095))
		piece := c.read(address, size)
		for i, b := range piece {
			if b == 0 {
				return string(append(text, piece[:i]...)), 0
			}
		}
		if len(piece) < size {
			return "", syscall.EFAULT
		}
		text = append(text, piece...)
		address += uint64(size)
	}
	return "", syscall.ENAMETOOLONG
}

// MayLookAt returns why a supervisor in this process could not serve another
// process; see ptrace(2).
func MayLookAt(pid int) error {
	var local, remote [1]byte
	iovec := unix.Iovec{Base: &local[0], Len: 1}
	// Whether anything is at that address there does not matter.
	there := unix.RemoteIovec{Base: uintptr(unsafe.Pointer(&remote[0])), Len: 1}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(pid), uintptr(unsafe.Pointer(&iovec)), 1, uintptr(unsafe.Pointer(&there)), 1, 0)
	if errno != syscall.EPERM {
		return nil
	}
	if scope := yamaScope(); scope != 0 {
		return fmt.Errorf("kernel.yama.ptrace_scope = %d lets no process look at another that it has not started; as root: sysctl kernel.yama.ptrace_scope=0", scope)
	}
	return fmt.Errorf("the server may not look at process %d, which another user has started or which is not to be looked at: %w", pid, errno)
}

// yamaScope returns the sysctl kernel.yama.ptrace_scope; see ptrace(2). It is 0,
// which restricts nothing, where there is none.
func yamaScope() int {
	text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err != nil {
		return 0
	}
	scope, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return scope
}

// OnlyBelow reports whether the kernel lets a supervisor of this user serve only
// processes that are its descendants.
func OnlyBelow() bool {
	const descendants = 1
	return yamaScope() == descendants && !sys.Capable(unix.CAP_SYS_PTRACE)
}
