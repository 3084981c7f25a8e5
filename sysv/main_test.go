//go:build linux

package sysv_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/kernel"
)

// TestMain gives the tests a namespace in which no object is but theirs.
func TestMain(m *testing.M) {
	ipctest.MainInNew(m, map[string]func() error{
		asStranger:      beStranger,
		asPoorOwner:     bePoorOwner,
		acquireWithUndo: acquireAndEnd,
		createSet:       createSlowSet,
	})
}

var system = kernel.System{}

// key is that of every object, as no two tests run at once.
const key = 0x2a

// What the tests of this package say often.
const (
	tick = ipctest.Tick
	hang = ipctest.Hang
)

var (
	must      = ipctest.Must
	wantError = ipctest.WantError
	begun     = ipctest.Begun
	soon      = ipctest.Soon
)

// removed removes an object when the test is over.
func removed(t *testing.T, object interface{ Remove() error }) {
	t.Cleanup(func() {
		if err := object.Remove(); err != nil && !errors.Is(err, syscall.EINVAL) {
			t.Error(err)
		}
	})
}

// waiting starts a call that has to wait, and returns once a thread sleeps in
// that system call. The function that it returns gives the call's error.
func waiting(t *testing.T, number uintptr, call func() error) (over func() error) {
	t.Helper()
	result := begun(call)
	ipctest.Asleep(t, number, 1)
	return func() error {
		t.Helper()
		return ipctest.Received(t, result)
	}
}

// testContexts expects that a call, which has to wait, ends with its context.
// The error is said to begin with prefix.
func testContexts(t *testing.T, number uintptr, prefix string, call func(context.Context) error) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), tick)
	defer cancel()
	err := ipctest.Received(t, begun(func() error { return call(ctx) }))
	wantError(t, err, context.DeadlineExceeded, "%s: context deadline exceeded", prefix)
	if took := time.Since(began); took < tick || took > hang {
		t.Errorf("%s: ended after %v with a deadline of %v", prefix, took, tick)
	}

	ctx, cancel = context.WithCancel(context.Background())
	over := waiting(t, number, func() error { return call(ctx) })
	cancel()
	wantError(t, over(), context.Canceled, "%s: context canceled", prefix)

	wantError(t, call(ctx), context.Canceled, "%s: context canceled", prefix)
}

// setLimit writes a file of /proc/sys/kernel, until the test is over. It skips
// the test if that is not allowed here.
func setLimit(t *testing.T, name, value string) {
	t.Helper()
	path := filepath.Join("/proc/sys/kernel", name)
	before, err := os.ReadFile(path)
	must(t, err)
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		t.Skip("this user may not write limits here: ", err)
	}
	t.Cleanup(func() { must(t, os.WriteFile(path, before, 0)) })
}

// output runs a program and returns the lines that it prints. It skips the
// test if the user namespace does not have the user that the program is to be.
func output(t *testing.T, cmd *exec.Cmd) []string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if cmd.Process == nil && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM)) {
		t.Skip("this user namespace has only one user")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}
