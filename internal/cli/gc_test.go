//go:build linux

package cli

import (
	"slices"
	"testing"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/doctor"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
)

// A meantime is a namespace in which something happens before each object is looked
// at again.
type meantime struct {
	ipc.System
	happens func(id int) error
}

func (m meantime) ShmStatAny(index int) (int, ipc.ShmidDS, error) {
	if err := m.happens(index); err != nil {
		return 0, ipc.ShmidDS{}, err
	}
	return m.System.ShmStatAny(index)
}

// Segments that nobody has attached, the creator of which is said to be gone, are
// removed; but none that somebody uses, changes or replaces between the look and that.
func TestGcLooksAgain(t *testing.T) {
	system := kernel.System{}
	create := func() (id int, err error) { return system.Shmget(ipc.Private, 4096, ipc.Creat|0o600) }
	var attached []byte
	ipctest.InNew(t, func() error {
		defer func() { ipctest.Must(t, system.Shmdt(attached)) }()
		ids := []int{}
		for range 5 {
			id, err := create()
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		happens := map[int]func() error{
			ids[1]: func() (err error) { attached, err = system.Shmat(ids[1], 0, 0); return err },
			ids[2]: func() error { return system.ShmctlSet(ids[2], ipc.PermSet{Mode: 0o660}) },
			ids[3]: func() error { return system.ShmctlRmid(ids[3]) },
		}
		contents, err := host.ContentsOf(system, true)
		if err != nil {
			return err
		}
		ns := &survey.Namespace{Contents: contents}
		look := doctor.Look{Survey: &survey.Survey{Taken: time.Now()}, There: func(int) bool { return false }}
		var c collection
		failures := c.collect(meantime{system, func(id int) error {
			if f := happens[id]; f != nil {
				return f()
			}
			return nil
		}}, look, ns)
		var removed []int
		for _, o := range c.removed {
			removed = append(removed, o.ID)
		}
		if want := []int{ids[0], ids[4]}; !slices.Equal(removed, want) || len(failures) > 0 {
			t.Errorf("removed %v instead of %v, failures %v", removed, want, failures)
		}
		left, err := host.Segments(system)
		if len(left) != 2 {
			t.Errorf("%d are left", len(left))
		}
		return err
	})
}
