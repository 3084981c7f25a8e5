//go:build linux

package host

import "github.com/ipcns/ipcns/internal/sys"

// lookAtTables looks at the descriptors of a process, the threads of which are
// those that the walker has found. A thread may have a table of its own.
func (w *walker) lookAtTables(tasks sys.Directory, pid int) {
	var own []int
	for _, tid := range w.numbers {
		if tid != pid && w.proc == "/proc" && !sys.SameFiles(pid, tid) {
			own = append(own, tid)
		}
	}
	w.lookAtTable(tasks, pid)
	for _, tid := range own {
		w.lookAtTable(tasks, tid)
	}
}

// lookAtTable looks at the descriptors of a thread.
func (w *walker) lookAtTable(tasks sys.Directory, tid int) {
	table, errno := tasks.Open(sys.Numbered(w.name[:], tid, "/fd"))
	if errno != 0 {
		return // it has ended
	}
	defer table.Close()
	w.numbers, _ = table.Numbers(w.numbers[:0], w.entries[:])
	for _, fd := range w.numbers {
		link, errno := table.Link(sys.Numbered(w.name[:], fd, ""), w.link[:])
		if errno != 0 {
			continue
		}
		if inode, is := namespaceInode(link, "ipc:["); is {
			w.held = append(w.held, held{inode, Holder{Kind: HeldByDescriptor, PID: tid, FD: fd}})
		}
	}
}
