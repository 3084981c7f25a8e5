package userspace_test

import (
	"context"
	"errors"
	"runtime"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// entering are the ways into another namespace.
var entering = map[string]func(*userspace.Task) *userspace.Task{
	"unshare": (*userspace.Task).Unshare,
	"setns": func(t *userspace.Task) *userspace.Task {
		return t.Setns(userspace.New(userspace.Options{}))
	},
}

// TestANamespaceIsApart: nothing of the one is seen in the other.
func TestANamespaceIsApart(t *testing.T) {
	for name, enter := range entering {
		t.Run(name, func(t *testing.T) {
			stays := userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
			must(stays.Msgget(1, ipc.Creat|0o600))(t)
			must(stays.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, nil))(t)
			inside := enter(stays.Fork())
			if _, err := inside.Msgget(1, 0); !errors.Is(err, syscall.ENOENT) {
				t.Errorf("the queue from outside: %v", err)
			}
			if n := must(inside.MqCount())(t); n != 0 {
				t.Errorf("%d POSIX queues", n)
			}
			must(inside.Semget(2, 1, ipc.Creat|0o600))(t)
			if _, err := stays.Semget(2, 1, 0); !errors.Is(err, syscall.ENOENT) {
				t.Errorf("the set from inside: %v", err)
			}
			if inside.PID() == stays.PID() {
				t.Error("the process has the id of its parent")
			}
		})
	}
}

// TestLeavingUndoes: SEM_UNDO is undone when the last thread leaves (SEMANTICS
// A.5.11), and at the end otherwise.
func TestLeavingUndoes(t *testing.T) {
	for name, enter := range entering {
		t.Run(name, func(t *testing.T) {
			ns := userspace.New(userspace.Options{})
			watching, task := ns.Start(userspace.User(0, 0)), ns.Start(userspace.User(0, 0))
			id := must(watching.Semget(ipc.Private, 1, 0o600))(t)
			up := []ipc.Sembuf{{Op: 1, Flg: ipc.SemUndo}}
			value := func(want int) {
				t.Helper()
				if got := must(watching.SemctlGetval(id, 0))(t); got != want {
					t.Errorf("the value is %d, want %d", got, want)
				}
			}
			noError(t, task.Semop(context.Background(), id, up))
			thread := task.Thread()
			left := enter(thread)
			value(1) // a thread has stayed
			enter(task)
			value(0)
			left.Exit()
			value(0)
		})
	}
}

// TestWhatIsAttachedStaysSo: it is detached in the namespace that it is of
// (SEMANTICS A.6.9), at the latest at the end.
func TestWhatIsAttachedStaysSo(t *testing.T) {
	for name, enter := range entering {
		t.Run(name, func(t *testing.T) {
			ns := userspace.New(userspace.Options{})
			watching, task := ns.Start(userspace.User(0, 0)), ns.Start(userspace.User(0, 0))
			id := must(watching.Shmget(ipc.Private, 1, 0o600))(t)
			first := must(task.Shmat(id, 0, 0))(t)
			must(task.Shmat(id, 0, 0))(t)
			attached := func(want uint64) {
				t.Helper()
				if ds := must(watching.ShmctlStat(id))(t); ds.Nattch != want || int(ds.Lpid) != task.PID() {
					t.Errorf("%d attachments, the last of process %d", ds.Nattch, ds.Lpid)
				}
			}
			inside := enter(task)
			attached(2)
			noError(t, inside.Shmdt(first))
			attached(1)
			inside.Exit()
			attached(0)
		})
	}
}

// TestUnshareOrphansSegments: with shm_rmid_forced that destroys them, and setns
// does not (SEMANTICS A.6.6).
func TestUnshareOrphansSegments(t *testing.T) {
	for name, left := range map[string]int{"unshare": 0, "setns": 1} {
		t.Run(name, func(t *testing.T) {
			ns := userspace.New(userspace.Options{})
			watching, task := ns.Start(userspace.User(0, 0)), ns.Start(userspace.User(0, 0))
			noError(t, ns.SetLimit("shm_rmid_forced", 1))
			must(task.Shmget(ipc.Private, 1, 0o600))(t)
			entered := entering[name](task)
			if info, _, err := watching.ShmInfo(); err != nil || info.Segments != left {
				t.Errorf("%d segments, %v", info.Segments, err)
			}
			entered.Exit()
			if info, _, err := watching.ShmInfo(); err != nil || info.Segments != 0 {
				t.Errorf("%d segments after its end, %v", info.Segments, err)
			}
		})
	}
}

// TestAChildHasTheDescriptors: a fork shares O_NONBLOCK, and nothing else is
// lost when one of the two closes (SEMANTICS A.7.11, A.7.14).
func TestAChildHasTheDescriptors(t *testing.T) {
	parent := userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
	q := must(parent.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, nil))(t)
	noError(t, parent.MqUnlink("/q"))
	child := parent.Fork()
	descriptors := child.Descriptors()
	if len(descriptors) != 1 || descriptors[0].Name != "/q" {
		t.Fatalf("the child has %v", descriptors)
	}
	must(q.SetNonblock(true))(t)
	noError(t, q.Timedsend(context.Background(), []byte("text"), 0))
	noError(t, q.Close())
	attr := must(descriptors[0].Getattr())(t)
	if attr.Flags != syscall.O_NONBLOCK || attr.Curmsgs != 1 {
		t.Errorf("the child's descriptor has %+v", attr)
	}
	parent.Exit()
	child.Exit()
	if _, err := descriptors[0].Getattr(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("after the end: %v", err)
	}
}

// TestCloseEndsEverything: processes, calls that sleep, objects and memory.
func TestCloseEndsEverything(t *testing.T) {
	for name, memory := range memories {
		t.Run(name, func(t *testing.T) {
			ns := userspace.New(userspace.Options{Memory: memory})
			task := ns.Start(userspace.User(0, 0))
			queue := must(task.Msgget(1, ipc.Creat|0o600))(t)
			must(task.Semget(1, 3, ipc.Creat|0o600))(t)
			must(task.Shmat(must(task.Shmget(1, 1, ipc.Creat|0o600))(t), 0, 0))(t)
			must(task.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, nil))(t)
			asleep := make(chan error)
			go func() {
				_, _, err := task.Msgrcv(context.Background(), queue, 0, nil, 0)
				asleep <- err
			}()
			for task.Sleeping() == 0 {
				runtime.Gosched()
			}
			ns.Close()
			if err := <-asleep; !errors.Is(err, syscall.EINTR) {
				t.Errorf("the call that slept: %v", err)
			}
			other := ns.Start(userspace.User(0, 0))
			queues, _, _ := other.MsgInfo()
			sets, _, _ := other.SemInfo()
			segments, _, _ := other.ShmInfo()
			if queues.Queues != 0 || sets.Sets != 0 || sets.Semaphores != 0 || segments.Segments != 0 || must(other.MqCount())(t) != 0 {
				t.Errorf("left are %+v, %+v, %+v", queues, sets, segments)
			}
			other.Exit()
			noError(t, ns.Broken())
		})
	}
}
