//go:build linux

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
)

func newRun() *cobra.Command {
	var share, limits []string
	var root bool
	cmd := &cobra.Command{
		Use:   "run [--share WHAT] [--limit NAME=VALUE,...] [--root] [--] CMD [ARG...]",
		Short: "Run a program in a new IPC namespace",
		Long: `Run CMD in a new IPC namespace, with a /dev/mqueue and a /dev/shm of its own.

ipcns becomes CMD: its process id, signals, terminal and exit status are CMD's.
Without CAP_SYS_ADMIN the namespace is made in a user namespace, in which CMD
keeps its user and group id.

The namespace ends with the last process in it. Nothing of it is left. For
its limits see "ipcns help limits".

Exit status: that of CMD; 125 if the namespace could not be made, 126 if CMD
was found but cannot be run, 127 if it was not found.`,
		Example: `  ipcns run -- ./server --port 8080
  ipcns run --limit msgmnb=64k,shmmax=1g -- ./server
  ipcns run --share shm -- ./player       keep the host's /dev/shm
  ipcns run --share mqueue,shm -- ipcs    what unshare -i does
  ipcns run --root -- sh                  see yourself as root`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New(`no program to run; write "ipcns run -- CMD [ARG...]"`)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ns, err := newNamespace(share, limits, root)
			if err != nil {
				return err
			}
			path, err := launch.Find(args[0], searchPath())
			if err != nil {
				return err
			}
			return launch.InNew(ns, launch.Program{Path: path, Args: args, Env: os.Environ()})
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.StringSliceVar(&share, "share", nil, "leave the host's `WHAT` to CMD: mqueue, shm, or both with a comma")
	flags.StringSliceVar(&limits, "limit", nil, "set limits of the namespace: `NAME=VALUE,...`; k, m, g are 2^10, 2^20, 2^30")
	flags.BoolVar(&root, "root", false, "let CMD see itself as root: in a user namespace, if it is not")
	cmd.RegisterFlagCompletionFunc("share", cobra.FixedCompletions([]string{"mqueue", "shm", "mqueue,shm"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("limit", completeLimits)
	return failingWith(launch.StatusFailed, cmd)
}

func newNamespace(share, limits []string, root bool) (launch.Namespace, error) {
	ns := launch.Namespace{Root: root}
	for _, what := range share {
		if what != "mqueue" && what != "shm" {
			return ns, fmt.Errorf("cannot share %q; what can be shared is mqueue and shm", what)
		}
	}
	ns.Mqueue, ns.Shm = !slices.Contains(share, "mqueue"), !slices.Contains(share, "shm")
	if len(limits) == 0 {
		return ns, nil
	}
	var err error
	ns.Limits, err = ipc.ParseLimits(strings.Join(limits, ","))
	return ns, err
}

// searchPath returns the directories in which programs are looked for, as
// execvp(3) takes them: an empty PATH is the working directory.
func searchPath() string {
	path, set := os.LookupEnv("PATH")
	if !set {
		return "/bin:/usr/bin"
	}
	return cmp.Or(path, ".")
}
