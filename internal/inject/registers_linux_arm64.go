package inject

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// callInstruction is svc #0.
var callInstruction = []byte{0x01, 0x00, 0x00, 0xd4}

// callAddress is that of the instruction that the thread has come from.
func callAddress(r *unix.PtraceRegs) uintptr {
	return uintptr(r.Pc) - uintptr(len(callInstruction))
}

// setCall changes the registers to those of a thread that is about to make a
// call.
func setCall(r *unix.PtraceRegs, number uintptr, args []uintptr) {
	r.Pc = uint64(callAddress(r))
	r.Regs[8] = uint64(number)
	for i, arg := range args {
		r.Regs[i] = uint64(arg)
	}
}

func resultOf(r *unix.PtraceRegs) int64 { return int64(r.Regs[0]) }

// setResult lets the thread return from its call, wherever it has stopped:
// one at the beginning of a call does not make it.
func setResult(tid int, r unix.PtraceRegs, result int64) {
	noCall := int32(-1)
	iovec := unix.Iovec{Base: (*byte)(unsafe.Pointer(&noCall)), Len: uint64(unsafe.Sizeof(noCall))}
	ptracePointer(unix.PTRACE_SETREGSET, tid, unix.NT_ARM_SYSTEM_CALL, unsafe.Pointer(&iovec))
	r.Regs[0] = uint64(result)
	unix.PtraceSetRegs(tid, &r)
}
