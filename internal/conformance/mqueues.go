package conformance

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// newQueue are the flags of most queues that are made.
const newQueue = syscall.O_CREAT | syscall.O_EXCL | syscall.O_RDWR

// mqueues are POSIX message queues.
var mqueues = []Case{
	{"A.7.1 names", func(t *testing.T, w World) {
		p := w.Root()
		for _, c := range []struct {
			name  string
			errno syscall.Errno
		}{
			{"/q", 0},
			{"/Q", 0},
			{"/...", 0},
			{"/ \t\n:\\é", 0},
			{"/" + strings.Repeat("x", 255), 0},
			{"/" + strings.Repeat("x", 256), syscall.ENAMETOOLONG},
			{"", syscall.EINVAL},
			{"q", syscall.EINVAL},
			{"q/", syscall.EINVAL},
			{"/", syscall.ENOENT},
			{"//q", syscall.EACCES},
			{"/a/b", syscall.EACCES},
			{"/q/", syscall.EACCES},
			{"/.", syscall.EACCES},
			{"/..", syscall.EACCES},
		} {
			t.Logf("%q", c.name)
			wantErrno(t, errorOf(p.MqOpen(c.name, newQueue, 0o600, smallQueue)), c.errno)
			if c.errno == 0 {
				equal(t, "names", strings.Join(mqNames(t, p), " "), c.name)
			}
			wantErrno(t, p.MqUnlink(c.name), c.errno)
			equal(t, "queues left", mqCount(t, p), 0)
		}
	}},
	{"A.7.1, A.7.17 the queues are those of the namespace, sorted by name, whoever made them", func(t *testing.T, w World) {
		p, other := w.Root(), w.Process(t, stranger)
		for _, name := range []string{"/c", "/a"} {
			mqOpen(t, p, name, newQueue, 0o600, smallQueue)
		}
		mqOpen(t, other, "/b", newQueue, 0o600, smallQueue)
		equal(t, "names", strings.Join(mqNames(t, p), " "), "/a /b /c")
		equal(t, "queues", mqCount(t, p), 3)
	}},

	{"A.7.2 attributes are those of a new queue", func(t *testing.T, w World) {
		p := w.Process(t, stranger) // whom the limits bind
		for i, c := range []struct {
			maxmsg, msgsize int64
			errno           syscall.Errno
		}{
			{1, 1, 0},
			{10, 8, 0},
			{1, 8192, 0},
			{11, 8, syscall.EINVAL},
			{1, 8193, syscall.EINVAL},
			{0, 8, syscall.EINVAL},
			{1, 0, syscall.EINVAL},
			{-1, 8, syscall.EINVAL},
			{1, -1, syscall.EINVAL},
			{math.MaxInt64, math.MaxInt64, syscall.EINVAL},
		} {
			t.Logf("%d messages of %d bytes", c.maxmsg, c.msgsize)
			attr := ipc.MqAttr{Maxmsg: c.maxmsg, Msgsize: c.msgsize}
			q, err := p.MqOpen(fmt.Sprint("/", i), newQueue, 0o600, &attr)
			wantErrno(t, err, c.errno)
			if err == nil {
				equal(t, "attributes", mqAttr(t, q), attr)
			}
		}
	}},
	{"A.7.2 attributes of a queue that exists are not looked at", func(t *testing.T, w World) {
		p := w.Root()
		mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		for _, attr := range []*ipc.MqAttr{nil, {}, {Maxmsg: -1, Msgsize: -1}, {Maxmsg: 4, Msgsize: 64}} {
			q := mqOpen(t, p, "/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, attr)
			equal(t, "attributes", mqAttr(t, q), *smallQueue)
		}
	}},
	{"A.7.2 without attributes a new queue has the defaults", func(t *testing.T, w World) {
		must(t, w.SetLimit("msg_default", 3))
		must(t, w.SetLimit("msgsize_default", 128))
		q := mqOpen(t, w.Root(), "/q", newQueue, 0o600, nil)
		equal(t, "attributes", mqAttr(t, q), ipc.MqAttr{Maxmsg: 3, Msgsize: 128})
	}},
	{"A.7.2 only maxmsg and msgsize are taken", func(t *testing.T, w World) {
		attr := ipc.MqAttr{Flags: syscall.O_NONBLOCK, Maxmsg: 1, Msgsize: 8, Curmsgs: 7}
		q := mqOpen(t, w.Root(), "/q", newQueue, 0o600, &attr)
		equal(t, "attributes", mqAttr(t, q), *smallQueue)
	}},

	{"A.7.3 a queue that is missing or there", func(t *testing.T, w World) {
		root, other := w.Root(), w.Process(t, stranger)
		mqOpen(t, root, "/q", newQueue, 0o600, smallQueue)
		for _, c := range []struct {
			p     Process
			name  string
			flags int
			errno syscall.Errno
		}{
			{root, "/missing", syscall.O_RDWR, syscall.ENOENT},
			{root, "/missing", syscall.O_RDWR | syscall.O_EXCL, syscall.ENOENT},
			{root, "/q", syscall.O_RDWR | syscall.O_EXCL, 0},
			{root, "/q", syscall.O_RDWR | syscall.O_CREAT, 0},
			{root, "/q", newQueue, syscall.EEXIST},
			{other, "/q", newQueue, syscall.EEXIST},
			{other, "/q", syscall.O_RDONLY | syscall.O_CREAT, syscall.EACCES},
			{other, "/q", syscall.O_RDONLY, syscall.EACCES},
			{root, "/q", syscall.O_ACCMODE, syscall.EINVAL},
			{root, "/q", syscall.O_ACCMODE | syscall.O_CREAT, syscall.EINVAL},
			{root, "/q", syscall.O_ACCMODE | syscall.O_CREAT | syscall.O_EXCL, syscall.EEXIST},
			{other, "/q", syscall.O_ACCMODE, syscall.EINVAL},
		} {
			t.Logf("%s, flags %#o", c.name, c.flags)
			wantErrno(t, errorOf(c.p.MqOpen(c.name, c.flags, 0o600, smallQueue)), c.errno)
		}
		equal(t, "queues", mqCount(t, root), 1)
	}},
	{"A.7.3 a descriptor is for reading, writing or both", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		reading := mqOpen(t, p, "/q", syscall.O_RDONLY, 0, nil)
		writing := mqOpen(t, p, "/q", syscall.O_WRONLY, 0, nil)
		mqSend(t, writing, 0, "text")
		wantErrno(t, errorOf2(writing.Timedreceive(ctx, make([]byte, 8))), syscall.EBADF)
		wantErrno(t, reading.Timedsend(ctx, nil, 0), syscall.EBADF)
		equal(t, "message", mqReceive(t, reading), "text")
		mqSend(t, q, 0, "text")
		equal(t, "message", mqReceive(t, q), "text")
	}},
	{"A.7.3 a new queue may be asked for with access mode 3, which is for nothing", func(t *testing.T, w World) {
		q := mqOpen(t, w.Root(), "/q", syscall.O_ACCMODE|syscall.O_CREAT, 0o600, smallQueue)
		wantErrno(t, q.Timedsend(ctx, nil, 0), syscall.EBADF)
		wantErrno(t, errorOf2(q.Timedreceive(ctx, make([]byte, 8))), syscall.EBADF)
		equal(t, "attributes", mqAttr(t, q), *smallQueue)
	}},
	{"A.7.3 the mode has twelve bits", func(t *testing.T, w World) {
		p := w.Root()
		mqOpen(t, p, "/q", newQueue, 0o177700, smallQueue)
		equal(t, "mode", mqStat(t, p, "/q").Mode, 0o7700) // those that no umask takes
	}},
	{"A.7.3 whoever makes a queue has the access asked for, whatever the mode", func(t *testing.T, w World) {
		p := w.Process(t, stranger)
		q := mqOpen(t, p, "/q", newQueue, 0, smallQueue)
		mqSend(t, q, 0, "text")
		equal(t, "message", mqReceive(t, q), "text")
		for _, flags := range []int{syscall.O_RDONLY, syscall.O_WRONLY, syscall.O_RDWR} {
			wantErrno(t, errorOf(p.MqOpen("/q", flags, 0, nil)), syscall.EACCES)
		}
	}},
	{"A.7.3 permissions", func(t *testing.T, w World) {
		root := w.Root()
		mqOpen(t, w.Process(t, owner), "/q", newQueue, 0o350, smallQueue)
		if mode := mqStat(t, root, "/q").Mode; mode != 0o350 {
			t.Skipf("the umask leaves %#o of the mode 0350", mode)
		}
		for _, c := range []struct {
			who         string
			p           Process
			read, write syscall.Errno
		}{
			{"owner", w.Process(t, owner), syscall.EACCES, 0},
			{"group", w.Process(t, Credentials{UID: 3000, GID: owner.GID}), 0, syscall.EACCES},
			{"member of the group", w.Process(t, Credentials{UID: 3000, GID: 3001, Groups: []uint32{owner.GID}}), 0, syscall.EACCES},
			{"other", w.Process(t, stranger), syscall.EACCES, syscall.EACCES},
			{"root", root, 0, 0},
		} {
			t.Log(c.who)
			wantErrno(t, errorOf(c.p.MqOpen("/q", syscall.O_RDONLY, 0, nil)), c.read)
			wantErrno(t, errorOf(c.p.MqOpen("/q", syscall.O_WRONLY, 0, nil)), c.write)
			wantErrno(t, errorOf(c.p.MqOpen("/q", syscall.O_RDWR, 0, nil)), max(c.read, c.write))
		}
	}},
	{"A.7.3 O_TRUNC does not empty a queue", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		mqSend(t, q, 0, "text")
		mqOpen(t, p, "/q", syscall.O_RDWR|syscall.O_TRUNC, 0, nil)
		equal(t, "message", mqReceive(t, q), "text")
	}},

	{"A.7.4 a queue belongs to who made it", func(t *testing.T, w World) {
		mqOpen(t, w.Process(t, stranger), "/q", newQueue, 0o600, smallQueue)
		queue := mqStat(t, w.Root(), "/q")
		equal(t, "uid", queue.UID, stranger.UID)
		equal(t, "gid", queue.GID, stranger.GID)
	}},
	{"A.7.4 a name is unlinked by its owner, whatever the mode", func(t *testing.T, w World) {
		root, p, other := w.Root(), w.Process(t, owner), w.Process(t, stranger)
		for _, mode := range []uint32{0, 0o777} {
			mqOpen(t, p, "/q", newQueue, mode, smallQueue)
			wantErrno(t, other.MqUnlink("/q"), syscall.EPERM)
			must(t, p.MqUnlink("/q"))
			mqOpen(t, p, "/q", newQueue, mode, smallQueue)
			must(t, root.MqUnlink("/q"))
		}
		wantErrno(t, root.MqUnlink("/q"), syscall.ENOENT)
	}},
	{"A.7.4 a queue that is unlinked lives until its last descriptor is closed", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		last := mqOpen(t, other, "/q", syscall.O_RDWR, 0, nil)
		mqSend(t, q, 0, "text")
		must(t, p.MqUnlink("/q"))
		equal(t, "queues", mqCount(t, p), 0)
		wantErrno(t, errorOf(p.MqOpen("/q", syscall.O_RDWR, 0, nil)), syscall.ENOENT)
		must(t, q.Close())

		namesake := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		equal(t, "messages of a new queue of that name", mqAttr(t, namesake).Curmsgs, 0)
		equal(t, "message", mqReceive(t, last), "text")
		mqSend(t, last, 0, "more")
		equal(t, "message", mqReceive(t, last), "more")
		equal(t, "messages of a new queue of that name", mqAttr(t, namesake).Curmsgs, 0)
	}},
	{"A.7.4 a queue with a name outlives its descriptors and processes", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		mqSend(t, mqOpen(t, other, "/q", newQueue, 0o600, smallQueue), 0, "text")
		other.Kill()
		equal(t, "message", mqReceive(t, mqOpen(t, p, "/q", syscall.O_RDONLY, 0, nil)), "text")
	}},

	{"A.7.5 mq_timedsend names its first reason to fail", func(t *testing.T, w World) {
		p := w.Root()
		full := mqOpen(t, p, "/q", newQueue|syscall.O_NONBLOCK, 0o600, smallQueue)
		mqSend(t, full, 32767, "12345678")
		reading := mqOpen(t, p, "/q", syscall.O_RDONLY|syscall.O_NONBLOCK, 0, nil)
		long := make([]byte, 9)
		for _, c := range []struct {
			what     string
			q        ipc.Mqd
			message  []byte
			priority uint
			errno    syscall.Errno
		}{
			{"priority, access, length", reading, long, 32768, syscall.EINVAL},
			{"access, length", reading, long, 0, syscall.EBADF},
			{"length, room", full, long, 0, syscall.EMSGSIZE},
			{"room", full, long[:8], 32767, syscall.EAGAIN},
			{"priority", full, nil, math.MaxUint32, syscall.EINVAL},
			{"priority beyond 32 bits", full, nil, math.MaxUint, syscall.EINVAL},
			{"priority that 32 bits make 0", full, nil, math.MaxUint - math.MaxUint32, syscall.EINVAL},
		} {
			t.Log(c.what)
			wantErrno(t, c.q.Timedsend(ctx, c.message, c.priority), c.errno)
		}
		equal(t, "messages", mqAttr(t, full).Curmsgs, 1)
	}},
	{"A.7.5 mq_timedreceive names its first reason to fail", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue|syscall.O_NONBLOCK, 0o600, smallQueue)
		writing := mqOpen(t, p, "/q", syscall.O_WRONLY|syscall.O_NONBLOCK, 0, nil)
		receive := func(q ipc.Mqd, size int) error { return errorOf2(q.Timedreceive(ctx, make([]byte, size))) }
		wantErrno(t, receive(writing, 7), syscall.EBADF)
		wantErrno(t, receive(q, 7), syscall.EMSGSIZE)
		wantErrno(t, receive(q, 8), syscall.EAGAIN)
		mqSend(t, q, 0, "1")
		wantErrno(t, receive(q, 7), syscall.EMSGSIZE) // even if the message is shorter
		wantErrno(t, receive(q, 0), syscall.EMSGSIZE)
		wantErrno(t, receive(q, 8), 0)
	}},
	{"A.7.5 a message is 0 to msgsize bytes, which arrive as they were", func(t *testing.T, w World) {
		q := mqOpen(t, w.Root(), "/q", newQueue, 0o600, smallQueue)
		for _, text := range []string{"", "\x00", "a\x00b\n", "12345678"} {
			mqSend(t, q, 0, text)
			equal(t, "message", mqReceive(t, q), text)
		}
	}},
	{"A.7.5 a receiver sleeps until there is a message", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		r := mqReceiver(t, p, q)
		mqSend(t, mqOpen(t, other, "/q", syscall.O_WRONLY, 0, nil), 5, "text")
		must(t, outcome(t, r.over))
		equal(t, "message", r.text, "text")
		equal(t, "priority", r.priority, 5)
	}},
	{"A.7.5 a sender sleeps until there is room", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		mqSend(t, q, 0, "first")
		over := asleep(t, p, func() error { return q.Timedsend(ctx, []byte("second"), 9) })
		equal(t, "message", mqReceive(t, mqOpen(t, other, "/q", syscall.O_RDONLY, 0, nil)), "first")
		must(t, outcome(t, over))
		equal(t, "message", mqReceive(t, q), "second")
	}},
	{"A.7.5 each message goes to one of those who sleep", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		elsewhere := mqOpen(t, other, "/q", syscall.O_RDONLY, 0, nil)
		receivers := []*mqReception{
			mqReceiver(t, p, q), mqReceiver(t, p, q), mqReceiver(t, other, elsewhere), mqReceiver(t, other, elsewhere),
		}
		want := []string{"1", "2", "3", "4"}
		for _, text := range want {
			mqSend(t, q, 0, text)
		}
		var got []string
		for _, r := range receivers {
			must(t, outcome(t, r.over))
			got = append(got, r.text)
		}
		slices.Sort(got)
		equal(t, "messages", fmt.Sprint(got), fmt.Sprint(want))
	}},
	{"A.7.5 the messages of all who sleep arrive, one each", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		elsewhere := mqOpen(t, other, "/q", syscall.O_WRONLY, 0, nil)
		mqSend(t, q, 0, "1")
		send := func(p Process, q ipc.Mqd, text string) <-chan error {
			return asleep(t, p, func() error { return q.Timedsend(ctx, []byte(text), 0) })
		}
		senders := []<-chan error{send(p, q, "2"), send(other, elsewhere, "3"), send(p, q, "4"), send(other, elsewhere, "5")}
		var got []string
		for range len(senders) + 1 {
			got = append(got, mqReceive(t, q))
		}
		for _, over := range senders {
			must(t, outcome(t, over))
		}
		slices.Sort(got)
		equal(t, "messages", fmt.Sprint(got), "[1 2 3 4 5]")
		equal(t, "messages left", mqAttr(t, q).Curmsgs, 0)
	}},
	{"A.7.5 a descriptor that is closed is EBADF, also for those who sleep in it", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		r := mqReceiver(t, p, q)
		must(t, q.Close())
		wantErrno(t, outcome(t, r.over), syscall.EBADF)
		wantErrno(t, q.Timedsend(ctx, nil, 0), syscall.EBADF)
		wantErrno(t, errorOf2(q.Timedreceive(ctx, make([]byte, 8))), syscall.EBADF)
		wantErrno(t, errorOf(q.Getattr()), syscall.EBADF)
		wantErrno(t, errorOf(q.SetNonblock(true)), syscall.EBADF)
		wantErrno(t, errorOf(q.Notify(func() {})), syscall.EBADF)
		wantErrno(t, q.Close(), syscall.EBADF)
	}},

	{"A.7.6 the highest priority comes first, and among equals the oldest message", func(t *testing.T, w World) {
		q := mqOpen(t, w.Root(), "/q", newQueue, 0o600, &ipc.MqAttr{Maxmsg: 8, Msgsize: 8})
		for _, m := range []struct {
			priority uint
			text     string
		}{{1, "a"}, {32767, "b"}, {0, "c"}, {1, "d"}, {2, "e"}, {32767, "f"}, {0, "g"}, {1, "h"}} {
			mqSend(t, q, m.priority, m.text)
		}
		var got []string
		for mqAttr(t, q).Curmsgs > 0 {
			got = append(got, mqReceive(t, q))
		}
		equal(t, "messages", strings.Join(got, " "), "b f e a d h c g")
	}},
	{"A.7.6 a receiver gets the priority", func(t *testing.T, w World) {
		q := mqOpen(t, w.Root(), "/q", newQueue, 0o600, smallQueue)
		for _, want := range []uint{0, 1, 32767} {
			mqSend(t, q, want, "text")
			_, priority, err := q.Timedreceive(ctx, make([]byte, 8))
			must(t, err)
			equal(t, "priority", priority, want)
		}
	}},

	{"A.7.7 with O_NONBLOCK nothing sleeps, and the context is not looked at", func(t *testing.T, w World) {
		q := mqOpen(t, w.Root(), "/q", newQueue|syscall.O_NONBLOCK, 0o600, smallQueue)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		wantErrno(t, errorOf2(q.Timedreceive(gone, make([]byte, 8))), syscall.EAGAIN)
		wantErrno(t, q.Timedsend(gone, []byte("1"), 0), 0)
		wantErrno(t, q.Timedsend(gone, []byte("2"), 0), syscall.EAGAIN)
		wantErrno(t, errorOf2(q.Timedreceive(gone, make([]byte, 8))), 0)
	}},
	{"A.7.7 a receiver whose context ends takes no message", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		short, cancel := context.WithCancel(ctx)
		over := asleep(t, p, func() error { return errorOf2(q.Timedreceive(short, make([]byte, 8))) })
		cancel()
		wantCanceled(t, outcome(t, over))
		mqSend(t, q, 0, "text")
		wantCanceled(t, errorOf2(q.Timedreceive(short, make([]byte, 8))))
		equal(t, "message", mqReceive(t, q), "text")
	}},
	{"A.7.7 a sender whose context ends sends nothing", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		mqSend(t, q, 0, "text")
		short, cancel := context.WithCancel(ctx)
		over := asleep(t, p, func() error { return q.Timedsend(short, []byte("more"), 9) })
		cancel()
		wantCanceled(t, outcome(t, over))
		equal(t, "message", mqReceive(t, q), "text")
		wantCanceled(t, q.Timedsend(short, []byte("more"), 9))
		equal(t, "messages left", mqAttr(t, q).Curmsgs, 0)
	}},

	{"A.7.11 O_NONBLOCK is set and cleared, for one descriptor", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		other := mqOpen(t, p, "/q", syscall.O_RDWR|syscall.O_NONBLOCK, 0, nil)
		mqSend(t, q, 0, "text")
		for _, c := range []struct {
			nonblock      bool
			before, after int64
		}{{false, 0, 0}, {true, 0, syscall.O_NONBLOCK}, {true, syscall.O_NONBLOCK, syscall.O_NONBLOCK}, {false, syscall.O_NONBLOCK, 0}} {
			before, err := q.SetNonblock(c.nonblock)
			must(t, err)
			equal(t, "attributes before", before, ipc.MqAttr{Flags: c.before, Maxmsg: 1, Msgsize: 8, Curmsgs: 1})
			equal(t, "flags", mqAttr(t, q).Flags, c.after)
			equal(t, "flags of the other", mqAttr(t, other).Flags, syscall.O_NONBLOCK)
		}
		if _, err := other.SetNonblock(false); err != nil {
			t.Fatal(err)
		}
		over := asleep(t, p, func() error { return other.Timedsend(ctx, []byte("more"), 0) })
		mqReceive(t, q)
		must(t, outcome(t, over))
	}},

	{"A.7.12 the payload of a queue is counted in bytes and messages", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, &ipc.MqAttr{Maxmsg: 4, Msgsize: 8})
		for i, c := range []struct {
			text  string
			bytes uint64
		}{{"", 0}, {"1234567", 7}, {"12", 9}} {
			mqSend(t, q, 1, c.text)
			queue := mqStat(t, p, "/q")
			equal(t, "bytes", queue.Bytes, c.bytes)
			equal(t, "attributes", queue.Attr, ipc.MqAttr{Maxmsg: 4, Msgsize: 8, Curmsgs: int64(i + 1)})
		}
		for range 3 {
			mqReceive(t, q)
		}
		equal(t, "bytes", mqStat(t, p, "/q").Bytes, 0)
	}},
	{"A.7.12 a queue tells which process is to be notified", func(t *testing.T, w World) {
		// A look at the queues ends the registrations of who looks.
		p, watching := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		equal(t, "process", mqStat(t, watching, "/q").NotifyPID, 0)
		b := notify(t, q)
		equal(t, "process", int(mqStat(t, watching, "/q").NotifyPID), p.PID())
		mqSend(t, q, 0, "text")
		b.rings(t)
		equal(t, "process", mqStat(t, watching, "/q").NotifyPID, 0)
	}},

	{"A.7.13 a queue has one registration, whoever asks", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		b := notify(t, q)
		for _, q := range []ipc.Mqd{q, mqOpen(t, p, "/q", syscall.O_RDONLY, 0, nil), mqOpen(t, other, "/q", syscall.O_RDWR, 0, nil)} {
			wantErrno(t, errorOf(q.Notify(func() { t.Error("a registration that was refused rings") })), syscall.EBUSY)
		}
		mqSend(t, q, 0, "text")
		b.rings(t)
	}},
	{"A.7.13 only a message that comes into an empty queue notifies, and once", func(t *testing.T, w World) {
		q := mqOpen(t, w.Root(), "/q", newQueue, 0o600, &ipc.MqAttr{Maxmsg: 4, Msgsize: 8})
		mqSend(t, q, 0, "1")
		b := notify(t, q)
		mqSend(t, q, 0, "2")
		mqReceive(t, q)
		mqSend(t, q, 0, "3")
		mqReceive(t, q)
		mqReceive(t, q)
		b.silent(t)
		mqSend(t, q, 0, "4")
		b.rings(t)
		mqReceive(t, q)
		mqSend(t, q, 0, "5")
		b.ends(t)
	}},
	{"A.7.13 after a notification a queue can have the next registration", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		for _, q := range []ipc.Mqd{q, q, mqOpen(t, other, "/q", syscall.O_RDWR, 0, nil), q} {
			b := notify(t, q)
			mqSend(t, q, 0, "text")
			b.rings(t)
			mqReceive(t, q)
		}
	}},

	{"A.7.14 a registration is cancelled, and that again is nothing", func(t *testing.T, w World) {
		q := mqOpen(t, w.Root(), "/q", newQueue, 0o600, smallQueue)
		cancelled := notify(t, q)
		cancelled.ends(t)
		next := notify(t, q)
		cancelled.ends(t)
		mqSend(t, q, 0, "text")
		next.rings(t)
		next.ends(t)
	}},
	{"A.7.14 the end of its process is the end of a registration", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		for _, end := range []func(Process){Process.Exit, Process.Kill} {
			other := p.Fork(t)
			b := notify(t, mqOpen(t, other, "/q", syscall.O_RDWR, 0, nil))
			wantErrno(t, errorOf(q.Notify(func() {})), syscall.EBUSY)
			b.silent(t)
			end(other)
			notify(t, q).ends(t)
		}
	}},
	{"A.7.14 so is the close of any descriptor of the queue in the process", func(t *testing.T, w World) {
		p := w.Root()
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		for _, closing := range []ipc.Mqd{mqOpen(t, p, "/q", syscall.O_RDONLY, 0, nil), q} {
			b := notify(t, q)
			must(t, closing.Close())
			another := mqOpen(t, p, "/q", syscall.O_RDWR, 0, nil)
			next := notify(t, another)
			b.ends(t)
			mqSend(t, another, 0, "text")
			next.rings(t)
			mqReceive(t, another)
		}
	}},
	{"A.7.14 the end and the descriptors of another process are not", func(t *testing.T, w World) {
		p, other := w.Root(), w.Root().Fork(t)
		q := mqOpen(t, p, "/q", newQueue, 0o600, smallQueue)
		b := notify(t, q)
		must(t, mqOpen(t, other, "/q", syscall.O_RDWR, 0, nil).Close())
		mqOpen(t, other, "/q", syscall.O_RDWR, 0, nil)
		other.Exit()
		b.silent(t)
		mqSend(t, q, 0, "text")
		b.rings(t)
	}},

	{"A.7.15 whoever sends notifies, and who may only send is notified", func(t *testing.T, w World) {
		p := w.Process(t, stranger)
		mqOpen(t, p, "/q", newQueue, 0o200, smallQueue)
		b := notify(t, mqOpen(t, p, "/q", syscall.O_WRONLY, 0, nil))
		mqSend(t, mqOpen(t, w.Root(), "/q", syscall.O_WRONLY, 0, nil), 0, "text")
		b.rings(t)
	}},
}

func mqCount(t *testing.T, p Process) int {
	t.Helper()
	n, err := p.MqCount()
	must(t, err)
	return n
}

func mqNames(t *testing.T, p Process) (names []string) {
	t.Helper()
	queues, err := p.MqList()
	must(t, err)
	for _, queue := range queues {
		names = append(names, queue.Name)
	}
	return names
}

func mqStat(t *testing.T, p Process, name string) ipc.MqueueStat {
	t.Helper()
	queues, err := p.MqList()
	must(t, err)
	i := slices.IndexFunc(queues, func(queue ipc.MqueueStat) bool { return queue.Name == name })
	if i < 0 {
		t.Fatalf("no queue %s", name)
	}
	return queues[i]
}

func mqAttr(t *testing.T, q ipc.Mqd) ipc.MqAttr {
	t.Helper()
	attr, err := q.Getattr()
	must(t, err)
	return attr
}

// mqSend sends a message that there is room for.
func mqSend(t *testing.T, q ipc.Mqd, priority uint, text string) {
	t.Helper()
	short, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	must(t, q.Timedsend(short, []byte(text), priority))
}

// mqReceive receives a message that is there, or is on its way.
func mqReceive(t *testing.T, q ipc.Mqd) string {
	t.Helper()
	short, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	buffer := make([]byte, 8192)
	n, _, err := q.Timedreceive(short, buffer)
	must(t, err)
	return string(buffer[:n])
}

// An mqReception is an mq_timedreceive that was asleep, and when it is over
// what it got.
type mqReception struct {
	over     <-chan error
	text     string
	priority uint
}

// mqReceiver returns when an mq_timedreceive sleeps.
func mqReceiver(t *testing.T, p Process, q ipc.Mqd) *mqReception {
	t.Helper()
	r := &mqReception{}
	r.over = asleep(t, p, func() error {
		buffer := make([]byte, 8192)
		n, priority, err := q.Timedreceive(ctx, buffer)
		r.text, r.priority = string(buffer[:n]), priority
		return err
	})
	return r
}

// A bell rings when the registration that it stands for notifies.
type bell struct {
	rung   chan struct{}
	cancel func() error
}

func notify(t *testing.T, q ipc.Mqd) bell {
	t.Helper()
	b := bell{rung: make(chan struct{}, 8)}
	var err error
	b.cancel, err = q.Notify(func() { b.rung <- struct{}{} })
	must(t, err)
	return b
}

// rings checks that it rings.
func (b bell) rings(t *testing.T) {
	t.Helper()
	select {
	case <-b.rung:
	case <-time.After(hang):
		t.Fatalf("not in %v: a notification", hang)
	}
}

// silent checks that it has not rung, again.
func (b bell) silent(t *testing.T) {
	t.Helper()
	if len(b.rung) > 0 {
		t.Error("a notification, want none")
	}
}

// ends cancels the registration, if there is still one, and checks that it
// has not rung, again.
func (b bell) ends(t *testing.T) {
	t.Helper()
	must(t, b.cancel())
	b.silent(t)
}
