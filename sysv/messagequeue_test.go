//go:build linux

package sysv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
	"golang.org/x/sys/unix"
)

// newQueue makes a queue that is removed with the test.
func newQueue(t *testing.T) *sysv.MessageQueue {
	t.Helper()
	q, err := sysv.CreateMessageQueue(system, key, 0o600|ipc.Excl)
	must(t, err)
	removed(t, q)
	return q
}

// send sends messages, which there has to be room for.
func send(t *testing.T, q *sysv.MessageQueue, messages ...sysv.Message) {
	t.Helper()
	for _, m := range messages {
		must(t, q.Send(soon(t), m.Type, m.Text, ipc.NoWait))
	}
}

func message(typ int64, text string) sysv.Message { return sysv.Message{Type: typ, Text: []byte(text)} }

func TestMessageQueueByKeyAndID(t *testing.T) {
	_, err := sysv.OpenMessageQueue(system, key)
	wantError(t, err, syscall.ENOENT, "msgget queue key 0x0000002a: the key has none: no such file or directory")

	q, err := sysv.CreateMessageQueue(system, key, 0o640)
	must(t, err)
	removed(t, q)
	if want := fmt.Sprintf("queue id %d (key 0x0000002a)", q.ID()); q.String() != want || q.Key() != key {
		t.Errorf("got %q with key %v, want %q", q, q.Key(), want)
	}

	same, err := sysv.OpenMessageQueue(system, key)
	must(t, err)
	again, err := sysv.CreateMessageQueue(system, key, 0o600)
	must(t, err)
	byID := sysv.MessageQueueByID(system, q.ID())
	if want := fmt.Sprintf("queue id %d", q.ID()); byID.String() != want || byID.Key() != ipc.Private {
		t.Errorf("got %q with key %v, want %q", byID, byID.Key(), want)
	}
	for _, other := range []*sysv.MessageQueue{same, again, byID} {
		ds, err := other.Stat()
		if err != nil || other.ID() != q.ID() || ds.Perm.Key != key || ds.Perm.Mode != 0o640 {
			t.Errorf("%v: got %+v, error %v", other, ds, err)
		}
	}

	_, err = sysv.CreateMessageQueue(system, key, 0o600|ipc.Excl)
	wantError(t, err, syscall.EEXIST, "msgget queue key 0x0000002a: the key has one already: file exists")
}

func TestPrivateMessageQueue(t *testing.T) {
	first, err := sysv.CreateMessageQueue(system, ipc.Private, 0o600)
	must(t, err)
	removed(t, first)
	second, err := sysv.CreateMessageQueue(system, ipc.Private, 0o600)
	must(t, err)
	removed(t, second)
	if first.ID() == second.ID() || first.Key() != ipc.Private {
		t.Errorf("made %v and %v", first, second)
	}

	before, _, err := system.MsgInfo()
	must(t, err)
	_, err = sysv.OpenMessageQueue(system, ipc.Private)
	wantError(t, err, syscall.ENOENT, "msgget queue key 0x00000000: the key IPC_PRIVATE finds none: no such file or directory")
	if after, _, err := system.MsgInfo(); err != nil || after.Queues != before.Queues {
		t.Errorf("there were %d queues and are %d, error %v", before.Queues, after.Queues, err)
	}
}

func TestMessageQueueLimit(t *testing.T) {
	setLimit(t, "msgmni", "0")
	_, err := sysv.CreateMessageQueue(system, key, 0o600)
	wantError(t, err, syscall.ENOSPC, "msgget queue key 0x0000002a: the limit msgmni is reached: no space left on device")
}

func TestReceiveSelects(t *testing.T) {
	for _, test := range []struct {
		typ   int64
		flags int
		want  string
	}{
		{0, 0, "five"},
		{2, 0, "two"},
		{-4, 0, "two"},
		{5, ipc.MsgExcept, "three"},
		{3, ipc.MsgExcept, "five"},
		{5, ipc.MsgNoError, "five"},
	} {
		q, err := sysv.CreateMessageQueue(system, ipc.Private, 0o600)
		must(t, err)
		removed(t, q)
		send(t, q, message(5, "five"), message(3, "three"), message(2, "two"))
		buffer := make([]byte, 10)
		typ, n, err := q.Receive(soon(t), test.typ, buffer, test.flags)
		wantType := map[string]int64{"two": 2, "three": 3, "five": 5}[test.want]
		if err != nil || string(buffer[:n]) != test.want || typ != wantType {
			t.Errorf("Receive(%d, %#o): got %q of type %d, error %v, want %q", test.typ, test.flags, buffer[:n], typ, err, test.want)
		}
	}
}

func TestReceiveCutsWithNoError(t *testing.T) {
	q := newQueue(t)
	send(t, q, message(1, "hello"))
	buffer := make([]byte, 4)
	_, _, err := q.Receive(soon(t), 0, buffer, 0)
	wantError(t, err, syscall.E2BIG, "msgrcv queue id %d (key 0x0000002a): the message is longer than the buffer of 4 bytes: argument list too long", q.ID())
	_, n, err := q.Receive(soon(t), 0, buffer, ipc.MsgNoError)
	if err != nil || string(buffer[:n]) != "hell" {
		t.Errorf("got %q, error %v", buffer[:n], err)
	}
}

func TestSendErrors(t *testing.T) {
	q := newQueue(t)
	wantError(t, q.Send(soon(t), 1, make([]byte, 9000), 0), syscall.EINVAL,
		"msgsnd queue id %d (key 0x0000002a): message of 9000 bytes exceeds msgmax 8192: invalid argument", q.ID())
	wantError(t, q.Send(soon(t), 0, nil, 0), syscall.EINVAL,
		"msgsnd queue id %d (key 0x0000002a): message type 0 is below 1: invalid argument", q.ID())
	must(t, q.SetQbytes(10))
	send(t, q, message(1, "0123456789"))
	wantError(t, q.Send(soon(t), 1, []byte("x"), ipc.NoWait), syscall.EAGAIN,
		"msgsnd queue id %d (key 0x0000002a): it is full: resource temporarily unavailable", q.ID())
}

func TestReceiveErrors(t *testing.T) {
	q := newQueue(t)
	_, _, err := q.Receive(soon(t), 0, make([]byte, 10), ipc.NoWait)
	wantError(t, err, syscall.ENOMSG, "msgrcv queue id %d (key 0x0000002a): it has no such message: no message of desired type", q.ID())
}

// TestMessageQueueContexts has contexts end calls that wait, and expects that
// nothing was sent or received by then.
func TestMessageQueueContexts(t *testing.T) {
	q := newQueue(t)
	must(t, q.SetQbytes(5))
	send(t, q, message(1, "first"))
	testContexts(t, unix.SYS_MSGSND, fmt.Sprintf("msgsnd queue id %d (key 0x0000002a)", q.ID()), func(ctx context.Context) error {
		return q.Send(ctx, 1, []byte("never"), 0)
	})
	testContexts(t, unix.SYS_MSGRCV, fmt.Sprintf("msgrcv queue id %d (key 0x0000002a)", q.ID()), func(ctx context.Context) error {
		_, _, err := q.Receive(ctx, 2, make([]byte, 10), 0)
		return err
	})
	checkMessages(t, q, message(1, "first"))

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Send(ended, 1, nil, ipc.NoWait); err != nil {
		t.Errorf("Send that does not wait looks at its context: %v", err)
	}
	if _, _, err := q.Receive(ended, 0, make([]byte, 10), ipc.NoWait); err != nil {
		t.Errorf("Receive that does not wait looks at its context: %v", err)
	}
}

func TestSendAndReceiveWaitForEachOther(t *testing.T) {
	q := newQueue(t)
	buffer := make([]byte, 10)
	var n int
	receiver := waiting(t, unix.SYS_MSGRCV, func() (err error) {
		_, n, err = q.Receive(soon(t), 0, buffer, 0)
		return err
	})
	send(t, q, message(1, "hello"))
	if err := receiver(); err != nil || string(buffer[:n]) != "hello" {
		t.Errorf("got %q, error %v", buffer[:n], err)
	}

	must(t, q.SetQbytes(5))
	send(t, q, message(1, "first"))
	sender := waiting(t, unix.SYS_MSGSND, func() error { return q.Send(soon(t), 2, []byte("next"), 0) })
	_, _, err := q.Receive(soon(t), 0, buffer, 0)
	must(t, errors.Join(err, sender()))
	checkMessages(t, q, message(2, "next"))
}

func TestRemovedMessageQueue(t *testing.T) {
	q := newQueue(t)
	id := q.ID()
	receiver := waiting(t, unix.SYS_MSGRCV, func() error {
		_, _, err := q.Receive(soon(t), 0, nil, 0)
		return err
	})
	must(t, q.Remove())
	wantError(t, receiver(), syscall.EIDRM, "msgrcv queue id %d (key 0x0000002a): it was removed meanwhile: identifier removed", id)

	_, statError := q.Stat()
	_, _, receiveError := q.Receive(soon(t), 0, nil, 0)
	_, _, peekError := q.Peek(0, nil)
	for call, err := range map[string]error{
		"msgsnd":               q.Send(soon(t), 1, nil, 0),
		"msgrcv":               receiveError,
		"msgctl(IPC_STAT)":     statError,
		"msgctl(MSG_STAT_ANY)": q.Chmod(0o600),
		"msgctl(IPC_RMID)":     q.Remove(),
	} {
		wantError(t, err, syscall.EINVAL, "%s queue id %d (key 0x0000002a): there is none of that id: invalid argument", call, id)
	}
	wantError(t, peekError, syscall.EINVAL, "msgrcv(MSG_COPY) queue id %d (key 0x0000002a): there is none of that id, or the message is longer than the limit msgmax is now: invalid argument", id)

	// Another queue at the same index is not taken for it: the kernel goes
	// through 64 of them.
	for range 64 {
		another, err := sysv.CreateMessageQueue(system, ipc.Private, 0o600)
		must(t, err)
		removed(t, another)
		if another.ID()&0x7fff == id&0x7fff {
			wantError(t, q.Chmod(0), syscall.EINVAL, "msgctl(MSG_STAT_ANY) queue id %d (key 0x0000002a): there is none of that id: invalid argument", id)
			return
		}
		must(t, another.Remove())
	}
	t.Error("the index was not used again")
}

func TestPeek(t *testing.T) {
	q := newQueue(t)
	send(t, q, message(7, "one"), message(8, "two"))
	before, err := q.Stat()
	must(t, err)
	buffer := make([]byte, 5)
	typ, n, err := q.Peek(1, buffer)
	if err != nil || typ != 8 || string(buffer[:n]) != "two" {
		t.Errorf("got %q of type %d, error %v", buffer[:n], typ, err)
	}
	if after, err := q.Stat(); err != nil || after != before {
		t.Errorf("the state was %+v and is %+v, error %v", before, after, err)
	}
	for _, position := range []int{2, -1} {
		_, _, err = q.Peek(position, buffer)
		wantError(t, err, syscall.ENOMSG, "msgrcv(MSG_COPY) queue id %d (key 0x0000002a): it has no such message: no message of desired type", q.ID())
	}
	_, _, err = q.Peek(0, buffer[:2])
	wantError(t, err, syscall.E2BIG, "msgrcv(MSG_COPY) queue id %d (key 0x0000002a): the message is longer than the buffer of 2 bytes: argument list too long", q.ID())

	setLimit(t, "msgmax", "2")
	_, _, err = q.Peek(0, buffer)
	wantError(t, err, syscall.EINVAL, "msgrcv(MSG_COPY) queue id %d (key 0x0000002a): there is none of that id, or the message is longer than the limit msgmax is now: invalid argument", q.ID())
}

// checkMessages expects messages in a queue, first to last.
func checkMessages(t *testing.T, q *sysv.MessageQueue, want ...sysv.Message) {
	t.Helper()
	var got []sysv.Message
	for m, err := range q.Messages() {
		must(t, err)
		got = append(got, m)
	}
	equal := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		equal = equal && got[i].Type == want[i].Type && bytes.Equal(got[i].Text, want[i].Text)
	}
	if !equal {
		t.Errorf("got %d messages: %.1000v\nwant %d: %.1000v", len(got), got, len(want), want)
	}
}

func TestMessages(t *testing.T) {
	setLimit(t, "msgmnb", "200000")
	setLimit(t, "msgmax", "100000")
	q := newQueue(t)
	checkMessages(t, q)
	long := message(3, strings.Repeat("long", 20000))
	all := []sysv.Message{message(1, "one"), message(2, ""), long, message(4, "four")}
	send(t, q, all...)
	checkMessages(t, q, all...)

	for m, err := range q.Messages() {
		if err != nil || m.Type != 1 {
			t.Errorf("got a message of type %d, error %v", m.Type, err)
		}
		break
	}
	checkMessages(t, q, all...)
}

func TestMessagesOfAQueueThatChanges(t *testing.T) {
	q := newQueue(t)
	send(t, q, message(1, ""), message(2, ""), message(3, ""))
	var types []int64
	for m, err := range q.Messages() {
		must(t, err)
		types = append(types, m.Type)
		if m.Type == 1 {
			_, _, err := q.Receive(soon(t), 0, nil, 0)
			must(t, err)
			send(t, q, message(4, ""))
		}
	}
	if fmt.Sprint(types) != "[1 3 4]" {
		t.Errorf("got the types %v", types)
	}

	var last error
	yields := 0
	for _, err := range q.Messages() {
		if yields++; yields > 2 {
			break
		}
		last = err
		if err == nil {
			must(t, q.Remove())
		}
	}
	if yields != 2 || !errors.Is(last, syscall.EINVAL) {
		t.Errorf("a queue that was removed: %d yields, the last with error %v", yields, last)
	}
}

func TestMessageQueueSettings(t *testing.T) {
	q := newQueue(t)
	before, err := q.Stat()
	must(t, err)
	if before.Perm.Mode != 0o600 || before.Qbytes != 16384 {
		t.Errorf("a new queue: %+v", before)
	}
	must(t, q.SetQbytes(100))
	must(t, q.Chmod(0o640))
	after, err := q.Stat()
	must(t, err)
	want := before
	want.Perm.Mode, want.Qbytes, want.Ctime = 0o640, 100, after.Ctime
	if after != want {
		t.Errorf("got  %+v\nwant %+v", after, want)
	}

	wantError(t, q.Chown(^uint32(0), 0), syscall.EINVAL,
		"msgctl(IPC_SET) queue id %d (key 0x0000002a): there is none of that id, or no such user or group in the user namespace: invalid argument", q.ID())
	if err := q.SetQbytes(20000); err != nil { // it takes CAP_SYS_RESOURCE
		wantError(t, err, syscall.EPERM, "msgctl(IPC_SET) queue id %d (key 0x0000002a): 20000 bytes exceed msgmnb 16384, which takes CAP_SYS_RESOURCE: operation not permitted", q.ID())
	}
}

func TestMessageQueueOwner(t *testing.T) {
	q := newQueue(t)
	testOwner(t, q.Chown, func() (ipc.Perm, error) {
		ds, err := q.Stat()
		return ds.Perm, err
	})
}

// testOwner gives an object to another user.
func testOwner(t *testing.T, chown func(uid, gid uint32) error, perm func() (ipc.Perm, error)) {
	t.Helper()
	want, err := perm()
	must(t, err)
	if err := chown(ipctest.Nobody, ipctest.Nobody-1); errors.Is(err, syscall.EINVAL) {
		t.Skip("this user namespace has only one user")
	} else if err != nil {
		t.Fatal(err)
	}
	want.UID, want.GID = ipctest.Nobody, ipctest.Nobody-1
	if got, err := perm(); err != nil || got != want {
		t.Errorf("got %+v, error %v, want %+v", got, err, want)
	}
}

func TestMessageQueueAllocatesNothing(t *testing.T) {
	q := newQueue(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	text, buffer := []byte("hello"), make([]byte, 10)
	ipctest.NoAllocations(t, "Send and Receive", func() {
		if err := q.Send(ctx, 1, text, 0); err != nil {
			t.Error(err)
		}
		if _, _, err := q.Receive(ctx, 0, buffer, 0); err != nil {
			t.Error(err)
		}
	})
}
