//go:build linux

package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// A Namespace is an IPC namespace of this machine.
type Namespace struct {
	Inode   uint64
	ID      uint64   // the kernel's, see [ipcns.Namespace.ID]; 0 if it was not told
	PIDs    []int    // processes with a thread in it, in ascending order
	Holders []Holder // what else keeps it; [Proc.Namespaces] does not look for that
	Mqueues *int     // how many POSIX message queues it has, nil if the kernel's list has not told

	threads []string // for each process, the directory under /proc of a thread in it
}

// Open opens the namespace. ESRCH: nothing is left that holds it.
func (ns Namespace) Open() (*ipcns.Namespace, error) {
	if ns.ID != 0 {
		if opened, err := ns.openByID(); err == nil {
			return opened, nil
		}
	}
	failure := fmt.Errorf("cannot open ipc:[%d]: %w in it any more", ns.Inode, unix.ESRCH)
	for _, thread := range ns.threads {
		opened, err := ns.openPath(filepath.Join(thread, "ns/ipc"))
		if err == nil {
			return opened, nil
		}
		if !gone(err) {
			failure = err
		}
	}
	for _, holder := range ns.Holders {
		opened, err := ns.openHeld(holder)
		if err == nil {
			return opened, nil
		}
		if !gone(err) {
			failure = err
		}
	}
	return nil, failure
}

// gone reports whether what a namespace was to be opened by is not there any
// more, or is something else, as a descriptor whose number is used again. Those
// who may not open it, or can open nothing, do not know.
func gone(err error) bool {
	for _, failure := range []error{fs.ErrPermission, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, failure) {
			return false
		}
	}
	return true
}

func (ns Namespace) openByID() (*ipcns.Namespace, error) {
	fd, err := sys.OpenNamespace(ns.ID, unix.CLONE_NEWIPC, uint32(ns.Inode))
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return ipcns.OpenFD(fd)
}

// openPath opens the namespace behind a file. ESRCH: it is something else by now,
// which is not opened, since that may have an effect.
func (ns Namespace) openPath(path string) (*ipcns.Namespace, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open IPC namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || st.Type != sys.NsfsMagic {
		return nil, unix.ESRCH
	}
	opened, err := ipcns.OpenPath(path)
	if err == nil && opened.Inode() != ns.Inode {
		opened.Close()
		return nil, unix.ESRCH
	}
	return opened, err
}

// openHeld opens the namespace that a holder holds.
func (ns Namespace) openHeld(holder Holder) (*ipcns.Namespace, error) {
	switch holder.Kind {
	case HeldByDescriptor:
		return ns.openPath(fmt.Sprintf("/proc/%d/fd/%d", holder.PID, holder.FD))
	case HeldByMount:
		return ns.openMount(holder)
	}
	return nil, unix.ESRCH // the kernel opens no namespace by these
}

// Open opens the namespace with that inode number, if the caller may look at
// something that holds it.
func Open(inode uint64) (*ipcns.Namespace, error) {
	const proc = Proc("/proc")
	for _, look := range [...]func() ([]Namespace, error){
		func() ([]Namespace, error) {
			namespaces, _, err := proc.Namespaces()
			return namespaces, err
		},
		func() ([]Namespace, error) { // which takes longer
			census, err := proc.Census()
			if err != nil {
				return nil, err
			}
			return census.Namespaces, nil
		},
	} {
		namespaces, err := look()
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(namespaces, func(ns Namespace) bool { return ns.Inode == inode }); i >= 0 {
			return namespaces[i].Open()
		}
	}
	return nil, fmt.Errorf("cannot open ipc:[%d]: %w in it that you may look at", inode, unix.ESRCH)
}

// Proc is where a proc file system is mounted; see proc(5).
type Proc string

// Namespaces returns the IPC namespaces that have a process, by their lowest
// process id. A thread may be in another one than its process. Unseen is the
// number of processes that the caller may not look at.
func (proc Proc) Namespaces() (namespaces []Namespace, unseen int, err error) {
	seen, err := proc.threads(false, false)
	if err != nil {
		return nil, 0, err
	}
	return seen.namespaces(), seen.unseen, nil
}

// byProcess orders namespaces by their lowest process; those without one come
// last, the oldest of them first.
func byProcess(a, b Namespace) int {
	switch {
	case len(a.PIDs) > 0 && len(b.PIDs) > 0:
		return cmp.Or(cmp.Compare(a.PIDs[0], b.PIDs[0]), cmp.Compare(a.Inode, b.Inode))
	case len(a.PIDs) > 0:
		return -1
	case len(b.PIDs) > 0:
		return 1
	}
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Inode, b.Inode))
}

// ipcInode returns the inode number of a thread's IPC namespace.
func ipcInode(thread string) (uint64, error) {
	link, err := os.Readlink(filepath.Join(thread, "ns/ipc"))
	if err != nil {
		return 0, err
	}
	inode, is := namespaceInode(link, "ipc:[")
	if !is {
		return 0, fmt.Errorf("%s/ns/ipc is %q", thread, link)
	}
	return inode, nil
}

// namespaceInode reads what a link to a namespace of a kind says: ipc:[4026531839].
func namespaceInode[Text string | []byte](link Text, kind string) (inode uint64, is bool) {
	if len(link) <= len(kind)+1 || string(link[:len(kind)]) != kind || link[len(link)-1] != ']' {
		return 0, false
	}
	for _, digit := range []byte(link[len(kind) : len(link)-1]) {
		if digit < '0' || digit > '9' || inode > 1<<32 {
			return 0, false
		}
		inode = 10*inode + uint64(digit-'0')
	}
	return inode, true
}

// numericEntries returns the entries of a directory that are numbers, in
// ascending order.
func numericEntries(dir string) ([]int, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	names, err := file.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Command returns the command line of a process, with a space between the
// arguments: what ps(1) shows. A process without one, a kernel thread or a
// zombie, is shown by its name in brackets.
func (proc Proc) Command(pid int) string {
	dir := string(proc) + "/" + strconv.Itoa(pid)
	buffer := fileBuffer{make([]byte, 4096)} // which few are longer than
	text, err := buffer.read(dir + "/cmdline")
	command := strings.ReplaceAll(strings.TrimRight(string(text), "\x00"), "\x00", " ")
	if err != nil || command == "" {
		name, err := buffer.read(dir + "/comm")
		if err != nil {
			return ""
		}
		command = "[" + strings.TrimSuffix(string(name), "\n") + "]"
	}
	return command
}
