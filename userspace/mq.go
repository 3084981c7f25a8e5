package userspace

import (
	"cmp"
	"slices"
	"strings"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// mqueues are the POSIX queues of a namespace.
type mqueues struct {
	byName map[string]*mqueue
	count  int // with a name or open
	inode  uint64
	bytes  map[uint32]uint64 // RLIMIT_MSGQUEUE, by user
}

func (m *mqueues) init() {
	m.byName, m.bytes = map[string]*mqueue{}, map[uint32]uint64{}
}

// An mqueue is a POSIX message queue.
type mqueue struct {
	ns       *Namespace
	name     string // without the slash
	uid, gid uint32
	mode     uint32
	inode    uint64
	linked   bool
	open     int
	attr     ipc.MqAttr // its Curmsgs are kept up to date
	bytes    uint64     // in the queue
	charged  uint64

	messages  lanes            // the highest priority first
	receivers list[*mqSleeper] // who is served first comes first
	senders   list[*mqSleeper]
	notify    *registration
}

// What a queue may be like at most, of a user without limits (SEMANTICS A.7.2).
const (
	maxMqMaxmsg, maxMqMsgsize = 65536, 16777216
	maxName                   = 255
	mqModeBits                = 0o7777
)

// maxPriority is the kernel's MQ_PRIO_MAX: priorities are below it.
const maxPriority = 32768

func (q *mqueue) put(priority uint, text []byte) {
	m := q.ns.newMessage(int64(priority), text)
	q.messages.put(-int64(priority), m)
	q.attr.Curmsgs++
	q.bytes += uint64(len(text))
}

// first returns the first message of the highest priority.
func (q *mqueue) first() *message { return q.messages.first().messages.first.value }

// take takes the first message out.
func (q *mqueue) take(buffer []byte) (n int, priority uint) {
	m := q.first()
	q.messages.drop(m)
	q.attr.Curmsgs--
	q.bytes -= uint64(len(m.text))
	n, priority = copy(buffer, m.text), uint(m.typ)
	q.ns.freeMessage(m)
	return n, priority
}

// send gives a message to who sleeps for one, or puts it into the queue, which
// may have to be told (SEMANTICS A.7.9, A.7.13).
func (q *mqueue) send(sender *Task, priority uint, text []byte) {
	for q.receivers.first != nil {
		r := q.receivers.first.value
		if !r.takes(Outcome{Priority: priority, Message: text}) {
			continue
		}
		r.n, r.priority = copy(r.text, text), priority
		r.settle(0)
		return
	}
	q.put(priority, text)
	if q.attr.Curmsgs == 1 && q.notify != nil {
		q.notify.fire(sender)
	}
}

// admit puts the message of who has slept for room into the queue. It does
// not notify (SEMANTICS A.7.13).
func (q *mqueue) admit() {
	for q.senders.first != nil {
		s := q.senders.first.value
		if !s.takes(Outcome{}) {
			continue
		}
		q.put(s.priority, s.text)
		s.settle(0)
		return
	}
}

// destroyIfUnused ends a queue that has neither name nor descriptor.
func (q *mqueue) destroyIfUnused() {
	if q.linked || q.open > 0 {
		return
	}
	m := &q.ns.mqueues
	m.count--
	if m.bytes[q.uid] -= q.charged; m.bytes[q.uid] == 0 {
		delete(m.bytes, q.uid)
	}
}

// mqName returns the name without its slash, as mq_open(3) of the C library
// and the kernel take it (SEMANTICS A.7.1).
func mqName(name string) (string, syscall.Errno) {
	rest, found := strings.CutPrefix(name, "/")
	switch {
	case !found, strings.ContainsRune(rest, 0):
		return "", syscall.EINVAL
	case rest == "":
		return "", syscall.ENOENT
	case rest == ".", rest == "..", strings.Contains(rest, "/"):
		return "", syscall.EACCES
	case len(rest) > maxName:
		return "", syscall.ENAMETOOLONG
	}
	return rest, 0
}

// accessMode is O_ACCMODE, which not every system has.
const accessMode = syscall.O_RDONLY | syscall.O_WRONLY | syscall.O_RDWR | 3

// MqOpen is mq_open(2).
func (t *Task) MqOpen(name string, flags int, mode uint32, attr *ipc.MqAttr) (_ ipc.Mqd, err error) {
	defer t.begin(act{call: "mq_open", name: name}).end(&err)
	d, errno := t.mqOpen(name, flags, mode, attr)
	if errno != 0 {
		return nil, outcome(errno)
	}
	return d, nil
}

func (t *Task) mqOpen(name string, flags int, mode uint32, attr *ipc.MqAttr) (*Mqd, syscall.Errno) {
	if t.ended {
		return nil, syscall.ESRCH
	}
	name, errno := mqName(name)
	if errno != 0 {
		return nil, errno
	}
	q := t.ns.mqueues.byName[name]
	if q == nil {
		if flags&syscall.O_CREAT == 0 {
			return nil, syscall.ENOENT
		}
		if q, errno = t.newMqueue(name, mode, attr); errno != 0 {
			return nil, errno
		}
		return t.openMqueue(q, flags), 0
	}
	access := flags & accessMode
	switch {
	case flags&syscall.O_CREAT != 0 && flags&syscall.O_EXCL != 0:
		return nil, syscall.EEXIST
	case access == accessMode:
		return nil, syscall.EINVAL
	case !t.mayOpen(q, access):
		return nil, syscall.EACCES
	}
	return t.openMqueue(q, flags), 0
}

// mayOpen reports whether the task may open a queue; see path_resolution(7).
func (t *Task) mayOpen(q *mqueue, access int) bool {
	var wanted uint32
	if access == syscall.O_RDONLY || access == syscall.O_RDWR {
		wanted |= mayRead
	}
	if access == syscall.O_WRONLY || access == syscall.O_RDWR {
		wanted |= mayWrite
	}
	granted := q.mode
	switch {
	case t.FSUID == q.uid:
		granted >>= 6
	case t.inGroup(q.gid):
		granted >>= 3
	}
	return wanted&^granted&7 == 0 || t.Capabilities&CapDacOverride != 0
}

// newMqueue makes a queue, if limits allow (SEMANTICS A.7.2, A.3).
func (t *Task) newMqueue(name string, mode uint32, attr *ipc.MqAttr) (*mqueue, syscall.Errno) {
	ns := t.ns
	m, l := &ns.mqueues, &ns.limits
	unlimited := t.Capabilities&CapSysResource != 0
	if !unlimited && uint64(m.count) >= uint64(uint32(l.QueuesMax)) { // of which the kernel knows no sign
		return nil, syscall.ENOSPC
	}
	maxmsg, msgsize := int64(min(l.MsgDefault, l.MsgMax)), int64(min(l.MsgsizeDefault, l.MsgsizeMax))
	if attr != nil {
		maxmsg, msgsize = attr.Maxmsg, attr.Msgsize
	}
	highestMaxmsg, highestMsgsize := int64(l.MsgMax), int64(l.MsgsizeMax)
	if unlimited {
		highestMaxmsg, highestMsgsize = maxMqMaxmsg, maxMqMsgsize
	}
	if maxmsg <= 0 || msgsize <= 0 || maxmsg > highestMaxmsg || msgsize > highestMsgsize {
		return nil, syscall.EINVAL
	}
	charged := mqBytes(maxmsg, msgsize)
	limit := uint64(defaultRlimitMsgqueue)
	if t.RlimitMsgqueue != nil {
		limit = *t.RlimitMsgqueue
	}
	if m.bytes[t.FSUID]+charged > limit {
		return nil, syscall.EMFILE
	}
	m.count++
	m.inode++
	m.bytes[t.FSUID] += charged
	q := &mqueue{
		ns: ns, name: name, uid: t.FSUID, gid: t.FSGID, mode: mode & mqModeBits &^ t.Umask, inode: m.inode, linked: true,
		attr: ipc.MqAttr{Maxmsg: maxmsg, Msgsize: msgsize}, charged: charged, messages: newLanes(),
	}
	m.byName[name] = q
	return q, 0
}

// mqBytes is what a queue counts against RLIMIT_MSGQUEUE (SEMANTICS A.3).
func mqBytes(maxmsg, msgsize int64) uint64 {
	const perMessage, perNode = 48, 48
	return uint64(maxmsg*perMessage + min(maxmsg, maxPriority)*perNode + maxmsg*msgsize)
}

// MqUnlink is mq_unlink(2).
func (t *Task) MqUnlink(name string) (err error) {
	defer t.begin(act{call: "mq_unlink", name: name}).end(&err)
	ns := t.ns
	name, errno := mqName(name)
	q := ns.mqueues.byName[name]
	switch {
	case errno != 0:
	case q == nil:
		errno = syscall.ENOENT
	case t.FSUID != q.uid && t.Capabilities&CapFowner == 0:
		errno = syscall.EPERM // the directory is sticky
	default:
		q.unlink()
	}
	return outcome(errno)
}

// unlink takes the name from a queue.
func (q *mqueue) unlink() {
	delete(q.ns.mqueues.byName, q.name)
	q.linked = false
	q.destroyIfUnused()
}

// MqCount returns how many POSIX queues have a name.
func (t *Task) MqCount() (_ int, err error) {
	defer t.begin(act{call: "readdir"}).end(&err)
	return len(t.ns.mqueues.byName), nil
}

// MqList returns the POSIX queues by name.
func (t *Task) MqList() (_ []ipc.MqueueStat, err error) {
	defer t.begin(act{call: "readdir"}).end(&err)
	queues := make([]ipc.MqueueStat, 0, len(t.ns.mqueues.byName))
	for _, q := range t.ns.mqueues.byName {
		queues = append(queues, t.mqStat(q))
	}
	slices.SortFunc(queues, func(a, b ipc.MqueueStat) int { return cmp.Compare(a.Name, b.Name) })
	return queues, nil
}

func (t *Task) mqStat(q *mqueue) ipc.MqueueStat {
	stat := ipc.MqueueStat{Name: "/" + q.name, UID: t.Users.uidShown(q.uid), GID: t.Users.gidShown(q.gid), Mode: q.mode, Inode: q.inode}
	if !t.mayOpen(q, syscall.O_RDONLY) {
		stat.Unreadable = true
		return stat
	}
	stat.Attr, stat.Bytes = q.attr, q.bytes
	if q.notify != nil {
		stat.NotifyPID = int32(q.notify.process.pid)
	}
	return stat
}
