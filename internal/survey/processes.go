//go:build linux

package survey

import (
	"slices"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/registry"
)

// findProcesses gives each of the kernel's namespaces the processes that are in it
// or use its objects.
func (s *Survey) findProcesses(proc host.Proc) error {
	var within []host.Within
	for _, ns := range s.Namespaces {
		if ns.Inode != 0 && ns.State == registry.Alive {
			within = append(within, host.Within{Namespace: ns.Inode, Contents: ns.Contents, Device: ns.mqueueDevice})
		}
	}
	processes, err := proc.Processes(within)
	if err != nil {
		return err
	}
	byInode := concerns{}
	for _, p := range processes {
		byInode.add(p)
	}
	for _, ns := range s.Namespaces {
		if ns.Inode == 0 || ns.State != registry.Alive {
			continue
		}
		ns.Processes = slices.DeleteFunc(byInode[ns.Inode], func(p host.Process) bool {
			return !Uses(p) && !slices.Contains(ns.Members, p.PID)
		})
		delete(byInode, ns.Inode)
	}
	s.Elsewhere = nil
	for _, elsewhere := range byInode {
		s.Elsewhere = append(s.Elsewhere, slices.DeleteFunc(elsewhere, func(p host.Process) bool { return !Uses(p) })...)
	}
	slices.SortFunc(s.Elsewhere, func(a, b host.Process) int { return a.PID - b.PID })
	return nil
}

// Uses reports whether a process uses anything.
func Uses(p host.Process) bool { return len(p.Attached)+len(p.Open)+len(p.Waiting) > 0 }

// concerns are processes by the inode numbers of the namespaces that they are in,
// or use objects of: each with what concerns that.
type concerns map[uint64][]host.Process

func (c concerns) add(p host.Process) {
	inodes := slices.Clone(p.Namespaces)
	for _, a := range p.Attached {
		inodes = append(inodes, a.Namespace)
	}
	for _, queue := range p.Open {
		inodes = append(inodes, queue.Namespace)
	}
	for _, w := range p.Waiting {
		inodes = append(inodes, w.Namespace)
	}
	slices.Sort(inodes)
	for _, inode := range slices.Compact(inodes) {
		its := p
		its.Attached = only(p.Attached, func(a host.Attachment) bool { return a.Namespace == inode })
		its.Open = only(p.Open, func(queue host.OpenQueue) bool { return queue.Namespace == inode })
		its.Waiting = only(p.Waiting, func(w host.Wait) bool { return w.Namespace == inode })
		c[inode] = append(c[inode], its)
	}
}

func only[T any](all []T, wanted func(T) bool) []T {
	some := []T{}
	for _, one := range all {
		if wanted(one) {
			some = append(some, one)
		}
	}
	return some
}

// mqueueDevice returns the device number of the POSIX queues of the namespace.
func (ns *Namespace) mqueueDevice() (device uint64, err error) {
	if ns.device != 0 {
		return ns.device, nil
	}
	opened, err := ns.open()
	if err != nil {
		return 0, err
	}
	defer opened.Close()
	_, err = Enter(opened, func(ipc.System) error {
		device, err = kernel.System{}.MqDevice()
		return err
	})
	return device, err
}
