//go:build linux

package host

import (
	"slices"
	"sync"

	"github.com/ipcns/ipcns/internal/ipclist"
)

// A Census is what one look has found of the IPC namespaces of a machine.
type Census struct {
	// Namespaces are those with a process by their lowest one, and then the
	// others.
	Namespaces []Namespace
	// Unseen is how many processes the caller may not look at. A namespace may be
	// missing for each, and holders.
	Unseen int
	// Missing are the other things that could not all be looked at:
	// [MountsElsewhere], [KernelsList].
	Missing []string
}

// Census finds the IPC namespaces that anything keeps: threads, descriptors,
// mounts in any mount namespace, and what else SEMANTICS B.3 has. The list of the
// kernel, which takes CAP_BPF and CAP_PERFMON, has them all; without it those are
// found for which a process or a mount speaks. What could not be looked at is
// told.
func (proc Proc) Census() (*Census, error) {
	l := look{proc: proc}
	if proc == "/proc" {
		l.everyMount = mayWalkMountNamespaces()
		// First the list, so that what is made meanwhile is not on it without a
		// holder.
		l.list()
	}
	if err := l.holders(); err != nil {
		return nil, err
	}
	c := &Census{Unseen: l.seen.unseen, Namespaces: merge(l.seen.namespaces(), l.held, l.listed)}
	if !l.everyMount {
		c.Missing = append(c.Missing, MountsElsewhere)
	}
	if l.kernel == nil {
		c.Missing = append(c.Missing, KernelsList)
	}
	return c, nil
}

// What a [Census] may not have looked at.
const (
	// MountsElsewhere may keep namespaces. It takes CAP_SYS_ADMIN, in the
	// machine's first PID namespace, to look at those in mount namespaces that have
	// no process.
	MountsElsewhere = "mounts elsewhere"
	// KernelsList has namespaces that are kept by descriptors in flight, attached
	// segments and open files of /proc/sysvipc alone. It takes CAP_BPF and
	// CAP_PERFMON.
	KernelsList = "the kernel's own list"
)

// A look is a census while it is taken.
type look struct {
	proc       Proc
	kernel     *ipclist.Kernel // nil if it does not tell
	listed     []ipclist.Namespace
	seen       *seen
	everyMount bool // may be looked at
	held       []held
}

// list reads the kernel's list, if that is allowed.
func (l *look) list() {
	kernel, err := ipclist.Open()
	if err != nil {
		return
	}
	if l.listed, err = kernel.Namespaces(); err == nil {
		l.kernel = kernel
	}
}

// holders looks at all that may hold a namespace. What does not depend on
// processes is looked at meanwhile.
func (l *look) holders() (err error) {
	var descriptors, attachments []ipclist.Holder
	var mounts []held
	var errs [3]error
	var others sync.WaitGroup
	if l.everyMount {
		others.Go(func() { mounts, errs[0] = mountsHeld() })
	}
	if l.kernel != nil {
		others.Go(func() { descriptors, errs[1] = l.kernel.Descriptors() })
		others.Go(func() { attachments, errs[2] = l.kernel.Attachments() })
	}
	l.seen, err = l.proc.threads(l.kernel == nil, !l.everyMount)
	others.Wait()
	if err != nil {
		return err
	}
	if errs[0] != nil || errs[1] != nil || errs[2] != nil {
		return l.withoutWhatFailed(errs)
	}
	if !l.everyMount {
		mounts = l.seen.mountsSeen()
	}
	l.held = slices.Concat(l.seen.held, ofKernel(descriptors), ofKernel(attachments), mounts)
	return nil
}

// withoutWhatFailed looks again, in the ways that everybody may.
func (l *look) withoutWhatFailed(errs [3]error) error {
	l.everyMount = l.everyMount && errs[0] == nil
	if errs[1] != nil || errs[2] != nil {
		l.kernel = nil
	}
	return l.holders()
}

// kinds are those of the kernel's list.
var kinds = map[ipclist.Kind]HolderKind{
	ipclist.Descriptor: HeldByDescriptor,
	ipclist.Table:      HeldByTable,
	ipclist.Context:    HeldByContext,
	ipclist.Attachment: HeldByAttachment,
}

// ofKernel returns the holders that the kernel has told, each once: a process may
// have attached several segments.
func ofKernel(told []ipclist.Holder) (all []held) {
	known := map[ipclist.Holder]bool{}
	for _, h := range told {
		if !known[h] {
			known[h] = true
			all = append(all, held{uint64(h.Inode), Holder{Kind: kinds[h.Kind], PID: h.PID, FD: h.FD}})
		}
	}
	return all
}

// merge adds to the namespaces what holds them, and those that nothing but the
// kernel's list shows.
func merge(namespaces []Namespace, holders []held, listed []ipclist.Namespace) []Namespace {
	index := map[uint64]int{}
	for i, ns := range namespaces {
		index[ns.Inode] = i
	}
	at := func(inode uint64) *Namespace {
		i, found := index[inode]
		if !found {
			i = len(namespaces)
			index[inode] = i
			namespaces = append(namespaces, Namespace{Inode: inode})
		}
		return &namespaces[i]
	}
	for _, h := range holders {
		ns := at(h.inode)
		ns.Holders = append(ns.Holders, h.Holder)
	}
	for _, l := range listed {
		ns := at(uint64(l.Inode))
		mqueues := int(l.Mqueues)
		ns.ID, ns.Mqueues = l.ID, &mqueues
		if len(ns.PIDs) == 0 && len(ns.Holders) == 0 {
			ns.Holders = []Holder{{Kind: HeldUnseen, FD: -1}}
		}
	}
	slices.SortFunc(namespaces, byProcess)
	return namespaces
}
