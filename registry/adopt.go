//go:build linux

package registry

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/launch"
	"golang.org/x/sys/unix"
)

// Adopt gives a full name to the namespace of a process.
func (r *Registry) Adopt(name string, pid int) error {
	opened, err := ipcns.OpenPID(pid)
	if err != nil {
		return err
	}
	defer opened.Close()
	if opened.Initial() {
		return fmt.Errorf("cannot adopt the namespace of process %d: it is the machine's own; it is called init", pid)
	}
	return r.add("adopt", name, func(making string) (*Namespace, holder, error) {
		names, err := r.below("")
		if err != nil {
			return nil, nil, err
		}
		if other := identify(names, opened); other != nil {
			return nil, nil, fmt.Errorf("the namespace of process %d has a name: %s; use that, or \"ipcns rename\"", pid, other.Name)
		}
		parts, err := r.adoptable(opened, pid)
		defer closeFiles(parts.Mount, parts.Owner, parts.User)
		if err != nil {
			return nil, nil, err
		}
		ns := &Namespace{Adopted: true}
		if parts.Mount == nil {
			ns.Share = []string{"shm"}
		}
		return r.keepAdopted(ns, parts, making)
	})
}

func (r *Registry) keepAdopted(ns *Namespace, parts launch.Parts, making string) (*Namespace, holder, error) {
	if r.mounted {
		return ns, nil, r.keepByMounts(ns, making, nil, func(hidden string) (ipc, mounts *os.File, err error) {
			if mounts, err = launch.MakeFrom(parts, hidden); err != nil {
				return nil, nil, err
			}
			ipc, err = os.Open("/proc/thread-self/ns/ipc")
			return ipc, mounts, err
		})
	}
	return ns.heldBy(launch.HoldFrom(parts, r.dir))
}

func closeFiles(files ...*os.File) {
	for _, file := range files {
		file.Close() // also where there is none
	}
}

// adoptable opens the parts of a process's namespace. Its mount namespace is
// only of use for a /dev/shm that is not the caller's.
func (r *Registry) adoptable(opened *ipcns.Namespace, pid int) (parts launch.Parts, err error) {
	proc := "/proc/" + strconv.Itoa(pid)
	parts.IPC = opened.File()
	var own, its unix.Stat_t
	if unix.Stat("/dev/shm", &own) == nil && unix.Stat(proc+"/root/dev/shm", &its) == nil && own.Dev != its.Dev {
		if parts.Mount, err = os.Open(proc + "/ns/mnt"); err != nil {
			return parts, cause(err, proc+"/ns/mnt")
		}
	}
	if r.mounted {
		return parts, nil
	}
	parts.Owner, err = enterable(opened)
	if parts.Owner == nil {
		return parts, errors.Join(err, errors.New("the namespace is not in a user namespace of yours; run as root"))
	}
	parts.User, err = userBelow(proc+"/ns/user", opened)
	return parts, err
}
