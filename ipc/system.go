package ipc

import (
	"context"
	"time"
)

// System is the surface of one IPC namespace at the level of the system
// calls, and the seam between what uses IPC and what implements it.
//
// Every error holds a [syscall.Errno], so errors.Is(err, syscall.EIDRM) works
// on every implementation; the manual page of each call lists its errors, and
// the method's comment those that callers act on. A method that may sleep
// takes a context; when that ends first, it returns the context's error, and
// nothing has happened. With flags that forbid sleeping, the context is not
// looked at. Any goroutine may call any method, several at a time.
//
// The process that makes a call, as permissions, msg_lspid or SEM_UNDO see
// it, is the implementation's business.
type System interface {
	MessageQueues
	SemaphoreSets
	Segments
	Mqueues
	// Limits returns the limits of the namespace.
	Limits() (Limits, error)
}

// MessageQueues are the calls on System V message queues: msgget(2),
// msgop(2) and msgctl(2).
type MessageQueues interface {
	// Msgget returns the id of the queue with that key. Flags are nine
	// permission bits, [Creat] and [Excl]. ENOENT: there is none, and no
	// Creat; EEXIST: there is one, and Creat and Excl; EACCES: it lacks the
	// permissions; ENOSPC: the limit msgmni.
	Msgget(key Key, flags int) (id int, err error)

	// Msgsnd appends a message with a copy of text; typ is above 0. It
	// sleeps while the queue is full, unless flags has [NoWait] (EAGAIN).
	// EINVAL: no such queue, a bad type, or more bytes than the limit
	// msgmax; EIDRM: the queue was removed meanwhile.
	Msgsnd(ctx context.Context, id int, typ int64, text []byte, flags int) error

	// Msgrcv takes a message out: the first for typ 0, the first of that
	// type above 0, the first of the lowest type up to -typ below 0. It
	// returns the message's type and the number of bytes stored in text.
	// Flags are [NoWait] (ENOMSG), [MsgNoError], [MsgExcept] and [MsgCopy],
	// with which typ is a position and the message stays. E2BIG: the message
	// is longer than text, and stays; EIDRM: the queue was removed while the
	// call slept.
	Msgrcv(ctx context.Context, id int, typ int64, text []byte, flags int) (gotType int64, n int, err error)

	// MsgctlStat is IPC_STAT; it takes permission to read (EACCES).
	MsgctlStat(id int) (MsqidDS, error)
	// MsgctlSet is IPC_SET; it takes the owner, the creator or
	// CAP_SYS_ADMIN (EPERM).
	MsgctlSet(id int, set MsqidSet) error
	// MsgctlRmid is IPC_RMID: the queue and its messages are gone when it
	// returns, and whoever sleeps on it gets EIDRM. For permissions see
	// MsgctlSet.
	MsgctlRmid(id int) error
	// MsgctlInfo is IPC_INFO. The highest used index is 0 also when there is
	// no queue.
	MsgctlInfo() (info Msginfo, highest int, err error)
	// MsgInfo is MSG_INFO; for the highest index see MsgctlInfo.
	MsgInfo() (info MsgInfo, highest int, err error)
	// MsgStat is MSG_STAT: the queue at an index, and its id. An id stands
	// for its index. EINVAL: there is none; EACCES: it may not be read.
	MsgStat(index int) (id int, ds MsqidDS, err error)
	// MsgStatAny is MSG_STAT_ANY: MsgStat that takes no permission.
	MsgStatAny(index int) (id int, ds MsqidDS, err error)
}

// SemaphoreSets are the calls on System V semaphore sets: semget(2),
// semop(2) and semctl(2).
type SemaphoreSets interface {
	// Semget returns the id of the set with that key. Flags are those of
	// Msgget. Nsems is the size of a new set, and at most that of one that
	// exists (EINVAL). A new set's values are 0.
	Semget(key Key, nsems, flags int) (id int, err error)

	// Semop does all of the operations at once, or sleeps until it can. An
	// operation with [NoWait] that cannot be done makes it fail with
	// EAGAIN. E2BIG: more than the limit semopm; EFBIG: no such semaphore;
	// ERANGE: a value would pass 32767; EIDRM: the set was removed while
	// the call slept.
	Semop(ctx context.Context, id int, ops []Sembuf) error
	// Semtimedop is Semop that sleeps at most that long (EAGAIN). It is the
	// kernel's timeout, in nanoseconds; below 0 it is EINVAL.
	Semtimedop(ctx context.Context, id int, ops []Sembuf, timeout time.Duration) error

	// SemctlGetval is GETVAL: the value of a semaphore. EINVAL: there is no
	// such set, or no such semaphore in it. It takes permission to read, as
	// the other gets do (EACCES).
	SemctlGetval(id, num int) (int, error)
	// SemctlSetval is SETVAL. It also forgets every process's adjustment of
	// the semaphore. ERANGE: the value is not 0 to 32767.
	SemctlSetval(id, num, value int) error
	// SemctlGetall is GETALL: the values of all semaphores of the set.
	SemctlGetall(id int) ([]uint16, error)
	// SemctlSetall is SETALL, for as many values as the set has semaphores
	// (EINVAL); for the rest see SemctlSetval.
	SemctlSetall(id int, values []uint16) error
	// SemctlGetpid is GETPID: the process of the last operation, 0 for none.
	SemctlGetpid(id, num int) (int, error)
	// SemctlGetncnt is GETNCNT: how many wait for the value to grow.
	SemctlGetncnt(id, num int) (int, error)
	// SemctlGetzcnt is GETZCNT: how many wait for the value to be 0.
	SemctlGetzcnt(id, num int) (int, error)

	// SemctlStat is IPC_STAT; it takes permission to read (EACCES).
	SemctlStat(id int) (SemidDS, error)
	// SemctlSet is IPC_SET; for permissions see MsgctlSet.
	SemctlSet(id int, set PermSet) error
	// SemctlRmid is IPC_RMID; whoever sleeps on the set gets EIDRM.
	SemctlRmid(id int) error
	// SemctlInfo is IPC_INFO; for the highest index see MsgctlInfo.
	SemctlInfo() (info Seminfo, highest int, err error)
	// SemInfo is SEM_INFO; for the highest index see MsgctlInfo.
	SemInfo() (info SemInfo, highest int, err error)
	// SemStat is SEM_STAT: the set at an index, and its id. An id stands for
	// its index. EINVAL: there is none; EACCES: it may not be read.
	SemStat(index int) (id int, ds SemidDS, err error)
	// SemStatAny is SEM_STAT_ANY: SemStat that takes no permission.
	SemStatAny(index int) (id int, ds SemidDS, err error)
}

// Segments are the calls on System V shared memory segments: shmget(2),
// shmop(2) and shmctl(2).
type Segments interface {
	// Shmget returns the id of the segment with that key. Flags are those of
	// Msgget, [ShmHugetlb] and [ShmNoReserve]. Size is in bytes, and at most
	// that of a segment that exists (EINVAL). A new segment is all zeros.
	// ENOSPC: the limits shmmni or shmall; ENOMEM: no memory.
	Shmget(key Key, size uint64, flags int) (id int, err error)

	// Shmat attaches a segment and returns its memory, whole pages. Flags
	// are [ShmRdonly], [ShmRnd], [ShmRemap] and [ShmExec]. The memory is at
	// addr, or where there is room if that is 0. Writing to memory attached
	// with ShmRdonly faults, as does any use of it after Shmdt.
	Shmat(id int, addr uintptr, flags int) ([]byte, error)
	// Shmdt detaches memory that Shmat has returned.
	Shmdt(memory []byte) error

	// ShmctlStat is IPC_STAT; it takes permission to read (EACCES).
	ShmctlStat(id int) (ShmidDS, error)
	// ShmctlSet is IPC_SET; for permissions see MsgctlSet.
	ShmctlSet(id int, set PermSet) error
	// ShmctlRmid is IPC_RMID: the segment ends with its last mapping, and
	// its key is free at once.
	ShmctlRmid(id int) error
	// ShmctlLock is SHM_LOCK: the segment is not swapped out. It takes
	// CAP_IPC_LOCK, or the owner within RLIMIT_MEMLOCK (EPERM, ENOMEM).
	ShmctlLock(id int) error
	// ShmctlUnlock is SHM_UNLOCK.
	ShmctlUnlock(id int) error
	// ShmctlInfo is IPC_INFO; for the highest index see MsgctlInfo.
	ShmctlInfo() (info Shminfo, highest int, err error)
	// ShmInfo is SHM_INFO; for the highest index see MsgctlInfo.
	ShmInfo() (info ShmInfo, highest int, err error)
	// ShmStat is SHM_STAT: the segment at an index, and its id. An id stands
	// for its index. EINVAL: there is none; EACCES: it may not be read.
	ShmStat(index int) (id int, ds ShmidDS, err error)
	// ShmStatAny is SHM_STAT_ANY: ShmStat that takes no permission.
	ShmStatAny(index int) (id int, ds ShmidDS, err error)
}

// Mqueues are the calls on POSIX message queues; see mq_overview(7). Names
// begin with a slash and have no other (EINVAL, EACCES).
type Mqueues interface {
	// MqOpen opens a queue. Flags are O_RDONLY, O_WRONLY or O_RDWR,
	// O_CREAT, O_EXCL and O_NONBLOCK of package syscall. With O_CREAT, mode
	// is the new queue's permissions, less the umask, and attr its sizes,
	// nil for the defaults. ENOENT, EEXIST, EACCES; EINVAL: sizes above the
	// limits; EMFILE: RLIMIT_MSGQUEUE; ENOSPC: the limit queues_max.
	MqOpen(name string, flags int, mode uint32, attr *MqAttr) (Mqd, error)
	// MqUnlink removes the name; the queue ends with its last descriptor.
	MqUnlink(name string) error
	// MqList returns every POSIX queue of the namespace, by name.
	MqList() ([]MqueueStat, error)
	// MqCount returns how many there are.
	MqCount() (int, error)
}

// An Mqd is an open POSIX message queue: a message queue descriptor.
type Mqd interface {
	// Timedsend adds a message, behind those of its priority and above,
	// which is 0 to 32767 (EINVAL). It sleeps while the queue is full,
	// unless the descriptor is O_NONBLOCK (EAGAIN). EMSGSIZE: longer than
	// the queue's msgsize; EBADF: not open for writing.
	Timedsend(ctx context.Context, message []byte, priority uint) error
	// Timedreceive takes out the first message of the highest priority. It
	// sleeps while there is none, unless the descriptor is O_NONBLOCK
	// (EAGAIN). EMSGSIZE: the buffer is shorter than the queue's msgsize;
	// EBADF: not open for reading.
	Timedreceive(ctx context.Context, buffer []byte) (n int, priority uint, err error)
	// Notify registers the process for one notification: f is called, on a
	// goroutine of its own, when a message comes into the empty queue and
	// nobody sleeps in Timedreceive. That ends the registration, and so do
	// Close and the function that Notify returns, which also waits for f.
	// EBUSY: there is a registration.
	Notify(f func()) (cancel func() error, err error)
	// Getattr returns the attributes.
	Getattr() (MqAttr, error)
	// SetNonblock sets or clears O_NONBLOCK of the open description, and
	// returns the attributes from before.
	SetNonblock(nonblock bool) (MqAttr, error)
	// Close closes the descriptor and ends the calls that sleep in it.
	Close() error
}
