package userspace

import (
	"errors"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/ipc"
)

// A segment is a System V shared memory segment.
type segment struct {
	ns     *Namespace
	ds     ipc.ShmidDS
	slot   int
	memory SegmentMemory
	made   node[*segment] // in the list of its creator, while that lives
	locker uint32         // who has locked it, 0 if it is not
}

func (s *segment) permissions() *ipc.Perm { return &s.ds.Perm }

func (s *segment) index() *int { return &s.slot }

func (s *segment) pages() uint64 { return pagesOf(s.ds.Segsz) }

// A mapping is a segment at an address. Processes have it in common after a
// fork.
type mapping struct {
	segment *segment
	memory  []byte
	uses    int
}

// attach notes one more attachment, which is a process's doing.
func (s *segment) attach(by *process) {
	s.ds.Nattch++
	s.ds.Atime, s.ds.Lpid = s.ns.seconds(), int32(by.pid)
}

// detach takes back one attachment of a process.
func (m *mapping) detach(p *process) error {
	s := m.segment
	s.ds.Nattch--
	s.ds.Dtime, s.ds.Lpid = s.ns.seconds(), int32(p.pid)
	var err error
	if m.uses--; m.uses == 0 {
		err = s.memory.Unmap(m.memory)
	}
	if s.ds.Perm.Mode&ipc.ShmDest != 0 || s.ns.limits.ShmRmidForced != 0 {
		s.destroyIfUnattached()
	}
	return err
}

func (s *segment) destroyIfUnattached() {
	if s.ds.Nattch > 0 {
		return
	}
	s.unlock()
	s.made.remove()
	s.ns.segments.remove(s)
	s.ns.pages -= s.pages()
	s.memory.Free() // of which nothing is left to do if it fails
}

// orphan is the end of the creator (SEMANTICS A.6.6).
func (s *segment) orphan() {
	s.made.remove()
	if s.ns.limits.ShmRmidForced != 0 {
		s.destroyIfUnattached()
	}
}

// Shmget is shmget(2). There are no huge pages (ENOSYS).
func (t *Task) Shmget(key ipc.Key, size uint64, flags int) (_ int, err error) {
	defer t.begin(act{call: "shmget", key: key}).end(&err)
	s, errno := t.shmget(key, size, flags)
	if errno != 0 {
		return 0, outcome(errno)
	}
	return id(s), nil
}

func (t *Task) shmget(key ipc.Key, size uint64, flags int) (*segment, syscall.Errno) {
	ns := t.ns
	s, errno := get(t, &ns.segments, key, flags, func(s *segment) syscall.Errno {
		if size > s.ds.Segsz {
			return syscall.EINVAL
		}
		return 0
	})
	if s != nil || errno != 0 {
		return s, errno
	}
	pages := pagesOf(size)
	switch {
	case t.ended:
		return nil, syscall.ESRCH
	case size == 0, size > ns.limits.Shmmax:
		return nil, syscall.EINVAL
	case pages > 1<<63/page, ns.pages+pages < ns.pages, ns.pages+pages > ns.limits.Shmall:
		return nil, syscall.ENOSPC
	case flags&ipc.ShmHugetlb != 0:
		return nil, syscall.ENOSYS
	}
	memory, err := ns.memory.Allocate(pages * page)
	if err != nil {
		return nil, syscall.ENOMEM
	}
	s = &segment{ns: ns, memory: memory}
	s.made.value = s
	s.ds = ipc.ShmidDS{Perm: t.newPerm(key, flags), Segsz: size, Ctime: ns.seconds(), Cpid: int32(t.pid)}
	if errno := ns.segments.add(s, int(ns.limits.Shmmni)); errno != 0 {
		memory.Free() // of which nothing is left to do if it fails
		return nil, errno
	}
	ns.pages += pages
	t.made.push(&s.made)
	return s, 0
}

// errnoOf returns the errno in an error of memory.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.ENOMEM
}

// Shmat is shmat(2). Where memory comes to be is not for the caller to choose:
// an address other than 0 is EINVAL.
func (t *Task) Shmat(id int, addr uintptr, flags int) (_ []byte, err error) {
	defer t.begin(act{call: "shmat", id: id}).end(&err)
	memory, errno := t.shmat(id, addr, flags)
	return memory, outcome(errno)
}

func (t *Task) shmat(id int, addr uintptr, flags int) ([]byte, syscall.Errno) {
	if addr != 0 || flags&ipc.ShmRemap != 0 {
		return nil, syscall.EINVAL
	}
	s, errno := t.attachable(id, flags)
	if errno != 0 {
		return nil, errno
	}
	memory, err := t.attach(s, flags&ipc.ShmRdonly != 0)
	if err != nil {
		return nil, errnoOf(err)
	}
	s.attach(t.process)
	return memory, 0
}

// attachable returns a segment that the task may attach with those flags.
func (t *Task) attachable(id, flags int) (*segment, syscall.Errno) {
	wanted := uint32(mayRead | mayWrite)
	if flags&ipc.ShmRdonly != 0 {
		wanted = mayRead
	}
	if flags&ipc.ShmExec != 0 {
		wanted |= mayExecute
	}
	return accessible(t, &t.ns.segments, id, wanted)
}

// Attachable returns what shmat(2) attaches of a segment, for a process whose
// memory is not this process's: the memory, and how much of it. Once that is
// mapped there, [Task.Attached] follows. What comes of the mapping later is told
// by [Namespace.SetNattch].
func (t *Task) Attachable(id, flags int) (memory SegmentMemory, bytes uint64, err error) {
	defer t.begin(act{call: "shmat", id: id}).end(&err)
	s, errno := t.attachable(id, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return s.memory, s.pages() * page, nil
}

// Attached is shmat(2) of what was mapped elsewhere. The segment may have ended
// meanwhile.
func (t *Task) Attached(id int) {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	if s := t.ns.segments.find(id); s != nil {
		s.attach(t.process)
	}
}

// HasEnding reports whether a segment ends with its last mapping.
func (ns *Namespace) HasEnding() bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for s := range ns.segments.all() {
		if s.ds.Nattch > 0 && (s.ds.Perm.Mode&ipc.ShmDest != 0 || ns.limits.ShmRmidForced != 0) {
			return true
		}
	}
	return false
}

// SetNattch tells how many mappings a segment has, where [Task.ShmatElsewhere]
// has made them, and the process that has changed that. A segment that was
// removed ends with the last one.
func (ns *Namespace) SetNattch(id int, nattch uint64, pid int) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	s := ns.segments.find(id)
	if s == nil || s.ds.Nattch == nattch {
		return
	}
	if s.ds.Lpid = int32(pid); nattch > s.ds.Nattch {
		s.ds.Atime = ns.seconds()
	} else {
		s.ds.Dtime = ns.seconds()
	}
	s.ds.Nattch = nattch
	if s.ds.Perm.Mode&ipc.ShmDest != 0 || ns.limits.ShmRmidForced != 0 {
		s.destroyIfUnattached()
	}
}

// attach maps a segment for the process.
func (p *process) attach(s *segment, readOnly bool) ([]byte, error) {
	memory, err := s.memory.Map(readOnly)
	if err != nil {
		return nil, err
	}
	at := unsafe.SliceData(memory)
	m := p.mapped[at]
	if m == nil {
		m = &attachments{mapping: &mapping{segment: s, memory: memory}}
		p.mapped[at] = m
	}
	m.add(readOnly)
	return memory, nil
}

// attachments are those of one process at one address.
type attachments struct {
	*mapping
	count    int
	readOnly int // of them, as far as can be told where they are the same memory
}

func (a *attachments) add(readOnly bool) {
	a.count++
	a.uses++
	if readOnly {
		a.readOnly++
	}
}

// drop takes one back, which is not known to be one to read only or another.
func (a *attachments) drop() {
	a.count--
	a.readOnly = min(a.readOnly, a.count)
}

// Shmdt is shmdt(2). What the process has attached in a namespace that it has
// left is detached there (SEMANTICS A.6.9).
func (t *Task) Shmdt(memory []byte) (err error) {
	at := unsafe.SliceData(memory)
	for t.left != nil && !t.process.hasAttached(at) {
		t = &Task{t.Credentials, t.tid, t.left}
	}
	defer t.begin(act{call: "shmdt"}).end(&err)
	m := t.mapped[at]
	if m == nil {
		return outcome(syscall.EINVAL)
	}
	if m.drop(); m.count == 0 {
		delete(t.mapped, at)
	}
	return m.detach(t.process)
}

func (p *process) hasAttached(at *byte) bool {
	p.ns.mu.Lock()
	defer p.ns.mu.Unlock()
	return p.mapped[at] != nil
}

// ShmctlStat is IPC_STAT of shmctl(2).
func (t *Task) ShmctlStat(id int) (_ ipc.ShmidDS, err error) {
	defer t.begin(act{call: "shmctl(IPC_STAT)", id: id}).end(&err)
	s, errno := accessible(t, &t.ns.segments, id, mayRead)
	_, ds, err := t.shmStat(s, errno)
	return ds, err
}

// ShmStat is SHM_STAT of shmctl(2).
func (t *Task) ShmStat(index int) (_ int, _ ipc.ShmidDS, err error) {
	defer t.begin(act{call: "shmctl(SHM_STAT)", id: index}).end(&err)
	s := t.ns.segments.atIndex(index)
	return t.shmStat(s, allowed(t, s, mayRead))
}

// ShmStatAny is SHM_STAT_ANY of shmctl(2).
func (t *Task) ShmStatAny(index int) (_ int, _ ipc.ShmidDS, err error) {
	defer t.begin(act{call: "shmctl(SHM_STAT_ANY)", id: index}).end(&err)
	s := t.ns.segments.atIndex(index)
	return t.shmStat(s, allowed(t, s, 0))
}

func (t *Task) shmStat(s *segment, errno syscall.Errno) (int, ipc.ShmidDS, error) {
	if errno != 0 {
		return 0, ipc.ShmidDS{}, outcome(errno)
	}
	ds := s.ds
	ds.Perm = t.show(ds.Perm)
	return id(s), ds, nil
}

// ShmctlSet is IPC_SET of shmctl(2).
func (t *Task) ShmctlSet(id int, set ipc.PermSet) (err error) {
	defer t.begin(act{call: "shmctl(IPC_SET)", id: id}).end(&err)
	s, errno := controlled(t, &t.ns.segments, id)
	if errno == 0 {
		errno = t.change(&s.ds.Perm, set)
	}
	if errno == 0 {
		s.ds.Ctime = t.ns.seconds()
	}
	return outcome(errno)
}

// ShmctlRmid is IPC_RMID of shmctl(2).
func (t *Task) ShmctlRmid(id int) (err error) {
	defer t.begin(act{call: "shmctl(IPC_RMID)", id: id}).end(&err)
	ns := t.ns
	s, errno := controlled(t, &ns.segments, id)
	if errno != 0 {
		return outcome(errno)
	}
	if s.ds.Nattch > 0 {
		ns.segments.forgetKey(s)
		s.ds.Perm.Key = ipc.Private
		s.ds.Perm.Mode |= ipc.ShmDest
		return nil
	}
	s.destroyIfUnattached()
	return nil
}

// ShmctlLock is SHM_LOCK of shmctl(2). The memory is not locked: only what it
// takes, and what is told of it, is as if it were.
func (t *Task) ShmctlLock(id int) (err error) {
	defer t.begin(act{call: "shmctl(SHM_LOCK)", id: id}).end(&err)
	return outcome(t.lock(id))
}

func (t *Task) lock(id int) syscall.Errno {
	s, errno := t.lockable(id)
	if errno != 0 {
		return errno
	}
	locked := t.ns.locked[t.UID]
	if limit := t.RlimitMemlock; limit != nil && t.Capabilities&CapIPCLock == 0 {
		if *limit == 0 {
			return syscall.EPERM
		}
		if s.ds.Perm.Mode&ipc.ShmLocked == 0 && locked+s.pages() > *limit/page {
			return syscall.ENOMEM
		}
	}
	if s.ds.Perm.Mode&ipc.ShmLocked == 0 {
		s.ds.Perm.Mode |= ipc.ShmLocked
		s.locker = t.UID
		t.ns.locked[t.UID] = locked + s.pages()
	}
	return 0
}

func (t *Task) lockable(id int) (*segment, syscall.Errno) {
	s := t.ns.segments.find(id)
	if s == nil {
		return nil, syscall.EINVAL
	}
	if t.Capabilities&CapIPCLock == 0 && !t.owns(&s.ds.Perm) {
		return nil, syscall.EPERM
	}
	return s, 0
}

// ShmctlUnlock is SHM_UNLOCK of shmctl(2).
func (t *Task) ShmctlUnlock(id int) (err error) {
	defer t.begin(act{call: "shmctl(SHM_UNLOCK)", id: id}).end(&err)
	s, errno := t.lockable(id)
	if errno == 0 {
		s.unlock()
	}
	return outcome(errno)
}

func (s *segment) unlock() {
	if s.ds.Perm.Mode&ipc.ShmLocked == 0 {
		return
	}
	s.ds.Perm.Mode &^= ipc.ShmLocked
	if s.ns.locked[s.locker] -= s.pages(); s.ns.locked[s.locker] == 0 {
		delete(s.ns.locked, s.locker)
	}
	s.locker = 0
}

// ShmctlInfo is IPC_INFO of shmctl(2).
func (t *Task) ShmctlInfo() (_ ipc.Shminfo, _ int, err error) {
	defer t.begin(act{call: "shmctl(IPC_INFO)"}).end(&err)
	ns := t.ns
	l := &ns.limits
	return ipc.Shminfo{Shmmax: l.Shmmax, Shmall: l.Shmall, Shmmni: l.Shmmni, Shmmin: 1, Shmseg: l.Shmmni}, ns.segments.highest(), nil
}

// ShmInfo is SHM_INFO of shmctl(2). What is resident is told as all, where the
// memory does not know.
func (t *Task) ShmInfo() (_ ipc.ShmInfo, _ int, err error) {
	defer t.begin(act{call: "shmctl(SHM_INFO)"}).end(&err)
	ns := t.ns
	return ipc.ShmInfo{Segments: ns.segments.inUse, Pages: ns.pages, Resident: ns.resident()}, ns.segments.highest(), nil
}

// Segments returns how many segments the namespace has, and how many pages these
// take: of [Task.ShmInfo], what no memory has to be looked at for.
func (ns *Namespace) Segments() (segments int, pages uint64) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.segments.inUse, ns.pages
}

// resident returns how many pages of segments are in memory.
func (ns *Namespace) resident() (pages uint64) {
	for s := range ns.segments.all() {
		if known, ok := s.memory.(interface{ Resident() uint64 }); ok {
			pages += known.Resident() / page
		} else {
			pages += s.pages()
		}
	}
	return pages
}
