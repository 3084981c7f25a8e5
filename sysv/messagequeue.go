package sysv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// A MessageQueue is a System V message queue.
type MessageQueue struct {
	object
	system ipc.MessageQueues
}

const queueKind = "queue"

// OpenMessageQueue opens the queue that has the key. ENOENT: none has.
func OpenMessageQueue(system ipc.MessageQueues, key ipc.Key) (*MessageQueue, error) {
	if key == ipc.Private {
		return nil, privateFound("msgget", queueKind)
	}
	return getMessageQueue(system, key, 0)
}

// CreateMessageQueue opens the queue that has the key, or makes one. Flags
// are permission bits, which hold for a new queue and are asked of one that
// exists (EACCES), and [ipc.Excl], with which it must be new (EEXIST). The key
// [ipc.Private] always makes one. ENOSPC: the limit msgmni.
func CreateMessageQueue(system ipc.MessageQueues, key ipc.Key, flags int) (*MessageQueue, error) {
	return getMessageQueue(system, key, flags|ipc.Creat)
}

func getMessageQueue(system ipc.MessageQueues, key ipc.Key, flags int) (*MessageQueue, error) {
	id, err := system.Msgget(key, flags)
	if err != nil {
		return nil, getFailed("msgget", queueKind, key, limitCause(err, "msgmni"), err)
	}
	return &MessageQueue{object{kind: queueKind, id: id, key: key}, system}, nil
}

// MessageQueueByID returns the queue of that id. Whether there is one, the
// first call on it tells.
func MessageQueueByID(system ipc.MessageQueues, id int) *MessageQueue {
	return &MessageQueue{object{kind: queueKind, id: id, byID: true}, system}
}

// Send appends a message of a type above 0 with a copy of text, which may be
// empty; see msgsnd(2). While the queue is full it waits until there is room or
// ctx ends; with flags [ipc.NoWait] it fails with EAGAIN, whatever ctx is.
// EINVAL: text is longer than the limit msgmax. A message that is longer than
// the queue's own Qbytes waits for ever.
func (q *MessageQueue) Send(ctx context.Context, typ int64, text []byte, flags int) error {
	if err := q.system.Msgsnd(ctx, q.id, typ, text, flags); err != nil {
		return q.failed("msgsnd", q.sendCause(typ, len(text), err), err)
	}
	return nil
}

func (q *MessageQueue) sendCause(typ int64, size int, err error) string {
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return "it is full"
	case !errors.Is(err, syscall.EINVAL):
		return causeOf(err)
	case typ < 1:
		return fmt.Sprintf("message type %d is below 1", typ)
	}
	if info, _, err := q.system.MsgctlInfo(); err == nil && size > info.Msgmax {
		return fmt.Sprintf("message of %d bytes exceeds msgmax %d", size, info.Msgmax)
	}
	return causeOf(err)
}

// Receive takes a message out and returns its type and the number of bytes
// stored in text; see msgrcv(2). Typ 0 takes the first message, above 0 the first of that
// type, below 0 the first of the lowest type up to -typ. While there is none,
// it waits until there is or ctx ends. Flags are [ipc.NoWait] (ENOMSG instead
// of waiting, whatever ctx is), [ipc.MsgExcept] (the first of another type than
// typ, above 0) and [ipc.MsgNoError] (cut what is longer than text). E2BIG: the
// message is longer than text; it stays in the queue.
func (q *MessageQueue) Receive(ctx context.Context, typ int64, text []byte, flags int) (gotType int64, n int, err error) {
	gotType, n, err = q.system.Msgrcv(ctx, q.id, typ, text, flags)
	if err != nil {
		return 0, 0, q.failed("msgrcv", receiveCause(len(text), err), err)
	}
	return gotType, n, nil
}

func receiveCause(room int, err error) string {
	switch {
	case errors.Is(err, syscall.ENOMSG):
		return "it has no such message"
	case errors.Is(err, syscall.E2BIG):
		return fmt.Sprintf("the message is longer than the buffer of %d bytes", room)
	}
	return causeOf(err)
}

// Peek copies the message at a position, 0 for the first, and leaves the
// queue as it is: MSG_COPY of msgrcv(2). ENOMSG: there are not as many; E2BIG:
// it is longer than text; ENOSYS: the kernel lacks CONFIG_CHECKPOINT_RESTORE.
func (q *MessageQueue) Peek(position int, text []byte) (typ int64, n int, err error) {
	typ, n, err = q.system.Msgrcv(context.Background(), q.id, int64(position), text, ipc.MsgCopy|ipc.NoWait)
	if err != nil {
		return 0, 0, q.failed("msgrcv(MSG_COPY)", peekCause(len(text), err), err)
	}
	return typ, n, nil
}

func peekCause(room int, err error) string {
	switch {
	case errors.Is(err, syscall.EINVAL):
		return "there is none of that id, or the message is longer than the limit msgmax is now"
	case errors.Is(err, syscall.ENOSYS):
		return "this kernel cannot copy messages, it lacks CONFIG_CHECKPOINT_RESTORE"
	}
	return receiveCause(room, err)
}

// A Message is a message of a queue.
type Message struct {
	Type int64
	Text []byte
}

// Messages peeks at the messages from the first to the last. Each is read by
// a call of its own, at a cost that grows with its position: if others send
// and receive meanwhile, one may be missed or seen twice. An error is the last
// that is yielded.
func (q *MessageQueue) Messages() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		buffer := make([]byte, 8192)
		for position := 0; ; {
			typ, n, err := q.Peek(position, buffer)
			switch {
			case errors.Is(err, syscall.E2BIG) && len(buffer) < math.MaxInt32/2:
				buffer = make([]byte, 2*len(buffer))
				continue
			case errors.Is(err, syscall.ENOMSG):
				return
			case err != nil:
				yield(Message{}, err)
				return
			}
			if !yield(Message{typ, bytes.Clone(buffer[:n])}, nil) {
				return
			}
			position++
		}
	}
}

// Stat returns the queue's state. EACCES: it may not be read.
func (q *MessageQueue) Stat() (ipc.MsqidDS, error) {
	ds, err := q.system.MsgctlStat(q.id)
	return ds, q.failed("msgctl(IPC_STAT)", causeOf(err), err)
}

// Chown gives the queue to a user and a group. The creator keeps the owner's
// rights. It writes back the rest of what IPC_SET of msgctl(2) writes: of two
// changes at the same time, one may be lost. EPERM: the caller is neither owner,
// creator nor privileged, or Qbytes is above the limit msgmnb; EINVAL: the user
// namespace has no such user or group.
func (q *MessageQueue) Chown(uid, gid uint32) error {
	return q.set(func(set *ipc.MsqidSet) { set.UID, set.GID = uid, gid })
}

// Chmod sets the nine permission bits; for errors see Chown.
func (q *MessageQueue) Chmod(mode uint32) error {
	return q.set(func(set *ipc.MsqidSet) { set.Mode = mode })
}

// SetQbytes sets how many bytes the queue takes; for errors see Chown.
func (q *MessageQueue) SetQbytes(n uint64) error {
	return q.set(func(set *ipc.MsqidSet) { set.Qbytes = n })
}

func (q *MessageQueue) set(change func(*ipc.MsqidSet)) error {
	// The owner may lack the permission to read that IPC_STAT takes.
	found, ds, err := q.system.MsgStatAny(q.id)
	if err := same(found, q.id, err); err != nil {
		return q.failed("msgctl(MSG_STAT_ANY)", causeOf(err), err)
	}
	set := ipc.MsqidSet{PermSet: ds.Perm.Set(), Qbytes: ds.Qbytes}
	change(&set)
	if err := q.system.MsgctlSet(q.id, set); err != nil {
		return q.failed("msgctl(IPC_SET)", q.setCause(set.Qbytes, err), err)
	}
	return nil
}

func (q *MessageQueue) setCause(qbytes uint64, err error) string {
	if errors.Is(err, syscall.EPERM) {
		if info, _, err := q.system.MsgctlInfo(); err == nil && qbytes > uint64(info.Msgmnb) {
			return fmt.Sprintf("%d bytes exceed msgmnb %d, which takes CAP_SYS_RESOURCE", qbytes, info.Msgmnb)
		}
	}
	return setCause(err)
}

// Remove removes the queue and the messages in it. Whoever waits in Send or
// Receive gets EIDRM. For permissions see Chown.
func (q *MessageQueue) Remove() error {
	err := q.system.MsgctlRmid(q.id)
	return q.failed("msgctl(IPC_RMID)", causeOf(err), err)
}
