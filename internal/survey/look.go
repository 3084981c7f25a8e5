//go:build linux

package survey

import (
	"errors"
	"fmt"
	"os"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

func (ns *Namespace) fill(options Options) error {
	switch {
	case ns.State != registry.Alive:
		return nil
	case ns.status != nil:
		return ns.askServer()
	}
	opened, err := ns.open()
	if errors.Is(err, unix.EACCES) {
		ns.Hidden = len(ns.Members) == 0
		return nil // what the kernel does not tell this user
	}
	if err != nil {
		return err
	}
	defer opened.Close()
	if id, err := opened.ID(); err == nil {
		ns.ID = &id
	}
	if uid, err := opened.OwnerUID(); err == nil {
		ns.Owner = &uid
	}
	return ns.lookInto(opened, options)
}

// askServer asks the server of a namespace, whose owner is who asks.
func (ns *Namespace) askServer() error {
	status, err := ns.status()
	if err != nil {
		return fmt.Errorf("%w: %w", unix.ESRCH, err) // it ends with its last program
	}
	uid := uint32(os.Geteuid())
	ns.Owner, ns.Members, ns.Counts = &uid, status.Members, CountsOf(status)
	return nil
}

// CountsOf returns the counts that a server tells.
func CountsOf(status server.Status) Counts {
	return Counts{&status.Queues, &status.Sets, &status.Segments, &status.Mqueues}
}

// lookInto counts, and reads if that is asked for, what is in the namespace, as
// far as this user may.
func (ns *Namespace) lookInto(opened *ipcns.Namespace, options Options) (err error) {
	if !options.Contents {
		ns.Counts, err = Count(opened)
		return err
	}
	entered, err := Enter(opened, func(system ipc.System) error {
		ns.Contents, err = host.ContentsOf(system, options.Values)
		return err
	})
	if !entered && errors.Is(err, unix.EPERM) {
		ns.Counts, err = Count(opened)
		return err
	}
	if err != nil {
		return err
	}
	ns.Counts = countsOfContents(ns.Contents)
	return nil
}

func countsOfContents(c *host.Contents) Counts {
	queues, sets, segments, mqueues := len(c.Queues), len(c.Sets), len(c.Segments), len(c.Mqueues)
	counts := Counts{&queues, &sets, &segments, &mqueues}
	if c.Mqueues == nil {
		counts.Mqueues = nil
	}
	return counts
}

// Count counts the objects of a namespace, as far as this user may.
func Count(ns *ipcns.Namespace) (counts Counts, err error) {
	if _, _, within := server.Within(); within {
		return counts, nil // what this process sees is the server's
	}
	entered, err := Enter(ns, func(system ipc.System) error {
		counts, err = countObjects(system)
		return err
	})
	if entered || !errors.Is(err, unix.EPERM) {
		return counts, err
	}
	owner, err := ns.Owner()
	if err != nil {
		return counts, nil
	}
	defer owner.Close()
	contents, err := launch.Look(owner, ns.File())
	if err != nil {
		return counts, nil
	}
	mqueues := len(contents.Mqueues)
	return Counts{&contents.Queues, &contents.Sets, &contents.Segments, &mqueues}, nil
}

func countObjects(system ipc.System) (Counts, error) {
	queues, _, err := system.MsgInfo()
	if err != nil {
		return Counts{}, err
	}
	sets, _, err := system.SemInfo()
	if err != nil {
		return Counts{}, err
	}
	segments, _, err := system.ShmInfo()
	if err != nil {
		return Counts{}, err
	}
	counts := Counts{Queues: &queues.Queues, Sets: &sets.Sets, Segments: &segments.Segments}
	if mqueues, err := system.MqCount(); err == nil {
		counts.Mqueues = &mqueues
	}
	return counts, nil
}

// Enter calls f in the namespace, and reports whether it came to that. The
// namespace that the process is in takes no permission to enter.
func Enter(ns *ipcns.Namespace, f func(ipc.System) error) (entered bool, err error) {
	own, err := ipcns.Current()
	if err != nil {
		return false, err
	}
	defer own.Close()
	if own.Inode() == ns.Inode() {
		return true, f(kernel.System{})
	}
	err = ns.Do(func() error {
		entered = true
		return f(kernel.System{})
	})
	return entered, err
}
