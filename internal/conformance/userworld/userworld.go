//go:build linux

// Package userworld is package userspace for the conformance suite.
package userworld

import (
	"runtime/debug"
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/userspace"
)

// Userspace makes worlds of package userspace.
type Userspace struct {
	// Lacks are capabilities that nobody has.
	Lacks userspace.Capabilities
	// Users shows ids to all; see [userspace.Credentials].
	Users *userspace.UserNamespace
	// Umask is that of all.
	Umask uint32
}

// NewWorld makes a namespace. None of its segments is left after the test.
func (u Userspace) NewWorld(t testing.TB) conformance.World {
	ns := userspace.New(userspace.Options{Memory: userspace.Memfd{}})
	w := &world{Namespace: ns, of: u}
	w.root = w.Process(t, conformance.Credentials{})
	t.Cleanup(func() { ns.SetLimit("shm_rmid_forced", 1) }) // which ends segments without a creator
	return w
}

type world struct {
	*userspace.Namespace
	of   Userspace
	root conformance.Process
}

func (w *world) Root() conformance.Process { return w.root }

func (w *world) Process(t testing.TB, who conformance.Credentials) conformance.Process {
	c := userspace.User(who.UID, who.GID, who.Groups...)
	for _, number := range who.Capabilities {
		c.Capabilities |= 1 << number
	}
	c.Capabilities &^= w.of.Lacks
	c.Users, c.Umask = w.of.Users, w.of.Umask
	for resource, value := range who.Rlimits {
		switch resource {
		case rlimitMemlock:
			c.RlimitMemlock = &value
		case rlimitMsgqueue:
			c.RlimitMsgqueue = &value
		}
	}
	return started(t, w.Start(c))
}

func started(t testing.TB, task *userspace.Task) *Process {
	t.Cleanup(task.Exit)
	return &Process{task}
}

const (
	rlimitMemlock  = 8
	rlimitMsgqueue = 12
)

// lacks is what only the kernel has.
var lacks = []string{conformance.Addresses, conformance.HugePages}

func (w *world) Lacks(what string) string {
	if slices.Contains(lacks, what) {
		return "only the kernel has it"
	}
	return ""
}

// A Process is a task.
type Process struct{ *userspace.Task }

// Fork implements [conformance.Process].
func (p *Process) Fork(t testing.TB) conformance.Process { return started(t, p.Task.Fork()) }

// Kill implements [conformance.Process].
func (p *Process) Kill() { p.Exit() }

// Peek implements [conformance.Process].
func (p *Process) Peek(memory []byte, offset, n int) (data []byte, err error) {
	err = faulting(func() { data = slices.Clone(memory[offset : offset+n]) })
	return data, err
}

// Poke implements [conformance.Process].
func (p *Process) Poke(memory []byte, offset int, data []byte) error {
	return faulting(func() { copy(memory[offset:], data) })
}

// faulting runs f, of which a fault is EFAULT.
func faulting(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = syscall.EFAULT
		}
	}()
	f()
	return nil
}
