//go:build linux

package host_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// Each kind of object: how one is made and removed, and what is listed.
var kinds = []struct {
	name   string
	create func() (id int, err error)
	remove func(id int) error
	ids    func() (ids []int, err error)
}{
	{
		"message queues",
		func() (int, error) { return kernel.System{}.Msgget(ipc.Private, 0) },
		kernel.System{}.MsgctlRmid,
		func() (ids []int, err error) {
			objects, err := host.MessageQueues(kernel.System{})
			for _, object := range objects {
				ids = append(ids, object.ID)
			}
			return ids, err
		},
	},
	{
		"semaphore sets",
		func() (int, error) { return ipctest.Semget(0, 1, 0) },
		ipctest.SemctlRmid,
		func() (ids []int, err error) {
			objects, err := host.SemaphoreSets(kernel.System{})
			for _, object := range objects {
				ids = append(ids, object.ID)
			}
			return ids, err
		},
	},
	{
		"segments",
		func() (int, error) { return unix.SysvShmGet(0, 1, 0) },
		ipctest.ShmctlRmid,
		func() (ids []int, err error) {
			objects, err := host.Segments(kernel.System{})
			for _, object := range objects {
				ids = append(ids, object.ID)
			}
			return ids, err
		},
	},
}

// TestListsHaveWhatIsThere removes some of the objects that it makes, and
// then wraps the indexes around (SEMANTICS A.1.2 and A.1.3).
func TestListsHaveWhatIsThere(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			ipctest.InNew(t, func() error {
				expect := func(what string, want ...int) {
					if got, err := kind.ids(); !slices.Equal(got, want) || err != nil {
						t.Errorf("%s: got %v, error %v, want %v", what, got, err, want)
					}
				}
				expect("none")
				for range 5 {
					if _, err := kind.create(); err != nil {
						return err
					}
				}
				expect("five", 0, 1, 2, 3, 4)
				if err := errors.Join(kind.remove(0), kind.remove(3)); err != nil {
					return err
				}
				expect("two removed", 1, 2, 4)
				for range 64 - 5 {
					id, err := kind.create()
					if err := errors.Join(err, kind.remove(id)); err != nil {
						return err
					}
				}
				for range 2 {
					if _, err := kind.create(); err != nil {
						return err
					}
				}
				const second = 1 << 15
				expect("two added, in the order of their indexes", second, 1, 2, second+3, 4)
				if err := errors.Join(kind.remove(1), kind.remove(2), kind.remove(4), kind.remove(second), kind.remove(second+3)); err != nil {
					return err
				}
				expect("all removed")
				return nil
			})
		})
	}
}

// TestListsHaveTheStateOfEach makes objects that differ.
func TestListsHaveTheStateOfEach(t *testing.T) {
	ipctest.InNew(t, func() error {
		for i := range 3 {
			key := 0x10 + i
			_, err1 := kernel.System{}.Msgget(ipc.Key(key), ipc.Creat|i)
			_, err2 := ipctest.Semget(int32(key), 1+i, ipc.Creat|i)
			_, err3 := unix.SysvShmGet(key, 1+i, ipc.Creat|i)
			if err := errors.Join(err1, err2, err3); err != nil {
				return err
			}
		}
		queues, err1 := host.MessageQueues(kernel.System{})
		sets, err2 := host.SemaphoreSets(kernel.System{})
		segments, err3 := host.Segments(kernel.System{})
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		for i := range 3 {
			key, mode := ipc.Key(0x10+i), uint32(i)
			for what, perm := range map[string]ipc.Perm{"queue": queues[i].Perm, "set": sets[i].Perm, "segment": segments[i].Perm} {
				if perm.Key != key || perm.Mode != mode {
					t.Errorf("%s %d has key %s and mode %o", what, i, perm.Key, perm.Mode)
				}
			}
			if sets[i].Nsems != uint64(1+i) || segments[i].Segsz != uint64(1+i) {
				t.Errorf("set %d has %d semaphores, the segment %d bytes", i, sets[i].Nsems, segments[i].Segsz)
			}
		}
		return nil
	})
}

// A changing system has three queues when they are counted. Then the second
// is removed, and the last cannot be read.
type changing struct {
	ipc.MessageQueues
	infoErr, lastErr error
}

func (c changing) MsgInfo() (ipc.MsgInfo, int, error) { return ipc.MsgInfo{Queues: 3}, 2, c.infoErr }

func (c changing) MsgStatAny(index int) (int, ipc.MsqidDS, error) {
	return 100 + index, ipc.MsqidDS{}, [...]error{nil, syscall.EINVAL, c.lastErr}[index]
}

func TestAListOfWhatChanges(t *testing.T) {
	queues, err := host.MessageQueues(changing{})
	if len(queues) != 2 || queues[0].ID != 100 || queues[1].ID != 102 || err != nil {
		t.Errorf("got %v, error %v", queues, err)
	}
	for _, system := range []changing{{lastErr: syscall.ENOSYS}, {infoErr: syscall.ENOSYS}} {
		if queues, err := host.MessageQueues(system); queues != nil || !errors.Is(err, syscall.ENOSYS) {
			t.Errorf("got %v, error %v", queues, err)
		}
	}
}
