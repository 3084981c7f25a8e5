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
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"syscall"

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
	calls, err := planNamespace(ns, false)
	if err != nil {
		return err
	}
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
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false
	}
	return sets[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

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
	calls, err := planNamespace(ns, true)
	if err != nil {
		return err
	}
	uid, gid := os.Geteuid(), os.Getegid()
	insideUID, insideGID := uid, gid
	if ns.Root || len(ns.Limits) > 0 {
		insideUID, insideGID = 0, 0
	}
	plan := append(newUser(insideUID, uid, insideGID, gid), calls...)
	if !ns.Root && (insideUID != uid || insideGID != gid) {
		// Uid 0 has set the limits; the program gets its own uid back.
		plan = append(plan, newUser(uid, insideUID, gid, insideGID)...)
	}
	return viaStub(plan, p)
}

// viaStub lets the stub make the calls and become p. The descriptors in keep
// stay open until then.
func viaStub(calls []call, p Program, keep ...int) error {
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
	return becomeStub(append(closing, calls...), p, self)
}

// Inside starts this program again, with other arguments, in the namespace
// behind the descriptor ipcNS, whose owner is the user namespace behind
// userNS, with a mount namespace of its own. It is the way of an ordinary
// user, who may enter what belongs to a user namespace of theirs, but only
// together with that. The program gets the capabilities to look at everything
// there. Inside returns only if that failed, with an [*Error].
func Inside(userNS, ipcNS int, args, env []string) error {
	calls := []call{
		{number: unix.SYS_SETNS, args: []arg{number(userNS), number(unix.CLONE_NEWUSER)}, step: stepEnterUser},
		{number: unix.SYS_SETNS, args: []arg{number(ipcNS), number(unix.CLONE_NEWIPC)}, step: stepEnterIPC},
		{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_NEWNS)}, step: stepMount},
	}
	return viaStub(append(calls, keepCapabilities(unix.CAP_SYS_ADMIN, unix.CAP_DAC_OVERRIDE)...), Program{selfPath, args, env}, userNS, ipcNS)
}

// keepCapabilities lets the capabilities of a user namespace outlive execve,
// which only uid 0 keeps otherwise; see capabilities(7).
func keepCapabilities(capabilities ...int) []call {
	var set uint32
	for _, c := range capabilities {
		set |= 1 << c
	}
	var header, data []byte
	for _, w := range [...]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0} {
		header = binary.NativeEndian.AppendUint32(header, w)
	}
	for _, w := range [...]uint32{set, set, set, 0, 0, 0} { // effective, permitted, inheritable, and those above 31
		data = binary.NativeEndian.AppendUint32(data, w)
	}
	calls := []call{{number: unix.SYS_CAPSET, args: []arg{text(string(header)), text(string(data))}, step: stepCapabilities}}
	for _, c := range capabilities {
		calls = append(calls, call{number: unix.SYS_PRCTL, args: []arg{number(unix.PR_CAP_AMBIENT), number(unix.PR_CAP_AMBIENT_RAISE), number(c), {}, {}}, step: stepCapabilities})
	}
	return calls
}
