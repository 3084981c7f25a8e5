package userspace_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// A lateContext has ended, and its channel does not tell yet: that is when a
// sleeper has not heard of it.
type lateContext struct {
	context.Context
	over atomic.Bool
}

func (c *lateContext) Done() <-chan struct{} { return make(chan struct{}) }

func (c *lateContext) Err() error {
	if c.over.Load() {
		return context.Canceled
	}
	return nil
}

// TestWhatIsDeclinedHasNotHappened offers to one whose context has ended, and
// who came first, what the next one takes.
func TestWhatIsDeclinedHasNotHappened(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		prepare func(t *testing.T, task *userspace.Task) (sleep func(context.Context) error, offer func() error)
	}{
		"a message": {func(t *testing.T, task *userspace.Task) (func(context.Context) error, func() error) {
			id := must(task.Msgget(1, ipc.Creat|0o600))(t)
			return func(ctx context.Context) error {
				_, _, err := task.Msgrcv(ctx, id, 0, make([]byte, 8), 0)
				return err
			}, func() error { return task.Msgsnd(ctx, id, 1, []byte("text"), 0) }
		}},
		"room": {func(t *testing.T, task *userspace.Task) (func(context.Context) error, func() error) {
			id := must(task.Msgget(1, ipc.Creat|0o600))(t)
			noError(t, task.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 4}))
			noError(t, task.Msgsnd(ctx, id, 1, []byte("full"), 0))
			return func(ctx context.Context) error { return task.Msgsnd(ctx, id, 1, []byte("next"), 0) }, func() error {
				_, _, err := task.Msgrcv(ctx, id, 0, make([]byte, 8), 0)
				return err
			}
		}},
		"a semaphore": {func(t *testing.T, task *userspace.Task) (func(context.Context) error, func() error) {
			id := must(task.Semget(1, 1, ipc.Creat|0o600))(t)
			return func(ctx context.Context) error { return task.Semop(ctx, id, []ipc.Sembuf{{Op: -1}}) },
				func() error { return task.Semop(ctx, id, []ipc.Sembuf{{Op: 1}}) }
		}},
		"a POSIX message": {func(t *testing.T, task *userspace.Task) (func(context.Context) error, func() error) {
			q := must(task.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, nil))(t)
			return func(ctx context.Context) error {
				_, _, err := q.Timedreceive(ctx, make([]byte, 8192))
				return err
			}, func() error { return q.Timedsend(ctx, []byte("text"), 0) }
		}},
		"room in a POSIX queue": {func(t *testing.T, task *userspace.Task) (func(context.Context) error, func() error) {
			q := must(task.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 1, Msgsize: 8}))(t)
			noError(t, q.Timedsend(ctx, []byte("full"), 0))
			return func(ctx context.Context) error { return q.Timedsend(ctx, []byte("next"), 0) }, func() error {
				_, _, err := q.Timedreceive(ctx, make([]byte, 8))
				return err
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ns := userspace.New(userspace.Options{})
			task := ns.Start(userspace.User(0, 0))
			sleep, offer := c.prepare(t, task)
			late := &lateContext{Context: ctx}
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { first <- sleep(late) }()
			asleep(task, 1)
			go func() { second <- sleep(ctx) }()
			asleep(task, 2)
			late.over.Store(true)
			noError(t, offer())
			if err := <-first; !errors.Is(err, context.Canceled) {
				t.Errorf("the first got %v", err)
			}
			noError(t, <-second)
			noError(t, ns.Broken())
		})
	}
}

// asleep waits until so many calls of the process sleep.
func asleep(task *userspace.Task, calls int) {
	for task.Sleeping() < calls {
		runtime.Gosched()
	}
}
