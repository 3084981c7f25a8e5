package properties

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// hang is how long a test may take that nothing but a lost message or a
// sleeper that was not woken can slow down.
const hang = time.Minute

// pairs is how many senders there are, and how many receivers.
const pairs = 4

// rounds is how often each of them does it.
func rounds() int {
	if testing.Short() {
		return 1000
	}
	return 8000
}

// A worker makes calls, and ends the contexts of others' calls meanwhile.
type worker struct {
	over   context.Context
	random *rand.Rand
	others []*worker
	cancel atomic.Pointer[context.CancelFunc]
}

// work calls f for each of n workers on a goroutine in the namespace, and
// waits for them. Over ends with the test, or when the workers hang.
func work(t *testing.T, in namespace, n int, f func(s ipc.System, w *worker, i int, end func())) {
	t.Helper()
	over, end := context.WithTimeout(t.Context(), hang)
	defer end()
	all := make([]*worker, n)
	for i := range all {
		all[i] = &worker{over: over, random: rand.New(rand.NewPCG(uint64(i), 0)), others: all}
	}
	var goroutines sync.WaitGroup
	for i, w := range all {
		goroutines.Go(func() {
			in(func(s ipc.System) { f(s, w, i, end) })
		})
	}
	goroutines.Wait()
	if errors.Is(over.Err(), context.DeadlineExceeded) {
		t.Errorf("not over in %v", hang)
	}
}

// insist makes a call until it is not the end of its context that has ended
// it. It returns false if all is over.
func (w *worker) insist(t *testing.T, call func(context.Context) error) bool {
	for w.over.Err() == nil {
		w.disturb()
		ctx, cancel := context.WithCancel(w.over)
		w.cancel.Store(&cancel)
		err := call(ctx)
		cancel()
		switch {
		case err == nil:
			return true
		case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
			t.Error(err)
			return false
		}
	}
	return false
}

// disturb ends the contexts of others' calls, and sometimes takes its time,
// for others to sleep meanwhile.
func (w *worker) disturb() {
	for _, other := range w.others {
		if cancel := other.cancel.Load(); cancel != nil && w.random.IntN(2) == 0 {
			(*cancel)()
		}
	}
	if w.random.IntN(16) == 0 {
		time.Sleep(10 * time.Microsecond)
	}
}

// A transfer is of messages from senders to receivers.
type transfer struct {
	send    func(ctx context.Context, s ipc.System, pair int, text []byte) error
	receive func(ctx context.Context, s ipc.System, pair int, buffer []byte) error
}

// check checks that whatever is sent is received, once, and by each receiver
// in the order in which a sender has sent it.
func (c transfer) check(t *testing.T, in namespace) {
	var received atomic.Int64
	var numbers [pairs][pairs][]int // of messages, by receiver and sender
	work(t, in, 2*pairs, func(s ipc.System, w *worker, i int, end func()) {
		if i < pairs {
			for number := range rounds() {
				text := binary.LittleEndian.AppendUint32([]byte{byte(i)}, uint32(number))
				if !w.insist(t, func(ctx context.Context) error { return c.send(ctx, s, i, text) }) {
					return
				}
			}
			return
		}
		pair, buffer := i-pairs, make([]byte, 16)
		for w.insist(t, func(ctx context.Context) error { return c.receive(ctx, s, pair, buffer) }) {
			from := &numbers[pair][buffer[0]]
			*from = append(*from, int(binary.LittleEndian.Uint32(buffer[1:])))
			if received.Add(1) == int64(pairs*rounds()) {
				end()
			}
		}
	})
	var lost, doubled, overtaken int
	for sender := range pairs {
		times := make([]int, rounds())
		for receiver := range pairs {
			last := -1
			for _, number := range numbers[receiver][sender] {
				times[number]++
				if number < last {
					overtaken++
				}
				last = number
			}
		}
		for _, n := range times {
			switch {
			case n == 0:
				lost++
			case n > 1:
				doubled++
			}
		}
	}
	equal(t, "the number of lost, of doubled and of overtaken messages", [3]int{lost, doubled, overtaken}, [3]int{})
}

// checkCanceled checks that calls whose contexts end at any moment lose
// nothing and double nothing.
func checkCanceled(t *testing.T, property func(t *testing.T, in namespace)) {
	t.Parallel()
	for name, implementation := range implementations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			property(t, implementation.together(t))
		})
	}
}

func TestMessageQueueCanceled(t *testing.T) {
	checkCanceled(t, func(t *testing.T, in namespace) {
		var id int
		in(func(s ipc.System) {
			id, _ = newMessageQueue(t, s)
			// For one message, so that senders sleep too.
			must(t, s.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 5}))
		})
		transfer{
			func(ctx context.Context, s ipc.System, _ int, text []byte) error {
				return s.Msgsnd(ctx, id, 1, text, 0)
			},
			func(ctx context.Context, s ipc.System, _ int, buffer []byte) error {
				_, _, err := s.Msgrcv(ctx, id, 0, buffer, 0)
				return err
			},
		}.check(t, in)
	})
}

func TestMqueueCanceled(t *testing.T) {
	checkCanceled(t, func(t *testing.T, in namespace) {
		var mqds [pairs]ipc.Mqd
		in(func(s ipc.System) {
			for i := range mqds {
				mqd, err := s.MqOpen("/q", syscall.O_RDWR|syscall.O_CREAT, 0o600, &ipc.MqAttr{Maxmsg: 4, Msgsize: 16})
				must(t, err)
				t.Cleanup(func() { mqd.Close() })
				mqds[i] = mqd
			}
			mqds[1] = mqds[0] // two pairs share a descriptor
		})
		transfer{
			func(ctx context.Context, _ ipc.System, pair int, text []byte) error {
				return mqds[pair].Timedsend(ctx, text, 0)
			},
			func(ctx context.Context, _ ipc.System, pair int, buffer []byte) error {
				_, _, err := mqds[pair].Timedreceive(ctx, buffer)
				return err
			},
		}.check(t, in)
	})
}

func TestSemaphoreSetCanceled(t *testing.T) {
	checkCanceled(t, func(t *testing.T, in namespace) {
		var id int
		in(func(s ipc.System) {
			var err error
			id, err = s.Semget(ipc.Private, 2, ipc.Creat|0o600)
			must(t, err)
			must(t, s.SemctlSetall(id, []uint16{1, pairs - 1}))
		})
		var inside, entered atomic.Int64
		work(t, in, pairs, func(s ipc.System, w *worker, _ int, _ func()) {
			for range rounds() / 2 {
				if !w.insist(t, func(ctx context.Context) error {
					return s.Semop(ctx, id, []ipc.Sembuf{{Num: 1, Op: -1}, {Num: 0, Op: -1}})
				}) {
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two are inside at once")
				}
				w.disturb()
				entered.Add(1)
				inside.Add(-1)
				if err := s.Semop(ctx, id, []ipc.Sembuf{{Num: 0, Op: +1}, {Num: 1, Op: +1}}); err != nil {
					t.Error(err)
				}
			}
		})
		equal(t, "how often one was inside", entered.Load(), int64(pairs*(rounds()/2)))
		in(func(s ipc.System) {
			values, err := s.SemctlGetall(id)
			must(t, err)
			equal(t, "values", fmt.Sprint(values), fmt.Sprint([]int{1, pairs - 1}))
		})
	})
}
