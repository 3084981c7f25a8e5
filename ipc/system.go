package ipc

import "context"

// System is the surface of one IPC namespace at the level of the system
// calls. An error holds a [syscall.Errno], so errors.Is(err, syscall.EINVAL)
// works on every implementation. A method that may sleep takes a context and
// returns the context's error when that ends it; then nothing has happened.
type System interface {
	MessageQueues
	SemaphoreSets
	Segments
	Mqueues
	// Limits returns the limits of the namespace.
	Limits() (Limits, error)
}

// MessageQueues are the calls on System V message queues. Permissions and
// errors are those of msgget(2), msgop(2) and msgctl(2).
type MessageQueues interface {
	// Msgget returns the id of the queue with that key; flags are
	// permission bits, [Creat] and [Excl].
	Msgget(key Key, flags int) (id int, err error)
	// Msgsnd appends a message; typ is above 0. It sleeps while the queue
	// is full, unless flags has [NoWait].
	Msgsnd(ctx context.Context, id int, typ int64, text []byte, flags int) error
	// Msgrcv takes a message out: the first for typ 0, the first of that
	// type above 0, the first of the lowest type up to -typ below 0. It
	// returns its type and the bytes stored in buf, and sleeps while there
	// is none, unless flags has [NoWait].
	Msgrcv(ctx context.Context, id int, typ int64, buf []byte, flags int) (gotType int64, n int, err error)
	// MsgctlStat is IPC_STAT.
	MsgctlStat(id int) (MsqidDS, error)
	// MsgctlRmid is IPC_RMID: the queue and its messages are gone when it
	// returns.
	MsgctlRmid(id int) error
	// MsgInfo is MSG_INFO. The highest used index is 0 also when there is
	// no queue.
	MsgInfo() (info MsgInfo, highest int, err error)
	// MsgStatAny is MSG_STAT_ANY: the queue at an index, whatever its
	// permissions. EINVAL: there is none.
	MsgStatAny(index int) (id int, ds MsqidDS, err error)
}

// SemaphoreSets are the calls on System V semaphore sets; see semctl(2).
type SemaphoreSets interface {
	// SemInfo is SEM_INFO. The highest used index is 0 also when there is
	// no set.
	SemInfo() (info SemInfo, highest int, err error)
	// SemStatAny is SEM_STAT_ANY: the set at an index, whatever its
	// permissions. EINVAL: there is none.
	SemStatAny(index int) (id int, ds SemidDS, err error)
	// SemctlGet is GETVAL, GETNCNT, GETZCNT and GETPID of one semaphore of
	// a set. The four are read one after the other.
	SemctlGet(id, num int) (Sem, error)
}

// Segments are the calls on System V shared memory segments; see shmctl(2).
type Segments interface {
	// ShmInfo is SHM_INFO. The highest used index is 0 also when there is
	// no segment.
	ShmInfo() (info ShmInfo, highest int, err error)
	// ShmStatAny is SHM_STAT_ANY: the segment at an index, whatever its
	// permissions. EINVAL: there is none.
	ShmStatAny(index int) (id int, ds ShmidDS, err error)
}

// Mqueues are the calls on POSIX message queues; see mq_overview(7).
type Mqueues interface {
	// MqList returns every POSIX queue of the namespace, by name.
	MqList() ([]MqueueStat, error)
	// MqCount returns how many there are.
	MqCount() (int, error)
}
