//go:build linux

package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
)

// An mqueueAccount is what inspect tells of a POSIX message queue.
type mqueueAccount struct {
	objectHead
	State     any       `json:"posix_message_queue"`
	Used      *string   `json:"last_used"` // null if that is not known
	Open      []opener  `json:"open"`
	Sending   []sleeper `json:"waiting_to_send"`
	Receiving []sleeper `json:"waiting_to_receive"`

	*viewing
	queue ipc.MqueueStat
	used  int64 // 0 if that is not known
}

// An opener is a process that has a POSIX queue open.
type opener struct {
	PID      int    `json:"pid"`
	FD       int    `json:"fd"`
	Receives bool   `json:"receives"`
	Sends    bool   `json:"sends"`
	Command  string `json:"command"`
}

// access says what the queue is open for.
func (o *opener) access() string {
	switch {
	case o.Receives && o.Sends:
		return "receive, send"
	case o.Sends:
		return "send"
	}
	return "receive"
}

func (v *viewing) mqueue(q ipc.MqueueStat) *mqueueAccount {
	in := func(call string) func(*host.Wait) bool {
		return func(w *host.Wait) bool { return w.Call == call && w.Name == q.Name }
	}
	a := &mqueueAccount{
		objectHead: v.headOf(objectName{kind: "mq", name: q.Name}, q.Mode, "receive", "send"),
		State:      v.names.MqueueFacts(q), Open: []opener{},
		Sending: v.sleepers(in("mq_timedsend")), Receiving: v.sleepers(in("mq_timedreceive")),
		viewing: v, queue: q,
	}
	if system, ok := v.system.(kernel.System); ok {
		a.tellUsed(system)
	}
	for _, p := range v.ns.Processes {
		for _, open := range p.Open {
			if open.Namespace == v.ns.Inode && open.Name == q.Name && !open.Unlinked {
				a.Open = append(a.Open, opener{p.PID, open.FD, open.Receives, open.Sends, p.Command})
			}
		}
	}
	return a
}

// tellUsed finds out when the queue was last used, which a server of ours does not
// tell.
func (a *mqueueAccount) tellUsed(system kernel.System) {
	used, err := system.MqUsed(a.queue.Name)
	if err != nil {
		return
	}
	text := used.UTC().Format(time.RFC3339)
	a.used, a.Used = used.Unix(), &text
}

func (a *mqueueAccount) lines() [][2]string {
	q := &a.queue
	owner, group := a.names.Owner(ipc.Perm{UID: q.UID, GID: q.GID})
	holds, limits := "it may not be opened by this user", ""
	if !q.Unreadable {
		holds = fmt.Sprintf("%d of %d messages%s", q.Attr.Curmsgs, q.Attr.Maxmsg, percent(uint64(q.Attr.Curmsgs), uint64(q.Attr.Maxmsg)))
		limits = fmt.Sprintf("a message may have %d bytes", q.Attr.Msgsize)
	}
	lines := [][2]string{
		{"object", "POSIX message queue " + q.Name},
		{"namespace", a.reference},
		{"owner", owner + ", group " + group},
		{"mode", a.permissions(q.Mode)},
		{"holds", holds},
		{"limits", limits},
	}
	if a.used != 0 {
		lines = append(lines, [2]string{"last used", a.when(a.used)})
	}
	waits := func(text string) func(*sleeper) string { return func(*sleeper) string { return text } }
	lines = append(lines, sleeperLines("receiving", a.Receiving, waits("waits to receive"))...)
	lines = append(lines, sleeperLines("sending", a.Sending, waits("waits to send"))...)
	return append(lines, [2]string{"not told", fmt.Sprintf("its messages, which cannot be seen without taking them; and its bytes and who is to be notified, which \"ipcns mq stat %s%s\" tells, and changes its times", q.Name, a.option())})
}

func (a *mqueueAccount) detail(w io.Writer) error {
	if len(a.Open) == 0 {
		return nil
	}
	t := table{rightAligned: []bool{true, true, false, false}}
	t.add("PID", "FD", "OPEN TO", "COMMAND")
	for _, p := range a.Open {
		t.add(strconv.Itoa(p.PID), strconv.Itoa(p.FD), p.access(), oneline.Of(p.Command))
	}
	return writeBelow(w, &t)
}

func (a *mqueueAccount) dump(io.Writer) error { return nil }
