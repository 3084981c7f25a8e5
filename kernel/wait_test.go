//go:build linux

package kernel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// A sleep is a call that sleeps in a namespace with one message queue of id 0.
type sleep struct {
	name   string
	number int                             // of the system call
	before func() error                    // makes the queue
	call   func(ctx context.Context) error // on a thread in the namespace
	wake   func() error                    // what it waits for
	left   string                          // messages in the queue if it has been woken
	kept   string                          // messages in the queue if it has given up, and something else woke it
}

var sleeps = []sleep{
	{
		name:   "msgrcv",
		number: unix.SYS_MSGRCV,
		before: func() error { _, err := newQueue(message{1, "other"}); return err },
		call: func(ctx context.Context) error {
			_, _, err := system.Msgrcv(ctx, 0, 2, make([]byte, 10), 0)
			return err
		},
		wake: func() error { return system.Msgsnd(background, 0, 2, []byte("mine"), 0) },
		left: "other",
		kept: "other mine",
	},
	{
		name:   "msgsnd",
		number: unix.SYS_MSGSND,
		before: func() error {
			if err := os.WriteFile("/proc/sys/kernel/msgmnb", []byte("5"), 0); err != nil {
				return err
			}
			_, err := newQueue(message{1, "other"})
			return err
		},
		call: func(ctx context.Context) error { return system.Msgsnd(ctx, 0, 2, []byte("mine"), 0) },
		wake: func() error { _, _, err := system.Msgrcv(background, 0, 1, make([]byte, 10), 0); return err },
		left: "mine",
		kept: "",
	},
}

// asleep starts the call and returns when it sleeps.
func (s sleep) asleep(t *testing.T, ctx context.Context) (ns *ipcns.Namespace, tid int, done <-chan error) {
	t.Helper()
	ns = ipctest.New(t)
	ipctest.Do(t, ns, s.before)
	tids := make(chan int, 1)
	done = start(ns, func() error {
		tids <- unix.Gettid()
		return s.call(ctx)
	})
	tid = <-tids
	waitAsleep(t, tid, s.number)
	return ns, tid, done
}

// expectMessages empties the queue.
func expectMessages(t *testing.T, ns *ipcns.Namespace, want string) {
	t.Helper()
	ipctest.Do(t, ns, func() error {
		messages, err := drain(0)
		var texts []string
		for _, m := range messages {
			texts = append(texts, m.text)
		}
		if got := strings.Join(texts, " "); got != want {
			t.Errorf("the queue holds %q, want %q", got, want)
		}
		return err
	})
}

func forEachSleep(t *testing.T, test func(t *testing.T, s sleep)) {
	for _, s := range sleeps {
		t.Run(s.name, func(t *testing.T) { test(t, s) })
	}
}

func TestASleeperIsWoken(t *testing.T) {
	forEachSleep(t, func(t *testing.T, s sleep) {
		for _, ctx := range []context.Context{background, t.Context()} {
			ns, _, done := s.asleep(t, ctx)
			ipctest.Do(t, ns, s.wake)
			if err := <-done; err != nil {
				t.Error(err)
			}
			expectMessages(t, ns, s.left)
		}
	})
}

func TestTheContextEndsASleep(t *testing.T) {
	forEachSleep(t, func(t *testing.T, s sleep) {
		ctx, cancel := context.WithCancel(t.Context())
		ns, _, done := s.asleep(t, ctx)
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("cancelled: error %v", err)
		}
		ipctest.Do(t, ns, s.wake)
		expectMessages(t, ns, s.kept)

		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		ns = ipctest.New(t)
		ipctest.Do(t, ns, s.before)
		if err := ns.Do(func() error { return s.call(ctx) }); err != context.DeadlineExceeded {
			t.Errorf("past the deadline: error %v", err)
		}
		ipctest.Do(t, ns, s.wake)
		expectMessages(t, ns, s.kept)
	})
}

// TestASignalThatComesTooEarlyIsRepeated ends the context when the thread is
// still on its way to the call.
func TestASignalThatComesTooEarlyIsRepeated(t *testing.T) {
	ns := ipctest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := start(ns, func() error {
		id, err := newQueue()
		if err != nil {
			return err
		}
		return kernel.Interruptible(ctx, func() syscall.Errno {
			time.Sleep(20 * time.Millisecond)
			var msg [8]byte
			_, errno := sys.Msgrcv(id, unsafe.Pointer(&msg), 0, 0, 0)
			return errno
		})
	})
	select {
	case err := <-done:
		if !errors.Is(err, syscall.EINTR) {
			t.Errorf("error %v", err)
		}
	case <-time.After(20 * time.Second):
		ipctest.Do(t, ns, func() error { return system.MsgctlRmid(0) })
		t.Error("the call has not noticed that its context has ended: error ", <-done)
	}
}

// TestAnEndedContextDoesNothing makes calls that would not need to sleep, but
// might: with IPC_NOWAIT the context is not looked at.
func TestAnEndedContextDoesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ns := ipctest.New(t)
	ipctest.Do(t, ns, func() error {
		id, err := newQueue(message{1, "other"})
		if err := system.Msgsnd(ctx, id, 1, []byte("mine"), 0); err != context.Canceled {
			t.Errorf("msgsnd: error %v", err)
		}
		if _, _, err := system.Msgrcv(ctx, id, 0, make([]byte, 10), 0); err != context.Canceled {
			t.Errorf("msgrcv: error %v", err)
		}
		return err
	})
	expectMessages(t, ns, "other")
}

// TestASignalDoesNotEndASleep sends the signal that the end of a context
// sends, for which the kernel makes the call return EINTR (SEMANTICS A.4.9).
func TestASignalDoesNotEndASleep(t *testing.T) {
	forEachSleep(t, func(t *testing.T, s sleep) {
		for _, ctx := range []context.Context{background, t.Context()} {
			ns, tid, done := s.asleep(t, ctx)
			for range 10 {
				if err := unix.Tgkill(os.Getpid(), tid, unix.SIGURG); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			waitAsleep(t, tid, s.number)
			select {
			case err := <-done:
				t.Fatalf("error %v", err)
			default:
			}
			ipctest.Do(t, ns, s.wake)
			if err := <-done; err != nil {
				t.Error(err)
			}
			expectMessages(t, ns, s.left)
		}
	})
}

func TestASleeperLearnsOfARemoval(t *testing.T) {
	forEachSleep(t, func(t *testing.T, s sleep) {
		for _, ctx := range []context.Context{background, t.Context()} {
			ns, _, done := s.asleep(t, ctx)
			ipctest.Do(t, ns, func() error { return system.MsgctlRmid(0) })
			if err := <-done; !errors.Is(err, syscall.EIDRM) || err.Error() != s.name+": identifier removed" {
				t.Errorf("error %v", err)
			}
		}
	})
}

// cancels is how many receivers are made to give up.
const cancels = 2000

// TestRandomCancelsLoseAndDoubleNothing lets receivers and senders give up at
// random, and counts the messages. Threads that sleep in other calls, and the
// receivers' own threads afterwards, must get no signal.
func TestRandomCancelsLoseAndDoubleNothing(t *testing.T) {
	ns := ipctest.New(t)
	var set int
	ipctest.Do(t, ns, func() (err error) {
		// Room for four messages, so that senders sleep too.
		if err := os.WriteFile("/proc/sys/kernel/msgmnb", []byte("32"), 0); err != nil {
			return err
		}
		if _, err := newQueue(); err != nil {
			return err
		}
		set, err = ipctest.Semget(1, 1, ipc.Creat|0o600)
		return err
	})
	strangers := [...]<-chan error{stranger(t, ns, set), stranger(t, ns, set)}

	var c counts
	var senders, receivers sync.WaitGroup
	join := func(group *sync.WaitGroup, f func() error) {
		group.Go(func() {
			if err := ns.Do(f); err != nil {
				t.Error(err)
			}
		})
	}
	for range 2 {
		join(&senders, c.send)
	}
	for range 3 {
		join(&receivers, c.receive)
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		receivers.Wait()
		// The senders may need the room that nobody makes any more.
		c.stop()
		senders.Wait()
	}()
	select {
	case <-finished:
	case <-time.After(60 * time.Second):
		t.Fatal("a call has not noticed that its context has ended")
	}

	ipctest.Do(t, ns, func() error {
		messages, err := drain(0)
		for _, m := range messages {
			c.received(m.typ, m.text)
		}
		return errors.Join(err, ipctest.SemctlRmid(set))
	})
	for _, done := range strangers {
		if err := <-done; !errors.Is(err, syscall.EIDRM) {
			t.Errorf("a thread that sleeps in another call: error %v", err)
		}
	}
	c.check(t)
}

// stranger sleeps until the semaphore set is removed. Any signal with a
// handler would end that (SEMANTICS A.5.9).
func stranger(t *testing.T, ns *ipcns.Namespace, set int) <-chan error {
	t.Helper()
	tid := make(chan int, 1)
	done := start(ns, func() error {
		tid <- unix.Gettid()
		return ipctest.Semop(set, ipctest.Sembuf{Op: -1})
	})
	waitAsleep(t, <-tid, unix.SYS_SEMTIMEDOP)
	return done
}

// counts are of messages that carry a number.
type counts struct {
	gaveUp, stopped atomic.Int64
	next            atomic.Uint64

	mu   sync.Mutex
	sent map[uint64]bool
	got  map[uint64]int
	bad  []string
}

func (c *counts) stop() { c.stopped.Store(1) }

// soon is a context that ends at a random time, about when the call begins
// to sleep or a message comes.
func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(background, time.Duration(rand.IntN(300))*time.Microsecond)
}

func (c *counts) send() error {
	for c.stopped.Load() == 0 {
		n := c.next.Add(1)
		ctx, cancel := soon()
		err := system.Msgsnd(ctx, 0, int64(n), binary.LittleEndian.AppendUint64(nil, n), 0)
		cancel()
		if err != nil && err != context.DeadlineExceeded {
			return err
		}
		if err == nil {
			c.mu.Lock()
			if c.sent == nil {
				c.sent = map[uint64]bool{}
			}
			c.sent[n] = true
			c.mu.Unlock()
		}
		if rand.IntN(2) == 0 {
			time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
		}
	}
	return nil
}

func (c *counts) receive() error {
	buf := make([]byte, 8)
	for c.gaveUp.Load() < cancels {
		ctx, cancel := soon()
		typ, n, err := system.Msgrcv(ctx, 0, 0, buf, 0)
		cancel()
		switch err {
		case nil:
			c.received(typ, string(buf[:n]))
		case context.DeadlineExceeded:
			c.gaveUp.Add(1)
			// A signal that comes late would end this sleep.
			if err := unix.Nanosleep(&unix.Timespec{Nsec: 20_000}, nil); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

func (c *counts) received(typ int64, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(text) != 8 || binary.LittleEndian.Uint64([]byte(text)) != uint64(typ) {
		c.bad = append(c.bad, text)
		return
	}
	if c.got == nil {
		c.got = map[uint64]int{}
	}
	c.got[uint64(typ)]++
}

func (c *counts) check(t *testing.T) {
	t.Helper()
	for n := range c.sent {
		if c.got[n] == 0 {
			t.Errorf("message %d was sent and never received", n)
		}
	}
	for n, times := range c.got {
		if !c.sent[n] || times != 1 {
			t.Errorf("message %d was received %d times, sent: %v", n, times, c.sent[n])
		}
	}
	if len(c.bad) > 0 {
		t.Errorf("messages %q", c.bad)
	}
	if len(c.got) < 100 {
		t.Errorf("only %d messages", len(c.got))
	}
	t.Logf("%d messages, %d receivers gave up", len(c.got), c.gaveUp.Load())
}
