//go:build linux

package ipcns_test

import (
	"os"
	"testing"

	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

func TestMain(m *testing.M) {
	ipctest.Play(map[string]func() error{
		asOrdinaryUser:   ordinaryUser,
		inAUserNamespace: belowTheOwner,
		onMainThread:     sparingTheMainThread,
		undoing:          undo,
	})
	leak.Main(m)
}

// here returns the namespace of the calling thread.
func here() (string, error) { return os.Readlink("/proc/thread-self/ns/ipc") }

// home returns the namespace of the process: that of its main thread.
func home(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/self/ns/ipc")
	if err != nil {
		t.Fatal(err)
	}
	return link
}
