package mqueue_test

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/mqueue"
)

// A fake is a namespace in memory with one queue. What it lacks nobody calls.
type fake struct {
	ipc.System
	name  string
	flags int
	mode  uint32
	attr  *ipc.MqAttr
	mqd   fakeMqd
}

func (f *fake) MqOpen(name string, flags int, mode uint32, attr *ipc.MqAttr) (ipc.Mqd, error) {
	f.name, f.flags, f.mode, f.attr = name, flags, mode, attr
	return &f.mqd, nil
}

func (f *fake) MqUnlink(name string) error { return syscall.ENOENT }

type fakeMqd struct {
	ipc.Mqd
	messages [][]byte
	priority uint
	notify   func()
	ended    int // how often the registration was ended
	err      error
}

func (m *fakeMqd) Timedsend(_ context.Context, message []byte, priority uint) error {
	m.messages, m.priority = append(m.messages, bytes.Clone(message)), priority
	return m.err
}

func (m *fakeMqd) Timedreceive(_ context.Context, buffer []byte) (int, uint, error) {
	message := m.messages[0]
	m.messages = m.messages[1:]
	return copy(buffer, message), m.priority, m.err
}

func (m *fakeMqd) Getattr() (ipc.MqAttr, error) {
	return ipc.MqAttr{Maxmsg: 3, Msgsize: 10, Curmsgs: int64(len(m.messages))}, m.err
}

func (m *fakeMqd) Notify(f func()) (func() error, error) {
	m.notify = f
	return func() error { m.ended++; return nil }, nil
}

func (m *fakeMqd) Close() error { return m.err }

// TestWithoutAKernel uses the queue of a namespace in memory.
func TestWithoutAKernel(t *testing.T) {
	f := &fake{}
	q, err := mqueue.Create(f, "/name", mqueue.ReadWrite|mqueue.Nonblock, 0o640, mqueue.Attributes{Maxmsg: 3, Msgsize: 10})
	if err != nil {
		t.Fatal(err)
	}
	wantFlags := syscall.O_RDWR | syscall.O_NONBLOCK | syscall.O_CREAT
	if f.name != "/name" || f.flags != wantFlags || f.mode != 0o640 || *f.attr != (ipc.MqAttr{Maxmsg: 3, Msgsize: 10}) {
		t.Errorf("opened %s with flags %#o, mode %#o and attributes %+v", f.name, f.flags, f.mode, f.attr)
	}

	if err := q.Send(context.Background(), []byte("hello"), 7); err != nil {
		t.Error(err)
	}
	if n, err := q.Len(); n != 1 || err != nil {
		t.Errorf("Len: %d, error %v", n, err)
	}
	buffer := make([]byte, 10)
	if n, priority, err := q.Receive(context.Background(), buffer); err != nil || string(buffer[:n]) != "hello" || priority != 7 {
		t.Errorf("Receive: %q of priority %d, error %v", buffer[:n], priority, err)
	}
	if attributes, err := q.Attributes(); err != nil || attributes != (mqueue.Attributes{Maxmsg: 3, Msgsize: 10}) {
		t.Errorf("Attributes: %+v, error %v", attributes, err)
	}

	arrived, stop, err := q.Notify()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-arrived:
		t.Error("notified before a message")
	default:
		f.mqd.notify()
		<-arrived
	}
	if err := errors.Join(stop(), stop()); err != nil || f.mqd.ended != 1 {
		t.Errorf("ended %d times, error %v", f.mqd.ended, err)
	}

	if err := mqueue.Unlink(f, "/name"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Unlink: %v", err)
	}
	if _, err := mqueue.Open(f, "/name", mqueue.ReadOnly); err != nil || f.flags != syscall.O_RDONLY || f.attr != nil {
		t.Errorf("opened with flags %#o and attributes %+v, error %v", f.flags, f.attr, err)
	}

	// Errors of the system are passed on, and what came with them is not.
	f.mqd.messages, f.mqd.priority, f.mqd.err = [][]byte{[]byte("hello")}, 7, syscall.EIO
	n, priority, receiveError := q.Receive(context.Background(), buffer)
	attributes, attributesError := q.Attributes()
	length, lenError := q.Len()
	if n != 0 || priority != 0 || attributes != (mqueue.Attributes{}) || length != 0 {
		t.Errorf("with errors came %d, %d, %+v and %d", n, priority, attributes, length)
	}
	for call, err := range map[string]error{
		"mq_receive": receiveError,
		"mq_getattr": errors.Join(attributesError, lenError),
		"mq_send":    q.Send(context.Background(), nil, 0),
		"mq_close":   q.Close(),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", call, err)
		}
	}
}
