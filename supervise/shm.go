//go:build linux

package supervise

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/internal/inject"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// A segment is one that programs have attached: a memfd that they have mapped.
type segment struct {
	in     *namespace
	id     int
	mapped map[int]uint64 // how many mappings a process has, by pid, as was last seen
}

// pageSize is that of the machine, which SHMLBA is too.
var pageSize = uint64(os.Getpagesize())

func (c *call) shmget() {
	t := c.task()
	if t == nil {
		return
	}
	if len(c.s.segments) > 0 && reachesLimit(t, c.args[1]) {
		c.s.countEnding() // which may be what it is reached by
	}
	c.s.memory.end = c.s.endOf(c.thread.in)
	c.result(t.Shmget(ipc.Key(c.int(0)), c.args[1], c.int(2)))
}

// reachesLimit reports whether there is not room for much more than one more
// segment of that size.
func reachesLimit(t *userspace.Task, bytes uint64) bool {
	limits, _ := t.Limits()
	segments, pages := t.Namespace().Segments()
	return uint64(segments) >= limits.Shmmni || pages+bytes/pageSize >= limits.Shmall
}

// shmat is shmat(2). The program itself maps the memfd, as it is made to.
func (c *call) shmat() {
	t := c.task()
	if t == nil {
		return
	}
	id, address, flags := c.int(0), c.args[1], c.int(2)
	address, errno := attachAddress(id, address, flags)
	if errno != 0 {
		c.fail(errno)
		return
	}
	memory, bytes, err := t.Attachable(id, flags)
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	m := mapping{id: id, bytes: bytes, address: address, flags: flags}
	if err := m.open(memory.(*userspace.MemfdSegment).FD()); err != nil {
		c.fail(errnoOf(err))
		return
	}
	c.later(t.PID(), func(tracer *inject.Tracer) { c.mapSegment(tracer, &m) })
}

// attachAddress returns where a segment is to be, 0 for anywhere (SEMANTICS
// A.6.4).
func attachAddress(id int, address uint64, flags int) (uint64, syscall.Errno) {
	if id < 0 {
		return 0, syscall.EINVAL
	}
	if address == 0 {
		if flags&ipc.ShmRemap != 0 {
			return 0, syscall.EINVAL
		}
		return 0, 0
	}
	if address%pageSize != 0 {
		if flags&ipc.ShmRnd == 0 {
			return 0, syscall.EINVAL
		}
		if address -= address % pageSize; address == 0 && flags&ipc.ShmRemap != 0 {
			return 0, syscall.EINVAL
		}
	}
	return address, 0
}

// A mapping is one that a program is to make of a segment.
type mapping struct {
	id             int
	bytes, address uint64
	flags          int
	fd             int
	inode          uint64
}

// open opens the memfd of a segment anew, so that what is attached to be read
// only cannot be made writable (SEMANTICS A.2.9), and so that the memory lasts.
func (m *mapping) open(memfd int) (err error) {
	mode := unix.O_RDWR
	if m.flags&ipc.ShmRdonly != 0 {
		mode = unix.O_RDONLY
	}
	m.fd, err = unix.Open("/proc/self/fd/"+itoa(memfd), mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(m.fd, &st); err != nil {
		unix.Close(m.fd)
		return err
	}
	m.inode = st.Ino
	return nil
}

// mapSegment answers the call, and makes the program map a memfd meanwhile.
func (c *call) mapSegment(tracer *inject.Tracer, m *mapping) {
	defer unix.Close(m.fd)
	theirs, errno := sys.SeccompAddFD(c.fd, c.id, m.fd, unix.O_CLOEXEC)
	if errno != 0 {
		c.fail(errno)
		return
	}
	c.injected(tracer, func(thread *inject.Thread) int64 {
		protection, kind := m.kind()
		counts := 0
		c.locked(func() { counts = c.s.counts })
		at, errno := thread.Call(unix.SYS_MMAP, uintptr(m.address), uintptr(m.bytes), protection, kind, uintptr(theirs), 0)
		thread.Call(unix.SYS_CLOSE, uintptr(theirs))
		switch errno {
		case 0:
			c.locked(func() { c.attached(m, counts) })
			return int64(at)
		case syscall.EEXIST:
			errno = syscall.EINVAL
		}
		return -int64(errno)
	})
}

// injected answers the call with what f returns, which makes the program make
// calls.
func (c *call) injected(tracer *inject.Tracer, f func(*inject.Thread) int64) {
	if err := tracer.Do(c.tid, c.answerInjected, f); err != nil && !c.answered {
		c.fail(errnoOf(err))
	}
}

// answerInjected answers a call that goes on otherwise.
func (c *call) answerInjected() error {
	if !c.send(0) {
		return syscall.ESRCH
	}
	return nil
}

// kind returns the protection and the flags of the mapping, for mmap(2).
func (m *mapping) kind() (protection, kind uintptr) {
	address, flags := m.address, m.flags
	protection, kind = unix.PROT_READ, unix.MAP_SHARED
	if flags&ipc.ShmRdonly == 0 {
		protection |= unix.PROT_WRITE
	}
	if flags&ipc.ShmExec != 0 {
		protection |= unix.PROT_EXEC
	}
	switch {
	case address == 0:
	case flags&ipc.ShmRemap != 0:
		kind |= unix.MAP_FIXED
	default:
		kind |= unix.MAP_FIXED_NOREPLACE
	}
	return protection, kind
}

// A piece is a mapping of a segment's memory in a process, or a part of one.
type piece struct {
	begin, end, offset uint64
	inode              uint64
	readOnly           bool
}

// pieces calls f with those of the process.
func (s *Supervisor) pieces(pid int, f func(piece)) {
	pieces(pid, func(p piece) {
		if s.segments[p.inode] != nil {
			f(p)
		}
	})
}

// pieces calls f with what of the process's memory looks like pieces of a segment,
// perhaps of another supervisor's; see proc_pid_maps(5).
func pieces(pid int, f func(piece)) {
	file, err := os.Open(procPath(pid, "maps"))
	if err != nil {
		return // it has ended
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if !bytes.Contains(lines.Bytes(), []byte(memfdName)) {
			continue
		}
		// address perms offset dev inode pathname
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || !strings.HasPrefix(fields[5], memfdName) {
			continue
		}
		begin, end, _ := strings.Cut(fields[0], "-")
		p := piece{readOnly: !strings.Contains(fields[1], "w")}
		p.inode, _ = strconv.ParseUint(fields[4], 10, 64)
		p.begin, _ = strconv.ParseUint(begin, 16, 64)
		p.end, _ = strconv.ParseUint(end, 16, 64)
		p.offset, _ = strconv.ParseUint(fields[2], 16, 64)
		f(p)
	}
}

// memfdName is how a process's map of its memory names that of a segment.
const memfdName = "/memfd:" + userspace.MemfdName

// shmdt is shmdt(2): it takes away all pieces of the segment that was attached
// at the address (SEMANTICS A.6.3).
func (c *call) shmdt() {
	t := c.task()
	if t == nil {
		return
	}
	address := c.args[0]
	if address%pageSize != 0 {
		c.fail(syscall.EINVAL)
		return
	}
	var detached []piece
	c.s.pieces(t.PID(), func(p piece) {
		if p.begin-p.offset == address && p.begin >= address && (len(detached) == 0 || detached[0].inode == p.inode) {
			detached = append(detached, p)
		}
	})
	if len(detached) == 0 {
		c.fail(syscall.EINVAL)
		return
	}
	c.later(t.PID(), func(tracer *inject.Tracer) {
		c.injected(tracer, func(thread *inject.Thread) (result int64) {
			for _, p := range detached {
				if _, errno := thread.Call(unix.SYS_MUNMAP, uintptr(p.begin), uintptr(p.end-p.begin)); errno != 0 {
					result = -int64(errno)
				}
			}
			c.locked(func() { c.s.countDetached(detached[0].inode, t.PID()) })
			return result
		})
	})
}

// countDetached counts what a process that has detached a segment has left of
// it. Others are looked at if it may have been the last.
func (s *Supervisor) countDetached(inode uint64, pid int) {
	segment := s.segments[inode]
	if segment == nil {
		return
	}
	left := s.piecesOf(pid, inode)
	if segment.total() > segment.mapped[pid]-left || !segment.in.ns.HasEnding() {
		segment.setOf(pid, left)
		return
	}
	s.countAll()
}

// piecesOf returns how many pieces of one segment the process has.
func (s *Supervisor) piecesOf(pid int, inode uint64) (n uint64) {
	s.pieces(pid, func(p piece) {
		if p.inode == inode {
			n++
		}
	})
	return n
}

// attached notes that a process has mapped a segment once more. If all mappings
// were counted meanwhile, this may be among them.
func (c *call) attached(m *mapping, counts int) {
	s, pid := c.s, c.thread.process.pid
	c.thread.task.Attached(m.id)
	if s.segments[m.inode] == nil {
		s.segments[m.inode] = &segment{c.thread.in, m.id, map[int]uint64{}}
	}
	s.segments[m.inode].mapped[pid]++
	if s.counts != counts {
		s.segments[m.inode].setOf(pid, s.piecesOf(pid, m.inode))
	}
}

// countAll tells the namespaces how many mappings their segments have. What
// processes do with a mapping, and that they fork and end, nothing tells, so
// they are looked at whenever it matters.
func (s *Supervisor) countAll() {
	if len(s.segments) == 0 {
		return
	}
	s.counts++
	counts := s.mappings(s.family())
	if s.mayBeInherited(counts) {
		counts = s.mappings(allProcesses())
	}
	for inode, segment := range s.segments {
		segment.set(counts[inode])
		if len(counts[inode]) == 0 {
			delete(s.segments, inode)
		}
	}
}

// mappings counts those of processes, by the memfd's inode and by pid.
func (s *Supervisor) mappings(pids []int) map[uint64]map[int]uint64 {
	counts := map[uint64]map[int]uint64{}
	for _, pid := range pids {
		s.pieces(pid, func(p piece) {
			if counts[p.inode] == nil {
				counts[p.inode] = map[int]uint64{}
			}
			counts[p.inode][pid]++
		})
	}
	return counts
}

// mayBeInherited reports whether a segment that nobody seems to have mapped was
// mapped by a process that has ended. One that it has started, and that has made
// no call, has another parent then, and is not found as one of the family.
func (s *Supervisor) mayBeInherited(counts map[uint64]map[int]uint64) bool {
	for inode, segment := range s.segments {
		if len(counts[inode]) > 0 {
			continue
		}
		for pid := range segment.mapped {
			if s.processes[pid] == nil {
				return true
			}
		}
	}
	return false
}

// set tells the namespace which processes have how many mappings: of more first,
// as who has ended may have started another before.
func (g *segment) set(mapped map[int]uint64) {
	total := g.total()
	for pid, n := range mapped {
		before := g.mapped[pid]
		if n <= before {
			continue
		}
		by := pid
		if before == 0 { // it was inherited (SEMANTICS A.6.2)
			by = parentOf(pid)
		}
		total += n - before
		g.in.ns.SetNattch(g.id, total, by)
	}
	for pid, before := range g.mapped {
		if n := mapped[pid]; n < before {
			total -= before - n
			g.in.ns.SetNattch(g.id, total, pid)
		}
	}
	g.mapped = mapped
}

// setOf tells the namespace how many mappings a process has. Who has none is
// kept in mind, as it may have started others before.
func (g *segment) setOf(pid int, n uint64) {
	g.mapped[pid] = n
	g.in.ns.SetNattch(g.id, g.total(), pid)
}

func (g *segment) total() (mappings uint64) {
	for _, n := range g.mapped {
		mappings += n
	}
	return mappings
}

// countHeld takes away what a process had mapped, which has ended. Others are looked
// at if it may have been the last. If it had mapped nothing it is only an occasion to
// look whether others have ended, and what that takes is limited to a part of the time.
func (s *Supervisor) countHeld(pid int) {
	var held []*segment
	inside := map[*namespace]bool{}
	for _, segment := range s.segments {
		n := segment.mapped[pid]
		if n == 0 {
			continue
		}
		if n == segment.total() {
			s.countAll()
			return
		}
		held = append(held, segment)
		inside[segment.in] = true
	}
	for in := range inside {
		if in.ns.HasEnding() {
			s.countAll()
			return
		}
	}
	for _, segment := range held {
		delete(segment.mapped, pid)
		segment.in.ns.SetNattch(segment.id, segment.total(), pid)
	}
	if len(held) > 0 {
		return
	}
	if now := time.Now(); now.After(s.countAgain) {
		s.countEnding()
		s.countAgain = now.Add(time.Since(now) * patienceFactor)
	}
}

// countEnding is countAll if a segment may end by that.
func (s *Supervisor) countEnding() {
	for _, segment := range s.segments {
		if segment.in.ns.HasEnding() {
			s.countAll()
			return
		}
	}
}

// family returns the processes that are known to have mapped a segment, those
// that have shown since this was called last, which may have inherited one, and
// those that all these have started.
func (s *Supervisor) family() []int {
	var pids []int
	seen := map[int]bool{}
	var add func(pid int)
	add = func(pid int) {
		if seen[pid] {
			return
		}
		seen[pid] = true
		pids = append(pids, pid)
		for _, child := range children(pid) {
			add(child)
		}
	}
	for pid, p := range s.processes {
		if !p.counted {
			p.counted = true
			add(pid)
		}
	}
	for _, segment := range s.segments {
		for pid := range segment.mapped {
			add(pid)
		}
	}
	return pids
}

// allProcesses returns those of the machine.
func allProcesses() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parentOf returns the parent of a process, or the process itself if it has
// ended; see proc_pid_stat(5).
func parentOf(pid int) int {
	text, _ := readProc(pid, "stat")
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return pid
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return pid
	}
	return parent
}

// children returns those of all threads of a process; see proc_tid_children(5).
func children(pid int) []int {
	var all []int
	threads, err := os.ReadDir(procPath(pid, "task"))
	if err != nil {
		return nil
	}
	for _, thread := range threads {
		text, err := os.ReadFile(procPath(pid, "task/"+thread.Name()+"/children"))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(field)
			all = append(all, child)
		}
	}
	return all
}

func (c *call) shmctl() {
	t := c.task()
	if t == nil {
		return
	}
	id, cmd := c.int(0), c.int(1)
	if id < 0 || cmd < 0 {
		c.fail(syscall.EINVAL)
		return
	}
	switch cmd {
	case sys.IPCRmid, sys.IPCStat, sys.ShmStat, sys.ShmStatAny, sys.ShmInfo: // what mappings matter to
		c.s.reap()
		c.s.countAll()
	}
	switch cmd {
	case sys.IPCRmid:
		c.result(0, t.ShmctlRmid(id))
	case sys.IPCSet:
		c.shmctlSet(t, id)
	case sys.IPCStat:
		ds, err := t.ShmctlStat(id)
		stat(c, 0, shmidDS(ds), err)
	case sys.ShmStat:
		got, ds, err := t.ShmStat(id)
		stat(c, got, shmidDS(ds), err)
	case sys.ShmStatAny:
		got, ds, err := t.ShmStatAny(id)
		stat(c, got, shmidDS(ds), err)
	case sys.IPCInfo:
		info, highest, err := t.ShmctlInfo()
		stat(c, highest, sys.ShmIPCInfoDS{Max: info.Shmmax, Min: info.Shmmin, Mni: info.Shmmni, Seg: info.Shmseg, All: info.Shmall}, err)
	case sys.ShmInfo:
		info, highest, err := t.ShmInfo()
		stat(c, highest, sys.ShmInfoDS{UsedIDs: number(info.Segments), Tot: info.Pages, Rss: info.Resident, Swp: info.Swapped}, err)
	case sys.ShmLock:
		t.RlimitMemlock = rlimit(c.tid, "Max locked memory")
		c.result(0, t.ShmctlLock(id))
	case sys.ShmUnlock:
		c.result(0, t.ShmctlUnlock(id))
	default:
		c.fail(syscall.EINVAL)
	}
}

func (c *call) shmctlSet(t *userspace.Task, id int) {
	var ds sys.ShmidDS
	if errno := readStruct(c, c.args[2], &ds); errno != 0 {
		c.fail(errno)
		return
	}
	c.result(0, t.ShmctlSet(id, permSet(&ds.Perm)))
}

func shmidDS(ds ipc.ShmidDS) sys.ShmidDS {
	return sys.ShmidDS{
		Perm: ipcPerm(ds.Perm), Segsz: ds.Segsz, Atime: ds.Atime, Dtime: ds.Dtime, Ctime: ds.Ctime,
		Cpid: ds.Cpid, Lpid: ds.Lpid, Nattch: ds.Nattch,
	}
}
