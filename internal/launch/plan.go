//go:build linux

package launch

import (
	"fmt"
	"slices"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

var newIPC = call{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_NEWIPC)}, step: stepIPC}

// planNamespace makes the IPC namespace with its limits and mounts.
func planNamespace(ns Namespace, inUser bool) ([]call, error) {
	mounts, err := planMounts(ns, inUser)
	if err != nil {
		return nil, err
	}
	limits, err := planLimits(ns.Limits)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]call{newIPC}, limits, mounts), nil
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
