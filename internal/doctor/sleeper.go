//go:build linux

package doctor

import (
	"fmt"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/ipc"
)

// blockedFor is after how long a sleeper is told of.
const blockedFor = 10 * time.Minute

// sleepers finds those who have slept for long, where that is not what a program
// without work does: a receiver is told of if there are messages, which are not
// for it, or if the last sender is gone. Senders are told of with their queue.
func (ns patient) sleepers() (findings []Finding) {
	for _, w := range ns.waiters("semop") {
		if w.Since >= blockedFor && !ns.stuck[w.PID] {
			findings = append(findings, ns.blockedOnSet(w))
		}
	}
	for _, w := range ns.waiters("msgrcv") {
		if w.Since < blockedFor || ns.stuck[w.PID] {
			continue
		}
		for _, q := range ns.Contents.Queues {
			if why := ns.inVain(&q); q.ID == w.ID && why != "" {
				findings = append(findings, Finding{BlockedLong, Warning, ns.reference, fmt.Sprintf("queue:%d", q.ID),
					fmt.Sprintf("%s has waited for %s to receive type %d: %s", named(w.Process), age.Of(w.Since), w.Type, why), fmt.Sprintf("kill %d", w.PID)})
			}
		}
	}
	return findings
}

// inVain says why somebody who waits for a message may wait in vain.
func (ns patient) inVain(q *host.MessageQueue) string {
	switch {
	case q.Qnum > 0:
		return count(q.Qnum, "message") + " of other types are there"
	case q.Lspid != 0 && !ns.There(int(q.Lspid)):
		return fmt.Sprintf("the last sender, process %d, is gone", q.Lspid)
	}
	return ""
}

func (ns patient) blockedOnSet(w waiter) Finding {
	object := fmt.Sprintf("sem:%d", w.ID)
	op, known := ns.blocking(w)
	if !known {
		return Finding{BlockedLong, Warning, ns.reference, object,
			fmt.Sprintf("%s has waited for %s in semop", named(w.Process), age.Of(w.Since)), ns.inspect(object)}
	}
	value := ns.value(w.ID, op.Num)
	return ns.find(BlockedLong, Warning, object, release(w.ID, op, value),
		"%s has waited for %s for [%d:%d], the value is %d, and %s", named(w.Process), age.Of(w.Since), op.Num, op.Op, value, ns.lastOn(w.ID, op.Num))
}

// inspect is the command that tells all about an object.
func (ns patient) inspect(object string) string {
	return "ipcns inspect " + Quoted(ns.reference) + " " + Quoted(object)
}

// release is the command that lets who waits for an operation go on.
func release(id int, op ipc.Sembuf, value int) string {
	return fmt.Sprintf("sem op id:%d %d:%+d", id, op.Num, -int(op.Op)-value)
}

// lastOn says who did the last operation on a semaphore.
func (ns patient) lastOn(id int, num uint16) string {
	pid := ns.semaphore(id, num).PID
	switch {
	case pid == 0:
		return "nobody has done an operation on it"
	case !ns.There(pid):
		return fmt.Sprintf("process %d, which did the last operation, is gone", pid)
	}
	return fmt.Sprintf("process %d did the last operation", pid)
}

// semaphore returns what is known of a semaphore.
func (ns patient) semaphore(id int, num uint16) (sem host.Semaphore) {
	if sems := ns.Contents.Values[id]; int(num) < len(sems) {
		return sems[num]
	}
	return sem
}

func (ns patient) value(id int, num uint16) int { return ns.semaphore(id, num).Value }

// blocking returns the operation in which a semop sleeps: the first that cannot
// be done after those before it (SEMANTICS A.5.3).
func (ns patient) blocking(w waiter) (op ipc.Sembuf, known bool) {
	sems, readable := ns.Contents.Values[w.ID]
	if !readable || len(w.Operations) == 0 {
		return op, false
	}
	change := map[uint16]int{}
	for _, op := range w.Operations {
		if int(op.Num) >= len(sems) {
			return op, false
		}
		value := sems[op.Num].Value + change[op.Num]
		if op.Op == 0 && value != 0 || value+int(op.Op) < 0 {
			return op, true
		}
		change[op.Num] += int(op.Op)
	}
	return op, false // it has gone on meanwhile
}
