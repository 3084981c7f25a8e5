package sysv_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
)

// A fake is a namespace in memory with an object of each kind, whose id is 7.
// What it lacks nobody calls.
type fake struct {
	ipc.System
	messages []sysv.Message
	values   []uint16
	otime    int64
	memory   []byte
	noCopy   bool // as a kernel that lacks MSG_COPY
}

const fakeID = 7

func (f *fake) Msgget(ipc.Key, int) (int, error) { return fakeID, nil }

func (f *fake) Msgsnd(_ context.Context, _ int, typ int64, text []byte, _ int) error {
	f.messages = append(f.messages, sysv.Message{Type: typ, Text: bytes.Clone(text)})
	return nil
}

func (f *fake) Msgrcv(_ context.Context, _ int, typ int64, text []byte, flags int) (int64, int, error) {
	position, peek := 0, flags&ipc.MsgCopy != 0
	switch {
	case peek && f.noCopy:
		return 0, 0, syscall.ENOSYS
	case peek:
		position = int(typ)
	}
	if position >= len(f.messages) {
		return 0, 0, syscall.ENOMSG
	}
	m := f.messages[position]
	if !peek {
		f.messages = f.messages[1:]
	}
	return m.Type, copy(text, m.Text), nil
}

func (f *fake) Semget(_ ipc.Key, nsems, _ int) (int, error) {
	f.values = make([]uint16, nsems)
	return fakeID, nil
}

func (f *fake) SemctlSetall(_ int, values []uint16) error {
	f.values = slices.Clone(values)
	return nil
}

func (f *fake) SemctlGetall(int) ([]uint16, error) { return f.values, nil }

func (f *fake) Semop(_ context.Context, _ int, ops []ipc.Sembuf) error {
	for _, op := range ops {
		f.values[op.Num] += uint16(op.Op)
	}
	f.otime++
	return nil
}

func (f *fake) Shmget(_ ipc.Key, size uint64, _ int) (int, error) {
	f.memory = make([]byte, size)
	return fakeID, nil
}

func (f *fake) Shmat(int, uintptr, int) ([]byte, error) { return f.memory, nil }

func (f *fake) Shmdt([]byte) error { return nil }

func (f *fake) ShmctlStat(int) (ipc.ShmidDS, error) {
	return ipc.ShmidDS{Segsz: uint64(len(f.memory))}, nil
}

// TestWithoutAKernel uses the objects of a namespace in memory.
func TestWithoutAKernel(t *testing.T) {
	f := &fake{}
	ctx := context.Background()

	q, err := sysv.CreateMessageQueue(f, 1, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 10)
	if err := q.Send(ctx, 5, []byte("hello"), 0); err != nil {
		t.Error(err)
	}
	for m, err := range q.Messages() {
		if err != nil || m.Type != 5 || string(m.Text) != "hello" {
			t.Errorf("Messages: %q of type %d, error %v", m.Text, m.Type, err)
		}
	}
	if typ, n, err := q.Receive(ctx, 0, buffer, 0); err != nil || typ != 5 || string(buffer[:n]) != "hello" {
		t.Errorf("Receive: %q of type %d, error %v", buffer[:n], typ, err)
	}

	set, err := sysv.CreateSemaphoreSet(ctx, f, 1, []uint16{2, 3}, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if f.otime == 0 {
		t.Error("nobody can tell that the set is initialised")
	}
	if err := set.Acquire(ctx, 1); err != nil {
		t.Error(err)
	}
	if values, err := set.Values(); err != nil || !slices.Equal(values, []uint16{2, 2}) {
		t.Errorf("Values: %v, error %v", values, err)
	}

	segment, err := sysv.CreateSegment(f, 1, 4, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	a, err := segment.Attach(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.WriteAt([]byte("hello"), 2); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteAt: %v", err)
	}
	if n, err := a.ReadAt(buffer, 1); string(buffer[:n]) != "\x00he" || err != io.EOF {
		t.Errorf("ReadAt: %q, error %v", buffer[:n], err)
	}
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
}

func TestKernelThatCannotPeek(t *testing.T) {
	q := sysv.MessageQueueByID(&fake{noCopy: true}, fakeID)
	_, _, err := q.Peek(0, nil)
	const want = "msgrcv(MSG_COPY) queue id 7: this kernel cannot copy messages, it lacks CONFIG_CHECKPOINT_RESTORE: "
	if !errors.Is(err, syscall.ENOSYS) || err.Error() != want+syscall.ENOSYS.Error() {
		t.Errorf("got %v", err)
	}
}
