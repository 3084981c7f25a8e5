//go:build linux

package registry

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"golang.org/x/sys/unix"
)

// A Membership is which processes are in which IPC namespace, by inode number.
type Membership map[uint64][]int

// Members looks at every process that the caller may look at. A thread of the
// caller's own that has been in a namespace for it, which takes a moment to
// end, makes it no member.
func Members() (Membership, error) {
	namespaces, _, err := host.Proc("/proc").Namespaces()
	if err != nil {
		return nil, err
	}
	own, err := host.Proc("/proc").Inode(os.Getpid())
	if err != nil {
		return nil, err
	}
	m := Membership{}
	for _, ns := range namespaces {
		m[ns.Inode] = slices.DeleteFunc(ns.PIDs, func(pid int) bool { return pid == os.Getpid() && ns.Inode != own })
	}
	return m, nil
}

// In returns the processes in a namespace, but for its holder, and for those
// with which commands such as "ipcns ls" look into it.
func (m Membership) In(ns *Namespace) []int {
	if ns.State != Alive {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m[ns.Inode]), func(pid int) bool {
		return ns.Holder != nil && pid == ns.Holder.PID || looks(pid)
	})
}

// looks reports whether a process is there for a look.
func looks(pid int) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && string(args) == launch.LookName+"\x00"
}

// MembersOf returns the processes in a namespace, as [Membership.In] does. Those
// of one that has a server are known when they have started a program, or made
// a call.
func MembersOf(ns *Namespace) ([]int, error) {
	if ns.Engine == Userspace {
		status, err := ns.Status()
		return status.Members, err
	}
	members, err := Members()
	return members.In(ns), err
}

// staying returns the processes that are in a namespace and stay there. Others
// are about to end, since somebody has just killed them.
func staying(ns *Namespace, members Membership) (in []int, err error) {
	const patience, pause = 200 * time.Millisecond, 10 * time.Millisecond
	if ns.Engine == Userspace {
		in, err = MembersOf(ns)
	} else {
		in = members.In(ns)
	}
	for start := time.Now(); err == nil && len(in) > 0 && time.Since(start) < patience; {
		time.Sleep(pause)
		in, err = MembersOf(ns)
	}
	return in, err
}

// Wait returns when no process is in a namespace any more. It looks again each
// second, and whenever a process ends.
func Wait(ns *Namespace) error {
	for {
		pids, err := MembersOf(ns)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := waitPID(pid); err != nil {
				return err
			}
		}
	}
}

// waitPID waits until a process has ended, or for a while: it may also leave
// the namespace, which nothing tells.
func waitPID(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	return wait(pidfd, time.Second)
}
