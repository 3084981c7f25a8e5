//go:build linux

package doctor

import (
	"fmt"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/ipc"
)

// neverReadFor is after how long a queue with messages that nobody has ever
// received from is told of.
const neverReadFor = 10 * time.Minute

// queues finds queues that are full, and those that nobody reads.
func (ns patient) queues() (findings []Finding) {
	for _, q := range ns.Contents.Queues {
		findings = append(findings, ns.messageQueue(&q)...)
	}
	for _, q := range ns.Contents.Mqueues {
		findings = append(findings, ns.mqueue(&q)...)
	}
	return findings
}

func (ns patient) messageQueue(q *host.MessageQueue) []Finding {
	object, receive := fmt.Sprintf("queue:%d", q.ID), fmt.Sprintf("msg recv id:%d --timeout 0", q.ID)
	for _, w := range ns.waiters("msgsnd") {
		if w.ID == q.ID {
			return []Finding{ns.find(QueueFull, Error, object, receive,
				"%s waits%s to send to it; it holds %d of %s", named(w.Process), forLong(w.Since), q.Cbytes, count(q.Qbytes, "byte"))}
		}
	}
	// A message without text takes a byte of the limit too.
	switch since := ns.since(q.Ctime); {
	case q.Qbytes == 0:
		return []Finding{ns.find(QueueFull, Warning, object, fmt.Sprintf("msg set id:%d qbytes=%d", q.ID, ns.Contents.Limits.Msgmnb),
			"it takes 0 bytes: who sends to it will wait")}
	case max(q.Cbytes, q.Qnum) >= q.Qbytes:
		return []Finding{ns.find(QueueFull, Warning, object, receive,
			"it holds %d of %s: who sends to it will wait", q.Cbytes, count(q.Qbytes, "byte"))}
	case q.Qnum > 0 && q.Rtime == 0 && since >= neverReadFor && !ns.awaited(q.ID, "msgrcv") && ns.orphanQueue(q) == "":
		return []Finding{ns.find(QueueNeverRead, Warning, object, receive,
			"it holds %s, and nobody has received one since it was made or set %s ago", count(q.Qnum, "message"), age.Of(since))}
	case near(max(q.Cbytes, q.Qnum), q.Qbytes):
		return []Finding{ns.find(NearLimit, Note, object, receive,
			"it holds %d of %s", q.Cbytes, count(q.Qbytes, "byte"))}
	}
	return nil
}

func (ns patient) mqueue(q *ipc.MqueueStat) []Finding {
	object, receive := "mq:"+q.Name, "mq recv "+Quoted(q.Name)+" --timeout 0"
	for _, w := range ns.waiters("mq_timedsend") {
		if w.Name == q.Name {
			return []Finding{ns.find(QueueFull, Error, object, receive,
				"%s waits%s to send to it; it holds %d of %d messages", named(w.Process), forLong(w.Since), q.Attr.Curmsgs, q.Attr.Maxmsg)}
		}
	}
	if q.Unreadable || q.Attr.Maxmsg == 0 || q.Attr.Curmsgs < q.Attr.Maxmsg {
		return nil
	}
	return []Finding{ns.find(QueueFull, Warning, object, receive,
		"it holds %d of %d messages: who sends to it will wait", q.Attr.Curmsgs, q.Attr.Maxmsg)}
}

// named returns a process with its command, cut where that is long.
func named(p *host.Process) string {
	const enough = 40
	command := []rune(oneline.Of(p.Command))
	if len(command) > enough {
		command = append(command[:enough], []rune("...")...)
	}
	return fmt.Sprintf("process %d (%s)", p.PID, string(command))
}

// forLong says how long somebody has waited, if that is known.
func forLong(since time.Duration) string {
	if since < time.Second {
		return ""
	}
	return ", for " + age.Of(since) + ","
}
