package userspace_test

import (
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/userspace"
)

func TestConformance(t *testing.T) { conformance.Run(t, implementation{}) }

// implementation makes worlds of package userspace.
type implementation struct{}

func (implementation) NewWorld(*testing.T) conformance.World {
	ns := userspace.New(userspace.Options{Memory: userspace.Memfd{}})
	return &world{ns, &process{ns.Start(userspace.User(0, 0))}}
}

type world struct {
	*userspace.Namespace
	root *process
}

func (w *world) Root() conformance.Process { return w.root }

func (w *world) Process(_ *testing.T, who conformance.Credentials) conformance.Process {
	c := userspace.User(who.UID, who.GID, who.Groups...)
	for _, number := range who.Capabilities {
		c.Capabilities |= 1 << number
	}
	for resource, value := range who.Rlimits {
		switch resource {
		case syscall.RLIMIT_NOFILE:
		case rlimitMemlock:
			c.RlimitMemlock = &value
		case rlimitMsgqueue:
			c.RlimitMsgqueue = &value
		}
	}
	return &process{w.Start(c)}
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

type process struct{ *userspace.Task }

func (p *process) Fork(*testing.T) conformance.Process { return &process{p.Task.Fork()} }

func (p *process) Kill() { p.Exit() }

func (p *process) Peek(memory []byte, offset, n int) (data []byte, err error) {
	err = faulting(func() { data = slices.Clone(memory[offset : offset+n]) })
	return data, err
}

func (p *process) Poke(memory []byte, offset int, data []byte) error {
	return faulting(func() { copy(memory[offset:], data) })
}
