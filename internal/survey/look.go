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
	"github.com/ipcns/ipcns/internal/thread"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// A looker looks into namespaces.
type looker struct {
	options Options
	own     uint64 // the inode number of the namespace that the process is in
	within  bool   // what the process sees is a server's
}

// fill completes a namespace. It moves the calling thread.
func (l looker) fill(ns *Namespace) error {
	switch {
	case ns.State != registry.Alive:
		return nil
	case ns.served != nil:
		return l.askServer(ns)
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
	return l.lookInto(ns, opened)
}

// askServer asks the server of a namespace, whose owner is who asks.
func (l looker) askServer(ns *Namespace) error {
	status, err := ns.served.Status()
	if err != nil {
		return fmt.Errorf("%w: %w", unix.ESRCH, err) // it ends with its last program
	}
	uid := uint32(os.Geteuid())
	ns.Owner, ns.Members, ns.Counts = &uid, status.Members, CountsOf(status)
	ns.Sizes = sizesOf(status.Messages, status.MessageBytes, status.Semaphores, status.Pages)
	if !l.options.objects() {
		return nil
	}
	picture, err := ns.served.Picture()
	if err != nil {
		return fmt.Errorf("%w: %w", unix.ESRCH, err)
	}
	ns.Contents = picture.Contents
	if l.options.Processes {
		ns.Processes = introduced(picture.Processes)
	}
	return nil
}

// introduced are the processes that a server tells of, as /proc shows them, without
// those that have ended since.
func introduced(processes []host.Process) []host.Process {
	const proc = host.Proc("/proc")
	known := []host.Process{}
	for _, p := range processes {
		var err error
		if p.UID, p.Command, err = proc.Who(p.PID); err == nil {
			p.Namespaces = []uint64{}
			known = append(known, p)
		}
	}
	return known
}

// CountsOf returns the counts that a server tells.
func CountsOf(status server.Status) Counts {
	return Counts{&status.Queues, &status.Sets, &status.Segments, &status.Mqueues}
}

// lookInto counts, and reads if that is asked for, what is in the namespace, as
// far as this user may.
func (l looker) lookInto(ns *Namespace, opened *ipcns.Namespace) (err error) {
	switch {
	case l.within:
		return nil
	case opened.Inode() == l.own:
		// It takes no permission to look there, and this thread may be elsewhere.
		return thread.Do(func() error { return l.lookAround(ns) })
	}
	err = unix.Setns(int(opened.File().Fd()), unix.CLONE_NEWIPC)
	if err == unix.EPERM {
		ns.Counts, ns.Sizes = lookBeside(opened)
		l.askInside(ns, opened)
		return nil
	}
	if err != nil {
		return err
	}
	return l.lookAround(ns)
}

// askInside asks a process that goes into the namespace, if contents are wanted. If
// that fails they may not be seen.
func (l looker) askInside(ns *Namespace, opened *ipcns.Namespace) {
	if !l.options.objects() || l.options.Inside == nil {
		return
	}
	if seen, err := l.options.Inside(opened.File()); err == nil {
		ns.Contents, ns.device = seen.Contents, seen.Device
	}
}

// lookAround looks at what is in the namespace that the calling thread is in.
func (l looker) lookAround(ns *Namespace) (err error) {
	system := kernel.System{}
	if ns.Counts, ns.Sizes, err = countObjects(system, ns.found.Mqueues); err != nil || !l.options.objects() {
		return err
	}
	switch {
	case l.options.Limits:
		ns.Contents, err = host.ContentsOf(system, l.options.Values)
	case l.options.Contents:
		ns.Contents, err = host.ObjectsOf(system, l.options.Values)
	default:
		ns.Contents, err = host.SystemVObjectsOf(system)
		return err
	}
	if err == nil {
		ns.Counts = countsOfContents(ns.Contents)
	}
	return err
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
		counts, _, err = countObjects(system, nil)
		return err
	})
	if entered || !errors.Is(err, unix.EPERM) {
		return counts, err
	}
	counts, _ = lookBeside(ns)
	return counts, nil
}

// lookBeside counts the objects of a namespace that this user may not enter, but
// whose user namespace is theirs: in a process that is there.
func lookBeside(ns *ipcns.Namespace) (Counts, Sizes) {
	owner, err := ns.Owner()
	if err != nil {
		return Counts{}, Sizes{}
	}
	defer owner.Close()
	c, err := launch.Look(owner, ns.File())
	if err != nil {
		return Counts{}, Sizes{}
	}
	mqueues := len(c.Mqueues)
	return Counts{&c.Queues, &c.Sets, &c.Segments, &mqueues}, sizesOf(c.Messages, c.MessageBytes, c.Semaphores, c.Pages)
}

func sizesOf(messages, bytes, semaphores int, pages uint64) Sizes {
	messageBytes, segmentBytes := uint64(bytes), pages*uint64(os.Getpagesize())
	return Sizes{&messages, &messageBytes, &semaphores, &segmentBytes}
}

// countObjects counts the objects. To count the POSIX message queues takes longer
// than all else, and need not be done where it is known.
func countObjects(system ipc.System, mqueues *int) (Counts, Sizes, error) {
	queues, _, err := system.MsgInfo()
	if err != nil {
		return Counts{}, Sizes{}, err
	}
	sets, _, err := system.SemInfo()
	if err != nil {
		return Counts{}, Sizes{}, err
	}
	segments, _, err := system.ShmInfo()
	if err != nil {
		return Counts{}, Sizes{}, err
	}
	counts := Counts{Queues: &queues.Queues, Sets: &sets.Sets, Segments: &segments.Segments}
	if counts.Mqueues = mqueues; mqueues == nil {
		if n, err := system.MqCount(); err == nil {
			counts.Mqueues = &n
		}
	}
	return counts, sizesOf(queues.Messages, queues.Bytes, sets.Semaphores, segments.Pages), nil
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
