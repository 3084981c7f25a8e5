//go:build linux

package host

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// A member is a thread in a namespace, the first of its process that is there.
type member struct {
	inode    uint64
	pid, tid int
}

// A held is what holds the namespace of an inode number.
type held struct {
	inode uint64
	Holder
}

// seen is what a look at the processes has found.
type seen struct {
	proc    Proc
	members []member
	held    []held
	mounts  map[uint64]int // mount namespaces by inode number, and a process in each
	unseen  int            // processes that may not be looked at
}

// threads looks at every thread, and, if that is asked for, at descriptors, and at
// which mount namespaces there are. It does so on all CPUs: of what a look takes, this is the most.
func (proc Proc) threads(descriptors, mounts bool) (*seen, error) {
	dir, err := sys.OpenDirectory(string(proc))
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	defer dir.Close()
	pids, errno := dir.Numbers(nil, make([]byte, 1<<15))
	if errno != 0 {
		return nil, fmt.Errorf("cannot list processes: %w", errno)
	}
	var next atomic.Int64
	walkers := make([]walker, runtime.GOMAXPROCS(0))
	var working sync.WaitGroup
	for i := range walkers {
		w := &walkers[i]
		w.proc, w.dir, w.descriptors, w.mounting, w.mounts = proc, dir, descriptors, mounts, map[uint64]int{}
		working.Go(func() {
			for i := next.Add(1); int(i) <= len(pids); i = next.Add(1) {
				w.look(pids[i-1])
			}
		})
	}
	working.Wait()
	all := &walkers[0].seen
	for _, w := range walkers[1:] {
		all.add(&w.seen)
	}
	slices.SortFunc(all.members, func(a, b member) int { return cmp.Or(cmp.Compare(a.pid, b.pid), cmp.Compare(a.tid, b.tid)) })
	slices.SortFunc(all.held, func(a, b held) int { return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.FD, b.FD)) })
	return all, nil
}

func (s *seen) add(other *seen) {
	s.members = append(s.members, other.members...)
	s.held = append(s.held, other.held...)
	s.unseen += other.unseen
	for inode, pid := range other.mounts {
		s.mounts[inode] = pid
	}
}

// namespaces returns those that have members.
func (s *seen) namespaces() (namespaces []Namespace) {
	index := map[uint64]int{}
	for _, m := range s.members {
		i, found := index[m.inode]
		if !found {
			i = len(namespaces)
			index[m.inode] = i
			namespaces = append(namespaces, Namespace{Inode: m.inode})
		}
		ns := &namespaces[i]
		ns.PIDs = append(ns.PIDs, m.pid)
		ns.threads = append(ns.threads, fmt.Sprintf("%s/%d/task/%d", s.proc, m.pid, m.tid))
	}
	slices.SortFunc(namespaces, byProcess)
	return namespaces
}

// A walker looks at processes, one after another.
type walker struct {
	seen
	dir sys.Directory
	// What is wanted too.
	descriptors, mounting bool

	numbers []int // of threads, or of descriptors
	name    [64]byte
	link    [256]byte
	entries [8192]byte
}

// look looks at a process. One that may not be looked at is counted; one that
// has ended is left out.
func (w *walker) look(pid int) {
	tasks, errno := w.dir.Open(sys.Numbered(w.name[:], pid, "/task"))
	if refused(errno) {
		w.unseen++
	}
	if errno != 0 {
		return
	}
	defer tasks.Close()
	w.numbers, _ = tasks.Numbers(w.numbers[:0], w.entries[:]) // none if it ends meanwhile
	first := len(w.members)
	for _, tid := range w.numbers {
		inode, errno := w.inode(tasks, tid, "/ns/ipc", "ipc:[")
		if refused(errno) {
			w.unseen++
			return
		}
		if errno == 0 && !slices.ContainsFunc(w.members[first:], func(m member) bool { return m.inode == inode }) {
			w.members = append(w.members, member{inode, pid, tid})
		}
	}
	if w.descriptors {
		w.lookAtTables(tasks, pid)
	}
	if w.mounting {
		if inode, errno := w.inode(w.dir, pid, "/ns/mnt", "mnt:["); errno == 0 {
			w.mounts[inode] = pid
		}
	}
}

func refused(errno syscall.Errno) bool { return errno == unix.EACCES || errno == unix.EPERM }

// inode reads which namespace a link is to.
func (w *walker) inode(dir sys.Directory, number int, rest, kind string) (uint64, syscall.Errno) {
	link, errno := dir.Link(sys.Numbered(w.name[:], number, rest), w.link[:])
	if errno != 0 {
		return 0, errno
	}
	inode, is := namespaceInode(link, kind)
	if !is {
		return 0, unix.EINVAL
	}
	return inode, 0
}
