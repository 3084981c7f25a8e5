package supervise

import (
	"sync"

	"golang.org/x/sys/unix"
)

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

// compatHandlers are those of other calls of 32-bit ARM: what opens files, makes
// and removes their names, starts and ends programs and changes who calls.
var compatHandlers = sync.OnceValue(func() map[uint32]func(*call) {
	return map[uint32]func(*call){
		5: (*call).open, 8: (*call).creat, 322: (*call).openat, 437: (*call).openat,
		10: (*call).name, 14: (*call).name, 324: (*call).nameAt, 328: (*call).nameAt, // unlink, mknod, mknodat, unlinkat
		21: (*call).mount, 430: (*call).fsopen, 388: (*call).userfaultfd, 337: (*call).compatUnshare, 375: (*call).setns,
		1: (*call).exit, 11: (*call).exec, 387: (*call).exec, // execve, execveat
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
