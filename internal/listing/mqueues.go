//go:build linux

package listing

import (
	"fmt"
	"strconv"

	"github.com/ipcns/ipcns/ipc"
)

// The columns of POSIX queues are those of ipcs, but for the name at the end:
// it may have 255 bytes, and spaces.
var mqueueKind = kind{
	text: map[View]func(*page) error{
		Status: table("POSIX Message Queues",
			"owner      perms      maxmsg     msgsize    messages   used-bytes   name",
			mqueues, func(r *row, q *ipc.MqueueStat) {
				r.owner(q.UID)
				r.mode(q.Mode)
				r.known(10, q, q.Attr.Maxmsg)
				r.known(10, q, q.Attr.Msgsize)
				r.known(10, q, q.Attr.Curmsgs)
				r.known(12, q, int64(q.Bytes))
				r.string(0, printable(q.Name))
			}),
		PIDs: table("POSIX Message Queues Notification PIDs",
			"owner      notify-pid name",
			mqueues, func(r *row, q *ipc.MqueueStat) {
				r.owner(q.UID)
				r.known(10, q, int64(q.NotifyPID))
				r.string(0, printable(q.Name))
			}),
		Creators: table("POSIX Message Queues Owners",
			"perms      uid        gid        name",
			mqueues, func(r *row, q *ipc.MqueueStat) {
				r.mode(q.Mode)
				r.string(10, r.names.User(q.UID))
				r.string(10, r.names.group(q.GID))
				r.string(0, printable(q.Name))
			}),
		Limits:  mqueueLimits,
		Summary: mqueueStatus,
	},
	list: func(to *document, from *source) error {
		return listFacts(&to.Mqueues, from, mqueues, mqueueFactsOf)
	},
	sum: func(to *summary, from *source) (err error) {
		to.Mqueues, err = sumMqueues(from)
		return err
	},
}

// known is a number that an unreadable queue does not tell.
func (r *row) known(width int, q *ipc.MqueueStat, n int64) {
	if q.Unreadable {
		r.string(width, "-")
		return
	}
	r.int(width, n)
}

// printable escapes what is not printable in a name, as in a Go string: a
// name is any bytes, and a line feed or a terminal's control sequence in one
// must not pass for a row of its own.
func printable(name string) string {
	quoted := strconv.Quote(name)
	return quoted[1 : len(quoted)-1]
}

// mqueues returns the POSIX queues, with the reader's user and group ids.
func mqueues(from *source) ([]ipc.MqueueStat, error) {
	queues, err := from.MqList()
	if err != nil {
		return nil, fmt.Errorf("cannot list POSIX message queues: %w", err)
	}
	for i := range queues {
		queues[i].UID = from.names.uid(queues[i].UID)
		queues[i].GID = from.names.gid(queues[i].GID)
	}
	return queues, nil
}

func mqueueLimits(p *page) error {
	p.heading("POSIX Messages Limits")
	fmt.Fprintf(p, "max number of queues = %d\n", p.limits.QueuesMax)
	fmt.Fprintf(p, "max messages in queue = %d\n", p.limits.MsgMax)
	fmt.Fprintf(p, "max size of message (bytes) = %d\n", p.limits.MsgsizeMax)
	fmt.Fprintf(p, "default max messages in queue = %d\n", p.limits.MsgDefault)
	fmt.Fprintf(p, "default max size of message (bytes) = %d\n", p.limits.MsgsizeDefault)
	return nil
}

// sumMqueues counts the POSIX queues and what is in them, which is not known
// if one of them is unreadable.
func sumMqueues(from *source) (*mqueueSummary, error) {
	queues, err := mqueues(from)
	if err != nil {
		return nil, err
	}
	var messages int64
	var bytes uint64
	sum := &mqueueSummary{Queues: len(queues), Messages: &messages, Bytes: &bytes}
	for i := range queues {
		if queues[i].Unreadable {
			return &mqueueSummary{Queues: len(queues)}, nil
		}
		messages += queues[i].Attr.Curmsgs
		bytes += queues[i].Bytes
	}
	return sum, nil
}

func mqueueStatus(p *page) error {
	sum, err := sumMqueues(&p.source)
	if err != nil {
		return err
	}
	p.heading("POSIX Messages Status")
	fmt.Fprintf(p, "allocated queues = %d\n", sum.Queues)
	if sum.Messages == nil {
		fmt.Fprintf(p, "messages = -\nused space = - bytes\n")
		return nil
	}
	fmt.Fprintf(p, "messages = %d\nused space = %d bytes\n", *sum.Messages, *sum.Bytes)
	return nil
}
