//go:build linux

// Package launch turns this process into a program in another IPC namespace:
// the same process, with nothing of ours left in it.
//
// What that takes is a list of system calls. With CAP_SYS_ADMIN the calling
// thread makes them and then execve does the rest. A user namespace, which
// an ordinary user needs, is not given to a process with threads, and every
// Go process has threads. So there the process first becomes a program that
// has none, a few instructions long and made in memory, which makes the
// calls and then execve (image.go).
package launch

import (
	"os"
	"runtime"
	"strconv"
	"syscall"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// A Program is what the process becomes: a file, its arguments with its name
// first, and its environment.
type Program struct {
	Path string
	Args []string
	Env  []string
}

const (
	shellPath = "/bin/sh"
	selfPath  = "/proc/self/exe"
)

// A Namespace says what the new IPC namespace of a program is like.
type Namespace struct {
	Mqueue bool               // a /dev/mqueue of its own
	Shm    bool               // a /dev/shm of its own
	Limits []ipc.LimitSetting // set before the program starts
	Root   bool               // the program is to see itself as uid 0
	Told   string             // written to standard error when the namespace has been made

	// Otherwise are arguments of ipcns for when the kernel gives this user no
	// user namespace: it is what the process becomes then. None if empty.
	Otherwise []string
}

// InNew turns the process into p in a new namespace. It returns only if that
// failed, with an [*Error].
func InNew(ns Namespace, p Program) error {
	if ns.direct() {
		err := directly(ns, p)
		if !refused(err, stepIPC) {
			return err
		}
	}
	return inUserNamespace(ns, p)
}

// directly makes the namespace on the calling thread and becomes p.
func directly(ns Namespace, p Program) error {
	runtime.LockOSThread()
	calls, release, err := planNamespace(ns, false)
	if err != nil {
		return err
	}
	defer release()
	if err := run(calls); err != nil {
		return err
	}
	return execute(p)
}

// direct reports whether the namespace can be made without a user namespace.
// The limits belong to uid 0, whatever the capabilities (SEMANTICS A.2.13).
func (ns Namespace) direct() bool {
	if os.Geteuid() != 0 && (ns.Root || len(ns.Limits) > 0) {
		return false
	}
	return sys.Capable(unix.CAP_SYS_ADMIN)
}

// Become turns the process into p, where it is. It returns only if that failed.
func Become(p Program) error { return execute(p) }

// execute becomes p. A file without a format that the kernel knows is a
// shell script, as execvp(3) has it.
func execute(p Program) error {
	err := exec(p.Path, p.Args, p.Env)
	if err == syscall.ENOEXEC {
		err = exec(shellPath, append([]string{shellPath, p.Path}, p.Args[1:]...), p.Env)
	}
	return execStep(p.Path).failure(errnoOf(err))
}

// inUserNamespace makes the namespace in a new user namespace and becomes p.
func inUserNamespace(ns Namespace, p Program) error {
	calls, release, err := planInUser(ns, len(ns.Limits) > 0)
	if err != nil {
		return err
	}
	defer release()
	return viaStub(calls, p, ns.Otherwise)
}

// viaStub lets the stub make the calls and become p; for otherwise see
// [Failure]. The descriptors in keep stay open until then.
func viaStub(calls []call, p Program, otherwise []string, keep ...int) error {
	self, err := unix.Open(selfPath, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return stepSelf.failure(errnoOf(err))
	}
	defer unix.Close(self)
	if p.Path == selfPath { // which is the stub then
		p.Path = "/proc/self/fd/" + strconv.Itoa(self)
	}
	var closing []call
	for _, fd := range append(keep, self) {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return stepSelf.failure(errnoOf(err))
		}
		closing = append(closing, call{number: unix.SYS_FCNTL, args: []arg{number(fd), number(unix.F_SETFD), number(unix.FD_CLOEXEC)}, step: stepSelf})
	}
	return becomeStub(append(closing, calls...), p, self, otherwise)
}
