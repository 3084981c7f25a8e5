//go:build linux

package supervise

import (
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/ipcns/ipcns/internal/mqpipe"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// A call is a system call that waits for an answer.
type call struct {
	*listener
	id     uint64
	tid    int
	number int32
	arch   uint32
	args   [6]uint64
	thread *thread

	// take puts an outcome into the program's memory and answers; nil for a
	// call of which only success is told.
	take     func(c *call, o userspace.Outcome) bool
	restart  syscall.Errno // what it is answered with when a signal comes
	asleep   bool
	away     bool // on an errand
	parked   userspace.Parked
	queue    *description // of a call on a POSIX queue
	level    mqpipe.Level // of that queue, if the call does not sleep
	watch    watch
	answered bool

	forbidden bool // to look at the program, which is not to be known by a bad pointer
}

// handlers are the calls that come to the supervisor, by number. They are made
// when they are first of use, which most programs that have this package do not
// come to.
var handlers = sync.OnceValue(func() map[uintptr]func(*call) {
	return withOwn(map[uintptr]func(*call){
		unix.SYS_MSGGET: (*call).msgget, unix.SYS_MSGSND: (*call).msgsnd, unix.SYS_MSGRCV: (*call).msgrcv, unix.SYS_MSGCTL: (*call).msgctl,
		unix.SYS_SEMGET: (*call).semget, unix.SYS_SEMOP: (*call).semop, unix.SYS_SEMTIMEDOP: (*call).semtimedop, unix.SYS_SEMCTL: (*call).semctl,
		unix.SYS_SHMGET: (*call).shmget, unix.SYS_SHMAT: (*call).shmat, unix.SYS_SHMDT: (*call).shmdt, unix.SYS_SHMCTL: (*call).shmctl,
		unix.SYS_MQ_OPEN: (*call).mqOpen, unix.SYS_MQ_UNLINK: (*call).mqUnlink, unix.SYS_MQ_NOTIFY: (*call).mqNotify,
		unix.SYS_MQ_TIMEDSEND: (*call).mqTimedsend, unix.SYS_MQ_TIMEDRECEIVE: (*call).mqTimedreceive, unix.SYS_MQ_GETSETATTR: (*call).mqGetsetattr,

		unix.SYS_OPENAT: (*call).openat, unix.SYS_OPENAT2: (*call).openat, unix.SYS_UNLINKAT: (*call).nameAt, unix.SYS_MKNODAT: (*call).nameAt,
		unix.SYS_UNSHARE: (*call).unshare, unix.SYS_SETNS: (*call).setns, unix.SYS_USERFAULTFD: (*call).userfaultfd, unix.SYS_FSOPEN: (*call).fsopen, unix.SYS_MOUNT: (*call).mount,

		unix.SYS_EXECVE: (*call).exec, unix.SYS_EXECVEAT: (*call).exec, unix.SYS_CAPSET: (*call).changes,
		unix.SYS_SETUID: (*call).changes, unix.SYS_SETGID: (*call).changes, unix.SYS_SETREUID: (*call).changes, unix.SYS_SETREGID: (*call).changes,
		unix.SYS_SETRESUID: (*call).changes, unix.SYS_SETRESGID: (*call).changes, unix.SYS_SETFSUID: (*call).changes, unix.SYS_SETFSGID: (*call).changes,
		unix.SYS_SETGROUPS: (*call).changes,
		unix.SYS_EXIT:      (*call).exit,
	})
})

func withOwn(all map[uintptr]func(*call)) map[uintptr]func(*call) {
	maps.Copy(all, ownHandlers)
	return all
}

// trapped returns the numbers of these calls.
func trapped() []uintptr { return slices.Sorted(maps.Keys(handlers())) }

// handle answers the call, or puts it to sleep.
func (c *call) handle() {
	handler := handlers()[uintptr(c.number)]
	if c.arch != nativeArch {
		handler = compatHandlers()[uint32(c.number)]
	}
	if handler == nil {
		c.fail(syscall.ENOSYS)
		return
	}
	handler(c)
}

// task returns who calls, nil if that cannot be told: the call is answered then.
func (c *call) task() *userspace.Task {
	if c.thread == nil {
		thread, errno := c.s.threadOf(c)
		if errno != 0 {
			c.fail(errno)
			return nil
		}
		if thread == nil { // the call is made anew
			return nil
		}
		c.thread = thread
	}
	return c.thread.task
}

// send answers the call, and reports whether it was there to hear it.
func (c *call) send(value int64) bool {
	c.answered = true
	return sys.SeccompSend(c.fd, c.id, value, 0, 0) == 0
}

func (c *call) fail(errno syscall.Errno) bool {
	if c.forbidden {
		errno = syscall.EPERM
	}
	c.answered = true
	return sys.SeccompSend(c.fd, c.id, 0, int32(errno), 0) == 0
}

// proceed lets the kernel make the call.
func (c *call) proceed() {
	c.answered = true
	sys.SeccompSend(c.fd, c.id, 0, 0, sys.SeccompContinue)
}

// result answers a call that never sleeps. What it has done has happened also
// if its program has been killed meanwhile, as in the kernel.
func (c *call) result(value int, err error) {
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	c.send(int64(value))
}

// Take implements [userspace.Caller].
func (c *call) Take(o userspace.Outcome) bool {
	switch {
	case c.asleep:
		c.s.wakes(c)
	case c.queue != nil && o.Errno == 0: // before the program can look
		c.queue.showAll(c.level)
	}
	switch {
	case o.Errno != 0:
		return c.fail(o.Errno)
	case c.take != nil:
		return c.take(c, o)
	}
	return c.send(0)
}

// sleep notes that the call sleeps, if it does. A signal ends it with restart,
// by which the kernel knows what to do next: EINTR, or one of its own numbers.
func (c *call) sleep(parked userspace.Parked, restart syscall.Errno) {
	if !parked.Sleeps() {
		return
	}
	c.parked, c.restart, c.asleep = parked, restart, true
	c.s.sleeps(c)
}

// The kernel's own error numbers, which no program sees: it makes the call
// again after a stop, or after a handler that was installed with SA_RESTART;
// see errno.h of the kernel.
const (
	erestartsys    syscall.Errno = 512
	erestartnohand syscall.Errno = 514
)

func asErrno(err error, errno *syscall.Errno) bool { return errors.As(err, errno) }

// ownUserNamespace returns the inode of the process's user namespace, and
// whether that has all users, as the first of the machine does.
func ownUserNamespace() (inode uint64, initial bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &st); err != nil {
		return 0, false, err
	}
	const first = 0xeffffffd // PROC_USER_INIT_INO
	return st.Ino, st.Ino == first, nil
}

func procPath(id int, file string) string { return "/proc/" + itoa(id) + "/" + file }

func readProc(id int, file string) ([]byte, error) { return os.ReadFile(procPath(id, file)) }
