package userspace

import (
	"slices"

	"github.com/ipcns/ipcns/ipc"
)

// Credentials are what permissions are about; see credentials(7) and
// capabilities(7). Ids are those of the namespace, whatever user namespace
// the task is in.
type Credentials struct {
	UID, EUID, FSUID uint32
	GID, EGID, FSGID uint32
	Groups           []uint32
	Capabilities     Capabilities
	Umask            uint32
	Nice             int // decides who of those that sleep on a POSIX queue is served first

	// Users shows ids to the task as its user namespace does; nil shows
	// them as they are.
	Users *UserNamespace

	RlimitMsgqueue *uint64 // bytes of POSIX queues; the kernel's default, if nil
	RlimitMemlock  *uint64 // bytes of locked segments; unlimited, if nil
}

// User returns the credentials of an ordinary user, or of root with all
// capabilities for uid 0.
func User(uid, gid uint32, groups ...uint32) Credentials {
	c := Credentials{UID: uid, EUID: uid, FSUID: uid, GID: gid, EGID: gid, FSGID: gid, Groups: groups}
	if uid == 0 {
		c.Capabilities = AllCapabilities
	}
	return c
}

// Capabilities are a set, in which a capability is the bit of its number in
// capabilities(7), in the user namespace that owns the IPC namespace.
type Capabilities uint64

// The capabilities that IPC asks for.
const (
	CapDacOverride Capabilities = 1 << 1
	CapFowner      Capabilities = 1 << 3
	CapIPCLock     Capabilities = 1 << 14
	CapIPCOwner    Capabilities = 1 << 15
	CapSysAdmin    Capabilities = 1 << 21
	CapSysResource Capabilities = 1 << 24 // in the first user namespace

	AllCapabilities = ^Capabilities(0)
)

// defaultRlimitMsgqueue is the kernel's MQ_BYTES_MAX.
const defaultRlimitMsgqueue = 819200

// A Task is a thread, who calls. It is the [ipc.System] of its namespace.
type Task struct {
	Credentials
	tid int
	*process
}

var _ ipc.System = (*Task)(nil)

// A process is what its threads share.
type process struct {
	ns     *Namespace
	pid    int
	ended  bool
	undos  list[*undo] // the one that was used last comes first
	mapped map[*byte]*attachments
	open   list[*Mqd]
	asleep list[*sleeper]
	made   list[*segment] // what it has created
	of     node[*process] // in the namespace's list, until it ends

	threads int      // that are in the namespace
	left    *process // itself in the namespace that it has been in before
}

// Start starts a process. The namespace keeps it until its Exit.
func (ns *Namespace) Start(who Credentials) *Task {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.start(who)
}

// StartPID is [Namespace.Start] of a process that has a pid already, which no
// other process of the namespace has.
func (ns *Namespace) StartPID(pid int, who Credentials) *Task {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.nextPID = max(ns.nextPID, pid+1)
	return ns.newProcess(pid, who)
}

func (ns *Namespace) start(who Credentials) *Task {
	pid := ns.nextPID
	ns.nextPID++
	return ns.newProcess(pid, who)
}

func (ns *Namespace) newProcess(pid int, who Credentials) *Task {
	who.Groups = slices.Clone(who.Groups)
	p := &process{ns: ns, pid: pid, mapped: map[*byte]*attachments{}, threads: 1}
	p.of.value = p
	at := ns.processes.last
	for at != nil && at.value.pid > pid {
		at = at.prev
	}
	ns.processes.insertAfter(at, &p.of)
	return &Task{who, pid, p}
}

// Looker returns a task that has every permission, and is of no process that
// the namespace tells of. It is for a look at what takes no process.
func (ns *Namespace) Looker() *Task {
	return &Task{Credentials{Capabilities: AllCapabilities}, 0, &process{ns: ns}}
}

// Thread starts another thread of the task's process.
func (t *Task) Thread() *Task {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	tid := t.ns.nextPID
	t.ns.nextPID++
	t.threads++
	return &Task{t.Credentials, tid, t.process}
}

// ThreadTID is [Task.Thread] of a thread that has an id already.
func (t *Task) ThreadTID(tid int) *Task {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	t.threads++
	return &Task{t.Credentials, tid, t.process}
}

// With returns the thread as one with other credentials.
func (t *Task) With(who Credentials) *Task { return &Task{who, t.tid, t.process} }

// Leave ends a thread. The last one of a process ends with [Task.Exit].
func (t *Task) Leave() {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	t.threads--
}

// Fork starts a child of the task's process. It has attached what that has
// (SEMANTICS A.6.2), which is the parent's doing, and its descriptors of POSIX
// queues, which [Task.Descriptors] tells; it has nothing to undo (A.5.11).
func (t *Task) Fork() *Task {
	ns := t.ns
	ns.mu.Lock()
	defer ns.mu.Unlock()
	child := ns.start(t.Credentials)
	for at, a := range t.mapped {
		child.mapped[at] = &attachments{a.mapping, a.count, a.readOnly}
		for range a.count {
			a.uses++
			a.segment.attach(t.process)
		}
	}
	for n := t.open.first; n != nil; n = n.next {
		d := &Mqd{task: child, queue: n.value.queue, access: n.value.access, nonblock: n.value.nonblock}
		d.join()
	}
	return child
}

// Namespace returns the namespace that the task is in.
func (t *Task) Namespace() *Namespace { return t.ns }

// PID returns the id of the process, and TID that of the thread.
func (t *Task) PID() int { return t.pid }

// TID returns the id of the thread: that of the process, for its first.
func (t *Task) TID() int { return t.tid }

// Sleeping returns how many calls of the process sleep.
func (t *Task) Sleeping() int {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	return t.asleep.n
}

// Exit ends the process with all its threads: calls that sleep end with EINTR
// and have done nothing, what was done with SEM_UNDO is undone, segments are
// detached, descriptors closed; also in namespaces that it has left. Of what it
// calls from then on, that which would sleep or leave something to the process
// fails with ESRCH.
func (t *Task) Exit() {
	for p := t.process; p != nil; p = p.left {
		p.exit()
	}
}

func (p *process) exit() {
	p.ns.mu.Lock()
	defer p.ns.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	p.of.remove()
	for p.asleep.first != nil {
		p.asleep.first.value.interrupt()
	}
	p.undoAll()
	for p.open.first != nil {
		p.open.first.value.close()
	}
	for at, a := range p.mapped {
		delete(p.mapped, at)
		for range a.count {
			a.detach(p) // whose memory nobody would hear of
		}
	}
	p.orphan()
}

// undoAll gives back what was done with SEM_UNDO.
func (p *process) undoAll() {
	for p.undos.first != nil {
		p.undos.first.value.apply()
	}
}

// orphan takes their creator from the segments that the process has made.
func (p *process) orphan() {
	for p.made.first != nil {
		p.made.first.value.orphan()
	}
}
