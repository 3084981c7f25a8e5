package conformance

import (
	"context"
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
)

// messageQueues are System V message queues.
var messageQueues = []Case{
	{"A.4.1 which message a receiver gets", func(t *testing.T, w World) {
		p := w.Root()
		for _, c := range []struct {
			typ   int64
			flags int
			want  string // in the order in which they come
		}{
			{0, 0, "5a 3b 2c 3d 2e MAXf"},
			{3, 0, "3b 3d"},
			{9, 0, ""},
			{math.MaxInt64, 0, "MAXf"},
			{-1, 0, ""},
			{-2, 0, "2c 2e"},
			{-3, 0, "2c 2e 3b 3d"},
			{-4, 0, "2c 2e 3b 3d"},
			{-9, 0, "2c 2e 3b 3d 5a"},
			{-math.MaxInt64, 0, "2c 2e 3b 3d 5a MAXf"},
			{math.MinInt64, 0, "2c 2e 3b 3d 5a MAXf"},
			{3, ipc.MsgExcept, "5a 2c 2e MAXf"},
			{9, ipc.MsgExcept, "5a 3b 2c 3d 2e MAXf"},
			{0, ipc.MsgExcept, "5a 3b 2c 3d 2e MAXf"},
			{-3, ipc.MsgExcept, "2c 2e 3b 3d"},
		} {
			t.Logf("type %d, flags %#o", c.typ, c.flags)
			id := msgget(t, p, ipc.Private, create)
			for _, m := range []struct {
				typ  int64
				text string
			}{{5, "5a"}, {3, "3b"}, {2, "2c"}, {3, "3d"}, {2, "2e"}, {math.MaxInt64, "MAXf"}} {
				msgsnd(t, p, id, m.typ, m.text)
			}
			equal(t, "messages", receiveAll(t, p, id, c.typ, c.flags), c.want)
		}
	}},
	{"A.4.1 a receiver gets the type, and the bytes of the text as they were", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		for _, text := range []string{"", "\x00", "a\x00b\n", strings.Repeat("x", 8192)} {
			msgsnd(t, p, id, math.MaxInt64-1, text)
			typ, got := msgrcv(t, p, id, 0, 0)
			equal(t, "type", typ, math.MaxInt64-1)
			equal(t, "text", got, text)
		}
	}},
	{"A.4.2 a message that is longer than the buffer stays, and no other is tried", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		msgsnd(t, p, id, 1, "long")
		msgsnd(t, p, id, 1, "s")
		for _, typ := range []int64{0, 1, -1} {
			wantErrno(t, receiveInto(p, id, typ, 3), syscall.E2BIG)
		}
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "long s")
	}},
	{"A.4.2 MSG_NOERROR cuts a message, and the rest is lost", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		for _, size := range []int{3, 0} {
			msgsnd(t, p, id, 7, "long")
			buffer := make([]byte, size)
			typ, n, err := p.Msgrcv(ctx, id, 0, buffer, ipc.MsgNoError)
			must(t, err)
			equal(t, "type", typ, 7)
			equal(t, "text", string(buffer[:n]), "long"[:size])
			equal(t, "messages left", msgStat(t, p, id).Qnum, 0)
		}
	}},
	{"A.4.3 without a message that it wants, a receiver with IPC_NOWAIT fails and another sleeps", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		wantErrno(t, receiveInto(p, id, 0, 8), syscall.ENOMSG)
		msgsnd(t, p, id, 2, "two")
		wantErrno(t, receiveInto(p, id, 3, 8), syscall.ENOMSG)
		r := receiver(t, p, id, 3, 8, 0)
		msgsnd(t, p, id, 2, "two")
		stillAsleep(t, r.over)
		msgsnd(t, p, id, 3, "three")
		r.gets(t, 3, "three")
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "two two")
	}},

	{"A.4.5 MSG_COPY copies the message at a position, and it stays", func(t *testing.T, w World) {
		need(t, w, MsgCopy)
		p := w.Root()
		id := msgget(t, p, 1, create)
		msgsnd(t, p, id, 5, "first")
		msgsnd(t, p, id, 3, "second")
		before := msgStat(t, p, id)
		for _, c := range []struct {
			position int64
			flags    int
			size     int
			want     string
			errno    syscall.Errno
		}{
			{0, ipc.NoWait, 8, "first", 0},
			{1, ipc.NoWait, 8, "second", 0},
			{1, ipc.NoWait, 8, "second", 0},
			{0, ipc.NoWait, 5, "first", 0},
			{0, ipc.NoWait, 9000, "first", 0}, // more than msgmax
			{2, ipc.NoWait, 8, "", syscall.ENOMSG},
			{-1, ipc.NoWait, 8, "", syscall.ENOMSG},
			{0, 0, 8, "", syscall.EINVAL},
			{2, 0, 8, "", syscall.EINVAL},
			{0, ipc.NoWait | ipc.MsgExcept, 8, "", syscall.EINVAL},
			{0, ipc.NoWait, 4, "", syscall.E2BIG},
			{0, ipc.NoWait | ipc.MsgNoError, 4, "", syscall.EINVAL},
			{0, ipc.NoWait | ipc.MsgNoError, 5, "first", 0},
		} {
			t.Logf("position %d, flags %#o, buffer of %d bytes", c.position, c.flags, c.size)
			buffer := make([]byte, c.size)
			_, n, err := p.Msgrcv(ctx, id, c.position, buffer, ipc.MsgCopy|c.flags)
			wantErrno(t, err, c.errno)
			equal(t, "text", string(buffer[:n]), c.want)
		}
		equal(t, "queue", msgStat(t, p, id), before)
	}},
	{"A.4.5 MSG_COPY returns the type", func(t *testing.T, w World) {
		need(t, w, MsgCopy)
		p := w.Root()
		id := msgget(t, p, 1, create)
		msgsnd(t, p, id, 5, "")
		typ, _, err := p.Msgrcv(ctx, id, 0, nil, ipc.MsgCopy|ipc.NoWait)
		must(t, err)
		equal(t, "type", typ, 5)
	}},
	{"A.4.5 MSG_COPY of a message that is longer than msgmax by now is EINVAL", func(t *testing.T, w World) {
		need(t, w, MsgCopy)
		p := w.Root()
		id := msgget(t, p, 1, create)
		msgsnd(t, p, id, 1, "12345678")
		must(t, w.SetLimit("msgmax", 7))
		wantErrno(t, errorOf2(p.Msgrcv(ctx, id, 0, make([]byte, 8), ipc.MsgCopy|ipc.NoWait)), syscall.EINVAL)
	}},

	{"A.4.6 a message for a receiver that sleeps does not enter the queue", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 2}))
		msgsnd(t, p, id, 1, "1")
		r := receiver(t, p, id, 2, 8, 0)
		msgsnd(t, p, id, 2, "2")
		equal(t, "messages", msgStat(t, p, id).Qnum, 1)
		r.gets(t, 2, "2")
	}},
	{"A.4.6 the receiver that came first gets the message, if it wants it", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		first := receiver(t, p, id, 0, 8, 0)
		second := receiver(t, p, id, 2, 8, 0)
		third := receiver(t, p, id, -9, 8, 0)
		fourth := receiver(t, p, id, 5, 8, ipc.MsgExcept)
		msgsnd(t, p, id, 2, "a")
		first.gets(t, 2, "a")
		msgsnd(t, p, id, 5, "b")
		third.gets(t, 5, "b")
		msgsnd(t, p, id, 5, "c")
		msgsnd(t, p, id, 2, "d")
		second.gets(t, 2, "d")
		msgsnd(t, p, id, 2, "e")
		fourth.gets(t, 2, "e")
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "c")
	}},
	{"A.4.6 a receiver with too small a buffer is woken with E2BIG and the next is asked", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		tooSmall := receiver(t, p, id, 0, 3, 0)
		other := receiver(t, p, id, 9, 3, 0)
		next := receiver(t, p, id, 0, 4, 0)
		msgsnd(t, p, id, 1, "long")
		wantErrno(t, outcome(t, tooSmall.over), syscall.E2BIG)
		next.gets(t, 1, "long")
		stillAsleep(t, other.over)
	}},
	{"A.4.6 if all have too small a buffer, the message enters the queue", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		one, other := receiver(t, p, id, 0, 3, 0), receiver(t, p, id, 1, 2, 0)
		msgsnd(t, p, id, 1, "long")
		wantErrno(t, outcome(t, one.over), syscall.E2BIG)
		wantErrno(t, outcome(t, other.over), syscall.E2BIG)
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "long")
	}},
	{"A.4.6, A.4.2 a receiver that sleeps with MSG_NOERROR gets what its buffer takes", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		r := receiver(t, p, id, 0, 3, ipc.MsgNoError)
		msgsnd(t, p, id, 1, "long")
		r.gets(t, 1, "lon")
		equal(t, "messages", msgStat(t, p, id).Qnum, 0)
	}},

	{"A.4.7 lspid is the process that sent, lrpid the one that received", func(t *testing.T, w World) {
		p := w.Root()
		sender, receiver := p.Fork(t), p.Fork(t)
		id := msgget(t, p, 1, create)
		msgsnd(t, sender, id, 1, "text")
		msgrcv(t, receiver, id, 0, 0)
		ds := msgStat(t, p, id)
		equal(t, "lspid", int(ds.Lspid), sender.PID())
		equal(t, "lrpid", int(ds.Lrpid), receiver.PID())
	}},
	{"A.4.7 lrpid is a thread of the receiver, if that slept", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		r := receiver(t, p.Fork(t), id, 0, 8, 0)
		sender := p.Fork(t)
		msgsnd(t, sender, id, 1, "text")
		r.gets(t, 1, "text")
		ds := msgStat(t, p, id)
		equal(t, "lspid", int(ds.Lspid), sender.PID())
		if int(ds.Lrpid) == sender.PID() || int(ds.Lrpid) == p.PID() || ds.Lrpid == 0 {
			t.Errorf("lrpid is %d: neither the receiver nor a thread of it", ds.Lrpid)
		}
	}},

	{"A.4.8 a sender sleeps until its message fits", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "1234", "5678")
		five := sender(t, p, id, 1, "five5")
		msgrcv(t, p, id, 0, 0)
		stillAsleep(t, five)
		equal(t, "messages", msgStat(t, p, id).Qnum, 1)
		msgrcv(t, p, id, 0, 0)
		must(t, outcome(t, five))
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "five5")
	}},
	{"A.4.8 one receive lets all senders go that have room", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "12345678")
		one, two, three := sender(t, p, id, 1, "a"), sender(t, p, id, 1, "b"), sender(t, p, id, 1, "c")
		msgrcv(t, p, id, 0, 0)
		must(t, outcome(t, one))
		must(t, outcome(t, two))
		must(t, outcome(t, three))
		equal(t, "bytes", msgStat(t, p, id).Cbytes, 3)
	}},
	{"A.4.8 of senders that have room only for one, one goes", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "12345678")
		senders := []<-chan error{sender(t, p, id, 1, "aaaaa"), sender(t, p, id, 1, "bbbbb"), sender(t, p, id, 1, "ccccc")}
		sent := map[string]bool{}
		msgrcv(t, p, id, 0, 0)
		for range senders {
			eventually(t, "a message is in the queue", func() bool { return msgStat(t, p, id).Qnum > 0 })
			equal(t, "messages", msgStat(t, p, id).Qnum, 1)
			_, text := msgrcv(t, p, id, 0, 0)
			sent[text] = true
		}
		for _, over := range senders {
			must(t, outcome(t, over))
		}
		equal(t, "different messages", len(sent), len(senders))
	}},
	{"A.4.8 a smaller message overtakes one that waits for room", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "1234", "5678")
		big, small := sender(t, p, id, 1, "bigger"), sender(t, p, id, 1, "s")
		msgrcv(t, p, id, 0, 0)
		must(t, outcome(t, small))
		stillAsleep(t, big)
		msgsnd(t, p, id, 1, "new")
		stillAsleep(t, big)
		for range 2 {
			msgrcv(t, p, id, 0, 0)
		}
		stillAsleep(t, big)
		msgrcv(t, p, id, 0, 0)
		must(t, outcome(t, big))
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "bigger")
	}},
	{"A.4.8 a higher msg_qbytes lets senders go", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "12345678")
		over := sender(t, p, id, 1, "more")
		must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 12}))
		must(t, outcome(t, over))
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "12345678 more")
	}},
	{"A.4.8, A.4.6 a sender that is let go looks for receivers that sleep", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "12345678")
		r := receiver(t, p, id, 2, 8, 0)
		over := sender(t, p, id, 2, "two")
		msgrcv(t, p, id, 0, 0)
		must(t, outcome(t, over))
		r.gets(t, 2, "two")
		equal(t, "messages", msgStat(t, p, id).Qnum, 0)
	}},
	{"A.4.8, A.4.6 a full queue makes a sender sleep even if a receiver wants its message", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "12345678")
		r := receiver(t, p, id, 2, 8, 0)
		wantErrno(t, p.Msgsnd(ctx, id, 2, []byte("two"), ipc.NoWait), syscall.EAGAIN)
		stillAsleep(t, r.over)
	}},

	{"A.4.9 who sleeps on a queue that is removed gets EIDRM", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		id := fullQueue(t, p, "12345678")
		sleepers := []<-chan error{
			receiver(t, p, id, 2, 8, 0).over, receiver(t, other, id, 1, 8, ipc.MsgExcept).over,
			sender(t, p, id, 1, "x"), sender(t, other, id, 2, "xx"),
		}
		must(t, p.MsgctlRmid(id))
		for _, over := range sleepers {
			wantErrno(t, outcome(t, over), syscall.EIDRM)
		}
		wantErrno(t, receiveInto(p, id, 0, 8), syscall.EINVAL)
	}},
	{"A.4.9 a receiver whose context ends takes no message", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		short, cancel := context.WithCancel(ctx)
		over := asleep(t, p, func() error { return errorOf2(p.Msgrcv(short, id, 0, make([]byte, 8), 0)) })
		cancel()
		wantCanceled(t, outcome(t, over))
		msgsnd(t, p, id, 1, "text")
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "text")
	}},
	{"A.4.9 a sender whose context ends sends nothing", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "12345678")
		short, cancel := context.WithCancel(ctx)
		over := asleep(t, p, func() error { return p.Msgsnd(short, id, 1, []byte("x"), 0) })
		cancel()
		wantCanceled(t, outcome(t, over))
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "12345678")
	}},
	{"A.4.9 a process that is killed asleep neither sends nor receives", func(t *testing.T, w World) {
		p, receiving, sending := w.Root(), w.Root().Fork(t), w.Root().Fork(t)
		empty, full := msgget(t, p, ipc.Private, create), fullQueue(t, p, "12345678")
		asleep(t, receiving, func() error { return errorOf2(receiving.Msgrcv(ctx, empty, 0, make([]byte, 8), 0)) })
		asleep(t, sending, func() error { return sending.Msgsnd(ctx, full, 1, []byte("x"), 0) })
		receiving.Kill()
		sending.Kill()
		msgsnd(t, p, empty, 1, "text")
		equal(t, "messages", receiveAll(t, p, empty, 0, 0), "text")
		equal(t, "messages", receiveAll(t, p, full, 0, 0), "12345678")
	}},

	{"A.4.10, A.4.7 a new queue was never used", func(t *testing.T, w World) {
		p := w.Root()
		ds := msgStat(t, p, msgget(t, p, 1, create))
		if ds.Ctime == 0 {
			t.Error("ctime is 0")
		}
		ds.Ctime = 0
		equal(t, "queue", ds, ipc.MsqidDS{Perm: ipc.Perm{Key: 1, Mode: 0o600}, Qbytes: 16384})
	}},
	{"A.4.10, A.4.7 calls that fail leave times and process ids", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 4}))
		before := msgStat(t, p, id)
		wantErrno(t, p.Msgsnd(ctx, id, 1, []byte("12345"), ipc.NoWait), syscall.EAGAIN)
		wantErrno(t, p.Msgsnd(ctx, id, 0, nil, ipc.NoWait), syscall.EINVAL)
		wantErrno(t, receiveInto(p, id, 0, 8), syscall.ENOMSG)
		equal(t, "queue", msgStat(t, p, id), before)
		msgsnd(t, p, id, 1, "text")
		sent := msgStat(t, p, id)
		equal(t, "rtime without a msgrcv", sent.Rtime, 0)
		equal(t, "lrpid without a msgrcv", sent.Lrpid, 0)
		wantErrno(t, receiveInto(p, id, 0, 3), syscall.E2BIG)
		equal(t, "queue", msgStat(t, p, id), sent)
	}},
	{"A.4.10 stime and rtime are those of the last msgsnd and msgrcv", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		ctime := msgStat(t, p, id).Ctime
		msgsnd(t, p, id, 1, "text")
		msgrcv(t, p, id, 0, 0)
		first := msgStat(t, p, id)
		if first.Stime < ctime || first.Rtime < first.Stime {
			t.Errorf("ctime is %d, stime %d, rtime %d", ctime, first.Stime, first.Rtime)
		}
		eventually(t, "stime moves on", func() bool {
			msgsnd(t, p, id, 1, "text")
			return msgStat(t, p, id).Stime > first.Stime
		})
		eventually(t, "rtime moves on", func() bool {
			msgrcv(t, p, id, 0, 0)
			return msgStat(t, p, id).Rtime > first.Rtime
		})
		equal(t, "ctime after all this", msgStat(t, p, id).Ctime, ctime)
		eventually(t, "IPC_SET sets ctime", func() bool {
			must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 16384}))
			return msgStat(t, p, id).Ctime > ctime
		})
	}},
	{"A.4.10, A.4.6 rtime and stime are set when a receiver slept", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		r := receiver(t, p, id, 0, 8, 0)
		msgsnd(t, p, id, 1, "text")
		r.gets(t, 1, "text")
		if ds := msgStat(t, p, id); ds.Stime == 0 || ds.Rtime == 0 {
			t.Errorf("stime is %d, rtime %d", ds.Stime, ds.Rtime)
		}
	}},
	{"A.4.10 lspid stays when the sender has ended", func(t *testing.T, w World) {
		p, sender := w.Root(), w.Root().Fork(t)
		id := msgget(t, p, 1, create)
		msgsnd(t, sender, id, 1, "text")
		sender.Exit()
		equal(t, "lspid", int(msgStat(t, p, id).Lspid), sender.PID())
	}},
	{"A.4.10 a message stays when its sender has ended", func(t *testing.T, w World) {
		p, sender := w.Root(), w.Root().Fork(t)
		id := msgget(t, p, 1, create)
		msgsnd(t, sender, id, 1, "text")
		sender.Kill()
		equal(t, "messages", receiveAll(t, p, id, 0, 0), "text")
	}},

	{"A.3.full a message that no room is enough for waits for ever", func(t *testing.T, w World) {
		p := w.Root()
		id := fullQueue(t, p, "12345678")
		over := sender(t, p, id, 1, "123456789")
		msgrcv(t, p, id, 0, 0)
		msgsnd(t, p, id, 1, "12345678")
		msgrcv(t, p, id, 0, 0)
		stillAsleep(t, over)
		wantErrno(t, p.Msgsnd(ctx, id, 1, []byte("123456789"), ipc.NoWait), syscall.EAGAIN)
	}},
}

// receiveAll receives without sleeping until there is no message, and returns
// the texts.
func receiveAll(t *testing.T, p Process, id int, typ int64, flags int) string {
	t.Helper()
	var texts []string
	for {
		buffer := make([]byte, 8192)
		_, n, err := p.Msgrcv(ctx, id, typ, buffer, flags|ipc.NoWait)
		if errors.Is(err, syscall.ENOMSG) {
			return strings.Join(texts, " ")
		}
		must(t, err)
		texts = append(texts, string(buffer[:n]))
	}
}

// receiveInto receives without sleeping into a buffer of that size.
func receiveInto(p Process, id int, typ int64, size int) error {
	return errorOf2(p.Msgrcv(ctx, id, typ, make([]byte, size), ipc.NoWait))
}

// A reception is a msgrcv that was asleep, and when it is over what it got.
type reception struct {
	over <-chan error
	typ  int64
	text string
}

// receiver returns when a msgrcv with a buffer of that size sleeps.
func receiver(t *testing.T, p Process, id int, typ int64, size, flags int) *reception {
	t.Helper()
	r := &reception{}
	r.over = asleep(t, p, func() error {
		buffer := make([]byte, size)
		got, n, err := p.Msgrcv(ctx, id, typ, buffer, flags)
		r.typ, r.text = got, string(buffer[:n])
		return err
	})
	return r
}

// gets checks that the msgrcv ends with that message.
func (r *reception) gets(t *testing.T, typ int64, text string) {
	t.Helper()
	must(t, outcome(t, r.over))
	equal(t, "type", r.typ, typ)
	equal(t, "text", r.text, text)
}

// sender returns when a msgsnd sleeps.
func sender(t *testing.T, p Process, id int, typ int64, text string) <-chan error {
	t.Helper()
	return asleep(t, p, func() error { return p.Msgsnd(ctx, id, typ, []byte(text), 0) })
}

// fullQueue makes a queue that takes 8 bytes and has those messages of type 1.
func fullQueue(t *testing.T, p Process, texts ...string) int {
	t.Helper()
	id := msgget(t, p, ipc.Private, create)
	must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 8}))
	for _, text := range texts {
		msgsnd(t, p, id, 1, text)
	}
	return id
}

// wantCanceled checks that a context has ended the call.
func wantCanceled(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
