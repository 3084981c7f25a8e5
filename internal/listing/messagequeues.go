//go:build linux

package listing

import (
	"fmt"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
)

var messageQueues = objects[host.MessageQueue]{
	plural: "message queues", singular: "message queue",
	read: func(system ipc.System) ([]host.MessageQueue, error) { return host.MessageQueues(system) },
	head: func(q *host.MessageQueue) (int, *ipc.Perm) { return q.ID, &q.Perm },
}

var messageQueueKind = kind{
	text: map[View]func(*page) error{
		Status: table("Message Queues",
			"key        msqid      owner      perms      used-bytes   messages    ",
			messageQueues.list, func(r *row, q *host.MessageQueue) {
				r.key(q.Perm.Key)
				r.int(10, int64(q.ID))
				r.owner(q.Perm.UID)
				r.mode(q.Perm.Mode & 0o777)
				r.uint(12, q.Cbytes)
				r.uint(12, q.Qnum)
			}),
		Times: table("Message Queues Send/Recv/Change Times",
			"msqid    owner      send                 recv                 change              ",
			messageQueues.list, func(r *row, q *host.MessageQueue) {
				r.int(8, int64(q.ID))
				r.owner(q.Perm.UID)
				r.time(20, time.Stamp, q.Stime)
				r.time(20, time.Stamp, q.Rtime)
				r.time(20, time.Stamp, q.Ctime)
			}),
		PIDs: table("Message Queues PIDs",
			"msqid      owner      lspid      lrpid     ",
			messageQueues.list, func(r *row, q *host.MessageQueue) {
				r.int(8, int64(q.ID))
				r.owner(q.Perm.UID)
				r.string(0, "")
				r.rightInt(5, int64(q.Lspid))
				r.string(3, "")
				r.rightInt(5, int64(q.Lrpid))
			}),
		Creators: table("Message Queues Creators/Owners",
			"msqid      perms      cuid       cgid       uid        gid       ",
			messageQueues.list, func(r *row, q *host.MessageQueue) { r.creators(q.ID, &q.Perm) }),
		Limits:  messageLimits,
		Summary: messageStatus,
	},
	list: func(to *document, from *source) error {
		return listFacts(&to.MessageQueues, from, messageQueues.list, messageQueueFactsOf)
	},
	sum: func(to *summary, from *source) error {
		info, err := messageInfo(from.System)
		to.MessageQueues = (*messageSummary)(&info)
		return err
	},
	describe: describeMessageQueue,
	facts:    factsOfOne(messageQueues.find, messageQueueFactsOf),
}

func messageLimits(p *page) error {
	p.heading("Messages Limits")
	fmt.Fprintf(p, "max queues system wide = %d\n", p.limits.Msgmni)
	fmt.Fprintf(p, "max size of message (bytes) = %d\n", p.limits.Msgmax)
	fmt.Fprintf(p, "default max size of queue (bytes) = %d\n", p.limits.Msgmnb)
	return nil
}

func messageInfo(system ipc.System) (ipc.MsgInfo, error) {
	info, _, err := system.MsgInfo()
	if err != nil {
		return info, fmt.Errorf("cannot count message queues: %w", err)
	}
	return info, nil
}

func messageStatus(p *page) error {
	info, err := messageInfo(p.System)
	if err != nil {
		return err
	}
	p.heading("Messages Status")
	fmt.Fprintf(p, "allocated queues = %d\nused headers = %d\nused space = %d bytes\n", info.Queues, info.Messages, info.Bytes)
	return nil
}

func describeMessageQueue(p *page, id int) error {
	q, err := messageQueues.find(&p.source, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(p, "\nMessage Queue msqid=%d\n", q.ID)
	fmt.Fprintf(p, "uid=%d\tgid=%d\tcuid=%d\tcgid=%d\tmode=%#o\n", q.Perm.UID, q.Perm.GID, q.Perm.CUID, q.Perm.CGID, q.Perm.Mode)
	fmt.Fprintf(p, "cbytes=%d\tqbytes=%d\tqnum=%d\tlspid=%d\tlrpid=%d\n", q.Cbytes, q.Qbytes, q.Qnum, q.Lspid, q.Lrpid)
	fmt.Fprintf(p, "send_time=%s\nrcv_time=%s\nchange_time=%s\n\n", fullTime(q.Stime), fullTime(q.Rtime), fullTime(q.Ctime))
	return nil
}

// fullTime is a time as ipcs -i shows it.
func fullTime(seconds int64) string {
	return fmt.Sprintf("%-26s", appendTime(nil, time.ANSIC, seconds))
}
