//go:build linux

package kernel_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
)

// TestANumberIsNotCut uses an id of which the kernel would see the lower 32
// bits, 0, the id of the object that is there.
func TestANumberIsNotCut(t *testing.T) {
	const id = 1 << 32
	calls := map[string]func() error{
		"Msgsnd": func() error { return system.Msgsnd(context.Background(), id, 1, nil, ipc.NoWait) },
		"Msgrcv": func() error {
			_, _, err := system.Msgrcv(context.Background(), id, 0, nil, ipc.NoWait)
			return err
		},
		"MsgctlStat":   func() error { _, err := system.MsgctlStat(id); return err },
		"MsgctlSet":    func() error { return system.MsgctlSet(id, ipc.MsqidSet{}) },
		"MsgctlRmid":   func() error { return system.MsgctlRmid(id) },
		"SemctlRmid":   func() error { return system.SemctlRmid(id) },
		"SemctlGetval": func() error { _, err := system.SemctlGetval(id, 0); return err },
		"ShmctlRmid":   func() error { return system.ShmctlRmid(id) },
	}
	ipctest.Do(t, ipctest.New(t), func() error {
		if err := makeOneOfEach(0o600); err != nil {
			return err
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%s of id 1<<32: error %v", name, err)
			}
		}
		return nil
	})
}
