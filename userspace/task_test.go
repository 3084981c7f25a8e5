package userspace_test

import (
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// TestForkIsTheParentsDoing has what a program in C sees on the kernel: the
// child has the segment attached, and shm_lpid is the process that forked,
// until the child ends.
func TestForkIsTheParentsDoing(t *testing.T) {
	parent := userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
	id, err := parent.Shmget(ipc.Private, 4096, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parent.Shmat(id, 0, 0); err != nil {
		t.Fatal(err)
	}
	want := func(when string, nattch uint64, lpid int) {
		t.Helper()
		ds, err := parent.ShmctlStat(id)
		if ds.Nattch != nattch || int(ds.Lpid) != lpid || err != nil {
			t.Errorf("%s: nattch %d, lpid %d, error %v; want %d, %d", when, ds.Nattch, ds.Lpid, err, nattch, lpid)
		}
	}
	child := parent.Fork()
	want("after fork", 2, parent.PID())
	child.Exit()
	want("after the end of the child", 1, child.PID())
}
