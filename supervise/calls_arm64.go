package supervise

import "golang.org/x/sys/unix"

const (
	nativeArch = unix.AUDIT_ARCH_AARCH64
	compatArch = unix.AUDIT_ARCH_ARM
)

// ownHandlers are those of calls that other machines do without.
var ownHandlers map[uintptr]func(*call)

// compatIPC are the calls of 32-bit ARM that IPC is made of; see its
// unistd.h.
var compatIPC = []uint32{
	117,                          // ipc, of the old ABI
	274, 275, 276, 277, 278, 279, // mq_open to mq_getsetattr
	298, 299, 300, 301, 302, 303, 304, 305, 306, 307, 308, // semop to shmctl
	312,           // semtimedop
	418, 419, 420, // mq_timedsend_time64, mq_timedreceive_time64, semtimedop_time64
}

// compatTrapped are those calls of 32-bit ARM that open files, start programs
// and change who calls.
var compatTrapped = []uint32{
	compatOpen, compatOpenat, compatOpenat2,
	11, 387, // execve, execveat
	203, 204, 206, 208, 210, 213, 214, 215, 216, // setreuid to setfsgid
	185, // capset
}

const (
	compatOpen    = 5
	compatOpenat  = 322
	compatOpenat2 = 437
)
