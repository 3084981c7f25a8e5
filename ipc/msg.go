package ipc

// Flags of msgrcv(2), combined with [NoWait].
const (
	MsgNoError = 0o10000 // MSG_NOERROR: cut a message that is too long for the buffer
	MsgExcept  = 0o20000 // MSG_EXCEPT: with a type above 0, the first message of another type
	MsgCopy    = 0o40000 // MSG_COPY: copy the message at a position and leave it in the queue
)

// MsqidDS is struct msqid_ds: the state of a message queue. Times are whole
// seconds since the Unix epoch, 0 for never; process ids are those of the
// reader's PID namespace, 0 for none or one not visible there. See msgctl(2).
type MsqidDS struct {
	Perm   Perm
	Stime  int64  // last msgsnd
	Rtime  int64  // last msgrcv
	Ctime  int64  // creation or last IPC_SET
	Cbytes uint64 // bytes in the queue
	Qnum   uint64 // messages in the queue
	Qbytes uint64 // bytes that the queue takes
	Lspid  int32  // process of the last msgsnd
	Lrpid  int32  // process of the last msgrcv; a thread id after a direct hand-over (SEMANTICS A.4.7)
}

// MsqidSet is what IPC_SET of msgctl(2) changes of a message queue.
type MsqidSet struct {
	PermSet
	Qbytes uint64 // bytes that the queue takes; above the limit msgmnb it takes CAP_SYS_RESOURCE
}

// Msginfo is struct msginfo, what IPC_INFO of msgctl(2) tells of a namespace:
// three limits, and constants that Linux does not use.
type Msginfo struct {
	Msgmax, Msgmnb, Msgmni                  int
	Msgpool, Msgmap, Msgssz, Msgtql, Msgseg int
}

// MsgInfo is what MSG_INFO of msgctl(2) tells of a namespace.
type MsgInfo struct {
	Queues   int // queues that exist
	Messages int // messages in all of them
	Bytes    int // bytes in all of them
}
