//go:build linux

package kernel_test

import (
	"errors"
	"math"
	"os"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// TestLimitsAreReadFromTheFiles writes another value to each file.
func TestLimitsAreReadFromTheFiles(t *testing.T) {
	want := ipc.Limits{
		Msgmax: 1, Msgmnb: 2, Msgmni: 3,
		Semmsl: 4, Semmns: 5, Semopm: 6, Semmni: 7,
		Shmmax: 8, Shmall: 9, Shmmni: 10, ShmRmidForced: 1,
		QueuesMax: 12, MsgMax: 13, MsgsizeMax: 140, MsgDefault: 15, MsgsizeDefault: 160,
	}
	ipctest.InNew(t, func() error {
		for path, content := range map[string]string{
			"/proc/sys/kernel/msgmax":             "1",
			"/proc/sys/kernel/msgmnb":             "2",
			"/proc/sys/kernel/msgmni":             "3",
			"/proc/sys/kernel/sem":                "4 5 6 7",
			"/proc/sys/kernel/shmmax":             "8",
			"/proc/sys/kernel/shmall":             "9",
			"/proc/sys/kernel/shmmni":             "10",
			"/proc/sys/kernel/shm_rmid_forced":    "1",
			"/proc/sys/fs/mqueue/queues_max":      "12",
			"/proc/sys/fs/mqueue/msg_max":         "13",
			"/proc/sys/fs/mqueue/msgsize_max":     "140",
			"/proc/sys/fs/mqueue/msg_default":     "15",
			"/proc/sys/fs/mqueue/msgsize_default": "160",
		} {
			if err := os.WriteFile(path, []byte(content), 0); err != nil {
				return err
			}
		}
		got, err := system.Limits()
		if got != want {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
		return err
	})
}

// TestANegativeLimitIsItsTwosComplement writes what the kernel does not
// check (SEMANTICS A.3).
func TestANegativeLimitIsItsTwosComplement(t *testing.T) {
	ipctest.InNew(t, func() error {
		if err := os.WriteFile("/proc/sys/kernel/sem", []byte("-1 -2147483648"), 0); err != nil {
			return err
		}
		limits, err := system.Limits()
		if limits.Semmsl != math.MaxUint64 || limits.Semmns != math.MaxUint64-math.MaxInt32 {
			t.Errorf("semmsl %#x, semmns %#x", limits.Semmsl, limits.Semmns)
		}
		return err
	})
}

// TestLimitFileWritesTheWholeFile has the limits of semaphores, which share
// one.
func TestLimitFileWritesTheWholeFile(t *testing.T) {
	limits := ipc.DefaultLimits()
	limits.Semopm, limits.Shmall = 1, math.MaxUint64
	for _, c := range []struct{ name, path, content string }{
		{"msgmax", "/proc/sys/kernel/msgmax", "8192"},
		{"semmsl", "/proc/sys/kernel/sem", "32000 1024000000 1 32000"},
		{"semmni", "/proc/sys/kernel/sem", "32000 1024000000 1 32000"},
		{"shmall", "/proc/sys/kernel/shmall", "18446744073709551615"},
		{"queues_max", "/proc/sys/fs/mqueue/queues_max", "256"},
	} {
		path, content, err := kernel.LimitFile(c.name, &limits)
		if path != c.path || content != c.content || err != nil {
			t.Errorf("%s: got %s, %q, error %v", c.name, path, content, err)
		}
	}
	for _, limit := range ipc.AllLimits {
		if _, _, err := kernel.LimitFile(limit.Name, &limits); err != nil {
			t.Errorf("%s: %v", limit.Name, err)
		}
	}
	if _, _, err := kernel.LimitFile("shmseg", &limits); err == nil || err.Error() != `no file holds the limit "shmseg"` {
		t.Errorf("shmseg: error %v", err)
	}
}

// TestSetLimit changes each limit, and reads it back with all others as they
// were.
func TestSetLimit(t *testing.T) {
	for _, limit := range ipc.AllLimits {
		value := uint64(11)
		switch limit.Name {
		case "shm_rmid_forced":
			value = 1
		case "msgsize_max", "msgsize_default":
			value = 256
		}
		ipctest.InNew(t, func() error {
			want, err := system.Limits()
			if err != nil {
				return err
			}
			*limit.Of(&want) = value
			if err := system.SetLimit(ipc.LimitSetting{Limit: limit, Value: value}); err != nil {
				return err
			}
			got, err := system.Limits()
			if got != want {
				t.Errorf("%s:\n got %+v\nwant %+v", limit.Name, got, want)
			}
			return err
		})
	}
}

func TestSetLimitIsRefused(t *testing.T) {
	msgMax, err := ipc.LimitByName("msg_max")
	ipctest.Must(t, err)
	ipctest.InNew(t, func() error {
		err := system.SetLimit(ipc.LimitSetting{Limit: msgMax, Value: 0})
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("got %v, want %v", err, unix.EINVAL)
		}
		return nil
	})
	shmseg := msgMax
	shmseg.Name = "shmseg"
	err = system.SetLimit(ipc.LimitSetting{Limit: shmseg, Value: 1})
	if err == nil {
		t.Error("no error for a limit that there is not")
	}
}
