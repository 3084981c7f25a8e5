//go:build linux

package supervise_test

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attachCode makes the call shmat of the segment whose id is the argument of a
// Go function.
var attachCode = []byte{
	0x89, 0xc7, // mov edi, eax
	0x31, 0xf6, // xor esi, esi
	0x31, 0xd2, // xor edx, edx
	0xb8, unix.SYS_SHMAT, 0, 0, 0, // mov eax, shmat
	0x0f, 0x05, // syscall
	0xc3, // ret
}

// attachInLoop attaches a segment, and has the code be a loop as soon as the
// call is made.
func attachInLoop() error {
	id, _, errno := syscall.RawSyscall(unix.SYS_SHMGET, 0, 4096, 0o600)
	if errno != 0 {
		return errno
	}
	code, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	copy(code, attachCode)
	const instruction = 11 // where it is in the code
	go func() {
		for i := 0; ; i++ {
			if i%100 < 50 {
				code[instruction], code[instruction+1] = 0xeb, 0xfe // jmp to itself
			} else {
				code[instruction], code[instruction+1] = 0x0f, 0x05
			}
		}
	}()
	function := &struct{ code *byte }{&code[0]}
	call := *(*func(uintptr) uintptr)(unsafe.Pointer(&function))
	for {
		call(id)
	}
}
