package properties

import (
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"pgregory.net/rapid"
)

// A messageQueue is the model of a message queue. Its methods return the
// queue as it is afterwards, and do not change it.
type messageQueue struct {
	messages []message
	qbytes   int
}

type message struct {
	typ  int64
	text string
}

const msgmax = 8192

func (q messageQueue) cbytes() (n int) {
	for _, m := range q.messages {
		n += len(m.text)
	}
	return n
}

// send is msgsnd with IPC_NOWAIT.
func (q messageQueue) send(m message) (messageQueue, syscall.Errno) {
	if m.typ < 1 || len(m.text) > msgmax {
		return q, syscall.EINVAL
	}
	if q.cbytes()+len(m.text) > q.qbytes || len(q.messages)+1 > q.qbytes {
		return q, syscall.EAGAIN
	}
	q.messages = append(slices.Clone(q.messages), m)
	return q, 0
}

// receive is msgrcv with IPC_NOWAIT into a buffer of that size.
func (q messageQueue) receive(typ int64, size, flags int) (messageQueue, message, syscall.Errno) {
	if flags&ipc.MsgCopy != 0 {
		m, errno := q.copy(typ, size, flags)
		return q, m, errno
	}
	i := q.find(typ, flags)
	if i < 0 {
		return q, message{}, syscall.ENOMSG
	}
	m := q.messages[i]
	if len(m.text) > size {
		if flags&ipc.MsgNoError == 0 {
			return q, message{}, syscall.E2BIG
		}
		m.text = m.text[:size]
	}
	q.messages = slices.Delete(slices.Clone(q.messages), i, i+1)
	return q, m, 0
}

// copy is msgrcv with MSG_COPY.
func (q messageQueue) copy(position int64, size, flags int) (message, syscall.Errno) {
	if flags&ipc.MsgExcept != 0 {
		return message{}, syscall.EINVAL
	}
	if position < 0 || position >= int64(len(q.messages)) {
		return message{}, syscall.ENOMSG
	}
	m := q.messages[position]
	if len(m.text) <= size {
		return m, 0
	}
	if flags&ipc.MsgNoError != 0 {
		return message{}, syscall.EINVAL
	}
	return message{}, syscall.E2BIG
}

// find returns the position of the message that a msgrcv takes, -1 for none.
func (q messageQueue) find(typ int64, flags int) int {
	found := -1
	for i, m := range q.messages {
		switch {
		case typ == 0:
			return i
		case typ > 0 && (m.typ == typ) == (flags&ipc.MsgExcept == 0):
			return i
		case typ < 0 && (typ == math.MinInt64 || m.typ <= -typ) && (found < 0 || m.typ < q.messages[found].typ):
			found = i
		}
	}
	return found
}

func TestMessageQueue(t *testing.T) { check(t, messageQueueActions) }

func messageQueueActions(t *rapid.T, s process) {
	id, model := newMessageQueue(t, s)
	var sends, receives int
	_, _, err := s.Msgrcv(ctx, id, 0, nil, ipc.MsgCopy|ipc.NoWait)
	hasCopy := !errors.Is(err, syscall.ENOSYS)
	receiveFlags := []int{0, 0, ipc.MsgNoError, ipc.MsgExcept, ipc.MsgNoError | ipc.MsgExcept}
	if hasCopy {
		receiveFlags = append(receiveFlags, ipc.MsgCopy, ipc.MsgCopy|ipc.MsgNoError, ipc.MsgCopy|ipc.MsgExcept)
	}
	t.Repeat(map[string]func(*rapid.T){
		"send": func(t *rapid.T) {
			m := message{
				typ:  rapid.OneOf(rapid.Int64Range(-1, 4), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64})).Draw(t, "type"),
				text: drawText(t, rapid.OneOf(rapid.IntRange(0, 40), rapid.SampledFrom([]int{msgmax, msgmax + 1}))),
			}
			next, errno := model.send(m)
			wantErrno(t, s.Msgsnd(ctx, id, m.typ, []byte(m.text), ipc.NoWait), errno)
			if model = next; errno == 0 {
				sends++
			}
		},
		"receive": func(t *rapid.T) {
			typ := rapid.OneOf(rapid.Int64Range(-5, 5), rapid.SampledFrom([]int64{math.MinInt64, -math.MaxInt64, math.MaxInt64})).Draw(t, "type")
			buffer := make([]byte, rapid.OneOf(rapid.IntRange(0, 40), rapid.Just(msgmax+1)).Draw(t, "size"))
			flags := rapid.SampledFrom(receiveFlags).Draw(t, "flags")
			next, want, errno := model.receive(typ, len(buffer), flags)
			gotType, n, err := s.Msgrcv(ctx, id, typ, buffer, flags|ipc.NoWait)
			wantErrno(t, err, errno)
			equal(t, "the message", message{gotType, string(buffer[:n])}, want)
			if model = next; errno == 0 && flags&ipc.MsgCopy == 0 {
				receives++
			}
		},
		"set qbytes": func(t *rapid.T) {
			model.qbytes = rapid.OneOf(rapid.IntRange(0, 100), rapid.Just(16384)).Draw(t, "qbytes")
			must(t, s.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: uint64(model.qbytes)}))
		},
		"replace": func(t *rapid.T) {
			must(t, s.MsgctlRmid(id))
			_, err := s.MsgctlStat(id)
			wantErrno(t, err, syscall.EINVAL)
			wantErrno(t, s.Msgsnd(ctx, id, 1, nil, ipc.NoWait), syscall.EINVAL)
			id, model = newMessageQueue(t, s)
			sends, receives = 0, 0
		},
		"": func(t *rapid.T) {
			ds, err := s.MsgctlStat(id)
			must(t, err)
			equal(t, "qnum", int(ds.Qnum), len(model.messages))
			equal(t, "cbytes", int(ds.Cbytes), model.cbytes())
			equal(t, "qbytes", int(ds.Qbytes), model.qbytes)
			equal(t, "whether stime is set", ds.Stime != 0, sends > 0)
			equal(t, "whether lspid is set", ds.Lspid != 0, sends > 0)
			equal(t, "whether rtime is set", ds.Rtime != 0, receives > 0)
			equal(t, "whether lrpid is set", ds.Lrpid != 0, receives > 0)
			info, highest, err := s.MsgInfo()
			must(t, err)
			equal(t, "MSG_INFO", info, ipc.MsgInfo{Queues: 1, Messages: len(model.messages), Bytes: model.cbytes()})
			equal(t, "the highest index", highest, id%32768)
			if hasCopy {
				equalMessages(t, s, id, model.messages)
			}
		},
	})
}

func newMessageQueue(t test, s ipc.System) (id int, model messageQueue) {
	id, err := s.Msgget(ipc.Private, ipc.Creat|0o600)
	must(t, err)
	return id, messageQueue{qbytes: 16384}
}

// equalMessages checks the messages of a queue, and their order.
func equalMessages(t test, s ipc.System, id int, want []message) {
	t.Helper()
	buffer := make([]byte, msgmax)
	for i, m := range want {
		typ, n, err := s.Msgrcv(ctx, id, int64(i), buffer, ipc.MsgCopy|ipc.NoWait)
		must(t, err)
		equal(t, "a message", message{typ, string(buffer[:n])}, m)
	}
}

// drawText returns a text of a size, that few others are equal to.
func drawText(t *rapid.T, size *rapid.Generator[int]) string {
	letter := rapid.StringMatching("[a-zA-Z]").Draw(t, "letter")
	return strings.Repeat(letter, size.Draw(t, "size"))
}
