//go:build linux

package sysv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
)

// asStranger is the role of a process of a user who may do nothing with the
// objects whose ids are its arguments.
const asStranger = "a stranger"

func beStranger() error {
	var ids [3]int
	for i := range ids {
		id, err := strconv.Atoi(os.Args[i+1])
		if err != nil {
			return err
		}
		ids[i] = id
	}
	ctx := context.Background()
	q := sysv.MessageQueueByID(system, ids[0])
	_, statQueue := q.Stat()
	_, _, receive := q.Receive(ctx, 0, nil, 0)
	_, _, peek := q.Peek(0, nil)
	_, getQueue := sysv.CreateMessageQueue(system, key, 0o600)

	set := sysv.SemaphoreSetByID(system, ids[1])
	_, statSet := set.Stat()
	_, values := set.Values()
	_, waiters := set.Waiters(0)
	_, getSet := sysv.CreateSemaphoreSet(ctx, system, key, []uint16{1}, 0o600)

	segment := sysv.SegmentByID(system, ids[2])
	_, statSegment := segment.Stat()
	_, readable := segment.Attach(ipc.ShmRdonly)
	_, writable := segment.Attach(0)
	_, getSegment := sysv.CreateSegment(system, key, 1, 0o600)

	for _, err := range []error{
		statQueue, q.Send(ctx, 1, nil, 0), receive, peek, getQueue,
		q.Chown(0, 0), q.Chmod(0o666), q.SetQbytes(1), q.Remove(),

		statSet, set.Acquire(ctx, 0), values, waiters, set.SetValue(0, 0), set.SetValues([]uint16{0}), getSet,
		set.Chown(0, 0), set.Chmod(0o666), set.Remove(),

		statSegment, readable, writable, getSegment,
		segment.Chown(0, 0), segment.Chmod(0o666), segment.Remove(),
	} {
		fmt.Println(err)
	}
	return nil
}

func TestStranger(t *testing.T) {
	q, set, segment := newQueue(t), newSet(t, 1), newSegment(t, 1)
	cmd := ipctest.AsNobody(ipctest.Again(asStranger, strconv.Itoa(q.ID()), strconv.Itoa(set.ID()), strconv.Itoa(segment.ID())))
	got := output(t, cmd)

	const refused = ": its permissions do not allow that: permission denied"
	const notOwner = ": that takes its owner, its creator or CAP_SYS_ADMIN: operation not permitted"
	var want []string
	expect := func(object fmt.Stringer, end string, calls ...string) {
		byID, _, _ := strings.Cut(object.String(), " (key")
		for _, call := range calls {
			want = append(want, call+" "+byID+end)
		}
	}
	expect(q, refused, "msgctl(IPC_STAT)", "msgsnd", "msgrcv", "msgrcv(MSG_COPY)")
	want = append(want, "msgget queue key 0x0000002a"+refused)
	expect(q, notOwner, "msgctl(IPC_SET)", "msgctl(IPC_SET)", "msgctl(IPC_SET)", "msgctl(IPC_RMID)")

	expect(set, refused, "semctl(IPC_STAT)", "semop", "semctl(GETALL)", "semctl(GETNCNT)", "semctl(SETVAL)", "semctl(SETALL)")
	want = append(want, "semget set key 0x0000002a"+refused)
	expect(set, notOwner, "semctl(IPC_SET)", "semctl(IPC_SET)", "semctl(IPC_RMID)")

	expect(segment, refused, "shmctl(IPC_STAT)", "shmat", "shmat")
	want = append(want, "shmget segment key 0x0000002a"+refused)
	expect(segment, notOwner, "shmctl(IPC_SET)", "shmctl(IPC_SET)", "shmctl(IPC_RMID)")

	if len(got) != len(want) {
		t.Fatalf("got %d errors, want %d: %q", len(got), len(want), got)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

// asPoorOwner is the role of a process of a user who has taken the permission
// to read from himself.
const asPoorOwner = "an owner without permissions"

func bePoorOwner() error {
	q, err1 := sysv.CreateMessageQueue(system, ipc.Private, 0)
	set, err2 := sysv.CreateSemaphoreSet(context.Background(), system, ipc.Private, []uint16{1}, 0o600)
	segment, err3 := sysv.CreateSegment(system, ipc.Private, 1, 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for _, object := range []interface {
		Chmod(uint32) error
		Remove() error
	}{q, set, segment} {
		fmt.Println(object.Chmod(0), object.Chmod(0o600), object.Remove())
	}

	_, err := sysv.CreateSemaphoreSet(context.Background(), system, key, []uint16{1}, 0o400)
	if !errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("made a set without the permission to set values: %w", err)
	}
	_, err = system.Semget(key, 0, 0)
	if !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("a set that cannot be initialised was left: %w", err)
	}
	return nil
}

func TestPoorOwner(t *testing.T) {
	for _, line := range output(t, ipctest.AsNobody(ipctest.Again(asPoorOwner))) {
		if line != "<nil> <nil> <nil>" {
			t.Error(line)
		}
	}
}
