package userspace

import "github.com/ipcns/ipcns/ipc"

// An undo is what a process has to give back to a set when it ends.
type undo struct {
	process     *process
	set         *set
	adjustments []int32
	ofProcess   node[*undo]
	ofSet       node[*undo]
}

// undoOf returns what the process has to give back to a set, and makes it the
// first to be (SEMANTICS A.5.11).
func (p *process) undoOf(s *set) *undo {
	for n := p.undos.first; n != nil; n = n.next {
		if n.value.set == s {
			if n.prev != nil {
				n.remove()
				p.undos.insertAfter(nil, n)
			}
			return n.value
		}
	}
	u := newUndo(p, s)
	p.undos.insertAfter(nil, &u.ofProcess)
	return u
}

// newUndo makes one that is yet to be put into the process's list.
func newUndo(p *process, s *set) *undo {
	u := &undo{process: p, set: s, adjustments: make([]int32, len(s.sems))}
	u.ofProcess.value, u.ofSet.value = u, u
	s.undos.push(&u.ofSet)
	return u
}

func (u *undo) forget() {
	u.ofProcess.remove()
	u.ofSet.remove()
}

// apply gives back, within the range of values, and never waits.
func (u *undo) apply() {
	u.forget()
	s := u.set
	for num, adjustment := range u.adjustments {
		if adjustment == 0 {
			continue
		}
		sem := &s.sems[num]
		sem.value = min(max(sem.value+adjustment, 0), ipc.SemMaxValue)
		sem.pid = u.process.pid
	}
	s.ds.Otime = s.ns.seconds()
	s.update(nil)
}
