//go:build linux

package host_test

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

func TestParent(t *testing.T) {
	if got, err := host.Proc("/proc").Parent(os.Getpid()); got != os.Getppid() || err != nil {
		t.Errorf("got %d, %v, want %d", got, err, os.Getppid())
	}
	proc := newProc(t, map[string]string{
		"7/stat": "7 (a) (b) 1) S 3 7 7 0 -1",
		"8/stat": "8 (cut)",
	})
	if got, err := proc.Parent(7); got != 3 || err != nil {
		t.Errorf("whose name has parentheses: got %d, %v", got, err)
	}
	if _, err := proc.Parent(8); err == nil {
		t.Error("no error for what has no parent")
	}
	if _, err := proc.Parent(9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for no process", err)
	}
}

func TestProcessOf(t *testing.T) {
	const proc = host.Proc("/proc")
	thread := make(chan int)
	go func() {
		runtime.LockOSThread() // and ends with the goroutine
		thread <- unix.Gettid()
		<-thread
	}()
	if got, err := proc.ProcessOf(<-thread); got != os.Getpid() || err != nil {
		t.Errorf("of a thread: got %d, %v", got, err)
	}
	thread <- 0
	if got, err := proc.ProcessOf(os.Getppid()); got != os.Getppid() || err != nil {
		t.Errorf("of a process: got %d, %v", got, err)
	}
	if _, err := proc.ProcessOf(1 << 30); err != unix.ESRCH {
		t.Errorf("got %v for no process", err)
	}
}

func TestInode(t *testing.T) {
	var st unix.Stat_t
	ipctest.Must(t, unix.Stat("/proc/self/ns/ipc", &st))
	if got, err := host.Proc("/proc").Inode(os.Getpid()); got != st.Ino || err != nil {
		t.Errorf("got %d, %v, want %d", got, err, st.Ino)
	}
	if _, err := host.Proc("/proc").Inode(0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for no process", err)
	}
}

// TestAttached has processes that have attached segments and others.
func TestAttached(t *testing.T) {
	const segment = "7f00-7f01 rw-s 00000000 00:01 0 /SYSV00000000 (deleted)\n"
	proc := newProc(t, map[string]string{
		"1/ns/ipc": "ipc:[5]", "1/maps": "7f00-7f01 r-xp 00000000 fe:00 1 /bin/init\n",
		"2/ns/ipc": "ipc:[5]", "2/maps": segment,
		"3/ns/ipc": "ipc:[6]", "3/maps": segment,
		"4/ns/ipc": "ipc:[5]", // which may not be looked at
	})
	for inode, want := range map[uint64][]int{
		5: {2},
		6: {3},
		7: {2, 3}, // whoever has left it
	} {
		if got, err := proc.Attached(inode); !slices.Equal(got, want) || err != nil {
			t.Errorf("%d: got %v, %v, want %v", inode, got, err, want)
		}
	}
	if _, err := host.Proc("/nowhere").Attached(5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v where there is no proc file system", err)
	}
}

// TestAttachedSeesWhatTheKernelWrites attaches a segment to this process.
func TestAttachedSeesWhatTheKernelWrites(t *testing.T) {
	ns := ipctest.New(t)
	var segment []byte
	ipctest.Do(t, ns, func() error {
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1, 0o600)
		if err == nil {
			segment, err = unix.SysvShmAttach(id, 0, 0)
		}
		return errors.Join(err, ipctest.ShmctlRmid(id))
	})
	defer unix.SysvShmDetach(segment)
	got, err := host.Proc("/proc").Attached(ns.Inode())
	if !slices.Contains(got, os.Getpid()) || err != nil {
		t.Errorf("got %v, %v, and not this process, which has left the namespace", got, err)
	}
}
