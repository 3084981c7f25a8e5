//go:build linux

package launch

import (
	"fmt"
	"os"
	"slices"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

var newIPC = call{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_NEWIPC)}, step: stepIPC}

// planNamespace makes the IPC namespace with its limits and mounts. When the
// calls have been made, or will not be, release lets go of what they use.
func planNamespace(ns Namespace, inUser bool) (calls []call, release func(), err error) {
	mounts, release, err := planMounts(ns, inUser)
	if err != nil {
		return nil, nil, err
	}
	limits, err := planLimits(ns.Limits)
	if err != nil {
		release()
		return nil, nil, err
	}
	return slices.Concat([]call{newIPC}, limits, mounts, tell(ns.Told)), release, nil
}

// tell writes a line to standard error, if there is one to tell and it can be.
func tell(text string) []call {
	if text == "" {
		return nil
	}
	line := text + "\n"
	return []call{{number: unix.SYS_WRITE, args: []arg{number(2), {text: line}, number(len(line))}, except: unix.EBADF, step: stepSelf}}
}

// planInUser makes the namespace in a new user namespace. The limits are
// those of uid 0 there: if they are to be set, the program gets its own uid
// back in a second one.
func planInUser(ns Namespace, limited bool) (calls []call, release func(), err error) {
	namespace, release, err := planNamespace(ns, true)
	if err != nil {
		return nil, nil, err
	}
	uid, gid := os.Geteuid(), os.Getegid()
	insideUID, insideGID := uid, gid
	if ns.Root || limited {
		insideUID, insideGID = 0, 0
	}
	calls = append(newUser(insideUID, uid, insideGID, gid), namespace...)
	if !ns.Root && (insideUID != uid || insideGID != gid) {
		calls = append(calls, newUser(uid, insideUID, gid, insideGID)...)
	}
	return calls, release, nil
}

// newUser makes a user namespace in which outside's ids are seen as inside's.
// The kernel wants setgroups denied before an ordinary user maps a gid; see
// user_namespaces(7).
func newUser(insideUID, outsideUID, insideGID, outsideGID int) []call {
	calls := []call{{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_NEWUSER)}, step: stepUser}}
	calls = append(calls, writeFile("/proc/self/setgroups", "deny", stepMap)...)
	calls = append(calls, writeFile("/proc/self/uid_map", fmt.Sprintf("%d %d 1", insideUID, outsideUID), stepMap)...)
	return append(calls, writeFile("/proc/self/gid_map", fmt.Sprintf("%d %d 1", insideGID, outsideGID), stepMap)...)
}

// writeFile writes the content in one call, as files of /proc want it. The
// descriptor is closed by execve.
func writeFile(path, content string, s step) []call {
	return []call{
		{number: unix.SYS_OPENAT, args: []arg{number(unix.AT_FDCWD), text(path), number(unix.O_WRONLY | unix.O_CLOEXEC)}, pass: true, step: s},
		{number: unix.SYS_WRITE, args: []arg{{}, text(content), number(len(content))}, step: s},
	}
}

// planLimits sets the limits of a fresh namespace.
func planLimits(settings []ipc.LimitSetting) ([]call, error) {
	limits := ipc.DefaultLimits()
	var calls []call
	for _, setting := range settings {
		*setting.Of(&limits) = setting.Value
		path, content, err := kernel.LimitFile(setting.Name, &limits)
		if err != nil {
			return nil, err
		}
		calls = append(calls, writeFile(path, content, limitStep(setting))...)
	}
	return calls, nil
}
