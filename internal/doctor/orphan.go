//go:build linux

package doctor

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
)

// OrphanRule is what makes an object an orphan, in words for users.
const OrphanRule = `An orphan is

  * a segment that nobody has attached, and whose creator, and whoever attached
    or detached it last, are gone;
  * a message queue in which nobody waits, and whose last sender and last
    receiver are gone, with the messages that are in it;
  * a semaphore set on which nobody waits, and of which whoever did the last
    operation on each of its semaphores is gone.

What the kernel does not tell counts as in use: a queue that nobody has used yet,
a process that is in another PID namespace, a set that may not be read, and a
queue or a set that others may use if there are processes that may not be looked
at. So does a process id that another process has got since.`

// An Orphan is a System V object that nobody uses any more.
type Orphan struct {
	Kind      string // as "ipcns inspect" names it: queue, sem or shm
	ID        int
	Perm      ipc.Perm
	Touched   int64         // when somebody has last used or changed it, in seconds since 1970
	Untouched time.Duration // how long ago that was
	What      string        // how large it is
	Why       string        // what makes it one
	// Known is the process that may know a queue or set, in words, "" if there is
	// none: one of its owner or creator that is in the namespace. The kernel does
	// not tell who made it, or has used it before others did.
	Known string
}

// Object returns the orphan as "ipcns inspect" takes it.
func (o Orphan) Object() string { return fmt.Sprintf("%s:%d", o.Kind, o.ID) }

// Orphans returns the orphans of a namespace whose contents are known.
func (l Look) Orphans(ns *survey.Namespace) (orphans []Orphan) {
	p := patient{Look: l, Namespace: ns}
	for _, q := range ns.Contents.Queues {
		if why := p.orphanQueue(&q); why != "" {
			what := fmt.Sprintf("%s, %s", count(q.Qnum, "message"), count(q.Cbytes, "byte"))
			orphans = append(orphans, p.orphan("queue", q.ID, q.Perm, max(q.Stime, q.Rtime, q.Ctime), what, why, p.knownTo(q.Perm)))
		}
	}
	for _, s := range ns.Contents.Sets {
		if why := p.orphanSet(&s); why != "" {
			orphans = append(orphans, p.orphan("sem", s.ID, s.Perm, max(s.Otime, s.Ctime), count(s.Nsems, "semaphore"), why, p.knownTo(s.Perm)))
		}
	}
	for _, s := range ns.Contents.Segments {
		if why := p.orphanSegment(&s); why != "" {
			orphans = append(orphans, p.orphan("shm", s.ID, s.Perm, max(s.Atime, s.Dtime, s.Ctime), count(s.Segsz, "byte"), why, ""))
		}
	}
	return orphans
}

func (l Look) orphan(kind string, id int, perm ipc.Perm, touched int64, what, why, known string) Orphan {
	return Orphan{kind, id, perm, touched, l.since(touched), what, why, known}
}

// knownTo returns a process that may know an object, in words.
func (ns patient) knownTo(perm ipc.Perm) string {
	if ns.untold() {
		return "one of its processes"
	}
	for i := range ns.Processes {
		p := &ns.Processes[i]
		if (p.UID == perm.UID || p.UID == perm.CUID) && p.PID != os.Getpid() && slices.Contains(ns.Members, p.PID) {
			return named(p) + ", of its owner or creator,"
		}
	}
	return ""
}

// untold reports whether it is not known what the processes in the namespace do,
// besides this one.
func (ns patient) untold() bool {
	return len(ns.Processes) == 0 && slices.ContainsFunc(ns.Members, func(pid int) bool { return pid != os.Getpid() })
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// A use is a process that has used an object, and when; never is 0.
type use struct {
	who  string
	pid  int32
	when int64
}

// gone returns which processes are gone if all that have used an object are, and
// the kernel tells who they were.
func (l Look) gone(uses ...use) (words string) {
	for _, u := range uses {
		switch {
		case u.pid == 0 && u.when == 0:
			continue
		case u.pid == 0 || l.There(int(u.pid)):
			return ""
		case words != "":
			words += " and "
		}
		words += fmt.Sprintf("%s %d", u.who, u.pid)
	}
	if words == "" {
		return ""
	}
	return words + " gone"
}

func (ns patient) orphanSegment(s *host.Segment) (why string) {
	if s.Nattch > 0 || s.Perm.Mode&ipc.ShmDest != 0 {
		return ""
	}
	gone := ns.gone(use{"creator", s.Cpid, s.Ctime}, use{"last user", s.Lpid, max(s.Atime, s.Dtime)})
	if gone == "" {
		return ""
	}
	return "nobody has it attached, " + gone
}

func (ns patient) orphanQueue(q *host.MessageQueue) (why string) {
	if ns.mayBeUnseen(q.Perm) || ns.untold() || ns.awaited(q.ID, "msgrcv", "msgsnd") {
		return ""
	}
	return ns.gone(use{"last sender", q.Lspid, q.Stime}, use{"last receiver", q.Lrpid, q.Rtime})
}

// mayBeUnseen reports whether those who may not be looked at may use an object.
func (ns patient) mayBeUnseen(perm ipc.Perm) bool { return ns.Unseen > 0 && perm.Mode&0o077 != 0 }

func (ns patient) orphanSet(set *host.SemaphoreSet) (why string) {
	sems, readable := ns.Contents.Values[set.ID]
	if !readable || ns.mayBeUnseen(set.Perm) {
		return ""
	}
	last := 0
	for _, sem := range sems {
		invisible := sem.PID == 0 && sem.Value != 0 // somebody has set it
		if sem.Ncnt > 0 || sem.Zcnt > 0 || invisible || sem.PID != 0 && ns.There(sem.PID) {
			return ""
		}
		last = max(last, sem.PID)
	}
	if last == 0 {
		return ""
	}
	return fmt.Sprintf("nobody waits, and those who did the last operations, such as process %d, are gone", last)
}

// commands are the commands of ipcns for the kinds.
var commands = map[string]string{"queue": "msg", "sem": "sem", "shm": "shm"}

func (ns patient) orphans() (findings []Finding) {
	for _, o := range ns.Orphans(ns.Namespace) {
		severity, who := Warning, "no key"
		if o.Perm.Key != ipc.Private {
			severity, who = Note, "key "+o.Perm.Key.String()+", by which a program may find it again"
		}
		if o.Known != "" {
			severity, who = Note, who+"; "+o.Known+" may know it"
		}
		code := map[string]Code{"queue": OrphanQueue, "sem": OrphanSet, "shm": OrphanSegment}[o.Kind]
		findings = append(findings, ns.find(code, severity, o.Object(), fmt.Sprintf("%s rm id:%d", commands[o.Kind], o.ID),
			"%s, untouched for %s; %s, %s", o.Why, age.Of(o.Untouched), o.What, who))
	}
	return findings
}

// unusedFor is after how long a set or a queue that nobody has used is told of.
const unusedFor = time.Hour

// unused finds sets and queues that nobody has ever used. Who made them the
// kernel does not tell.
func (ns patient) unused() (findings []Finding) {
	for _, set := range ns.Contents.Sets {
		since := ns.since(set.Ctime)
		if set.Otime != 0 || since < unusedFor || ns.orphanSet(&set) != "" || ns.awaited(set.ID, "semop") {
			continue
		}
		findings = append(findings, ns.find(UnusedSet, Note, fmt.Sprintf("sem:%d", set.ID), fmt.Sprintf("sem rm id:%d", set.ID),
			"nobody has done an operation on it, and it was made or set %s ago", age.Of(since)))
	}
	for _, q := range ns.Contents.Queues {
		since := ns.since(q.Ctime)
		if q.Stime != 0 || q.Rtime != 0 || since < unusedFor || ns.awaited(q.ID, "msgrcv") {
			continue
		}
		findings = append(findings, ns.find(UnusedQueue, Note, fmt.Sprintf("queue:%d", q.ID), fmt.Sprintf("msg rm id:%d", q.ID),
			"nobody has sent or received a message, and it was made or set %s ago", age.Of(since)))
	}
	return findings
}

// awaited reports whether somebody sleeps in one of the calls on an object.
func (ns patient) awaited(id int, calls ...string) bool {
	for _, w := range ns.waiters(calls...) {
		if w.ID == id {
			return true
		}
	}
	return false
}
