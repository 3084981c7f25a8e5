//go:build linux

package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
)

// A blocked is a process that sleeps, and what it sleeps in: it goes on when one
// of those who could wake it does.
type blocked struct {
	*host.Process
	in    patient
	waits []waitFor
}

// A waitFor is a call that sleeps, and who could end that.
type waitFor struct {
	waiter
	object string
	wakers []int // processes
	guess  string
	// Of a semop, the operation in which it sleeps.
	op ipc.Sembuf
}

// deadlocks finds processes that wait for each other in a circle, and returns all
// that cannot go on because of one. Who would wake a sleeper is a guess but for
// POSIX queues: the kernel knows no owner of a semaphore, and whoever may write
// to a queue may send.
func (l Look) deadlocks() (findings []Finding, stuck map[int]bool) {
	sleepers := l.sleeping()
	for removed := true; removed; { // those whom somebody awake could wake
		removed = false
		for pid, b := range sleepers {
			if !b.stuckIn(sleepers) {
				delete(sleepers, pid)
				removed = true
			}
		}
	}
	stuck = map[int]bool{}
	told := map[int]bool{}
	for _, pid := range slices.Sorted(maps.Keys(sleepers)) {
		stuck[pid] = true
		if circle := circleFrom(pid, sleepers); !told[circle[0].PID] {
			for _, b := range circle {
				told[b.PID] = true
			}
			findings = append(findings, l.deadlock(circle))
		}
	}
	return findings, stuck
}

// sleeping returns the processes that sleep, by their ids.
func (l Look) sleeping() map[int]*blocked {
	sleepers := map[int]*blocked{}
	for _, ns := range l.Namespaces {
		if ns.Contents == nil {
			continue
		}
		p := patient{Look: l, Namespace: ns, reference: l.Reference(ns)}
		for _, w := range p.waiters("semop", "msgrcv", "msgsnd", "mq_timedreceive", "mq_timedsend") {
			b := sleepers[w.PID]
			if b == nil {
				b = &blocked{Process: w.Process, in: p}
				sleepers[w.PID] = b
			}
			b.waits = append(b.waits, p.waitFor(w))
		}
	}
	return sleepers
}

// waitFor returns who could wake a sleeper.
func (ns patient) waitFor(w waiter) waitFor {
	answer := waitFor{waiter: w}
	switch w.Call {
	case "semop":
		answer.object = fmt.Sprintf("sem:%d", w.ID)
		if op, known := ns.blocking(w); known {
			answer.op, answer.guess = op, "the last operation on it is of "
			answer.wakers = ns.others(w.PID, ns.semaphore(w.ID, op.Num).PID)
		}
	case "msgrcv", "msgsnd":
		answer.object = fmt.Sprintf("queue:%d", w.ID)
		for _, q := range ns.Contents.Queues {
			if q.ID == w.ID {
				answer.guess, answer.wakers = "it was last used by ", ns.others(w.PID, int(q.Lspid), int(q.Lrpid))
			}
		}
	default:
		answer.object = "mq:" + w.Name
		if ns.Unseen > 0 {
			answer.guess = "of those who may be looked at, it is opened by "
		}
		answer.wakers = ns.others(w.PID, ns.openTo(w)...)
	}
	return answer
}

// others returns the processes that are there, without one. A receiver is noted by
// its thread, if it slept.
func (ns patient) others(but int, tids ...int) (others []int) {
	for _, tid := range tids {
		if tid == 0 || !ns.There(tid) {
			continue
		}
		pid, err := ns.ProcessOf(tid)
		if err == nil && pid != but && !slices.Contains(others, pid) {
			others = append(others, pid)
		}
	}
	return others
}

// openTo returns the processes that have a POSIX queue open to do what a sleeper in
// it waits for.
func (ns patient) openTo(w waiter) (pids []int) {
	for _, process := range ns.Processes {
		for _, open := range process.Open {
			awakes := open.Sends && w.Call == "mq_timedreceive" || open.Receives && w.Call == "mq_timedsend"
			if open.Namespace == ns.Inode && open.Name == w.Name && !open.Unlinked && awakes {
				pids = append(pids, process.PID)
			}
		}
	}
	return pids
}

// stuckIn reports whether all who could wake a sleeper sleep themselves.
func (b *blocked) stuckIn(sleepers map[int]*blocked) bool {
	for _, w := range b.waits {
		if w.Timed || len(w.wakers) == 0 {
			return false // it ends by itself, or nobody is known, which is no circle
		}
		for _, pid := range w.wakers {
			if sleepers[pid] == nil {
				return false
			}
		}
	}
	return true
}

// circleFrom follows the sleepers from one to the next until there is a circle,
// and returns that.
func circleFrom(pid int, sleepers map[int]*blocked) (circle []*blocked) {
	for {
		b := sleepers[pid]
		if i := slices.Index(circle, b); i >= 0 {
			return circle[i:]
		}
		circle = append(circle, b)
		pid = b.waits[0].wakers[0]
	}
}

// deadlock tells of a circle.
func (l Look) deadlock(circle []*blocked) Finding {
	var steps, awake []string
	for _, b := range circle {
		w := b.waits[0]
		step := fmt.Sprintf("%s waits in %s on %s", named(b.Process), w.Call, w.object)
		if w.Call == "semop" {
			step = fmt.Sprintf("%s waits for [%d:%d] of %s", named(b.Process), w.op.Num, w.op.Op, w.object)
		}
		if w.guess != "" {
			step += fmt.Sprintf(" (guess: %sprocess %d)", w.guess, w.wakers[0])
		} else {
			step += fmt.Sprintf(" (process %d has it open)", w.wakers[0])
		}
		steps = append(steps, step)
		if l.Threads(b.PID) > len(b.waits) {
			awake = append(awake, fmt.Sprintf("process %d", b.PID))
		}
	}
	severity, evidence := Error, strings.Join(steps, ", and ")
	if len(awake) > 0 {
		severity, evidence = Warning, evidence+", unless another thread of "+strings.Join(awake, " or ")+" ends that"
	}
	b := circle[0]
	return Finding{Deadlock, severity, b.in.reference, b.waits[0].object, evidence, b.in.endOf(circle)}
}

// endOf is the command that ends a deadlock: that ends who keeps a semaphore, and
// gives it back if that does not happen by itself.
func (ns patient) endOf(circle []*blocked) string {
	for i, b := range circle {
		if w := b.waits[0]; w.Call == "semop" {
			holder := circle[(i+1)%len(circle)]
			kill := fmt.Sprintf("kill %d", holder.PID)
			if holder.undoes() {
				return kill
			}
			return kill + " && ipcns " + release(w.ID, w.op, b.in.value(w.ID, w.op.Num)) + b.in.option()
		}
	}
	w := circle[0].waits[0]
	switch w.Call {
	case "msgsnd":
		return fmt.Sprintf("ipcns msg recv id:%d --timeout 0", w.ID) + ns.option()
	case "mq_timedsend":
		return "ipcns mq recv " + Quoted(w.Name) + " --timeout 0" + ns.option()
	}
	var pids []string
	for _, b := range circle {
		pids = append(pids, fmt.Sprint(b.PID))
	}
	return "kill " + strings.Join(pids, " ")
}

// undoes reports whether a process's operations are undone when it ends, as far
// as those in which it sleeps tell.
func (b *blocked) undoes() bool {
	for _, w := range b.waits {
		for _, op := range w.Operations {
			if op.Flg&ipc.SemUndo != 0 {
				return true
			}
		}
	}
	return false
}
