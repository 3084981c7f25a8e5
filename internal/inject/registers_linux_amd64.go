package inject

import "golang.org/x/sys/unix"

// callInstruction is syscall.
var callInstruction = []byte{0x0f, 0x05}

// callAddress is that of the instruction that the thread has come from.
func callAddress(r *unix.PtraceRegs) uintptr {
	return uintptr(r.Rip) - uintptr(len(callInstruction))
}

// setCall changes the registers to those of a thread that is about to make a
// call. It is in none: the kernel has nothing to restart.
func setCall(r *unix.PtraceRegs, number uintptr, args []uintptr) {
	r.Rip = uint64(callAddress(r))
	r.Rax, r.Orig_rax = uint64(number), noCall
	for i, register := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}[:len(args)] {
		*register = uint64(args[i])
	}
}

const noCall = ^uint64(0)

func resultOf(r *unix.PtraceRegs) int64 { return int64(r.Rax) }

// setResult lets the thread return from its call, wherever it has stopped:
// one at the beginning of a call does not make it.
func setResult(tid int, r unix.PtraceRegs, result int64) {
	r.Rax, r.Orig_rax = uint64(result), noCall
	unix.PtraceSetRegs(tid, &r)
}
