//go:build linux

package supervise_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapLow is the flag of mmap(2) for memory below 4 GiB.
const mapLow = unix.MAP_32BIT

// compatCode makes the system call of i386 whose number and arguments are those
// of a Go function: in rax, rbx, rcx, rdi, rsi and r8.
var compatCode = []byte{
	0x89, 0xfa, // mov edx, edi
	0x44, 0x89, 0xc7, // mov edi, r8d
	0xcd, 0x80, // int 0x80
	0x48, 0x98, // cdqe
	0xc3, // ret
}

// compat makes a system call of i386, whose pointers are below 4 GiB. It is nil
// where a process of 64 bits cannot.
var compat = newCompat()

func newCompat() func(number, a, b, c, d, e uintptr) uintptr {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil
	}
	copy(page, compatCode)
	function := &struct{ code *byte }{&page[0]} // what a func value points to
	return *(*func(number, a, b, c, d, e uintptr) uintptr)(unsafe.Pointer(&function))
}
