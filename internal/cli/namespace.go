//go:build linux

package cli

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const referenceHelp = `NS names a namespace: self, init (that of process 1), pid:NUMBER, path:FILE,
or ipc:[INODE] as the kernel and "ipcns ls" print it.`

// insideFlag says that this process has been put into the namespace that -n
// names.
const insideFlag = "inside"

// A target is the namespace that a command works on: the flag -n.
type target struct {
	reference string
}

func (t *target) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&t.reference, "namespace", "n", "self", "work on namespace `NS`")
	cmd.RegisterFlagCompletionFunc("namespace", cobra.FixedCompletions([]string{"self", "init", "pid:", "path:"}, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
}

// do calls f in the target. Where it takes entering a user namespace, which
// a process with threads cannot, the whole command starts again inside.
func (t *target) do(cmd *cobra.Command, f func(ipc.System) error) error {
	inside, err := cmd.Flags().GetBool(insideFlag)
	if err != nil {
		return err
	}
	if t.reference == "self" || inside {
		return f(kernel.System{})
	}
	ns, err := open(t.reference)
	if err != nil {
		return err
	}
	defer ns.Close()
	entered, err := enter(ns, f)
	if entered || !errors.Is(err, unix.EPERM) {
		return err
	}
	owner, ownerErr := ns.Owner()
	if ownerErr != nil {
		return err
	}
	defer owner.Close()
	return launch.Inside(int(owner.Fd()), int(ns.File().Fd()), launch.Program{
		Path: "/proc/self/exe",
		Args: append([]string{"ipcns", "--" + insideFlag}, os.Args[1:]...),
		Env:  os.Environ(),
	})
}

// enter calls f in the namespace, and reports whether it came to that. The
// namespace that the process is in takes no permission to enter.
func enter(ns *ipcns.Namespace, f func(ipc.System) error) (entered bool, err error) {
	own, err := ipcns.Current()
	if err != nil {
		return false, err
	}
	defer own.Close()
	if own.Inode() == ns.Inode() {
		return true, f(kernel.System{})
	}
	err = ns.Do(func() error {
		entered = true
		return f(kernel.System{})
	})
	return entered, err
}

// open opens the namespace of a reference.
func open(reference string) (*ipcns.Namespace, error) {
	kind, rest, _ := strings.Cut(reference, ":")
	switch {
	case reference == "self":
		return ipcns.Current()
	case reference == "init":
		return openInit()
	case kind == "pid":
		pid, err := strconv.Atoi(rest)
		if err != nil || pid <= 0 {
			return nil, usage("%q is no process; write pid:NUMBER", reference)
		}
		return ipcns.OpenPID(pid)
	case kind == "path":
		return ipcns.OpenPath(rest)
	case kind == "ipc":
		inode, err := strconv.ParseUint(strings.Trim(rest, "[]"), 10, 64)
		if err != nil {
			return nil, usage("%q is no namespace; write ipc:[INODE]", reference)
		}
		return host.Open(inode)
	}
	return nil, usage("no namespace %q; write self, init, pid:NUMBER, path:FILE or ipc:[INODE]", reference)
}

// openInit opens the namespace of process 1. An ordinary user who is in the
// machine's initial one needs no permission for that process.
func openInit() (*ipcns.Namespace, error) {
	own, err := ipcns.Current()
	if err != nil || own.Initial() {
		return own, err
	}
	own.Close()
	return ipcns.OpenPID(1)
}
