//go:build linux

package properties

import (
	"flag"
	"os"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

var implementations = map[string]implementation{
	"kernel":    {alone: alone, together: together},
	"userspace": {alone: userspaceAlone, together: userspaceTogether},
}

// alone calls f on a thread that fresh moves.
func alone(t *testing.T, f func(fresh func(test) process)) {
	ns := ipctest.New(t)
	err := ns.Do(func() error {
		f(func(t test) process {
			must(t, unix.Unshare(unix.CLONE_NEWIPC))
			return process{kernel.System{}, func() { must(t, unix.Unshare(unix.CLONE_SYSVSEM)) }}
		})
		return nil
	})
	if err != nil && !t.Failed() {
		t.Fatal(err)
	}
}

// together gives each call of a namespace a thread.
func together(t test) namespace {
	ns, err := ipcns.New()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return func(f func(ipc.System)) {
		err := ns.Do(func() error {
			f(kernel.System{})
			return nil
		})
		must(t, err)
	}
}

func TestMain(m *testing.M) {
	if _, set := os.LookupEnv("RAPID_CHECKS"); !set {
		flag.Set("rapid.checks", "200")
	}
	ipctest.MainInNew(m, nil)
}
