#include "textflag.h"

// The layout of a record and of the header is that of image.go:
// a record is the number, six arguments, the place for the result, except,
// step; 80 bytes.
// The header is the first call, the calls after a failure, the place of the
// error number, the place of the step.

// func stub()
TEXT ·stub(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $0x10010000, R14 // dataAddress
	MOVQ 0(R14), R12
	XORQ R13, R13

call:
	MOVQ 0(R12), AX
	MOVQ 8(R12), DI
	MOVQ 16(R12), SI
	MOVQ 24(R12), DX
	MOVQ 32(R12), R10
	MOVQ 40(R12), R8
	MOVQ 48(R12), R9
	SYSCALL
	CMPQ AX, $-4095
	JCC  failed
	MOVQ  56(R12), R15
	TESTQ R15, R15
	JEQ   next
	MOVQ  AX, (R15)

next:
	ADDQ $80, R12
	JMP  call

failed:
	NEGQ  AX
	CMPQ  AX, 64(R12)
	JEQ   next
	TESTQ R13, R13 // a call after the failure failed too: go on, to exit_group
	JNE   next
	MOVQ  $1, R13
	MOVQ  16(R14), DI
	MOVB  AX, (DI)
	MOVQ  24(R14), DI
	MOVQ  72(R12), AX
	MOVQ  AX, (DI)
	MOVQ  8(R14), R12
	JMP   call

// func stubCode() unsafe.Pointer
TEXT ·stubCode(SB), NOSPLIT, $0-8
	LEAQ ·stub(SB), AX
	MOVQ AX, ret+0(FP)
	RET
