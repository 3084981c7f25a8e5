//go:build linux

package kernel_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/kernel"
)

func TestMain(m *testing.M) {
	ipctest.Play(map[string]func() error{
		statStrange: statTheStrange,
		coverDev:    withAnotherDev,
		listMqueues: printMqueues,
	})
	leak.Main(m)
}

var system kernel.System

// start calls f on a thread in the namespace, and sends its error.
func start(ns *ipcns.Namespace, f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- ns.Do(f) }()
	return done
}

// waitAsleep waits until a thread of this process sleeps in a system call; see
// proc_pid_syscall(5).
func waitAsleep(t *testing.T, tid int, call int) {
	t.Helper()
	ipctest.Eventually(t, fmt.Sprint("thread ", tid, " sleeps in system call ", call), func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
		return err == nil && strings.HasPrefix(string(text), fmt.Sprint(call, " "))
	})
}
