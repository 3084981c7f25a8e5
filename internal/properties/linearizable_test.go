package properties

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/ipcns/ipcns/ipc"
	"pgregory.net/rapid"
)

// A call is one of the calls that goroutines make at the same time.
type call interface {
	// make makes the call.
	make(ctx context.Context) result
	// on returns what the model says that it does.
	on(state any) (after any, want result)
	// patience is how long it may sleep; below 0, it does not.
	patience() time.Duration
}

// A result is what a call has returned: a string, to be compared.
type result string

// canceled is the result of a call whose context has ended: it has done nothing.
const canceled result = "canceled"

// asleep is what a model says of a call that would sleep.
const asleep result = "asleep"

// resultOf is a call's result: its error, or else what it has returned.
func resultOf(err error, returned ...any) result {
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return canceled
	case errors.As(err, &errno):
		return result(errno.Error())
	case err != nil:
		return result(err.Error())
	}
	return result(fmt.Sprint(returned...))
}

// checkTogether looks for calls that, made at the same time, have results
// that they have in no order of one after the other. Calls are by goroutine;
// those in last come when all others are over.
func checkTogether(t *testing.T, draw func(t *rapid.T, in namespace) (initial any, calls [][]call, last []call)) {
	t.Parallel()
	for name, implementation := range implementations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				in := implementation.together(t)
				initial, calls, last := draw(t, in)
				var h history
				h.makeTogether(in, calls)
				h.makeTogether(in, [][]call{last})
				h.check(t, initial)
			})
		})
	}
}

// A history is what calls have returned, and which came before which.
type history struct {
	clock atomic.Int64
	mu    sync.Mutex
	made  []porcupine.Operation
}

func (h *history) makeTogether(in namespace, calls [][]call) {
	var ready, over sync.WaitGroup
	ready.Add(len(calls))
	for client, calls := range calls {
		over.Go(func() {
			in(func(ipc.System) {
				ready.Done()
				ready.Wait()
				for _, call := range calls {
					h.make(client, call)
				}
			})
		})
	}
	over.Wait()
}

func (h *history) make(client int, c call) {
	ctx, cancel := ctx, func() {}
	if patience := c.patience(); patience >= 0 {
		ctx, cancel = context.WithTimeout(ctx, patience)
	}
	defer cancel()
	began := h.clock.Add(1)
	result := c.make(ctx)
	ended := h.clock.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.made = append(h.made, porcupine.Operation{ClientId: client, Input: c, Call: began, Output: result, Return: ended})
}

// check looks for an order of the calls in which the model has their results.
func (h *history) check(t *rapid.T, initial any) {
	t.Helper()
	model := porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, input, output any) (bool, any) {
			if output == canceled {
				return true, state
			}
			after, want := input.(call).on(state)
			return output == want, after
		},
		Equal: func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) },
	}
	if got := porcupine.CheckOperationsTimeout(model, h.made, 30*time.Second); got != porcupine.Ok {
		t.Fatalf("is there an order of these calls with these results? %s\nat first: %v\n%s", got, initial, h)
	}
}

func (h *history) String() string {
	slices.SortFunc(h.made, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var lines []string
	for _, o := range h.made {
		lines = append(lines, fmt.Sprintf("goroutine %d from %d to %d: %v: %s", o.ClientId, o.Call, o.Return, o.Input, o.Output))
	}
	return strings.Join(lines, "\n")
}

// drawCalls draws calls for some goroutines.
func drawCalls(t *rapid.T, c *rapid.Generator[call]) [][]call {
	return rapid.SliceOfN(rapid.SliceOfN(c, 1, 12), 2, 4).Draw(t, "calls")
}

// drawPatience returns how long a call may sleep.
func drawPatience(t *rapid.T) time.Duration {
	return time.Duration(rapid.IntRange(0, 2000).Draw(t, "patience")) * time.Microsecond
}

// drawAnyPatience returns how long a call may sleep, or that it does not.
func drawAnyPatience(t *rapid.T) time.Duration {
	if rapid.IntRange(0, 3).Draw(t, "IPC_NOWAIT") == 0 {
		return -1
	}
	return drawPatience(t)
}

// noWait returns the flag for a call with that patience.
func noWait(patience time.Duration) int {
	if patience < 0 {
		return ipc.NoWait
	}
	return 0
}

// mayWait returns what a call returns that fails with EAGAIN or ENOMSG if it
// may not sleep.
func mayWait(patience time.Duration, errno syscall.Errno) result {
	if patience < 0 {
		return resultOf(errno)
	}
	return asleep
}

func TestMessageQueueLinearizable(t *testing.T) {
	checkTogether(t, func(t *rapid.T, in namespace) (any, [][]call, []call) {
		var s ipc.System
		var id int
		// Room for few messages, so that senders sleep.
		model := messageQueue{qbytes: rapid.IntRange(1, 12).Draw(t, "qbytes")}
		in(func(system ipc.System) {
			s = system
			id, _ = newMessageQueue(t, s)
			must(t, s.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: uint64(model.qbytes)}))
		})
		sent := 0
		draw := rapid.Custom(func(t *rapid.T) call {
			if rapid.Bool().Draw(t, "send") {
				sent++
				return msgsnd{s, id, message{
					rapid.Int64Range(1, 3).Draw(t, "type"),
					// No other message has this text.
					strconv.Itoa(sent),
				}, drawAnyPatience(t)}
			}
			typ := rapid.Int64Range(-3, 3).Draw(t, "type")
			size := rapid.SampledFrom([]int{10, 10, 1}).Draw(t, "size")
			return msgrcv{s, id, typ, size, rapid.SampledFrom([]int{0, ipc.MsgExcept}).Draw(t, "flags"), drawAnyPatience(t)}
		})
		calls := drawCalls(t, draw)
		var last []call
		for range sent + 1 {
			last = append(last, msgrcv{s, id, 0, 10, 0, -1})
		}
		return model, calls, last
	})
}

// A msgsnd is a call of Msgsnd.
type msgsnd struct {
	s    ipc.System
	id   int
	m    message
	wait time.Duration
}

func (c msgsnd) patience() time.Duration { return c.wait }

func (c msgsnd) make(ctx context.Context) result {
	return resultOf(c.s.Msgsnd(ctx, c.id, c.m.typ, []byte(c.m.text), noWait(c.wait)))
}

func (c msgsnd) on(state any) (any, result) {
	after, errno := state.(messageQueue).send(c.m)
	if errno == syscall.EAGAIN {
		return after, mayWait(c.wait, errno)
	}
	return after, resultOf(nilIfZero(errno))
}

func (c msgsnd) String() string { return fmt.Sprintf("msgsnd type %d text %s", c.m.typ, c.m.text) }

// A msgrcv is a call of Msgrcv.
type msgrcv struct {
	s     ipc.System
	id    int
	typ   int64
	size  int
	flags int
	wait  time.Duration
}

func (c msgrcv) patience() time.Duration { return c.wait }

func (c msgrcv) make(ctx context.Context) result {
	buffer := make([]byte, c.size)
	typ, n, err := c.s.Msgrcv(ctx, c.id, c.typ, buffer, c.flags|noWait(c.wait))
	return resultOf(err, message{typ, string(buffer[:n])})
}

func (c msgrcv) on(state any) (any, result) {
	after, m, errno := state.(messageQueue).receive(c.typ, c.size, c.flags)
	if errno == syscall.ENOMSG {
		return after, mayWait(c.wait, errno)
	}
	return after, resultOf(nilIfZero(errno), m)
}

func (c msgrcv) String() string {
	return fmt.Sprintf("msgrcv type %d size %d flags %#o", c.typ, c.size, c.flags)
}

// nilIfZero returns errno as an error.
func nilIfZero(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func TestSemaphoreSetLinearizable(t *testing.T) {
	checkTogether(t, func(t *rapid.T, in namespace) (any, [][]call, []call) {
		var s ipc.System
		var id int
		const nsems = 3
		model := semaphoreSet{values: make([]int, nsems), adjustments: make([]int, nsems), touched: make([]bool, nsems)}
		in(func(system ipc.System) {
			s = system
			var err error
			id, err = s.Semget(ipc.Private, nsems, ipc.Creat|0o600)
			must(t, err)
		})
		draw := rapid.Custom(func(t *rapid.T) call {
			switch rapid.IntRange(0, 9).Draw(t, "call") {
			case 0:
				return getall{s, id}
			case 1:
				return setval{s, id, rapid.IntRange(0, nsems-1).Draw(t, "number"), rapid.IntRange(0, 2).Draw(t, "value")}
			}
			ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ipc.Sembuf {
				return ipc.Sembuf{
					Num: rapid.Uint16Range(0, nsems-1).Draw(t, "number"),
					Op:  rapid.Int16Range(-2, 2).Draw(t, "operation"),
					Flg: rapid.SampledFrom([]int16{0, 0, ipc.NoWait}).Draw(t, "flags"),
				}
			}), 1, 3).Draw(t, "operations")
			return semop{s, id, ops, drawPatience(t)}
		})
		return model, drawCalls(t, draw), []call{getall{s, id}}
	})
}

// A semop is a call of Semop.
type semop struct {
	s    ipc.System
	id   int
	ops  []ipc.Sembuf
	wait time.Duration
}

func (c semop) patience() time.Duration { return c.wait }

func (c semop) make(ctx context.Context) result { return resultOf(c.s.Semop(ctx, c.id, c.ops)) }

func (c semop) on(state any) (any, result) {
	after, errno, sleepsAt := state.(semaphoreSet).do(c.ops)
	if sleepsAt >= 0 && c.ops[sleepsAt].Flg&ipc.NoWait == 0 {
		return after, asleep
	}
	return after, resultOf(nilIfZero(errno))
}

func (c semop) String() string { return fmt.Sprint("semop ", c.ops) }

// A getall is a call of SemctlGetall.
type getall struct {
	s  ipc.System
	id int
}

func (c getall) patience() time.Duration { return -1 }

func (c getall) make(context.Context) result {
	values, err := c.s.SemctlGetall(c.id)
	return resultOf(err, values)
}

func (c getall) on(state any) (any, result) { return state, resultOf(nil, state.(semaphoreSet).values) }

func (c getall) String() string { return "GETALL" }

// A setval is a call of SemctlSetval.
type setval struct {
	s          ipc.System
	id         int
	num, value int
}

func (c setval) patience() time.Duration { return -1 }

func (c setval) make(context.Context) result {
	return resultOf(c.s.SemctlSetval(c.id, c.num, c.value))
}

func (c setval) on(state any) (any, result) {
	after, errno := state.(semaphoreSet).setval(c.num, c.value)
	return after, resultOf(nilIfZero(errno))
}

func (c setval) String() string { return fmt.Sprintf("SETVAL %d of %d", c.value, c.num) }

func TestMqueueLinearizable(t *testing.T) {
	checkTogether(t, func(t *rapid.T, in namespace) (any, [][]call, []call) {
		model := mqueue{maxmsg: rapid.IntRange(1, 3).Draw(t, "maxmsg")}
		var descriptors, nonblock []ipc.Mqd
		in(func(s ipc.System) {
			open := func(flags int) ipc.Mqd {
				mqd, err := s.MqOpen("/q", syscall.O_RDWR|syscall.O_CREAT|flags, 0o600, &ipc.MqAttr{Maxmsg: int64(model.maxmsg), Msgsize: 10})
				must(t, err)
				t.Cleanup(func() { mqd.Close() })
				return mqd
			}
			descriptors = []ipc.Mqd{open(0), open(0)}
			nonblock = []ipc.Mqd{open(syscall.O_NONBLOCK)}
		})
		sent := 0
		draw := rapid.Custom(func(t *rapid.T) call {
			wait := drawAnyPatience(t)
			mqds := descriptors
			if wait < 0 {
				mqds = nonblock
			}
			mqd := mqds[rapid.IntRange(0, len(mqds)-1).Draw(t, "descriptor")]
			if !rapid.Bool().Draw(t, "send") {
				return mqReceive{mqd, wait}
			}
			sent++
			return mqSend{mqd, mqMessage{rapid.UintRange(0, 2).Draw(t, "priority"), strconv.Itoa(sent)}, wait}
		})
		calls := drawCalls(t, draw)
		var last []call
		for range sent + 1 {
			last = append(last, mqReceive{nonblock[0], -1})
		}
		return model, calls, last
	})
}

// An mqSend is a call of Timedsend.
type mqSend struct {
	mqd  ipc.Mqd
	m    mqMessage
	wait time.Duration
}

func (c mqSend) patience() time.Duration { return c.wait }

func (c mqSend) make(ctx context.Context) result {
	return resultOf(c.mqd.Timedsend(ctx, []byte(c.m.text), c.m.priority))
}

func (c mqSend) on(state any) (any, result) {
	after, errno := state.(mqueue).send(c.m)
	if errno == syscall.EAGAIN {
		return after, mayWait(c.wait, errno)
	}
	return after, resultOf(nilIfZero(errno))
}

func (c mqSend) String() string {
	return fmt.Sprintf("mq_send priority %d text %s", c.m.priority, c.m.text)
}

// An mqReceive is a call of Timedreceive.
type mqReceive struct {
	mqd  ipc.Mqd
	wait time.Duration
}

func (c mqReceive) patience() time.Duration { return c.wait }

func (c mqReceive) make(ctx context.Context) result {
	var buffer [10]byte
	n, priority, err := c.mqd.Timedreceive(ctx, buffer[:])
	return resultOf(err, mqMessage{priority, string(buffer[:n])})
}

func (c mqReceive) on(state any) (any, result) {
	after, m, errno := state.(mqueue).receive()
	if errno == syscall.EAGAIN {
		return after, mayWait(c.wait, errno)
	}
	return after, resultOf(nilIfZero(errno), m)
}

func (c mqReceive) String() string { return "mq_receive" }
