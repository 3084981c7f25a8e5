//go:build linux

package ipcns

import (
	"context"
	"errors"
	"os/exec"
)

// A Cmd is an [exec.Cmd] whose process starts in a namespace. Its file
// systems are the caller's: /dev/mqueue and /dev/shm show what they show
// there. For the errors of entering the namespace see [Namespace.Do].
type Cmd struct {
	*exec.Cmd
	ns *Namespace
}

// Command returns the program, with its arguments, to be started in the
// namespace; see [exec.Command]. The namespace must stay open until then.
func (ns *Namespace) Command(name string, args ...string) *Cmd {
	return &Cmd{exec.Command(name, args...), ns}
}

// CommandContext is [Namespace.Command] with a context that ends the process;
// see [exec.CommandContext].
func (ns *Namespace) CommandContext(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{exec.CommandContext(ctx, name, args...), ns}
}

var errPdeathsig = errors.New("cannot start a program in a namespace with Pdeathsig, which would fire at once; use Run")

// Start is [exec.Cmd.Start] in the namespace. It refuses
// SysProcAttr.Pdeathsig: the kernel sends that signal when the thread that
// started the process ends, which is at once.
func (c *Cmd) Start() error {
	if c.SysProcAttr != nil && c.SysProcAttr.Pdeathsig != 0 {
		return errPdeathsig
	}
	return c.ns.Do(c.Cmd.Start)
}

// Run is [exec.Cmd.Run] in the namespace.
func (c *Cmd) Run() error { return c.ns.Do(c.Cmd.Run) }

// Output is [exec.Cmd.Output] in the namespace.
func (c *Cmd) Output() (output []byte, err error) { return c.collect(c.Cmd.Output) }

// CombinedOutput is [exec.Cmd.CombinedOutput] in the namespace.
func (c *Cmd) CombinedOutput() (output []byte, err error) { return c.collect(c.Cmd.CombinedOutput) }

func (c *Cmd) collect(run func() ([]byte, error)) (output []byte, err error) {
	err = c.ns.Do(func() (err error) {
		output, err = run()
		return err
	})
	return output, err
}
