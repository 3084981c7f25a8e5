package userspace_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// TestCallsAfterExit makes calls of a process that has ended, as a thread does
// that another one's Exit has overtaken: they leave nothing behind, and do not
// sleep, as nobody would end that.
func TestCallsAfterExit(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	root := ns.Start(userspace.User(0, 0))
	queue := must(root.Msgget(1, ipc.Creat|0o600))(t)
	set := must(root.Semget(1, 1, ipc.Creat|0o600))(t)
	segment := must(root.Shmget(1, 1, ipc.Creat|0o600))(t)
	ended := ns.Start(userspace.User(0, 0))
	ended.Exit()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for name, call := range map[string]func() error{
		"msgrcv":              func() error { _, _, err := ended.Msgrcv(ctx, queue, 0, nil, 0); return err },
		"msgsnd":              func() error { return ended.Msgsnd(ctx, queue, 1, nil, 0) },
		"semop that sleeps":   func() error { return ended.Semop(ctx, set, []ipc.Sembuf{{Op: -1}}) },
		"semop with SEM_UNDO": func() error { return ended.Semop(ctx, set, []ipc.Sembuf{{Op: 1, Flg: ipc.SemUndo}}) },
		"shmget":              func() error { _, err := ended.Shmget(2, 1, ipc.Creat|0o600); return err },
		"shmat":               func() error { _, err := ended.Shmat(segment, 0, 0); return err },
		"mq_open":             func() error { _, err := ended.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, nil); return err },
	} {
		if err := call(); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: %v, want ESRCH", name, err)
		}
	}
}

// must returns what ends the test unless a call has worked.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
