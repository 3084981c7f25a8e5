package supervise

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	nativeArch = unix.AUDIT_ARCH_X86_64
	compatArch = unix.AUDIT_ARCH_I386
)

// ownHandlers are those of calls that newer machines do without.
var ownHandlers = map[uintptr]func(*call){
	unix.SYS_OPEN: (*call).open, unix.SYS_CREAT: (*call).creat, unix.SYS_UNLINK: (*call).name, unix.SYS_MKNOD: (*call).name,
}

// compatIPC are the calls of i386 that IPC is made of, ipc(2) first; see
// unistd_32.h.
var compatIPC = []uint32{
	117,                                              // ipc
	393, 394, 395, 396, 397, 398, 399, 400, 401, 402, // semget to msgctl
	277, 278, 279, 280, 281, 282, // mq_open to mq_getsetattr
	418, 419, 420, // mq_timedsend_time64, mq_timedreceive_time64, semtimedop_time64
}

// compatHandlers are those of other calls of i386: what opens files, makes and
// removes their names, starts and ends programs and changes who calls.
var compatHandlers = sync.OnceValue(func() map[uint32]func(*call) {
	return map[uint32]func(*call){
		5: (*call).open, 8: (*call).creat, 295: (*call).openat, 437: (*call).openat,
		10: (*call).name, 14: (*call).name, 297: (*call).nameAt, 301: (*call).nameAt, // unlink, mknod, mknodat, unlinkat
		21: (*call).mount, 430: (*call).fsopen, 374: (*call).userfaultfd, 310: (*call).compatUnshare, 346: (*call).setns,
		1: (*call).exit, 11: (*call).exec, 358: (*call).exec, // execve, execveat
		23: (*call).changes, 46: (*call).changes, 70: (*call).changes, 71: (*call).changes, // setuid16, setgid16, setreuid16, setregid16
		81: (*call).changes, 138: (*call).changes, 139: (*call).changes, // setgroups16, setfsuid16, setfsgid16
		164: (*call).changes, 170: (*call).changes, // setresuid16, setresgid16
		203: (*call).changes, 204: (*call).changes, 206: (*call).changes, 208: (*call).changes, 210: (*call).changes, // setreuid to setresgid
		213: (*call).changes, 214: (*call).changes, 215: (*call).changes, 216: (*call).changes, // setuid to setfsgid
		185: (*call).changes, // capset
	}
})

const (
	compatClone  = 120
	compatClone3 = 435
)
