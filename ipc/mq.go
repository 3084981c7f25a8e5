package ipc

// MqAttr is struct mq_attr of mq_getattr(3): the attributes of a POSIX
// message queue.
type MqAttr struct {
	Flags   int64 // O_NONBLOCK or 0, of the open description
	Maxmsg  int64 // messages that the queue takes
	Msgsize int64 // bytes that one message takes
	Curmsgs int64 // messages in the queue
}

// MqueueStat is what the mqueue file system tells of a POSIX message queue.
type MqueueStat struct {
	Name      string // with its leading slash
	UID       uint32
	GID       uint32
	Mode      uint32 // permission bits
	Inode     uint64
	Attr      MqAttr
	Bytes     uint64 // bytes in the queue: QSIZE of mq_overview(7)
	NotifyPID int32  // process registered by mq_notify, 0 for none

	// Unreadable says that the reader may not open the queue: Attr, Bytes
	// and NotifyPID are not known.
	Unreadable bool
}
