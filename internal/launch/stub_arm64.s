#include "textflag.h"

// The layout of a record and of the header is that of image.go:
// a record is the number, six arguments, the place for the result, except,
// step; 80 bytes.
// The header is the first call, the calls after a failure, the place of the
// error number, the place of the step.

// func stub()
TEXT ·stub(SB), NOSPLIT|NOFRAME, $0-0
	MOVD $0x10010000, R22 // dataAddress
	MOVD 0(R22), R20
	MOVD ZR, R21

call:
	MOVD 0(R20), R8
	MOVD 8(R20), R0
	MOVD 16(R20), R1
	MOVD 24(R20), R2
	MOVD 32(R20), R3
	MOVD 40(R20), R4
	MOVD 48(R20), R5
	SVC
	CMN  $4095, R0
	BCS  failed
	MOVD 56(R20), R9
	CBZ  R9, next
	MOVD R0, (R9)

next:
	ADD $80, R20
	B   call

failed:
	NEG  R0, R0
	MOVD 64(R20), R9
	CMP  R9, R0
	BEQ  next
	CBNZ R21, next // a call after the failure failed too: go on, to exit_group
	MOVD $1, R21
	MOVD 16(R22), R9
	MOVB R0, (R9)
	MOVD 24(R22), R9
	MOVD 72(R20), R10
	MOVD R10, (R9)
	MOVD 8(R22), R20
	B    call

// func stubCode() unsafe.Pointer
TEXT ·stubCode(SB), NOSPLIT, $0-8
	MOVD $·stub(SB), R0
	MOVD R0, ret+0(FP)
	RET
