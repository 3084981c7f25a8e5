//go:build linux

package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
)

var background = context.Background()

// A message is a type and a text.
type message struct {
	typ  int64
	text string
}

// newQueue makes a message queue with the messages in it.
func newQueue(messages ...message) (id int, err error) {
	id, err = system.Msgget(ipc.Private, 0o600)
	for _, m := range messages {
		err = errors.Join(err, system.Msgsnd(background, id, m.typ, []byte(m.text), ipc.NoWait))
	}
	return id, err
}

// drain takes all messages out.
func drain(id int) (messages []message, err error) {
	buf := make([]byte, 8192)
	for {
		typ, n, err := system.Msgrcv(background, id, 0, buf, ipc.NoWait)
		if errors.Is(err, syscall.ENOMSG) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		messages = append(messages, message{typ, string(buf[:n])})
	}
}

// TestMsgget has the rules of SEMANTICS A.1.5 and A.1.6.
func TestMsgget(t *testing.T) {
	const key = ipc.Key(-1)
	ipctest.InNew(t, func() error {
		for _, c := range []struct {
			what  string
			key   ipc.Key
			flags int
			want  any
		}{
			{"a key without a queue", key, 0, syscall.ENOENT},
			{"and no need for a new one", key, ipc.Excl, syscall.ENOENT},
			{"a new queue", key, ipc.Creat | ipc.Excl | 0o640, 0},
			{"the same key", key, ipc.Creat, 0},
			{"the same key without a flag", key, 0, 0},
			{"a new queue of a key that has one", key, ipc.Creat | ipc.Excl, syscall.EEXIST},
			{"a private queue", ipc.Private, 0, 1},
			{"another private queue", ipc.Private, 0, 2},
		} {
			id, err := system.Msgget(c.key, c.flags)
			if errno, fails := c.want.(syscall.Errno); fails {
				if !errors.Is(err, errno) || err.Error() != "msgget: "+errno.Error() {
					t.Errorf("%s: error %v, want %v", c.what, err, errno)
				}
			} else if id != c.want || err != nil {
				t.Errorf("%s: id %d, error %v, want %d", c.what, id, err, c.want)
			}
		}
		ds, err := system.MsgctlStat(0)
		if ds.Perm.Mode != 0o640 || ds.Perm.Key != key {
			t.Errorf("mode %o and key %s", ds.Perm.Mode, ds.Perm.Key)
		}
		return err
	})
}

// TestMsgrcvChoosesByType has the rules of SEMANTICS A.4.1.
func TestMsgrcvChoosesByType(t *testing.T) {
	messages := []message{{5, "first"}, {3, "second"}, {3, "third"}, {9, "fourth"}, {math.MaxInt64, "fifth"}}
	for _, c := range []struct {
		typ   int64
		flags int
		want  string
	}{
		{0, 0, "first"},
		{3, 0, "second"},
		{9, 0, "fourth"},
		{math.MaxInt64, 0, "fifth"},
		{-3, 0, "second"},
		{-4, 0, "second"},
		{-9, 0, "second"},
		{math.MinInt64, 0, "second"},
		{5, ipc.MsgExcept, "second"},
		{3, ipc.MsgExcept, "first"},
		{-3, ipc.MsgExcept, "second"}, // it counts only for a type above 0
		{0, ipc.MsgExcept, "first"},
		{-2, 0, ""},
		{4, 0, ""},
	} {
		ipctest.InNew(t, func() error {
			id, err := newQueue(messages...)
			if err != nil {
				return err
			}
			buf := make([]byte, 100)
			typ, n, err := system.Msgrcv(background, id, c.typ, buf, c.flags|ipc.NoWait)
			if c.want == "" {
				if !errors.Is(err, syscall.ENOMSG) || err.Error() != "msgrcv: no message of desired type" {
					t.Errorf("type %d: error %v", c.typ, err)
				}
				return nil
			}
			if err != nil {
				return err
			}
			got := message{typ, string(buf[:n])}
			if got.text != c.want {
				t.Errorf("type %d, flags %o: got %q, want %q", c.typ, c.flags, got.text, c.want)
			}
			left, err := drain(id)
			if err == nil && len(left) != len(messages)-1 {
				t.Errorf("type %d: %d messages left", c.typ, len(left))
			}
			for _, m := range messages {
				if m.text == got.text && m.typ != got.typ {
					t.Errorf("%q came with type %d, not %d", m.text, got.typ, m.typ)
				}
			}
			return err
		})
	}
}

// TestMsgrcvIntoAShortBuffer has the rules of SEMANTICS A.4.2.
func TestMsgrcvIntoAShortBuffer(t *testing.T) {
	ipctest.InNew(t, func() error {
		id, err := newQueue(message{1, "long message"}, message{2, ""}, message{3, "abc"})
		if err != nil {
			return err
		}
		buf := []byte("....~")
		if _, n, err := system.Msgrcv(background, id, 0, buf[:4], 0); !errors.Is(err, syscall.E2BIG) || n != 0 {
			t.Errorf("a message that is too long: %d bytes, error %v", n, err)
		}
		if string(buf) != "....~" {
			t.Errorf("the buffer holds %q", buf)
		}
		typ, n, err := system.Msgrcv(background, id, 0, buf[:4], ipc.MsgNoError)
		if typ != 1 || n != 4 || err != nil || string(buf) != "long~" {
			t.Errorf("MSG_NOERROR: type %d, %d bytes, error %v, buffer %q", typ, n, err, buf)
		}
		typ, n, err = system.Msgrcv(background, id, 0, nil, 0)
		if typ != 2 || n != 0 || err != nil {
			t.Errorf("an empty message: type %d, %d bytes, error %v", typ, n, err)
		}
		typ, n, err = system.Msgrcv(background, id, 0, buf, 0)
		if typ != 3 || n != 3 || err != nil || string(buf) != "abcg~" {
			t.Errorf("a short message: type %d, %d bytes, error %v, buffer %q", typ, n, err, buf)
		}
		return nil
	})
}

// TestMsgsndRefuses has the errors of SEMANTICS A.3.
func TestMsgsndRefuses(t *testing.T) {
	ipctest.InNew(t, func() error {
		id, err := newQueue()
		if err != nil {
			return err
		}
		for _, c := range []struct {
			what string
			id   int
			typ  int64
			size int
			want syscall.Errno
		}{
			{"type 0", id, 0, 1, syscall.EINVAL},
			{"type -1", id, -1, 1, syscall.EINVAL},
			{"more than msgmax", id, 1, 8193, syscall.EINVAL},
			{"an id that there is not", id + 1, 1, 1, syscall.EINVAL},
			{"id -1", -1, 1, 1, syscall.EINVAL},
			{"msgmax", id, 1, 8192, 0},
			{"the rest of msgmnb", id, math.MaxInt64, 8191, 0},
			{"the last byte and one more", id, 1, 2, syscall.EAGAIN},
			{"the last byte", id, 1, 1, 0},
			{"one byte more", id, 1, 1, syscall.EAGAIN},
			{"no byte more", id, 1, 0, 0},
		} {
			err := system.Msgsnd(background, c.id, c.typ, make([]byte, c.size), ipc.NoWait)
			if c.want == 0 && err != nil || c.want != 0 && (!errors.Is(err, c.want) || err.Error() != "msgsnd: "+c.want.Error()) {
				t.Errorf("%s: error %v", c.what, err)
			}
		}
		return nil
	})
}

// TestMsgCopyLeavesTheMessage has the rules of SEMANTICS A.4.5.
func TestMsgCopyLeavesTheMessage(t *testing.T) {
	ipctest.InNew(t, func() error {
		id, err := newQueue(message{7, "zero"}, message{8, "one"})
		if err != nil {
			return err
		}
		buf := make([]byte, 10)
		for position, want := range []message{{7, "zero"}, {8, "one"}} {
			typ, n, err := system.Msgrcv(background, id, int64(position), buf, ipc.MsgCopy|ipc.NoWait)
			if errors.Is(err, syscall.ENOSYS) {
				return nil // without CONFIG_CHECKPOINT_RESTORE
			}
			if got := (message{typ, string(buf[:n])}); got != want || err != nil {
				t.Errorf("at %d: got %v, error %v, want %v", position, got, err, want)
			}
		}
		if _, _, err := system.Msgrcv(background, id, 2, buf, ipc.MsgCopy|ipc.NoWait); !errors.Is(err, syscall.ENOMSG) {
			t.Errorf("behind the end: error %v", err)
		}
		left, err := drain(id)
		if len(left) != 2 {
			t.Errorf("%d messages left", len(left))
		}
		return err
	})
}

// TestMsgctlStatIsTheStateOfTheQueue sends and receives.
func TestMsgctlStatIsTheStateOfTheQueue(t *testing.T) {
	ipctest.InNew(t, func() error {
		before := time.Now().Unix()
		id, err := system.Msgget(0x1234, ipc.Creat|0o612)
		if err != nil {
			return err
		}
		fresh, err := system.MsgctlStat(id)
		if err != nil {
			return err
		}
		uid, gid, pid := uint32(os.Geteuid()), uint32(os.Getegid()), int32(os.Getpid())
		want := ipc.MsqidDS{
			Perm:   ipc.Perm{Key: 0x1234, UID: uid, GID: gid, CUID: uid, CGID: gid, Mode: 0o612},
			Ctime:  fresh.Ctime,
			Qbytes: 16384,
		}
		if fresh != want {
			t.Errorf("new\n got %+v\nwant %+v", fresh, want)
		}
		if err := system.Msgsnd(background, id, 1, []byte("abc"), 0); err != nil {
			return err
		}
		sent, err := system.MsgctlStat(id)
		if err != nil {
			return err
		}
		want.Cbytes, want.Qnum, want.Lspid, want.Stime = 3, 1, pid, sent.Stime
		if sent != want {
			t.Errorf("sent\n got %+v\nwant %+v", sent, want)
		}
		if _, _, err := system.Msgrcv(background, id, 0, make([]byte, 3), 0); err != nil {
			return err
		}
		received, err := system.MsgctlStat(id)
		want.Cbytes, want.Qnum, want.Lrpid, want.Rtime = 0, 0, pid, received.Rtime
		if received != want {
			t.Errorf("received\n got %+v\nwant %+v", received, want)
		}
		now := time.Now().Unix()
		for name, at := range map[string]int64{"ctime": fresh.Ctime, "stime": sent.Stime, "rtime": received.Rtime} {
			if at < before || at > now {
				t.Errorf("%s is %d, not in %d to %d", name, at, before, now)
			}
		}
		return err
	})
}

func TestARemovedQueueIsGone(t *testing.T) {
	ipctest.InNew(t, func() error {
		id, err := newQueue(message{1, "lost"})
		if err != nil {
			return err
		}
		if err := system.MsgctlRmid(id); err != nil {
			return err
		}
		_, statErr := system.MsgctlStat(id)
		_, _, rcvErr := system.Msgrcv(background, id, 0, nil, 0)
		for call, err := range map[string]error{
			"msgctl(IPC_RMID)": system.MsgctlRmid(id),
			"msgctl(IPC_STAT)": statErr,
			"msgrcv":           rcvErr,
			"msgsnd":           system.Msgsnd(background, id, 1, nil, 0),
		} {
			// Not EIDRM, which is for sleepers alone (SEMANTICS A.1.8).
			if !errors.Is(err, syscall.EINVAL) || !strings.HasPrefix(err.Error(), call+": ") {
				t.Errorf("%s: error %v", call, err)
			}
		}
		return nil
	})
}

func TestMsgInfoCounts(t *testing.T) {
	ipctest.InNew(t, func() error {
		if info, highest, err := system.MsgInfo(); info != (ipc.MsgInfo{}) || highest != 0 || err != nil {
			t.Errorf("empty: %+v, highest index %d, error %v", info, highest, err)
		}
		for i := range 5 {
			if _, err := newQueue(message{1, "abc"}, message{1, "de"}); err != nil {
				return err
			}
			want := ipc.MsgInfo{Queues: i + 1, Messages: 2 * (i + 1), Bytes: 5 * (i + 1)}
			if info, highest, err := system.MsgInfo(); info != want || highest != i || err != nil {
				t.Errorf("%d queues: %+v, highest index %d, error %v", i+1, info, highest, err)
			}
		}
		if err := system.MsgctlRmid(1); err != nil {
			return err
		}
		want := ipc.MsgInfo{Queues: 4, Messages: 8, Bytes: 20}
		if info, highest, err := system.MsgInfo(); info != want || highest != 4 || err != nil {
			t.Errorf("after a removal: %+v, highest index %d, error %v", info, highest, err)
		}
		return nil
	})
}

// TestIndexAndID makes queues until an index comes again: its id is then
// another one (SEMANTICS A.1.1 to A.1.3).
func TestIndexAndID(t *testing.T) {
	ipctest.InNew(t, func() error {
		for range 64 {
			id, err := newQueue()
			if err != nil {
				return err
			}
			if err := system.MsgctlRmid(id); err != nil {
				return err
			}
		}
		id, err := newQueue(message{1, "abc"})
		if err != nil {
			return err
		}
		const want = 1 << 15 // seq 1, index 0
		gotID, ds, err := system.MsgStatAny(0)
		if id != want || gotID != want || ds.Perm.Seq != 1 || ds.Cbytes != 3 {
			t.Errorf("made %d, found %d with seq %d and %d bytes, want %d", id, gotID, ds.Perm.Seq, ds.Cbytes, want)
		}
		if _, _, err := system.MsgStatAny(1); !errors.Is(err, syscall.EINVAL) || err.Error() != "msgctl(MSG_STAT_ANY): invalid argument" {
			t.Errorf("a free index: error %v", err)
		}
		return err
	})
}

const statStrange = "look at objects that permit nothing"

// TestStatAnyTakesNoPermission looks at objects of mode 0 that root has made.
func TestStatAnyTakesNoPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make objects that are not this user's")
	}
	ns := ipctest.New(t)
	ipctest.Do(t, ns, func() error { return makeOneOfEach(0) })
	cmd := ns.Command("")
	cmd.Cmd = ipctest.AsNobody(ipctest.Again(statStrange))
	out, err := cmd.CombinedOutput()
	const want = `IPC_STAT: msgctl(IPC_STAT): permission denied
GETVAL: semctl(GETVAL): permission denied
MSG_STAT_ANY: 0 0 <nil>
SEM_STAT_ANY: 0 3 <nil>
SHM_STAT_ANY: 0 4097 <nil>
`
	if string(out) != want || err != nil {
		t.Errorf("error %v\n got %s\nwant %s", err, out, want)
	}
}

func statTheStrange() error {
	_, err := system.MsgctlStat(0)
	fmt.Println("IPC_STAT:", err)
	_, err = system.SemctlGetval(0, 0)
	fmt.Println("GETVAL:", err)
	id, queue, err := system.MsgStatAny(0)
	fmt.Println("MSG_STAT_ANY:", id, queue.Qnum, err)
	id, set, err := system.SemStatAny(0)
	fmt.Println("SEM_STAT_ANY:", id, set.Nsems, err)
	id, segment, err := system.ShmStatAny(0)
	fmt.Println("SHM_STAT_ANY:", id, segment.Segsz, err)
	return nil
}
