package userspace

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/ipc"
)

// Restored returns the pids of the processes of a restored namespace that
// nobody has taken up again.
func (ns *Namespace) Restored() []int {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return slices.Sorted(maps.Keys(ns.restored))
}

// Resume takes up a process of a restored namespace: it returns its first
// thread. Credentials are the caller's business, as in [Namespace.Start]. A
// process that is not to go on is resumed to exit. ESRCH: there is no such
// process, or it has been resumed.
func (ns *Namespace) Resume(pid int, who Credentials) (*Task, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	t := ns.restored[pid]
	if t == nil {
		return nil, os.NewSyscallError("resume", syscall.ESRCH)
	}
	delete(ns.restored, pid)
	who.Groups = slices.Clone(who.Groups)
	t.Credentials = who
	return t, nil
}

// An Attachment is a segment that a process has attached.
type Attachment struct {
	ID     int // of the segment
	Memory []byte
}

// Attachments returns what the process has attached, by id. In a restored
// namespace it is at another address than it was.
func (t *Task) Attachments() []Attachment {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	var attachments []Attachment
	for _, a := range t.mapped {
		for range a.count {
			attachments = append(attachments, Attachment{id(a.segment), a.memory})
		}
	}
	slices.SortFunc(attachments, func(a, b Attachment) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(address(a.Memory), address(b.Memory)))
	})
	return attachments
}

func address(memory []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(memory))) }

// A Descriptor is an open POSIX queue of a process.
type Descriptor struct {
	ipc.Mqd
	Name string // of the queue, which may be unlinked by now
}

// Descriptors returns what POSIX queues the process has open, in the order in
// which it has opened them.
func (t *Task) Descriptors() []Descriptor {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	var descriptors []Descriptor
	for n := t.open.first; n != nil; n = n.next {
		descriptors = append(descriptors, Descriptor{n.value, "/" + n.value.queue.name})
	}
	return descriptors
}
