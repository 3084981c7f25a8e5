//go:build linux

package mqueue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/mqueue"
	"golang.org/x/sys/unix"
)

// name is that of every queue, as no two tests run at once.
const name = "/q"

// small are attributes of which RLIMIT_MSGQUEUE allows many.
var small = mqueue.Attributes{Maxmsg: 2, Msgsize: 16}

// create makes a small queue that is closed and unlinked with the test.
func create(t *testing.T, access int) *mqueue.Queue {
	t.Helper()
	q, err := mqueue.Create(system, name, access|mqueue.Exclusive, 0o600, small)
	must(t, err)
	closed(t, q)
	t.Cleanup(func() { mqueue.Unlink(system, name) })
	return q
}

// open opens the queue until the test is over.
func open(t *testing.T, access int) *mqueue.Queue {
	t.Helper()
	q, err := mqueue.Open(system, name, access)
	must(t, err)
	closed(t, q)
	return q
}

// closed closes a queue with the test.
func closed(t *testing.T, q *mqueue.Queue) {
	t.Cleanup(func() {
		if err := q.Close(); err != nil && !errors.Is(err, syscall.EBADF) {
			t.Error(err)
		}
	})
}

// receive takes out a message, which there has to be.
func receive(t *testing.T, q *mqueue.Queue) string {
	t.Helper()
	ctx := soon(t)
	buffer := make([]byte, small.Msgsize)
	n, _, err := q.Receive(ctx, buffer)
	must(t, err)
	return string(buffer[:n])
}

func TestNames(t *testing.T) {
	long := "/" + strings.Repeat("x", 256)
	for name, want := range map[string]struct {
		is   syscall.Errno
		text string
	}{
		"q":     {syscall.EINVAL, "the name has no slash in front: invalid argument"},
		"":      {syscall.EINVAL, "the name has no slash in front: invalid argument"},
		"/a/b":  {syscall.EACCES, "the name has a second slash: permission denied"},
		"//":    {syscall.EACCES, "the name has a second slash: permission denied"},
		"/":     {syscall.ENOENT, "that is no name: no such file or directory"},
		"/.":    {syscall.EACCES, "that is no name: permission denied"},
		"/..":   {syscall.EACCES, "that is no name: permission denied"},
		"/\x00": {syscall.EINVAL, "the name has a zero byte: invalid argument"},
		long:    {syscall.ENAMETOOLONG, "the name has more than 255 bytes: file name too long"},
	} {
		_, err := mqueue.Open(system, name, mqueue.ReadWrite)
		wantError(t, err, want.is, "mq_open "+name+": "+want.text)
		_, err = mqueue.Create(system, name, mqueue.ReadWrite, 0o600, small)
		wantError(t, err, want.is, "mq_open "+name+": "+want.text)
		if name != "/." && name != "/.." { // the kernel has other errors for these
			wantError(t, mqueue.Unlink(system, name), want.is, "mq_unlink "+name+": "+want.text)
		}
	}
	q, err := mqueue.Create(system, long[:256], mqueue.ReadWrite, 0o600, small)
	must(t, err)
	if q.Name() != long[:256] {
		t.Errorf("the name is %q", q.Name())
	}
	must(t, q.Close())
	must(t, mqueue.Unlink(system, long[:256]))
}

func TestOpenAndCreate(t *testing.T) {
	_, err := mqueue.Open(system, name, mqueue.ReadWrite)
	wantError(t, err, syscall.ENOENT, "mq_open /q: there is none: no such file or directory")
	wantError(t, mqueue.Unlink(system, name), syscall.ENOENT, "mq_unlink /q: there is none: no such file or directory")

	create(t, mqueue.ReadWrite)
	_, err = mqueue.Create(system, name, mqueue.ReadWrite|mqueue.Exclusive, 0o600, small)
	wantError(t, err, syscall.EEXIST, "mq_open /q: there is one already: file exists")

	again, err := mqueue.Create(system, name, mqueue.ReadWrite, 0o600, mqueue.Attributes{Maxmsg: 9, Msgsize: 9})
	must(t, err)
	closed(t, again)
	for _, q := range []*mqueue.Queue{again, open(t, mqueue.ReadOnly), open(t, mqueue.WriteOnly)} {
		if attributes, err := q.Attributes(); err != nil || attributes != small {
			t.Errorf("got %+v, error %v, want %+v", attributes, err, small)
		}
		if n, err := q.Len(); err != nil || n != 0 {
			t.Errorf("got %d messages, error %v", n, err)
		}
		if q.Name() != name {
			t.Errorf("the name is %q", q.Name())
		}
	}

	must(t, again.Send(soon(t), []byte("hello"), 0))
	must(t, mqueue.Unlink(system, name))
	if n, err := again.Len(); err != nil || n != 1 {
		t.Errorf("unlinked: got %d messages, error %v", n, err)
	}
	if text := receive(t, again); text != "hello" {
		t.Errorf("unlinked: got %q", text)
	}
}

func TestDefaultAttributes(t *testing.T) {
	limits, err := system.Limits()
	must(t, err)
	q, err := mqueue.Create(system, name, mqueue.ReadOnly, 0o600, mqueue.Attributes{})
	must(t, err)
	closed(t, q)
	want := mqueue.Attributes{Maxmsg: int(limits.MsgDefault), Msgsize: int(limits.MsgsizeDefault)}
	if got, err := q.Attributes(); err != nil || got != want {
		t.Errorf("got %+v, error %v, want %+v", got, err, want)
	}
	must(t, mqueue.Unlink(system, name))
}

func TestCreateTakesTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	q, err := mqueue.Create(system, name, mqueue.ReadOnly, 0o666, small)
	must(t, err)
	closed(t, q)
	defer mqueue.Unlink(system, name)
	list, err := system.MqList()
	if err != nil || len(list) != 1 || list[0].Mode != 0o640 {
		t.Errorf("got %+v, error %v", list, err)
	}
}

func TestCreateErrors(t *testing.T) {
	create := func(attributes mqueue.Attributes) error {
		q, err := mqueue.Create(system, name, mqueue.ReadWrite, 0o600, attributes)
		if err == nil {
			q.Close()
			mqueue.Unlink(system, name)
		}
		return err
	}
	const invalid = "mq_open /q: an attribute is 0 or above the limit msg_max or msgsize_max: invalid argument"
	for _, attributes := range []mqueue.Attributes{
		{Maxmsg: 1}, {Msgsize: 1}, {Maxmsg: -1, Msgsize: 1},
		{Maxmsg: 65537, Msgsize: 1}, {Maxmsg: 1, Msgsize: 1<<24 + 1}, // whatever the privileges
	} {
		wantError(t, create(attributes), syscall.EINVAL, invalid)
	}

	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_MSGQUEUE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &unix.Rlimit{Cur: 1, Max: limit.Max}))
	defer unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &limit)
	wantError(t, create(small), syscall.EMFILE, "mq_open /q: the user's queues would exceed RLIMIT_MSGQUEUE, or the process has too many descriptors: too many open files")
}

func TestQueuesMax(t *testing.T) {
	const path = "/proc/sys/fs/mqueue/queues_max"
	before, err := os.ReadFile(path)
	must(t, err)
	if err := os.WriteFile(path, []byte("0"), 0); err != nil {
		t.Skip("this user may not write limits here: ", err)
	}
	defer os.WriteFile(path, before, 0)
	q, err := mqueue.Create(system, name, mqueue.ReadWrite, 0o600, small)
	if err == nil {
		defer mqueue.Unlink(system, name)
		defer q.Close()
		t.Skip("this user has CAP_SYS_RESOURCE, for which the limit does not count")
	}
	wantError(t, err, syscall.ENOSPC, "mq_open /q: the limit queues_max is reached: no space left on device")
}

// asStranger is the role of a process of a user who may not use the queue.
const asStranger = "a stranger"

func beStranger() error {
	_, err := mqueue.Open(system, name, mqueue.ReadOnly)
	fmt.Println(err)
	_, err = mqueue.Create(system, name, mqueue.WriteOnly, 0o600, small)
	fmt.Println(err)
	fmt.Println(mqueue.Unlink(system, name))
	return nil
}

func TestStranger(t *testing.T) {
	create(t, mqueue.ReadWrite)
	cmd := ipctest.AsNobody(ipctest.Again(asStranger))
	text, err := cmd.Output()
	if cmd.Process == nil && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM)) {
		t.Skip("this user namespace has only one user")
	}
	must(t, err)
	const want = "mq_open /q: its permissions do not allow that: permission denied\n" +
		"mq_open /q: its permissions do not allow that: permission denied\n" +
		"mq_unlink /q: that takes its owner or CAP_FOWNER: operation not permitted\n"
	if string(text) != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
}

func TestPriorities(t *testing.T) {
	q, err := mqueue.Create(system, name, mqueue.ReadWrite, 0o600, mqueue.Attributes{Maxmsg: 5, Msgsize: 16})
	must(t, err)
	closed(t, q)
	defer mqueue.Unlink(system, name)
	for _, m := range []struct {
		text     string
		priority uint
	}{{"low", 0}, {"first", 7}, {"second", 7}, {"", 32767}, {"lower", 1}} {
		must(t, q.Send(soon(t), []byte(m.text), m.priority))
	}
	buffer := make([]byte, 16)
	var got []string
	for range 5 {
		n, priority, err := q.Receive(soon(t), buffer)
		must(t, err)
		got = append(got, fmt.Sprintf("%s %d", buffer[:n], priority))
	}
	if want := " 32767,first 7,second 7,lower 1,low 0"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSendAndReceiveErrors(t *testing.T) {
	q := create(t, mqueue.ReadWrite|mqueue.Nonblock)
	buffer := make([]byte, 16)
	receiveInto := func(q *mqueue.Queue, buffer []byte) error {
		_, _, err := q.Receive(soon(t), buffer)
		return err
	}
	wantError(t, receiveInto(q, buffer), syscall.EAGAIN, "mq_receive /q: it would have to wait: resource temporarily unavailable")
	wantError(t, receiveInto(q, buffer[:15]), syscall.EMSGSIZE, "mq_receive /q: 15 bytes, where the queue's msgsize is 16: message too long")
	wantError(t, q.Send(soon(t), make([]byte, 17), 0), syscall.EMSGSIZE, "mq_send /q: 17 bytes, where the queue's msgsize is 16: message too long")
	for _, priority := range []uint{32768, 1 << 32} {
		wantError(t, q.Send(soon(t), nil, priority), syscall.EINVAL, "mq_send /q: a priority is 0 to 32767: invalid argument")
	}
	for range small.Maxmsg {
		must(t, q.Send(soon(t), buffer, 0))
	}
	wantError(t, q.Send(soon(t), nil, 0), syscall.EAGAIN, "mq_send /q: it would have to wait: resource temporarily unavailable")

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := q.Receive(ended, buffer); err != nil {
		t.Errorf("Receive that does not wait looks at its context: %v", err)
	}
	if err := q.Send(ended, nil, 0); err != nil {
		t.Errorf("Send that does not wait looks at its context: %v", err)
	}

	const direction = ": it is closed, or open for the other direction only: bad file descriptor"
	wantError(t, open(t, mqueue.ReadOnly).Send(soon(t), nil, 0), syscall.EBADF, "mq_send /q"+direction)
	wantError(t, receiveInto(open(t, mqueue.WriteOnly), buffer), syscall.EBADF, "mq_receive /q"+direction)
}

// TestContexts has contexts end calls that wait, and expects that nothing was
// sent or received by then.
func TestContexts(t *testing.T) {
	q := create(t, mqueue.ReadWrite)
	ends := func(call, method string, do func(context.Context) error) {
		t.Helper()
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), tick)
		defer cancel()
		err := ipctest.Received(t, begun(func() error { return do(ctx) }))
		wantError(t, err, context.DeadlineExceeded, call+" /q: context deadline exceeded")
		if took := time.Since(began); took < tick || took > hang {
			t.Errorf("%s: ended after %v with a deadline of %v", call, took, tick)
		}
		ctx, cancel = context.WithCancel(context.Background())
		over := waiting(t, method, func() error { return do(ctx) })
		cancel()
		wantError(t, over(), context.Canceled, call+" /q: context canceled")
		wantError(t, do(ctx), context.Canceled, call+" /q: context canceled")
	}
	ends("mq_receive", "Receive", func(ctx context.Context) error {
		_, _, err := q.Receive(ctx, make([]byte, small.Msgsize))
		return err
	})
	must(t, q.Send(soon(t), []byte("first"), 0))
	must(t, q.Send(soon(t), []byte("second"), 0))
	ends("mq_send", "Send", func(ctx context.Context) error { return q.Send(ctx, []byte("never"), 9) })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := q.Receive(ctx, make([]byte, small.Msgsize)); !errors.Is(err, context.Canceled) {
		t.Errorf("Receive with a context that has ended: %v", err)
	}
	if first, second := receive(t, q), receive(t, q); first != "first" || second != "second" {
		t.Errorf("got %q and %q", first, second)
	}
	if n, err := q.Len(); err != nil || n != 0 {
		t.Errorf("%d messages are left, error %v", n, err)
	}
}

func TestSendAndReceiveWaitForEachOther(t *testing.T) {
	q := create(t, mqueue.ReadWrite)
	buffer := make([]byte, small.Msgsize)
	var n int
	receiver := waiting(t, "Receive", func() (err error) {
		n, _, err = q.Receive(soon(t), buffer)
		return err
	})
	must(t, q.Send(soon(t), []byte("hello"), 0))
	must(t, receiver())
	if string(buffer[:n]) != "hello" {
		t.Errorf("got %q", buffer[:n])
	}

	must(t, q.Send(soon(t), []byte("first"), 0))
	must(t, q.Send(soon(t), []byte("second"), 0))
	sender := waiting(t, "Send", func() error { return q.Send(soon(t), []byte("third"), 0) })
	receive(t, q)
	must(t, sender())
	if second, third := receive(t, q), receive(t, q); second != "second" || third != "third" {
		t.Errorf("got %q and %q", second, third)
	}
}

func TestClose(t *testing.T) {
	q := create(t, mqueue.ReadWrite)
	buffer := make([]byte, small.Msgsize)
	receiver := waiting(t, "Receive", func() error {
		_, _, err := q.Receive(soon(t), buffer)
		return err
	})
	must(t, q.Close())
	const closed = ": it is closed: bad file descriptor"
	const transfer = ": it is closed, or open for the other direction only: bad file descriptor"
	wantError(t, receiver(), syscall.EBADF, "mq_receive /q"+transfer)

	onThread := open(t, mqueue.ReadOnly)
	over := begun(func() error {
		_, _, err := onThread.Receive(context.Background(), buffer)
		return err
	})
	ipctest.Asleep(t, unix.SYS_MQ_TIMEDRECEIVE, 1)
	must(t, onThread.Close())
	wantError(t, ipctest.Received(t, over), syscall.EBADF, "mq_receive /q"+transfer)

	_, _, receiveError := q.Receive(soon(t), buffer)
	_, attributesError := q.Attributes()
	_, lenError := q.Len()
	_, _, notifyError := q.Notify()
	wantError(t, q.Send(soon(t), nil, 0), syscall.EBADF, "mq_send /q"+transfer)
	wantError(t, receiveError, syscall.EBADF, "mq_receive /q"+transfer)
	wantError(t, attributesError, syscall.EBADF, "mq_getattr /q"+closed)
	wantError(t, lenError, syscall.EBADF, "mq_getattr /q"+closed)
	wantError(t, notifyError, syscall.EBADF, "mq_notify /q"+closed)
	wantError(t, q.Close(), syscall.EBADF, "mq_close /q"+closed)
}

// arrived reports whether a channel of Notify is closed.
func arrived(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-time.After(tick):
		return false
	}
}

func TestNotify(t *testing.T) {
	q := create(t, mqueue.ReadWrite|mqueue.Nonblock)
	must(t, q.Send(soon(t), []byte("before"), 0))
	c, stop, err := q.Notify()
	must(t, err)
	must(t, q.Send(soon(t), []byte("second"), 0))
	if arrived(c) {
		t.Error("a message into a queue that was not empty is notified")
	}
	receive(t, q)
	receive(t, q)
	must(t, q.Send(soon(t), []byte("third"), 0))
	ipctest.Received(t, c)
	must(t, stop()) // it is over
	must(t, stop())

	// Once means once.
	receive(t, q)
	again, stop, err := q.Notify()
	must(t, err)
	_, _, err = open(t, mqueue.ReadOnly).Notify()
	wantError(t, err, syscall.EBUSY, "mq_notify /q: somebody is registered already: device or resource busy")
	must(t, stop())
	must(t, stop())
	must(t, q.Send(soon(t), nil, 0))
	if arrived(again) {
		t.Error("notified after stop")
	}
	receive(t, q)

	c, stop, err = q.Notify()
	must(t, err)
	must(t, q.Close())
	must(t, stop())
	if arrived(c) {
		t.Error("Close notifies")
	}
}

// TestNotifyMissesNothing receives with select, as the comment of Notify says.
func TestNotifyMissesNothing(t *testing.T) {
	const messages = 2000
	receiver := create(t, mqueue.ReadOnly|mqueue.Nonblock)
	sender := open(t, mqueue.WriteOnly)
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := sender.Send(soon(t), fmt.Append(nil, i), 0); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()

	next := 0
	buffer := make([]byte, small.Msgsize)
	for next < messages {
		c, stop, err := receiver.Notify()
		must(t, err)
		for {
			n, _, err := receiver.Receive(soon(t), buffer)
			if errors.Is(err, syscall.EAGAIN) {
				break
			}
			must(t, err)
			if string(buffer[:n]) != fmt.Sprint(next) {
				t.Fatalf("got message %s, want %d", buffer[:n], next)
			}
			next++
		}
		if next < messages {
			ipctest.Received(t, c)
		}
		must(t, stop())
	}
	must(t, ipctest.Received(t, sent))
}

// TestNotifyBesideReceive tries what the comment of Notify says of a goroutine
// that waits in Receive.
func TestNotifyBesideReceive(t *testing.T) {
	q := create(t, mqueue.ReadWrite)
	buffer := make([]byte, small.Msgsize)
	over := waiting(t, "Receive", func() error {
		_, _, err := q.Receive(soon(t), buffer)
		return err
	})
	c, stop, err := q.Notify()
	must(t, err)
	must(t, q.Send(soon(t), nil, 0))
	must(t, over())
	ipctest.Received(t, c)
	must(t, stop())
}

// TestNotifyEndsWithAnyDescriptor tries what the comment of Notify says of
// another Queue of the same name.
func TestNotifyEndsWithAnyDescriptor(t *testing.T) {
	q := create(t, mqueue.ReadWrite)
	c, stop, err := q.Notify()
	must(t, err)
	must(t, open(t, mqueue.ReadOnly).Close())
	_, stopAgain, err := q.Notify()
	must(t, err)
	must(t, stop()) // of the first, which does not end the second
	_, _, err = q.Notify()
	wantError(t, err, syscall.EBUSY, "mq_notify /q: somebody is registered already: device or resource busy")
	must(t, q.Send(soon(t), nil, 0))
	if arrived(c) {
		t.Error("a registration that has ended is notified")
	}
	must(t, stopAgain())
}

func TestAllocatesNothing(t *testing.T) {
	q := create(t, mqueue.ReadWrite)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	text, buffer := []byte("hello"), make([]byte, small.Msgsize)
	ipctest.NoAllocations(t, "Send and Receive", func() {
		if err := q.Send(ctx, text, 3); err != nil {
			t.Error(err)
		}
		if _, _, err := q.Receive(ctx, buffer); err != nil {
			t.Error(err)
		}
	})
}

// TestManyAtOnce sends and receives on one queue from many goroutines.
func TestManyAtOnce(t *testing.T) {
	const goroutines, messages = 8, 200
	q := create(t, mqueue.ReadWrite)
	var senders, receivers sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	ctx, cancel := context.WithCancel(context.Background())
	for g := range goroutines {
		senders.Go(func() {
			for i := range messages {
				if err := q.Send(ctx, fmt.Appendf(nil, "%d %d", g, i), uint(i%3)); err != nil {
					t.Error(err)
				}
			}
		})
		receivers.Go(func() {
			buffer := make([]byte, small.Msgsize)
			for {
				n, _, err := q.Receive(ctx, buffer)
				if errors.Is(err, context.Canceled) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got[string(buffer[:n])]++
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	ipctest.Eventually(t, "the queue is empty", func() bool {
		n, err := q.Len()
		return n == 0 && err == nil
	})
	cancel()
	receivers.Wait()
	for text, n := range got {
		if n != 1 {
			t.Errorf("%q was received %d times", text, n)
		}
	}
	if len(got) != goroutines*messages {
		t.Errorf("%d of %d messages were received", len(got), goroutines*messages)
	}
}
