//go:build linux

package userspace_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// TestAllocations: calls that do not wait for others take no memory.
func TestAllocations(t *testing.T) {
	ctx := context.Background()
	var p ipc.System = userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
	queue := must(p.Msgget(1, ipc.Creat|0o600))(t)
	set := must(p.Semget(1, 1, ipc.Creat|0o600))(t)
	segment := must(p.Shmget(1, 4096, ipc.Creat|0o600))(t)
	mq := must(p.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 2, Msgsize: 64}))(t)
	text := make([]byte, 64)
	up, down := []ipc.Sembuf{{Op: 1}}, []ipc.Sembuf{{Op: -1}}
	upUndo, downUndo := []ipc.Sembuf{{Op: 1, Flg: ipc.SemUndo}}, []ipc.Sembuf{{Op: -1, Flg: ipc.SemUndo}}
	for _, c := range []struct {
		name  string
		calls []func() error
	}{
		{"msgsnd and msgrcv", []func() error{
			func() error { return p.Msgsnd(ctx, queue, 1, text, 0) },
			func() error { _, _, err := p.Msgrcv(ctx, queue, 0, text, 0); return err },
		}},
		{"semop up and down", []func() error{
			func() error { return p.Semop(ctx, set, up) },
			func() error { return p.Semop(ctx, set, down) },
		}},
		{"semop with SEM_UNDO", []func() error{
			func() error { return p.Semop(ctx, set, upUndo) },
			func() error { return p.Semop(ctx, set, downUndo) },
		}},
		{"gets of keys that exist", []func() error{
			func() error { _, err := p.Msgget(1, 0o600); return err },
			func() error { _, err := p.Semget(1, 1, ipc.Creat|0o600); return err },
			func() error { _, err := p.Shmget(1, 1, 0); return err },
		}},
		{"mq_timedsend and mq_timedreceive", []func() error{
			func() error { return mq.Timedsend(ctx, text, 3) },
			func() error { _, _, err := mq.Timedreceive(ctx, text); return err },
		}},
		{"stats and values", []func() error{
			func() error { _, err := p.MsgctlStat(queue); return err },
			func() error { _, err := p.ShmctlStat(segment); return err },
			func() error { _, err := p.SemctlStat(set); return err },
			func() error { _, err := p.SemctlGetval(set, 0); return err },
			func() error { return p.SemctlSetval(set, 0, 1) },
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ipctest.NoAllocations(t, c.name, func() {
				for _, call := range c.calls {
					if err := call(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}
