//go:build linux

package supervise

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/inject"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// sigevent is the part of struct sigevent that mq_notify(2) looks at.
type sigevent struct {
	value         uint64
	signo, notify int32
	_             [48]byte
}

// What a sigevent asks for; see sigevent(3type).
const (
	sigevSignal = 0
	sigevNone   = 1
	sigevThread = 2
)

// A registration is a process that mq_notify is to notify, of one queue.
type registration struct {
	process     *process
	description *description
	event       sigevent
	cookie      [sys.MqCookieSize]byte // for a thread
	socket      *os.File               // to which a thread listens
	open        map[int]uint64         // descriptors of the queue that the process had, with the inode of each one's pipe
	end         func() bool
}

// queueKey is one POSIX queue of all namespaces.
type queueKey struct {
	in    *namespace
	inode uint64
}

func (d *description) key() queueKey { return queueKey{d.in, d.mqd.Inode()} }

func (c *call) mqNotify() {
	t := c.task()
	if t == nil {
		return
	}
	r := &registration{process: c.thread.process, open: map[int]uint64{}}
	if c.args[1] != 0 {
		if errno := c.readEvent(r); errno != 0 {
			c.fail(errno)
			return
		}
	}
	d := c.description(c.int(0))
	if d == nil {
		c.fail(syscall.EBADF)
		return
	}
	c.s.endFallen(c.s.registrations[d.key()])
	before := c.s.registrations[d.key()]
	if c.args[1] == 0 {
		if before != nil && before.process == r.process {
			c.s.endRegistration(before)
		}
		c.send(0)
		return
	}
	r.description = d
	if err := c.register(t, r); err != nil {
		c.fail(errnoOf(err))
	} else if !c.away {
		c.send(0)
	}
}

// readEvent reads how a process wants to be notified, and finds mistakes in the
// kernel's order.
func (c *call) readEvent(r *registration) syscall.Errno {
	if errno := readStruct(c, c.args[1], &r.event); errno != 0 {
		return errno
	}
	const signals = 64
	switch e := &r.event; e.notify {
	case sigevNone:
	case sigevSignal:
		if e.signo < 0 || e.signo > signals {
			return syscall.EINVAL
		}
	case sigevThread:
		if errno := readStruct(c, e.value, &r.cookie); errno != 0 {
			return errno
		}
		return c.isSocket(int(e.signo))
	default:
		return syscall.EINVAL
	}
	return 0
}

func (c *call) isSocket(fd int) syscall.Errno {
	link, err := os.Readlink(procPath(c.tid, "fd/"+itoa(fd)))
	switch {
	case err != nil:
		return syscall.EBADF
	case !strings.HasPrefix(link, "socket:["):
		return syscall.ENOTSOCK
	}
	return 0
}

// register notes that the process is to be notified.
func (c *call) register(t *userspace.Task, r *registration) (err error) {
	r.end, err = r.description.mqd.NotifyTask(t, r.fire(c.s))
	if err != nil {
		return err
	}
	if r.event.notify == sigevThread {
		if err := c.takeOverSocket(r); err != nil {
			r.end()
			return err
		}
	}
	r.findOpen()
	c.s.registrations[r.description.key()] = r
	return nil
}

// findOpen notes the process's descriptors of the queue: of the first of them,
// if it has very many.
func (r *registration) findOpen() {
	dir, err := os.Open(procPath(r.process.pid, "fd"))
	if err != nil {
		return
	}
	defer dir.Close()
	const enough = 1 << 14
	names, _ := dir.Readdirnames(enough)
	for _, name := range names {
		fd, _ := strconv.Atoi(name)
		inode := pipeInode(r.process.pid, fd)
		for _, d := range r.description.in.queues[r.description.mqd.Inode()] {
			if d.pipe.Inode() == inode {
				r.open[fd] = inode
			}
		}
	}
}

// stands reports whether the process has closed no descriptor of the queue,
// which ends a registration (SEMANTICS A.7.14). Nothing tells when it does.
func (r *registration) stands() bool {
	for fd, inode := range r.open {
		if pipeInode(r.process.pid, fd) != inode {
			return false
		}
	}
	return true
}

// endFallen ends a registration that no longer stands; nil for none.
func (s *Supervisor) endFallen(r *registration) {
	if r != nil && !r.stands() {
		s.endRegistration(r)
	}
}

// endRegistration ends one that has not been used.
func (s *Supervisor) endRegistration(r *registration) {
	if r.end() {
		r.tellRemoved()
	}
	if s.registrations[r.description.key()] == r {
		delete(s.registrations, r.description.key())
	}
}

// tellRemoved tells the thread of a registration that it has ended.
func (r *registration) tellRemoved() {
	const removed = 2 // NOTIFY_REMOVED
	if r.event.notify == sigevThread {
		r.sendCookie(removed)
	}
}

// endNotifications ends those of a process that has ended.
func (s *Supervisor) endNotifications(p *process) {
	for _, r := range s.registrations {
		if r.process == p {
			r.end()
			delete(s.registrations, r.description.key())
		}
	}
	for _, socket := range p.sockets {
		socket.Close()
	}
}

// fire returns the function that notifies.
func (r *registration) fire(s *Supervisor) func(sender *userspace.Task) {
	return func(sender *userspace.Task) {
		delete(s.registrations, r.description.key())
		if !r.stands() {
			r.tellRemoved()
			return
		}
		switch r.event.notify {
		case sigevSignal:
			r.signal(sender)
		case sigevThread:
			r.sendCookie(sys.MqWokenUp)
		}
	}
}

// siginfo is siginfo_t of rt_sigqueueinfo(2) with a value.
type siginfo struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	value                 uint64
	_                     [96]byte
}

// signal sends the signal of a registration. Whether it arrives is not the
// sender's business.
func (r *registration) signal(sender *userspace.Task) {
	if r.event.signo == 0 {
		return
	}
	const siMesgq = -3
	info := siginfo{signo: r.event.signo, code: siMesgq, pid: int32(sender.PID()), uid: sender.UID, value: r.event.value}
	syscall.RawSyscall6(unix.SYS_PIDFD_SEND_SIGNAL, uintptr(r.process.pidfd), uintptr(r.event.signo), uintptr(unsafe.Pointer(&info)), 0, 0, 0)
}

func (r *registration) sendCookie(what byte) {
	cookie := r.cookie
	cookie[len(cookie)-1] = what
	unix.Sendto(int(r.socket.Fd()), cookie[:], unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
}

// takeOverSocket puts one end of a pair of ours in the place of the netlink
// socket on which the C library waits for the kernel's cookies, and makes the
// thread that waits wait anew.
func (c *call) takeOverSocket(r *registration) error {
	fd := int(r.event.signo)
	p := c.thread.process
	link, err := os.Readlink(procPath(c.tid, "fd/"+itoa(fd)))
	if err != nil {
		return syscall.EBADF
	}
	p.closeUnusedSockets()
	if r.socket = p.sockets[link]; r.socket != nil {
		return nil
	}
	kind := unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC
	if c.isNonblock(fd) {
		kind |= unix.SOCK_NONBLOCK
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		return err
	}
	r.socket = os.NewFile(uintptr(pair[0]), "notifications")
	c.later(p.pid, func(tracer *inject.Tracer) {
		defer unix.Close(pair[1])
		if err := c.replaceSocket(tracer, r, pair[1]); err != nil {
			c.s.mu.Lock()
			defer c.s.mu.Unlock()
			c.s.endRegistration(r)
			c.fail(errnoOf(err))
			return
		}
		c.send(0)
	})
	return nil
}

// replaceSocket puts the socket where the program has its own.
func (c *call) replaceSocket(tracer *inject.Tracer, r *registration, socket int) error {
	fd := int(r.event.signo)
	link, err := os.Readlink("/proc/self/fd/" + itoa(socket))
	if err != nil {
		r.socket.Close()
		return err
	}
	if errno := sys.SeccompReplaceFD(c.fd, c.id, socket, fd, unix.O_CLOEXEC); errno != 0 {
		r.socket.Close()
		return errno
	}
	ended := true
	c.locked(func() { ended, c.thread.process.sockets[link] = false, r.socket })
	if ended {
		r.socket.Close()
		return syscall.ESRCH
	}
	return c.kickReceivers(tracer, fd)
}

// closeUnusedSockets closes those of which the program has closed the other end.
func (p *process) closeUnusedSockets() {
	for link, socket := range p.sockets {
		end := []unix.PollFd{{Fd: int32(socket.Fd())}}
		if _, err := unix.Poll(end, 0); err == nil && end[0].Revents&unix.POLLHUP != 0 {
			socket.Close()
			delete(p.sockets, link)
		}
	}
}

// kickReceivers makes threads that receive from a descriptor do so anew.
func (c *call) kickReceivers(tracer *inject.Tracer, fd int) error {
	if c.isNonblock(fd) {
		return nil // as nobody sleeps there
	}
	const patience = 20 * time.Millisecond
	for start := time.Now(); ; {
		receiving, running := c.receivers(fd)
		for _, tid := range receiving {
			if time.Since(start) > patience {
				break // as they may be thousands, or slow to stop
			}
			if err := tracer.Kick(tid); err != nil && errnoOf(err) != syscall.ESRCH {
				return err
			}
		}
		// One that runs may be on its way into recvfrom(2), with the old socket.
		if !running || time.Since(start) > patience {
			return nil
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// receivers returns the threads that sleep in recvfrom(2) on a descriptor, and
// whether there is one that runs; see proc_pid_syscall(5).
func (c *call) receivers(fd int) (tids []int, running bool) {
	dir := procPath(c.thread.process.pid, "task")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, false
	}
	wanted := itoa(unix.SYS_RECVFROM) + " 0x" + strconv.FormatInt(int64(fd), 16) + " "
	for _, entry := range entries {
		text, err := os.ReadFile(dir + "/" + entry.Name() + "/syscall")
		if err != nil {
			continue
		}
		tid, _ := strconv.Atoi(entry.Name())
		switch {
		case strings.HasPrefix(string(text), wanted):
			tids = append(tids, tid)
		case strings.HasPrefix(string(text), "running"):
			running = true
		}
	}
	return tids, running
}
