//go:build linux

package supervise

import (
	"math"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/mqpipe"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// A description is an open POSIX queue: what open(2) calls an open file
// description. Programs have a pipe for it.
type description struct {
	in       *namespace
	mqd      *userspace.Mqd
	pipe     *mqpipe.Pipe
	level    mqpipe.Level
	sleepers int // calls that sleep in it, and keep it open
}

func (c *call) mqOpen() {
	t := c.freshTask()
	if t == nil {
		return
	}
	name, errno := c.readString(c.args[0])
	flags := c.int(1)
	var attr *ipc.MqAttr
	if errno == 0 && c.args[3] != 0 {
		var a sys.MqAttr
		errno = readStruct(c, c.args[3], &a)
		attr = &ipc.MqAttr{Maxmsg: a.Maxmsg, Msgsize: a.Msgsize}
	}
	if errno != 0 {
		c.fail(errno)
		return
	}
	who := t.Credentials
	who.RlimitMsgqueue = rlimit(c.tid, "Max msgqueue size")
	opener := c.thread.in.keeper.With(who)
	mqd, err := opener.MqOpen("/"+name, flags, uint32(c.args[2]), attr)
	if errno := errnoOf(err); errno == syscall.EMFILE || errno == syscall.ENOSPC {
		c.s.releaseDescriptions() // of which nothing told that the last is closed
		mqd, err = opener.MqOpen("/"+name, flags, uint32(c.args[2]), attr)
	}
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	c.describe(mqd.(*userspace.Mqd), flags&unix.O_NONBLOCK != 0)
}

// freshTask is task with credentials that were read just now, for what nothing
// tells a change of: the umask.
func (c *call) freshTask() *userspace.Task {
	if th := c.s.threads[c.tid]; th != nil {
		th.stale = true
	}
	return c.task()
}

// describe gives the program a descriptor of an open queue.
func (c *call) describe(mqd *userspace.Mqd, nonblock bool) {
	c.s.releaseSome()
	in := c.thread.in
	pipe, fd, err := c.s.newPipe(in, nonblock)
	if err == syscall.ENFILE {
		c.s.releaseDescriptions()
		pipe, fd, err = c.s.newPipe(in, nonblock)
	}
	if err != nil {
		mqd.Close()
		c.fail(errnoOf(err))
		return
	}
	d := &description{in: in, mqd: mqd, pipe: pipe}
	c.s.endFallen(c.s.registrations[d.key()])
	d.show(levelOf(mqd))
	c.s.descriptions[pipe.Inode()] = d
	in.queues[mqd.Inode()] = append(in.queues[mqd.Inode()], d)
	in.open++
	c.answerFD(fd, unix.O_CLOEXEC, func(theirs int) { c.described(d, theirs) })
}

// described ends mq_open(2). A descriptor that the program has not got is closed
// as one that it has closed.
func (c *call) described(d *description, theirs int) {
	if theirs < 0 {
		return
	}
	c.locked(func() {
		if r := c.s.registrations[d.key()]; r != nil && r.process == c.thread.process {
			r.open[theirs] = d.pipe.Inode()
		}
	})
	c.send(int64(theirs))
}

func levelOf(mqd *userspace.Mqd) mqpipe.Level {
	attr, _ := mqd.Getattr()
	return levelWith(attr.Curmsgs, attr.Maxmsg)
}

func levelWith(messages, maxmsg int64) mqpipe.Level {
	switch messages {
	case 0:
		return mqpipe.Empty
	case maxmsg:
		return mqpipe.Full
	}
	return mqpipe.Some
}

// show makes the descriptor as ready as the queue is.
func (d *description) show(level mqpipe.Level) {
	if level != d.level && d.pipe.Show(level) == nil {
		d.level = level
	}
}

// showAll shows how full a queue is in all its descriptors.
func (d *description) showAll(level mqpipe.Level) {
	for _, other := range d.in.queues[d.mqd.Inode()] {
		other.show(level)
	}
}

// releaseSome closes queues that no program has open any more, if there may be as
// many as there are others: to look at each takes longer than to open one.
func (s *Supervisor) releaseSome() {
	if s.events++; s.events*eventsALook < len(s.descriptions) {
		return
	}
	s.releaseDescriptions()
}

// eventsALook is how many descriptions are looked at for each that was opened,
// and for each process that has ended.
const eventsALook = 16

// releaseDescriptions closes queues that no program has open any more.
func (s *Supervisor) releaseDescriptions() {
	s.events = 0
	for inode, d := range s.descriptions {
		if held, err := d.pipe.Held(); err != nil || held || d.sleepers > 0 {
			continue
		}
		delete(s.descriptions, inode)
		d.release()
	}
}

func (d *description) release() {
	d.mqd.Close()
	d.pipe.Close()
	d.in.open--
	queue := d.mqd.Inode()
	others := d.in.queues[queue]
	for i, other := range others {
		if other == d {
			others = append(others[:i:i], others[i+1:]...)
			break
		}
	}
	if d.in.queues[queue] = others; len(others) == 0 {
		delete(d.in.queues, queue)
	}
}

// description returns that of a descriptor of the program's, nil for none.
func (c *call) description(fd int) *description {
	return c.s.descriptions[pipeInode(c.tid, fd)]
}

// pipeInode returns the inode of the pipe that a descriptor of a process is, 0
// for none. It takes half the time of os.Readlink, and each call on a queue waits
// for it.
func pipeInode(id, fd int) uint64 {
	var memory [48]byte // more than two numbers take
	path := strconv.AppendInt(append(memory[:0], "/proc/"...), int64(id), 10)
	path = strconv.AppendInt(append(path, "/fd/"...), int64(fd), 10)
	path = append(path, 0)
	var link [32]byte // more than the link to a pipe takes
	n, _, errno := syscall.RawSyscall6(unix.SYS_READLINKAT, 0, uintptr(unsafe.Pointer(&path[0])), uintptr(unsafe.Pointer(&link)), uintptr(len(link)), 0, 0)
	if errno != 0 {
		return 0
	}
	number, found := strings.CutPrefix(string(link[:n]), "pipe:[")
	if !found {
		return 0
	}
	inode, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	return inode
}

func (c *call) mqUnlink() {
	t := c.task()
	if t == nil {
		return
	}
	name, errno := c.readString(c.args[0])
	if errno != 0 {
		c.fail(errno)
		return
	}
	c.result(0, t.MqUnlink("/"+name))
	c.s.releaseSome()
}

// until reads the time until which a call sleeps, the zero time for ever.
func (c *call) until(address uint64) (time.Time, syscall.Errno) {
	if address == 0 {
		return time.Time{}, 0
	}
	var ts unix.Timespec
	if errno := readStruct(c, address, &ts); errno != 0 {
		return time.Time{}, errno
	}
	if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= int64(time.Second) {
		return time.Time{}, syscall.EINVAL
	}
	const latest = 1 << 40 // so that a time.Duration does not overflow
	return time.Unix(min(ts.Sec, latest), ts.Nsec), 0
}

func (c *call) mqTimedsend() {
	t := c.task()
	if t == nil {
		return
	}
	until, errno := c.until(c.args[4])
	size, priority := c.args[2], uint(uint32(c.args[3]))
	const maxPriority = 32768
	if errno == 0 && priority >= maxPriority {
		errno = syscall.EINVAL
	}
	if errno != 0 {
		c.fail(errno)
		return
	}
	d := c.description(c.int(0))
	if d == nil {
		c.fail(syscall.EBADF)
		return
	}
	attr, _ := d.mqd.Getattr()
	length := int(min(size, uint64(attr.Msgsize)+1)) // one too many is refused as more are
	message := c.read(c.args[1], length)
	if len(message) < length && size <= uint64(attr.Msgsize) && d.mqd.Writable() {
		c.fail(syscall.EFAULT)
		return
	}
	nonblock := attr.Curmsgs >= attr.Maxmsg && c.nonblock()
	c.queue, c.level = d, d.level
	if receivers, _ := d.mqd.Sleeping(); receivers == 0 {
		c.level = levelWith(attr.Curmsgs+1, attr.Maxmsg)
	}
	c.sleepInQueue(t.StartTimedsend(c, d.mqd, message[:len(message):len(message)], priority, nonblock, until))
}

// sleepInQueue notes that the call sleeps, if it does. If not, the descriptors
// show what it was about to do, which may not have come to be.
func (c *call) sleepInQueue(parked userspace.Parked) {
	if parked.Sleeps() {
		c.queue.sleepers++
		c.sleep(parked, erestartsys)
		return
	}
	c.queue.showAll(levelOf(c.queue.mqd))
}

func (c *call) mqTimedreceive() {
	t := c.task()
	if t == nil {
		return
	}
	until, errno := c.until(c.args[4])
	if errno != 0 {
		c.fail(errno)
		return
	}
	d := c.description(c.int(0))
	if d == nil {
		c.fail(syscall.EBADF)
		return
	}
	attr, _ := d.mqd.Getattr()
	nonblock := attr.Curmsgs == 0 && c.nonblock()
	c.queue, c.level, c.take = d, d.level, (*call).tookFromQueue
	if _, senders := d.mqd.Sleeping(); senders == 0 && attr.Curmsgs > 0 {
		c.level = levelWith(attr.Curmsgs-1, attr.Maxmsg)
	}
	c.sleepInQueue(t.StartTimedreceive(c, d.mqd, int(min(c.args[2], 1<<31)), nonblock, until))
}

// tookFromQueue puts a message where mq_timedreceive wants it. One that cannot
// be put there is lost, as in the kernel (SEMANTICS A.7.6).
func (c *call) tookFromQueue(o userspace.Outcome) bool {
	errno := c.write(c.args[1], o.Message)
	if priority := uint32(o.Priority); errno == 0 && c.args[3] != 0 {
		errno = writeStruct(c, c.args[3], &priority)
	}
	if errno != 0 {
		return c.fail(errno)
	}
	return c.send(int64(len(o.Message)))
}

// nonblock reports whether the descriptor that is the call's first argument is
// O_NONBLOCK.
func (c *call) nonblock() bool { return c.isNonblock(c.int(0)) }

func (c *call) isNonblock(fd int) bool {
	text, err := readProc(c.tid, "fdinfo/"+itoa(fd))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), "flags:\t")
	octal, _, _ := strings.Cut(rest, "\n")
	flags, _ := strconv.ParseUint(octal, 8, 64)
	return flags&unix.O_NONBLOCK != 0
}

func (c *call) mqGetsetattr() {
	if c.task() == nil {
		return
	}
	var wanted *sys.MqAttr
	if c.args[1] != 0 {
		wanted = &sys.MqAttr{}
		if errno := readStruct(c, c.args[1], wanted); errno != 0 {
			c.fail(errno)
			return
		}
		if wanted.Flags&^unix.O_NONBLOCK != 0 {
			c.fail(syscall.EINVAL)
			return
		}
	}
	d := c.description(c.int(0))
	if d == nil {
		c.fail(syscall.EBADF)
		return
	}
	attr, _ := d.mqd.Getattr()
	before := sys.MqAttr{Maxmsg: attr.Maxmsg, Msgsize: attr.Msgsize, Curmsgs: attr.Curmsgs}
	if c.nonblock() {
		before.Flags = unix.O_NONBLOCK
	}
	if wanted != nil {
		if err := c.setNonblock(wanted.Flags != 0); err != nil {
			c.fail(errnoOf(err))
			return
		}
	}
	if c.args[2] != 0 {
		if errno := writeStruct(c, c.args[2], &before); errno != 0 {
			c.fail(errno)
			return
		}
	}
	c.send(0)
}

// setNonblock sets or clears O_NONBLOCK of the program's open description.
func (c *call) setNonblock(nonblock bool) error {
	fd, err := unix.PidfdGetfd(c.thread.process.pidfd, c.int(0), 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.SetNonblock(fd, nonblock)
}

// rlimit returns the soft limit of a resource by its name in
// proc_pid_limits(5), the highest number if there is none. For prlimit(2) the
// program would have to be of the same user.
func rlimit(tid int, name string) *uint64 {
	text, _ := readProc(tid, "limits")
	_, values, _ := strings.Cut(string(text), "\n"+name+" ")
	soft, _, _ := strings.Cut(strings.TrimLeft(values, " "), " ")
	limit, err := strconv.ParseUint(soft, 10, 64)
	if err != nil {
		limit = math.MaxUint64
	}
	return &limit
}
