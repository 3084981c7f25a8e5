//go:build linux

package registry

import (
	"os"
	"slices"
	"time"

	"github.com/ipcns/ipcns/host"
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

// In returns the processes in a namespace, but for its holder.
func (m Membership) In(ns *Namespace) []int {
	if ns.State != Alive {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m[ns.Inode]), func(pid int) bool {
		return ns.Holder != nil && pid == ns.Holder.PID
	})
}

// Wait returns when no process is in a namespace any more. It looks again each
// second, and whenever a process ends.
func Wait(ns *Namespace) error {
	for {
		members, err := Members()
		if err != nil {
			return err
		}
		pids := members.In(ns)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			// It may also leave the namespace, which nothing tells.
			if _, err := ends(pid, time.Second); err != nil {
				return err
			}
		}
	}
}

// ends reports whether a process ends within a time.
func ends(pid int, within time.Duration) (bool, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(pidfd)
	return wait(pidfd, within)
}

// lasting returns the processes of those in a namespace that are not about to
// end, as they are when somebody has just killed them.
func lasting(ns *Namespace, pids []int) ([]int, error) {
	const moment = 100 * time.Millisecond
	for _, pid := range pids {
		if ended, err := ends(pid, moment); err != nil || !ended {
			return pids, err
		}
	}
	members, err := Members()
	return members.In(ns), err
}
