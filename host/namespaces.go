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
	"golang.org/x/sys/unix"
)

// A Namespace is an IPC namespace that has a process.
type Namespace struct {
	Inode uint64
	PIDs  []int // processes with a thread in it, in ascending order

	threads []string // for each, the directory under /proc of a thread in it
}

// Open opens the namespace. ESRCH: its last process has ended.
func (ns Namespace) Open() (*ipcns.Namespace, error) {
	failure := fmt.Errorf("cannot open ipc:[%d]: %w in it any more", ns.Inode, unix.ESRCH)
	for _, thread := range ns.threads {
		opened, err := ipcns.OpenPath(filepath.Join(thread, "ns/ipc"))
		switch {
		case err == nil && opened.Inode() == ns.Inode:
			return opened, nil
		case err == nil:
			opened.Close() // it has left
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH):
			failure = err
		}
	}
	return nil, failure
}

// Open opens the namespace with that inode number, if the caller may look at
// a process that is in it.
func Open(inode uint64) (*ipcns.Namespace, error) {
	namespaces, _, err := Proc("/proc").Namespaces()
	if err != nil {
		return nil, err
	}
	for _, ns := range namespaces {
		if ns.Inode == inode {
			return ns.Open()
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
	pids, err := numericEntries(string(proc))
	if err != nil {
		return nil, 0, fmt.Errorf("cannot list processes: %w", err)
	}
	byInode := map[uint64]*Namespace{}
	for _, pid := range pids {
		tasks := filepath.Join(string(proc), strconv.Itoa(pid), "task")
		tids, err := numericEntries(tasks)
		if errors.Is(err, fs.ErrPermission) {
			unseen++
		}
		for _, tid := range tids {
			thread := filepath.Join(tasks, strconv.Itoa(tid))
			inode, err := ipcInode(thread)
			if errors.Is(err, fs.ErrPermission) {
				unseen++
				break
			}
			if err != nil {
				continue // it has ended, or is about to
			}
			ns := byInode[inode]
			if ns == nil {
				ns = &Namespace{Inode: inode}
				byInode[inode] = ns
			}
			if len(ns.PIDs) == 0 || ns.PIDs[len(ns.PIDs)-1] != pid {
				ns.PIDs = append(ns.PIDs, pid)
				ns.threads = append(ns.threads, thread)
			}
		}
	}
	for _, ns := range byInode {
		namespaces = append(namespaces, *ns)
	}
	slices.SortFunc(namespaces, func(a, b Namespace) int {
		return cmp.Or(cmp.Compare(a.PIDs[0], b.PIDs[0]), cmp.Compare(a.Inode, b.Inode))
	})
	return namespaces, unseen, nil
}

// ipcInode returns the inode number of a thread's IPC namespace.
func ipcInode(thread string) (uint64, error) {
	link, err := os.Readlink(filepath.Join(thread, "ns/ipc"))
	if err != nil {
		return 0, err
	}
	number, found := strings.CutPrefix(link, "ipc:[")
	if !found {
		return 0, fmt.Errorf("%s/ns/ipc is %q", thread, link)
	}
	return strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
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
	dir := filepath.Join(string(proc), strconv.Itoa(pid))
	text, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	command := strings.ReplaceAll(strings.TrimRight(string(text), "\x00"), "\x00", " ")
	if err != nil || command == "" {
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			return ""
		}
		command = "[" + strings.TrimSuffix(string(name), "\n") + "]"
	}
	return command
}
