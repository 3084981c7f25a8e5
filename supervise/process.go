//go:build linux

package supervise

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// A process is one that has made a call.
type process struct {
	pid   int
	pidfd int
	in    map[*namespace]*userspace.Task // where threads of it are or have been
	tids  map[int]struct{}               // of its threads that have made a call
	execs map[int]struct{}               // threads that were about to become another program

	counted bool // its mappings of segments, since it has shown

	sockets map[string]*os.File // to which it listens for notifications, by the other end's link in /proc/PID/fd
}

// A thread is one that has made a call.
type thread struct {
	process *process
	in      *namespace
	task    *userspace.Task
	stale   bool // its credentials may have changed
	called  time.Time
}

// idle is how long a thread may make no call and still be known by its number
// alone. A thread may end without a word, when a filter of its own kills it; the
// kernel uses the number again when it has used all others.
const idle = 20 * time.Millisecond

// threadOf returns who calls. Nil without an error: the call comes again.
func (s *Supervisor) threadOf(c *call) (*thread, syscall.Errno) {
	th, now := s.threads[c.tid], time.Now()
	if th != nil && !th.stale && now.Sub(th.called) < idle && len(th.process.execs) == 0 {
		th.called = now
		return th, 0
	}
	status, errno := s.status(c.tid)
	switch {
	case errno != 0:
		return nil, errno
	case th != nil && th.process.pid == status.pid && th.process.execedBy(c.tid):
		th.process.leaveAll(s)
	case th != nil && th.process.pid == status.pid:
		th.task.Credentials, th.stale, th.called = status.credentials, unsettled(status.credentials), now
		return th, 0
	case th != nil: // it ended when another thread called execve(2), and its number is used again
		s.leave(c.tid, th)
	}
	if len(s.namespaces) > 0 {
		c.findNamespace(status.pid)
		return nil, 0
	}
	return s.join(c.tid, s.outermost, status)
}

// join makes a thread known.
func (s *Supervisor) join(tid int, in *namespace, status status) (*thread, syscall.Errno) {
	s.reap() // the process that had the number before
	p := s.processes[status.pid]
	if p == nil {
		pidfd, err := unix.PidfdOpen(status.pid, 0)
		if err != nil {
			return nil, errnoOf(err)
		}
		p = &process{pid: status.pid, pidfd: pidfd, in: map[*namespace]*userspace.Task{}, tids: map[int]struct{}{}, execs: map[int]struct{}{}, sockets: map[string]*os.File{}}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(status.pid)}
		if err := unix.EpollCtl(s.exits, unix.EPOLL_CTL_ADD, pidfd, &event); err != nil {
			unix.Close(pidfd)
			return nil, errnoOf(err)
		}
		s.processes[status.pid] = p
	}
	th := &thread{process: p, in: in, called: time.Now(), stale: unsettled(status.credentials)}
	switch first := p.in[in]; {
	case first == nil:
		th.task = in.ns.StartPID(status.pid, status.credentials)
		p.in[in] = th.task
		if tid != status.pid {
			th.task = th.task.ThreadTID(tid)
		}
	default:
		th.task = first.ThreadTID(tid)
	}
	th.task.Credentials = status.credentials
	p.tids[tid] = struct{}{}
	s.threads[tid] = th
	return th, 0
}

// unsettled reports whether ids may show otherwise from one call to the next, as
// those of a user namespace do when it gets its maps.
func unsettled(who userspace.Credentials) bool {
	return who.Users != nil && (len(who.Users.UIDs) == 0 || len(who.Users.GIDs) == 0)
}

// changes lets a call go on that may change who calls.
func (c *call) changes() {
	if th := c.changing(); th != nil {
		for tid := range th.process.tids {
			c.s.threads[tid].stale = true
		}
	}
	if !c.away { // to be made anew
		c.proceed()
	}
}

// changing returns who calls. Of a call of 32 bits it is nobody who has not
// called before: there is nothing known that could change.
func (c *call) changing() *thread {
	if c.arch != nativeArch {
		return c.s.threads[c.tid]
	}
	th, _ := c.s.threadOf(c)
	return th
}

// exec lets a thread become another program: in place of the process's first
// thread, whose number it then has.
func (c *call) exec() {
	c.changes()
	if th := c.s.threads[c.tid]; th != nil && !c.away {
		th.process.execs[c.tid] = struct{}{}
	}
}

// execedBy notes that a thread calls, and reports whether it may be another than the
// one that is known by its number: one that has become a program has the number of
// the process's first thread, and is where it was itself. Of those that were about to
// it is none that is still there. As long as there is one, credentials are read for
// each call.
func (p *process) execedBy(tid int) (another bool) {
	delete(p.execs, tid)
	for other := range p.execs {
		if unix.Access(procPath(p.pid, "task/"+itoa(other)), unix.F_OK) != nil {
			delete(p.execs, other)
			another = true
		}
	}
	return another
}

// leaveAll forgets the threads of a process, of which all but one have ended.
func (p *process) leaveAll(s *Supervisor) {
	for tid := range p.tids {
		s.leave(tid, s.threads[tid])
	}
}

// exit lets a thread end.
func (c *call) exit() {
	if th := c.s.threads[c.tid]; th != nil {
		c.s.leave(c.tid, th)
	}
	c.proceed()
}

func (s *Supervisor) leave(tid int, th *thread) {
	th.task.Leave()
	delete(th.process.tids, tid)
	delete(th.process.execs, tid)
	delete(s.threads, tid)
}

// reap ends the processes that have ended. Their pidfds tell before their
// parents could have waited for them.
func (s *Supervisor) reap() {
	var events [16]unix.EpollEvent
	for {
		// As it does not wait, the runtime need not know of it.
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.exits), uintptr(unsafe.Pointer(&events)), uintptr(len(events)), 0, 0, 0)
		if errno != 0 || n == 0 {
			return
		}
		for _, event := range events[:n] {
			if p := s.processes[int(event.Fd)]; p != nil {
				s.ended(p)
			}
			if l := s.served[listenerEvent-int(event.Fd)]; l != nil && l.hungUp() {
				go l.wake()
			}
		}
	}
}

func (s *Supervisor) ended(p *process) {
	unix.Close(p.pidfd)
	delete(s.processes, p.pid)
	for tid := range p.tids {
		delete(s.threads, tid)
	}
	s.endNotifications(p)
	for _, task := range p.in {
		task.Exit()
	}
	s.countHeld(p.pid)
	s.releaseSome()
	if s.listening == 0 {
		s.forgetNamespaces()
	}
}

// watchExits reaps when nobody calls.
func (s *Supervisor) watchExits() {
	for {
		fds := []unix.PollFd{{Fd: int32(s.exits), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		s.reap()
		s.mu.Unlock()
	}
}

// A status is what /proc tells of who calls.
type status struct {
	pid         int
	credentials userspace.Credentials
}

// status reads /proc/TID/status; see proc_pid_status(5).
func (s *Supervisor) status(tid int) (status, syscall.Errno) {
	text, err := readProc(tid, "status")
	if err != nil {
		return status{}, syscall.ESRCH
	}
	var st status
	who := &st.credentials
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		name, values, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "Tgid":
			st.pid, _ = strconv.Atoi(string(bytes.TrimSpace(values)))
		case "Umask":
			umask, _ := strconv.ParseUint(string(bytes.TrimSpace(values)), 8, 32)
			who.Umask = uint32(umask)
		case "Uid":
			ids := numbers(values)
			who.UID, who.EUID, who.FSUID = ids[0], ids[1], ids[3]
		case "Gid":
			ids := numbers(values)
			who.GID, who.EGID, who.FSGID = ids[0], ids[1], ids[3]
		case "Groups":
			who.Groups = numbers(values)
		case "CapEff":
			capabilities, _ := strconv.ParseUint(string(bytes.TrimSpace(values)), 16, 64)
			who.Capabilities = userspace.Capabilities(capabilities)
		}
	}
	s.placeInUserNamespace(tid, who)
	return st, 0
}

func numbers(text []byte) []uint32 {
	var all []uint32
	for field := range bytes.FieldsSeq(text) {
		n, _ := strconv.ParseUint(string(field), 10, 32)
		all = append(all, uint32(n))
	}
	return all
}

// placeInUserNamespace takes the capabilities that a task of another user
// namespace has there, and not in the one that owns the IPC namespace, and
// notes how that shows ids.
func (s *Supervisor) placeInUserNamespace(tid int, who *userspace.Credentials) {
	var st unix.Stat_t
	if err := unix.Stat(procPath(tid, "ns/user"), &st); err != nil || st.Ino != s.owner {
		who.Capabilities = 0
		if err == nil {
			who.Users = userNamespaceOf(tid)
		}
	}
	if !s.initial {
		who.Capabilities &^= userspace.CapSysResource
	}
}

func userNamespaceOf(tid int) *userspace.UserNamespace {
	return &userspace.UserNamespace{UIDs: idRanges(tid, "uid_map"), GIDs: idRanges(tid, "gid_map")}
}

func idRanges(tid int, file string) []userspace.IDRange {
	text, _ := readProc(tid, file)
	var ranges []userspace.IDRange
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		if n := numbers(line); len(n) == 3 {
			ranges = append(ranges, userspace.IDRange{Inside: n[0], Outside: n[1], Count: n[2]})
		}
	}
	return ranges
}

func itoa(n int) string { return strconv.Itoa(n) }
