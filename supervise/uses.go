//go:build linux

package supervise

import (
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/ipcns/ipcns/host"
)

// Uses returns what processes do with the namespace that programs get, in
// ascending order: who uses nothing is there too, and who has ended meanwhile may
// not be. Of a [host.Process] it leaves what the namespace does not know: the
// user, the command, and numbers of namespaces.
func (s *Supervisor) Uses() []host.Process {
	l := s.beginLook()
	if len(l.queues) > 0 {
		l.findChildren()
	}
	for _, p := range l.processes {
		l.findSegments(p)
		l.findQueues(p)
	}
	byPID := func(a, b *host.Process) int { return a.PID - b.PID }
	var processes []host.Process
	for _, p := range slices.SortedFunc(maps.Values(l.processes), byPID) {
		processes = append(processes, *p)
	}
	return processes
}

// A look is what the namespace knows, by what /proc shows of processes: the inodes
// of memfds and of pipes. That is read without the lock, as it takes long.
type look struct {
	segments  map[uint64]int
	queues    map[uint64]host.OpenQueue
	processes map[int]*host.Process
}

func (s *Supervisor) beginLook() *look {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reap()
	s.countAll()
	s.releaseDescriptions()
	l := &look{segments: map[uint64]int{}, queues: map[uint64]host.OpenQueue{}, processes: map[int]*host.Process{}}
	for pid, p := range s.processes {
		if p.in[s.outermost] != nil {
			l.process(pid)
		}
	}
	for inode, segment := range s.segments {
		if segment.in == s.outermost {
			l.segments[inode] = segment.id
			for pid := range segment.mapped {
				l.process(pid)
			}
		}
	}
	for inode, d := range s.descriptions {
		if d.in == s.outermost {
			l.queues[inode] = host.OpenQueue{Name: d.mqd.Name(), Inode: d.mqd.Inode(), Unlinked: !d.mqd.Linked(), Receives: d.mqd.Readable(), Sends: d.mqd.Writable()}
		}
	}
	l.findWaits(s)
	return l
}

// process returns that with the number.
func (l *look) process(pid int) *host.Process {
	p := l.processes[pid]
	if p == nil {
		p = &host.Process{PID: pid, Attached: []host.Attachment{}, Open: []host.OpenQueue{}, Waiting: []host.Wait{}}
		l.processes[pid] = p
	}
	return p
}

// findWaits finds the calls that sleep.
func (l *look) findWaits(s *Supervisor) {
	descriptors := map[int]int{} // of POSIX queues, by thread
	for c := range s.waiting {
		if c.queue != nil {
			descriptors[c.tid] = c.int(0)
		}
	}
	for _, w := range s.outermost.ns.Waits() {
		wait := host.Wait{TID: w.TID, Call: w.Call, ID: w.ID, Name: w.Name, Type: w.Type, Bytes: uint64(w.Bytes), Operations: w.Sops, Since: w.For}
		switch {
		case w.Sops != nil:
			wait.Call = "semop"
		case w.Name != "":
			wait.ID = descriptors[w.TID]
		}
		p := l.process(w.PID)
		p.Waiting = append(p.Waiting, wait)
	}
}

// findChildren finds those who may have open queues from who has started them, and
// have made no call.
func (l *look) findChildren() {
	for todo := slices.Collect(maps.Keys(l.processes)); len(todo) > 0; {
		pid := todo[0]
		todo = todo[1:]
		for _, child := range children(pid) {
			if l.processes[child] == nil {
				l.process(child)
				todo = append(todo, child)
			}
		}
	}
}

// findSegments finds those that a process has attached.
func (l *look) findSegments(p *host.Process) {
	if len(l.segments) == 0 {
		return
	}
	at := map[int]int{} // indexes in p.Attached, by id
	pieces(p.PID, func(piece piece) {
		id, known := l.segments[piece.inode]
		if !known {
			return
		}
		i, again := at[id]
		if !again {
			i = len(p.Attached)
			at[id] = i
			p.Attached = append(p.Attached, host.Attachment{ID: id, Address: piece.begin, ReadOnly: true})
		}
		a := &p.Attached[i]
		a.Bytes += piece.end - piece.begin
		a.Mappings++
		a.ReadOnly = a.ReadOnly && piece.readOnly
	})
}

// findQueues finds the POSIX queues that a process has open.
func (l *look) findQueues(p *host.Process) {
	if len(l.queues) == 0 {
		return
	}
	entries, _ := os.ReadDir(procPath(p.PID, "fd")) // fails if it has ended
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if queue, open := l.queues[pipeInode(p.PID, fd)]; open {
			queue.FD = fd
			p.Open = append(p.Open, queue)
		}
	}
	slices.SortFunc(p.Open, func(a, b host.OpenQueue) int { return a.FD - b.FD })
}
