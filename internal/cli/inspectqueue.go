//go:build linux

package cli

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/sysv"
)

// mostPeeked is how many messages inspect looks at: the kernel takes longer for
// each that it has to pass by.
const mostPeeked = 1000

// A queueAccount is what inspect tells of a message queue.
type queueAccount struct {
	objectHead
	State     any           `json:"message_queue"`
	Msgmax    uint64        `json:"msgmax"`
	Sender    *actor        `json:"last_sender"`
	Receiver  *actor        `json:"last_receiver"`
	Sending   []sleeper     `json:"waiting_to_send"`
	Receiving []sleeper     `json:"waiting_to_receive"`
	Types     []typeAccount `json:"types"`
	Messages  []jsonMessage `json:"messages"` // the first
	Failure   string        `json:"messages_error,omitempty"`

	*viewing
	queue host.MessageQueue
	texts [][]byte
}

// A typeAccount is what inspect tells of the messages of a type.
type typeAccount struct {
	Type     int64 `json:"type"`
	Messages int   `json:"messages"`
	Bytes    int   `json:"bytes"`
}

func (v *viewing) queue(q host.MessageQueue) *queueAccount {
	name := objectName{kind: "queue", id: q.ID}
	a := &queueAccount{
		objectHead: v.headOf(name, q.Perm.Mode, "receive", "send"),
		State:      v.names.QueueFacts(q), Msgmax: v.ns.Contents.Limits.Msgmax,
		Sender: v.actor(int(q.Lspid), q.Stime), Receiver: v.actor(int(q.Lrpid), q.Rtime),
		Sending:   v.sleepers(func(w *host.Wait) bool { return w.Call == "msgsnd" && w.ID == q.ID }),
		Receiving: v.sleepers(func(w *host.Wait) bool { return w.Call == "msgrcv" && w.ID == q.ID }),
		Types:     []typeAccount{}, Messages: []jsonMessage{},
		viewing: v, queue: q,
	}
	if q.Qnum > 0 {
		a.peek()
	}
	return a
}

// peek looks at the first messages, which stay as they are.
func (a *queueAccount) peek() {
	types := map[int64]*typeAccount{}
	for message, err := range sysv.MessageQueueByID(a.system, a.queue.ID).Messages() {
		if err != nil {
			a.Failure = messageQueues.failure("peek into", fmt.Sprintf("id:%d", a.queue.ID), err).Error()
			break
		}
		position := len(a.Messages)
		a.Messages = append(a.Messages, jsonMessage{Position: &position, Type: &message.Type}.of(message.Text))
		a.texts = append(a.texts, message.Text)
		of := types[message.Type]
		if of == nil {
			of = &typeAccount{Type: message.Type}
			types[message.Type] = of
		}
		of.Messages++
		of.Bytes += len(message.Text)
		if len(a.Messages) == mostPeeked {
			break
		}
	}
	for _, of := range types {
		a.Types = append(a.Types, *of)
	}
	slices.SortFunc(a.Types, func(a, b typeAccount) int { return cmp.Compare(a.Type, b.Type) })
}

func (a *queueAccount) lines() [][2]string {
	q := &a.queue
	lines := append(a.heading(&a.objectHead, "message queue", q.ID, q.Perm), [][2]string{
		{"holds", fmt.Sprintf("%s, %d of %d bytes%s", counted(int(q.Qnum), "message", "messages"), q.Cbytes, q.Qbytes, percent(max(q.Cbytes, q.Qnum), q.Qbytes))},
		{"limits", fmt.Sprintf("a message may have %d bytes (msgmax); without CAP_SYS_RESOURCE the queue may be set to %d (msgmnb)", a.Msgmax, a.ns.Contents.Limits.Msgmnb)},
		{"last sent", a.by(q.Stime, a.Sender)},
		{"last received", a.by(q.Rtime, a.Receiver)},
		{"last changed", a.when(q.Ctime)},
	}...)
	ofType := func(verb string) func(s *sleeper) string {
		return func(s *sleeper) string { return fmt.Sprintf("waits to %s type %d", verb, *s.Type) }
	}
	lines = append(lines, sleeperLines("receiving", a.Receiving, ofType("receive"))...)
	return append(lines, sleeperLines("sending", a.Sending, ofType("send"))...)
}

func percent(used, limit uint64) string {
	if limit == 0 {
		return ""
	}
	return fmt.Sprintf(", %.0f %%", 100*float64(used)/float64(limit))
}

// glancedAt is how many messages the text has a line of.
const glancedAt = 20

func (a *queueAccount) detail(w io.Writer) error {
	if len(a.Types) > 0 {
		t := table{rightAligned: []bool{true, true, true}}
		t.add("TYPE", "MESSAGES", "BYTES")
		for _, of := range a.Types {
			t.add(strconv.FormatInt(of.Type, 10), strconv.Itoa(of.Messages), strconv.Itoa(of.Bytes))
		}
		if err := writeBelow(w, &t); err != nil {
			return err
		}
		t = table{rightAligned: []bool{true, true, true, false}}
		t.add("POSITION", "TYPE", "BYTES", "TEXT")
		for i, message := range a.Messages[:min(glancedAt, len(a.Messages))] {
			t.add(strconv.Itoa(i), strconv.FormatInt(*message.Type, 10), strconv.Itoa(message.Bytes), glance(a.texts[i]))
		}
		if err := writeBelow(w, &t); err != nil {
			return err
		}
	}
	return a.rest(w)
}

// writeBelow writes a table below an empty line.
func writeBelow(w io.Writer, t *table) error {
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return t.write(w, terminalWidth())
}

// rest says what is not told of the messages.
func (a *queueAccount) rest(w io.Writer) (err error) {
	if len(a.Messages) > glancedAt {
		_, err = fmt.Fprintf(w, "\nand %d more; see \"ipcns msg peek id:%d%s\"\n", max(int(a.queue.Qnum), len(a.Messages))-glancedAt, a.queue.ID, a.option())
	}
	if err == nil && len(a.Messages) == mostPeeked {
		_, err = fmt.Fprintf(w, "the types are those of the first %d messages\n", mostPeeked)
	}
	if err == nil && a.Failure != "" {
		_, err = fmt.Fprintf(w, "\n%s\n", oneline.Of(a.Failure))
	}
	return err
}

func (a *queueAccount) dump(w io.Writer) error {
	for i, text := range a.texts {
		if _, err := fmt.Fprintf(w, "\nmessage %d, type %d, %d bytes\n%s", i, *a.Messages[i].Type, len(text), hex.Dump(text)); err != nil {
			return err
		}
	}
	a.Messages = a.Messages[:min(len(a.Messages), glancedAt)] // all of them were shown
	return a.rest(w)
}
