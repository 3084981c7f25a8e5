//go:build linux

package graph

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/registry"
)

// mostUnused is how many objects without an edge are drawn of a namespace.
const mostUnused = 12

// Someone is a process that an object tells of.
type Someone struct {
	PID     int
	Command string    // "" if it may not be known
	Started time.Time // zero if it may not be known
}

// Of returns the graph of a survey with contents, values and processes. The
// namespaces without objects are left out if there is more than one. The function
// tells whose an id is, which may be that of a thread, and false if it has ended.
func Of(s *survey.Survey, someone func(id int) (Someone, bool)) *Graph {
	g := &Graph{Title: "Who talks to whom over what", Notes: notesOf(s)}
	empty := 0
	for _, ns := range s.Namespaces {
		box := boxOf(ns, someone)
		if len(s.Namespaces) > 1 && len(box.Objects) == 0 {
			empty++
			continue
		}
		g.Boxes = append(g.Boxes, box)
	}
	if empty > 0 {
		g.Notes = append(g.Notes, "not drawn: "+plural(empty, "namespace", "namespaces")+" without objects that may be seen")
	}
	return g
}

// notesOf tells when the look was, and what may be missing.
func notesOf(s *survey.Survey) []string {
	notes := []string{s.Taken.UTC().Format("2006-01-02 15:04:05 UTC")}
	if s.Unseen > 0 {
		notes = append(notes, "not drawn: "+plural(s.Unseen, "process", "processes")+" that may not be looked at")
	}
	if len(s.Namespaces) == 1 {
		return notes
	}
	if n := len(s.Elsewhere); n > 0 {
		notes = append(notes, "not drawn: what "+plural(n, "process has", "processes have")+" of namespaces that may not be looked into")
	}
	return notes
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// A builder collects what is in a box.
type builder struct {
	ns      *survey.Namespace
	someone func(id int) (Someone, bool)
	objects []*Node
	ids     map[objectID]*Node
	actors  []*actor
	pids    map[int]*actor
}

// An objectID is a System V id, or the inode number of a POSIX queue.
type objectID struct {
	kind Kind
	id   uint64
}

// An actor is a process, with what it does.
type actor struct {
	pid     int
	command string
	gone    bool
	faint   bool
	detail  string // besides its id
	acts    []act
}

// An act is what becomes an edge.
type act struct {
	object  *Node
	use     Use
	what    string // how a wait goes on, without its time
	held    string // semaphores that who does it may have
	earlier bool   // it may have been another process, with the same id
	since   time.Duration
	threads int
}

func boxOf(ns *survey.Namespace, someone func(id int) (Someone, bool)) *Box {
	b := &builder{ns: ns, someone: someone, ids: map[objectID]*Node{}, pids: map[int]*actor{}}
	box := &Box{Title: titleOf(ns)}
	if ns.Contents == nil {
		box.Notes = append(box.Notes, unseenObjects(ns))
	} else {
		b.addObjects(ns.Contents)
	}
	for _, p := range ns.Processes {
		b.addProcess(p)
	}
	if ns.Contents != nil {
		b.addLast(ns.Contents)
	}
	idle := 0
	actors := slices.DeleteFunc(b.actors, func(a *actor) bool {
		if len(a.acts) > 0 {
			return false
		}
		idle++
		return true
	})
	if idle > 0 {
		box.Notes = append(box.Notes, plural(idle, "process that uses", "processes that use")+" nothing here")
	}
	for _, same := range merged(actors) {
		box.add(same)
	}
	box.addObjects(b.objects)
	return box
}

// titleOf names the namespace as commands do, and as the kernel does.
func titleOf(ns *survey.Namespace) string {
	kernel := fmt.Sprintf("ipc:[%d]", ns.Inode)
	if ns.Inode == 0 {
		kernel = ns.Engine
	}
	if ns.Name == nil {
		return kernel
	}
	return *ns.Name + " · " + kernel
}

func unseenObjects(ns *survey.Namespace) string {
	if ns.State != registry.Alive {
		return "it has ended"
	}
	return "its objects may not be seen by this user"
}

func (b *builder) addObject(id objectID, n *Node) *Node {
	n.Kind = id.kind
	b.ids[id] = n
	b.objects = append(b.objects, n)
	return n
}

func (b *builder) addObjects(c *host.Contents) {
	for _, q := range c.Queues {
		b.addObject(objectID{Queue, uint64(q.ID)}, queueNode(q))
	}
	for _, s := range c.Sets {
		b.addObject(objectID{Set, uint64(s.ID)}, setNode(s, c.Values[s.ID]))
	}
	for _, s := range c.Segments {
		b.addObject(objectID{Segment, uint64(s.ID)}, segmentNode(s))
	}
	for _, q := range c.Mqueues {
		b.addObject(objectID{Mqueue, q.Inode}, mqueueNode(q))
	}
}

// object returns the object of an id; one that is not in the contents may have
// been removed, or they may not be seen.
func (b *builder) object(kind Kind, id uint64, title string) *Node {
	if n := b.ids[objectID{kind, id}]; n != nil {
		return n
	}
	return b.addObject(objectID{kind, id}, &Node{Title: oneline.Of(title)})
}

func (b *builder) actor(pid int, command string) *actor {
	if a := b.pids[pid]; a != nil {
		return a
	}
	a := &actor{pid: pid, command: command}
	b.pids[pid] = a
	b.actors = append(b.actors, a)
	return a
}

// act adds an act, unless there is one like it, which then is one of several
// threads if they wait.
func (a *actor) act(new act) {
	for i, old := range a.acts {
		if old.object == new.object && old.use == new.use && old.what == new.what && old.held == new.held && old.earlier == new.earlier {
			a.acts[i].since = max(old.since, new.since)
			a.acts[i].threads += new.threads
			return
		}
	}
	a.acts = append(a.acts, new)
}

func (b *builder) addProcess(p host.Process) {
	a := b.actor(p.PID, p.Command)
	if len(p.Namespaces) > 0 && !slices.Contains(p.Namespaces, b.ns.Inode) {
		a.faint, a.detail = true, fmt.Sprintf("in ipc:[%d]", p.Namespaces[0])
	}
	for _, attached := range p.Attached {
		if attached.Namespace == b.ns.Inode {
			use := Attached
			if attached.ReadOnly {
				use = AttachedReadOnly
			}
			a.act(act{object: b.object(Segment, uint64(attached.ID), unlisted("segment", attached.ID)), use: use})
		}
	}
	for _, open := range p.Open {
		if open.Namespace == b.ns.Inode {
			a.act(act{object: b.openQueue(open), use: accessOf(open)})
		}
	}
	for _, wait := range p.Waiting {
		if wait.Namespace == b.ns.Inode {
			b.addWait(a, p, wait)
		}
	}
}

func accessOf(open host.OpenQueue) Use {
	switch {
	case open.Sends && !open.Receives:
		return OpenToSend
	case open.Receives && !open.Sends:
		return OpenToReceive
	}
	return Open
}

func (b *builder) openQueue(open host.OpenQueue) *Node {
	title := open.Name
	if open.Unlinked {
		title += " (unlinked)"
	}
	return b.object(Mqueue, open.Inode, title)
}

func (b *builder) addWait(a *actor, p host.Process, wait host.Wait) {
	act := act{use: WaitsToReceive, what: waitWords(wait), since: wait.Since, threads: 1}
	if wait.Call == "msgsnd" || wait.Call == "mq_timedsend" {
		act.use = WaitsToSend
	}
	switch wait.Call {
	case "msgsnd", "msgrcv":
		act.object = b.object(Queue, uint64(wait.ID), unlisted("queue", wait.ID))
	case "semop":
		act.object = b.object(Set, uint64(wait.ID), unlisted("set", wait.ID))
	default:
		open := openedAs(p, wait)
		if open == nil {
			act.object = b.object(Mqueue, unknownID, unlisted("POSIX queue", -1))
			break
		}
		if wait.Call == "mq" && accessOf(*open) == OpenToSend {
			act.use = WaitsToSend
		}
		act.object = b.openQueue(*open)
	}
	a.act(act)
}

// unknownID is of the object of a wait that may not be looked at closer.
const unknownID = 1<<64 - 1

func unlisted(what string, id int) string {
	if id < 0 {
		return what + " that may not be known"
	}
	return fmt.Sprintf("%s id %d", what, id)
}

// openedAs returns the POSIX queue that a thread waits for: that of the descriptor,
// or, if that may not be known, the only one that it can be.
func openedAs(p host.Process, wait host.Wait) *host.OpenQueue {
	var found []*host.OpenQueue
	for i, open := range p.Open {
		if open.Namespace == wait.Namespace && (open.FD == wait.ID || wait.ID < 0) {
			found = append(found, &p.Open[i])
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// addLast adds who has used queues and semaphores last.
func (b *builder) addLast(c *host.Contents) {
	for _, q := range c.Queues {
		object := b.ids[objectID{Queue, uint64(q.ID)}]
		b.addLastUse(int(q.Lspid), q.Stime, act{object: object, use: Sent})
		b.addLastUse(int(q.Lrpid), q.Rtime, act{object: object, use: Received})
	}
	for _, s := range c.Sets {
		act := act{object: b.ids[objectID{Set, uint64(s.ID)}], use: Operated}
		wanted := wantedOf(c.Values[s.ID])
		for _, semaphore := range c.Values[s.ID] {
			act.held = strings.Join(wanted[semaphore.PID], ", ")
			b.addLastUse(semaphore.PID, max(s.Otime, s.Ctime), act)
		}
	}
}

// wantedOf returns the semaphores that somebody waits for, by the ids of those who
// have operated on them last. Who holds one is not known: it is often they.
func wantedOf(values []host.Semaphore) map[int][]string {
	wanted := map[int][]string{}
	for num, v := range values {
		if v.Ncnt > 0 {
			wanted[v.PID] = append(wanted[v.PID], strconv.Itoa(num))
		}
	}
	return wanted
}

// addLastUse adds what the process of an id has done at a time, in seconds since
// 1970. If it was started later, the id may have been that of another.
func (b *builder) addLastUse(id int, when int64, last act) {
	if id == 0 {
		return // there was none, or one that this pid namespace does not show
	}
	who, there := b.someone(id)
	if !there {
		who.PID = id
	}
	a := b.actor(who.PID, who.Command)
	switch {
	case !there:
		a.gone, a.faint = true, true
	case !slices.ContainsFunc(b.ns.Processes, func(p host.Process) bool { return p.PID == who.PID }):
		a.faint = !slices.Contains(b.ns.Members, who.PID)
	}
	last.earlier = there && who.Started.Unix() > when
	a.act(last)
}

// add adds processes that do the same.
func (box *Box) add(same []*actor) {
	first := same[0]
	n := &Node{Kind: Process, Title: processTitle(same), Details: []string{processDetail(same)}, Faint: first.faint}
	for i, a := range first.acts {
		label := useLabel(a.use)
		if a.use == WaitsToSend || a.use == WaitsToReceive {
			for _, other := range same[1:] {
				a.since = max(a.since, other.acts[i].since)
			}
			label = a.words("")
			n.Waits = append(n.Waits, a.words(a.object.Title))
		}
		if a.held != "" {
			label += ", may hold semaphore " + a.held
			n.Guesses = append(n.Guesses, "may hold semaphore "+a.held+" of "+a.object.Title)
		}
		if a.earlier {
			label += ", or an earlier process of its id has"
		}
		box.Edges = append(box.Edges, &Edge{n, a.object, a.use, label, a.held != "" || a.earlier})
	}
	box.Processes = append(box.Processes, n)
}

// addObjects adds those that are used, and some of the others.
func (box *Box) addObjects(objects []*Node) {
	unused, left := 0, 0
	for _, o := range objects {
		if !slices.ContainsFunc(box.Edges, func(e *Edge) bool { return e.Object == o }) {
			if unused++; unused > mostUnused {
				left++
				continue
			}
		}
		box.Objects = append(box.Objects, o)
	}
	if left > 0 {
		box.Notes = append(box.Notes, plural(left, "more object", "more objects")+" that nothing is seen to use")
	}
}
