//go:build linux

package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/ipc"
)

// tooLong is a bound that only calls that never end reach.
const tooLong = time.Minute

// freshNamespace returns a namespace that ends with the test.
func freshNamespace(t *testing.T) *ipcns.Namespace {
	t.Helper()
	ns, err := ipcns.New()
	if errors.Is(err, syscall.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// openIn opens a POSIX queue of a namespace, and makes it if need be.
func openIn(t *testing.T, ns *ipcns.Namespace, maxmsg int64) *mqd {
	t.Helper()
	var q ipc.Mqd
	err := ns.Do(func() (err error) {
		q, err = System{}.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: maxmsg, Msgsize: 8})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q.(*mqd)
}

func waitUntil(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(tooLong); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", tooLong, what)
		}
	}
}

// waitFor returns what comes first from c.
func waitFor[T any](t *testing.T, what string, c <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-c:
	case <-time.After(tooLong):
		t.Fatalf("not in %v: %s", tooLong, what)
	}
	return value
}

// entries returns how many files a directory has.
func entries(t *testing.T, dir string) int {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// leavesNothing checks at the end of the test, after its other cleanups, that
// no goroutine and no descriptor is left.
func leavesNothing(t *testing.T) {
	t.Helper()
	goroutines, descriptors := runtime.NumGoroutine(), entries(t, "/proc/self/fd")
	t.Cleanup(func() {
		waitUntil(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
		waitUntil(t, "all descriptors are closed", func() bool { return entries(t, "/proc/self/fd") <= descriptors })
	})
}

func TestReceiversTakeNoThreads(t *testing.T) {
	ns := freshNamespace(t)
	first := openIn(t, ns, 1) // the runtime's poller has its descriptors now
	leavesNothing(t)
	queues := []*mqd{first}
	for range 199 {
		queues = append(queues, openIn(t, ns, 1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	before := entries(t, "/proc/self/task")
	results := make(chan error, 1000)
	for i := range cap(results) {
		go func() {
			_, _, err := queues[i%len(queues)].Timedreceive(ctx, make([]byte, 8))
			results <- err
		}()
	}
	waitUntil(t, "a receiver of each descriptor sleeps", func() bool {
		sleeping := 0
		for _, q := range queues {
			sleeping += len(q.receiver)
		}
		return sleeping == len(queues)
	})
	if more := entries(t, "/proc/self/task") - before; more > 20 {
		t.Errorf("%d receivers took %d threads", cap(results), more)
	}
	if err := first.Timedsend(ctx, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := waitFor(t, "a receiver gets the message", results); err != nil {
		t.Error(err)
	}
	cancel()
	for range cap(results) - 1 {
		if err := waitFor(t, "a cancelled receiver returns", results); !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled receiver got %v", err)
		}
	}
}

// A tally counts how often each of the messages 0, 1, ... arrived.
type tally struct {
	arrived []atomic.Int32
	missing atomic.Int64
	all     chan struct{} // closed when none is missing
}

func newTally(messages int) *tally {
	c := &tally{arrived: make([]atomic.Int32, messages), all: make(chan struct{})}
	c.missing.Store(int64(messages))
	return c
}

func (c *tally) add(t *testing.T, message uint64) {
	if message >= uint64(len(c.arrived)) {
		t.Errorf("message %d was never sent", message)
		return
	}
	if c.arrived[message].Add(1) > 1 {
		t.Errorf("message %d arrived twice", message)
	} else if c.missing.Add(-1) == 0 {
		close(c.all)
	}
}

// impatient returns a context that ends in a moment, or soon, or has ended.
func impatient(parent context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(parent, time.Duration(rand.Int64N(int64(200*time.Microsecond))))
}

// ended reports that a context has ended the call.
func ended(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// exchange sends each message once and receives until all have arrived, with
// calls whose contexts end at random moments. Each sender and receiver runs
// on a goroutine that around starts.
func exchange(t *testing.T, messages, senders, receivers int, around func(func() error) error,
	send func(ctx context.Context, message []byte) error, receive func(ctx context.Context, buffer []byte) (int, error)) {
	var next atomic.Int64
	var cancelled atomic.Int64
	count := newTally(messages)
	all, stop := context.WithTimeout(t.Context(), tooLong)
	defer stop()
	var group sync.WaitGroup
	start := func(loop func() error) {
		group.Go(func() {
			if err := around(loop); err != nil {
				t.Error(err)
				stop()
			}
		})
	}
	for range senders {
		start(func() error {
			for message := next.Add(1) - 1; message < int64(messages) && all.Err() == nil; {
				ctx, cancel := impatient(all)
				err := send(ctx, binary.NativeEndian.AppendUint64(nil, uint64(message)))
				cancel()
				switch {
				case err == nil:
					message = next.Add(1) - 1
				case ended(err):
					cancelled.Add(1)
				default:
					return err
				}
			}
			return nil
		})
	}
	for range receivers {
		start(func() error {
			buffer := make([]byte, 8)
			for all.Err() == nil {
				ctx, cancel := impatient(all)
				n, err := receive(ctx, buffer)
				cancel()
				switch {
				case err == nil && n == len(buffer):
					count.add(t, binary.NativeEndian.Uint64(buffer))
				case err == nil:
					t.Errorf("a message of %d bytes arrived", n)
				case ended(err):
					cancelled.Add(1)
				default:
					return err
				}
			}
			return nil
		})
	}
	select {
	case <-count.all:
	case <-all.Done():
		t.Errorf("%d of %d messages never arrived", count.missing.Load(), messages)
	}
	stop()
	group.Wait()
	if cancelled.Load() < int64(messages/100) {
		t.Errorf("only %d calls were cancelled: the test means nothing", cancelled.Load())
	}
	t.Logf("%d messages, %d calls cancelled", messages, cancelled.Load())
}

func TestCancelsLoseNoMqueueMessage(t *testing.T) {
	ns := freshNamespace(t)
	openIn(t, ns, 2)
	leavesNothing(t)
	queues := make([]*mqd, 3)
	for i := range queues {
		queues[i] = openIn(t, ns, 2)
	}
	anyQueue := func() *mqd { return queues[rand.IntN(len(queues))] }
	exchange(t, 30_000, 4, 6, func(f func() error) error { return f() },
		func(ctx context.Context, message []byte) error {
			return anyQueue().Timedsend(ctx, message, uint(rand.IntN(3)))
		},
		func(ctx context.Context, buffer []byte) (int, error) {
			n, _, err := anyQueue().Timedreceive(ctx, buffer)
			return n, err
		})
	attr, err := queues[0].Getattr()
	if err != nil || attr.Curmsgs != 0 {
		t.Errorf("%d messages are left, %v", attr.Curmsgs, err)
	}
}

func TestCancelsLoseNoMessage(t *testing.T) {
	ns := freshNamespace(t)
	leavesNothing(t)
	var s System
	var id int
	err := ns.Do(func() (err error) {
		if id, err = s.Msgget(ipc.Private, 0o600); err != nil {
			return err
		}
		return s.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 16})
	})
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, 30_000, 4, 6, ns.Do,
		func(ctx context.Context, message []byte) error {
			return s.Msgsnd(ctx, id, 1+rand.Int64N(3), message, 0)
		},
		func(ctx context.Context, buffer []byte) (int, error) {
			_, n, err := s.Msgrcv(ctx, id, -3+rand.Int64N(4), buffer, 0)
			return n, err
		})
}

func TestCancelInterruptsAProgramThatIgnoresSignals(t *testing.T) {
	// It is SIGURG that interrupts; see interruptible.
	ns := freshNamespace(t)
	signal.Ignore(syscall.SIGURG)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		result <- ns.Do(func() error {
			id, err := System{}.Msgget(ipc.Private, 0o600)
			if err != nil {
				return err
			}
			_, _, err = System{}.Msgrcv(ctx, id, 0, make([]byte, 8), 0)
			return err
		})
	}()
	if err := waitFor(t, "the call ends with its context", result); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call returned %v", err)
	}
}

func TestNowaitDoesNotLookAtTheContext(t *testing.T) {
	ns := freshNamespace(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var s System
	err := ns.Do(func() error {
		id, err := s.Msgget(ipc.Private, 0o600)
		if err != nil {
			return err
		}
		if err := s.Msgsnd(gone, id, 1, nil, ipc.NoWait); err != nil {
			t.Errorf("msgsnd: %v", err)
		}
		if _, _, err := s.Msgrcv(gone, id, 0, nil, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("msgrcv without IPC_NOWAIT: %v", err)
		}
		if _, _, err := s.Msgrcv(gone, id, 0, nil, ipc.NoWait); err != nil {
			t.Errorf("msgrcv: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	q := openIn(t, ns, 1)
	if err := q.Timedsend(gone, nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("mq_timedsend without O_NONBLOCK: %v", err)
	}
	if _, err := q.SetNonblock(true); err != nil {
		t.Fatal(err)
	}
	if err := q.Timedsend(gone, nil, 0); err != nil {
		t.Errorf("mq_timedsend: %v", err)
	}
	if _, _, err := q.Timedreceive(gone, make([]byte, 8)); err != nil {
		t.Errorf("mq_timedreceive: %v", err)
	}
}

func TestCloseWakesSleepers(t *testing.T) {
	ns := freshNamespace(t)
	openIn(t, ns, 1)
	leavesNothing(t)
	empty := openIn(t, ns, 1)
	results := make(chan error, 20)
	for range cap(results) {
		go func() {
			_, _, err := empty.Timedreceive(t.Context(), make([]byte, 8))
			results <- err
		}()
	}
	waitUntil(t, "a receiver sleeps", func() bool { return len(empty.receiver) == 1 })
	wakes(t, empty, results)

	full := openIn(t, ns, 1)
	if err := full.Timedsend(t.Context(), nil, 0); err != nil {
		t.Fatal(err)
	}
	for range cap(results) {
		go func() { results <- full.Timedsend(t.Context(), nil, 0) }()
	}
	waitUntil(t, "a sender sleeps", func() bool { return len(full.sender) == 1 })
	wakes(t, full, results)
}

// wakes closes the queue and checks that all of the calls end, and that later
// ones do not reach a descriptor that has the number now.
func wakes(t *testing.T, q *mqd, results <-chan error) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for range cap(results) {
		if err := waitFor(t, "a sleeper returns", results); !errors.Is(err, syscall.EBADF) {
			t.Errorf("a sleeper got %v", err)
		}
	}
	other, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, getattr := q.Getattr()
	_, setattr := q.SetNonblock(true)
	_, _, receive := q.Timedreceive(t.Context(), make([]byte, 8))
	_, notify := q.Notify(func() { t.Error("a closed queue notifies") })
	for call, err := range map[string]error{
		"Getattr": getattr, "SetNonblock": setattr, "Timedreceive": receive, "Notify": notify,
		"Timedsend": q.Timedsend(t.Context(), nil, 0), "Close": q.Close(),
	} {
		if !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s of a closed queue: %v", call, err)
		}
	}
}

// TestCloseAmidCalls closes descriptors that are in use while their numbers
// go to new ones, of a queue that holds other messages.
func TestCloseAmidCalls(t *testing.T) {
	ns := freshNamespace(t)
	leavesNothing(t)
	err := ns.Do(func() error {
		for i := range 200 {
			mine, err := openNamed("/mine"+strconv.Itoa(i), "m")
			if err != nil {
				return err
			}
			var group sync.WaitGroup
			for range 4 {
				group.Go(func() { receiveUntilClosed(t, mine, "m") })
			}
			closed := mine.Close()
			other, err := openNamed("/other"+strconv.Itoa(i), "o")
			if err != nil {
				return err
			}
			group.Wait()
			attr, err := other.Getattr()
			if closed != nil || err != nil || attr.Curmsgs != 1 {
				t.Errorf("the other queue has %d messages, want 1; %v, %v", attr.Curmsgs, err, closed)
			}
			other.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// openNamed makes a queue that holds one message, and unlinks it.
func openNamed(name, message string) (ipc.Mqd, error) {
	q, err := System{}.MqOpen(name, syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 1, Msgsize: 8})
	if err != nil {
		return nil, err
	}
	if err := (System{}).MqUnlink(name); err != nil {
		return nil, err
	}
	return q, q.Timedsend(context.Background(), []byte(message), 0)
}

func receiveUntilClosed(t *testing.T, q ipc.Mqd, want string) {
	buffer := make([]byte, 8)
	for {
		n, _, err := q.Timedreceive(t.Context(), buffer)
		if errors.Is(err, syscall.EBADF) {
			return
		}
		if err != nil || string(buffer[:n]) != want {
			t.Errorf("received %q, %v; want %q", buffer[:n], err, want)
			return
		}
	}
}

func TestNotifyEndsOnce(t *testing.T) {
	ns := freshNamespace(t)
	openIn(t, ns, 4)
	leavesNothing(t)
	q := openIn(t, ns, 4)
	send := func() {
		t.Helper()
		if err := q.Timedsend(t.Context(), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() {
		t.Helper()
		if _, _, err := q.Timedreceive(t.Context(), make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	notify := func(f func()) (cancel func()) {
		t.Helper()
		end, err := q.Notify(f)
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	}
	never := func() { t.Error("a registration that was cancelled fires") }

	fired := make(chan struct{}, 8)
	cancel := notify(func() { fired <- struct{}{} })
	if _, err := q.Notify(never); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a second registration: %v", err)
	}
	send()
	waitFor(t, "the message notifies", fired)
	receive()
	send()
	cancel()
	if len(fired) != 0 {
		t.Error("one registration fired twice")
	}
	receive()

	cancel = notify(never)
	cancel()
	cancel()
	send()
	receive()

	// Ending a registration that has fired leaves the next one alone, also
	// while the function of the first still runs.
	running, finish := make(chan struct{}), make(chan struct{})
	cancelFirst := notify(func() { close(running); <-finish })
	send()
	waitFor(t, "the first registration fires", running)
	receive()
	cancelSecond := notify(func() { fired <- struct{}{} })
	cancelled := make(chan struct{})
	go func() { defer close(cancelled); cancelFirst() }()
	for range 100 {
		runtime.Gosched()
	}
	select {
	case <-cancelled:
		t.Error("cancelling did not wait for the function")
	default:
	}
	close(finish)
	waitFor(t, "cancelling returns", cancelled)
	send()
	waitFor(t, "the second registration fires", fired)
	cancelSecond()
	receive()

	notify(never)
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// TestNotifyAmidCancels ends registrations while messages arrive: each has
// fired or not when its end returns, and never fires later.
func TestNotifyAmidCancels(t *testing.T) {
	ns := freshNamespace(t)
	openIn(t, ns, 1)
	leavesNothing(t)
	q := openIn(t, ns, 1)
	fired := 0
	for range 2000 {
		var calls atomic.Int32
		cancel, err := q.Notify(func() { calls.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { sent <- q.Timedsend(t.Context(), nil, 0) }()
		for range rand.IntN(4) {
			runtime.Gosched()
		}
		if err := cancel(); err != nil {
			t.Fatal(err)
		}
		atEnd := calls.Load()
		if err := waitFor(t, "the message is sent", sent); err != nil {
			t.Fatal(err)
		}
		if _, _, err := q.Timedreceive(t.Context(), make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		if calls.Load() != atEnd || atEnd > 1 {
			t.Fatalf("a registration had fired %d times when it was ended, and %d times later", atEnd, calls.Load())
		}
		fired += int(atEnd)
	}
	t.Logf("%d of 2000 registrations fired", fired)
}

func TestCallsAllocateNothing(t *testing.T) {
	ns := freshNamespace(t)
	q := openIn(t, ns, 1)
	message, buffer := []byte("message"), make([]byte, 8)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	none := func(calls string, f func() error) {
		t.Helper()
		var failure error
		allocated := testing.AllocsPerRun(1000, func() {
			if err := f(); err != nil {
				failure = err
			}
		})
		if allocated != 0 || failure != nil {
			t.Errorf("%s: %v allocations, %v", calls, allocated, failure)
		}
	}
	none("Timedsend and Timedreceive", func() error {
		if err := q.Timedsend(ctx, message, 1); err != nil {
			return err
		}
		_, _, err := q.Timedreceive(ctx, buffer)
		return err
	})
	err := ns.Do(func() error {
		var s System
		queue, err := s.Msgget(ipc.Private, 0o600)
		if err != nil {
			return err
		}
		none("Msgsnd", func() error { return s.Msgsnd(ctx, queue, 1, message, 0) })
		none("Msgrcv", func() error {
			_, _, err := s.Msgrcv(ctx, queue, 0, buffer, 0)
			return err
		})
		set, err := s.Semget(ipc.Private, 2, 0o600)
		if err != nil {
			return err
		}
		ops := []ipc.Sembuf{{Num: 0, Op: 1}, {Num: 1, Op: 1}, {Num: 0, Op: -1}, {Num: 1, Op: -1}}
		none("Semop", func() error { return s.Semop(ctx, set, ops) })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
