//go:build linux

package launch

import (
	"encoding/binary"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Parts are the namespaces that a program enters, as open files. A nil file is
// a namespace that it keeps.
type Parts struct {
	Owner *os.File // the user namespace that the others belong to, for who may not enter them otherwise
	IPC   *os.File
	Mount *os.File
	User  *os.File // below Owner, for the program alone

	Dir string // the working directory, which a mount namespace has to have
}

// InKept turns the process into p in a namespace that is there. The file
// until is open until p has started. InKept returns only if that failed, with
// an [*Error].
func InKept(parts Parts, p Program, until *os.File) error {
	calls := planEntry(parts)
	if parts.Owner != nil || parts.User != nil {
		keep := []int{int(until.Fd())}
		for _, file := range []*os.File{parts.Owner, parts.IPC, parts.Mount, parts.User} {
			if file != nil {
				keep = append(keep, int(file.Fd()))
			}
		}
		return viaStub(calls, p, nil, keep...)
	}
	runtime.LockOSThread()
	defer runtime.KeepAlive(until)
	if err := run(calls); err != nil {
		return err
	}
	return execute(p)
}

// planEntry enters the namespaces. A mount namespace is entered at its root
// directory, and not at all by a thread that shares its working directory.
func planEntry(parts Parts) []call {
	var calls []call
	enter := func(file *os.File, kind int, s step) {
		if file != nil {
			calls = append(calls, call{number: unix.SYS_SETNS, args: []arg{number(file.Fd()), number(kind)}, step: s})
		}
	}
	if parts.Mount != nil {
		calls = append(calls, call{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_FS)}, step: stepEnterMount})
	}
	enter(parts.Owner, unix.CLONE_NEWUSER, stepEnterUser)
	enter(parts.IPC, unix.CLONE_NEWIPC, stepEnterIPC)
	enter(parts.Mount, unix.CLONE_NEWNS, stepEnterMount)
	if parts.Mount != nil {
		calls = append(calls, call{number: unix.SYS_CHDIR, args: []arg{text(parts.Dir)}, step: directoryStep(parts.Dir)})
	}
	enter(parts.User, unix.CLONE_NEWUSER, stepEnterUser)
	return calls
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
	return viaStub(append(calls, keepCapabilities(unix.CAP_SYS_ADMIN, unix.CAP_DAC_OVERRIDE)...), Program{selfPath, args, env}, nil, userNS, ipcNS)
}

// keepCapabilities lets the capabilities of a user namespace outlive execve,
// which only uid 0 keeps otherwise; see capabilities(7).
func keepCapabilities(capabilities ...int) []call {
	var set uint32
	for _, c := range capabilities {
		set |= 1 << c
	}
	calls := []call{setCapabilities(set)}
	for _, c := range capabilities {
		calls = append(calls, call{number: unix.SYS_PRCTL, args: []arg{number(unix.PR_CAP_AMBIENT), number(unix.PR_CAP_AMBIENT_RAISE), number(c), {}, {}}, step: stepCapabilities})
	}
	return calls
}

// setCapabilities leaves a set of those up to 31, as they are permitted,
// effective and inheritable.
func setCapabilities(set uint32) call {
	var header, data []byte
	for _, w := range [...]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0} {
		header = binary.NativeEndian.AppendUint32(header, w)
	}
	for _, w := range [...]uint32{set, set, set, 0, 0, 0} { // effective, permitted, inheritable, and those above 31
		data = binary.NativeEndian.AppendUint32(data, w)
	}
	return call{number: unix.SYS_CAPSET, args: []arg{text(string(header)), text(string(data))}, step: stepCapabilities}
}
