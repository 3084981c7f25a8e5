package supervise

import "golang.org/x/sys/unix"

const (
	nativeArch = unix.AUDIT_ARCH_X86_64
	compatArch = unix.AUDIT_ARCH_I386
)

// ownHandlers are those of calls that newer machines do without.
var ownHandlers = map[uintptr]func(*call){unix.SYS_OPEN: (*call).open}

// compatIPC are the calls of i386 that IPC is made of, ipc(2) first; see
// unistd_32.h.
var compatIPC = []uint32{
	117,                                              // ipc
	393, 394, 395, 396, 397, 398, 399, 400, 401, 402, // semget to msgctl
	277, 278, 279, 280, 281, 282, // mq_open to mq_getsetattr
	418, 419, 420, // mq_timedsend_time64, mq_timedreceive_time64, semtimedop_time64
}

// compatTrapped are those calls of i386 that open files, start programs and
// change who calls.
var compatTrapped = []uint32{
	compatOpen, compatOpenat, compatOpenat2,
	11, 358, // execve, execveat
	23, 46, 70, 71, 81, 138, 139, 164, 170, // setuid16 to setresgid16
	203, 204, 206, 208, 210, 213, 214, 215, 216, // setreuid to setfsgid
	185, // capset
}

const (
	compatOpen    = 5
	compatOpenat  = 295
	compatOpenat2 = 437
)
