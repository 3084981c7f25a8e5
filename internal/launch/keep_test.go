//go:build linux

package launch_test

import (
	"testing"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

// TestAReleasedHolderIsWaitedFor ends one while its parent lives, in which a
// zombie would stay.
func TestAReleasedHolderIsWaitedFor(t *testing.T) {
	needUserNamespace(t)
	holder, err := launch.Hold(launch.Namespace{})
	if err != nil {
		t.Fatal(err)
	}
	ipctest.Must(t, holder.Release())
	ipctest.Must(t, unix.Kill(holder.PID, unix.SIGKILL))
	ipctest.Eventually(t, "the holder is no process any more", func() bool {
		return unix.Kill(holder.PID, 0) == unix.ESRCH
	})
}
