//go:build linux

package mqueue_test

import (
	"fmt"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/kernel"
)

// TestMain gives the tests a namespace in which no queue is but theirs.
func TestMain(m *testing.M) {
	ipctest.MainInNew(m, map[string]func() error{
		asStranger: beStranger,
	})
}

var system = kernel.System{}

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

// waiting starts a call that has to wait, and returns once a goroutine is
// parked in a method. The function that it returns gives the call's error.
func waiting(t *testing.T, method string, call func() error) (over func() error) {
	t.Helper()
	result := begun(call)
	ipctest.Parked(t, fmt.Sprintf("mqueue.(*Queue).%s", method), 1)
	return func() error {
		t.Helper()
		return ipctest.Received(t, result)
	}
}
