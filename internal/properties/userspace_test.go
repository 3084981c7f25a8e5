//go:build linux

package properties

import (
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// newUserspace makes a namespace, of whose segments nothing is left after the
// test: those without a creator that lives end as well.
func newUserspace(t test) *userspace.Namespace {
	ns := userspace.New(userspace.Options{Memory: userspace.Memfd{}})
	t.Cleanup(func() { must(t, ns.SetLimit("shm_rmid_forced", 1)) })
	return ns
}

// root is root as that of a user namespace, in which the tests of the kernel run.
func root() userspace.Credentials {
	c := userspace.User(0, 0)
	c.Capabilities &^= userspace.CapSysResource
	return c
}

// userspaceAlone calls f with tasks of namespaces in Go.
func userspaceAlone(_ *testing.T, f func(fresh func(test) process)) {
	f(func(t test) process {
		ns := newUserspace(t)
		p := &lives{ns.Start(root())}
		t.Cleanup(func() { p.Exit() })
		return process{p, func() {
			p.Exit()
			p.Task = ns.Start(root())
		}}
	})
}

// lives are those of one process after another.
type lives struct{ *userspace.Task }

// userspaceTogether gives each call of a namespace a thread of one process.
func userspaceTogether(t test) namespace {
	task := newUserspace(t).Start(root())
	t.Cleanup(task.Exit)
	return func(f func(ipc.System)) { f(task.Thread()) }
}
