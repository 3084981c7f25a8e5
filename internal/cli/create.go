//go:build linux

package cli

import (
	"runtime/debug"

	"github.com/ipcns/ipcns/internal/run"
	"github.com/spf13/cobra"
)

func newCreate() *cobra.Command {
	var request run.Request
	cmd := &cobra.Command{
		Use:   "create NAME... [--engine ENGINE] [--share WHAT] [--limit NAME=VALUE,...] [--label KEY=VALUE] [-v]",
		Short: "Make an IPC namespace that stays, and give it a name",
		Long: `Make an IPC namespace that stays without a program in it, until "ipcns rm". It
has a /dev/mqueue and a /dev/shm of its own, which all programs in it share.

web/db is inside web, which has to be there. Made by a program in web, db is
web/db, and /db is not. Being inside is a matter of names and ends: the objects
of the one are not seen in the other, and "ipcns rm -r web" ends both.

Root's namespaces are kept by mounts below /run/ipcns, until the machine stops.
An ordinary user's are kept by a process each, without a thread of ours and of
a few kilobytes, and recorded in $XDG_RUNTIME_DIR/ipcns; they end with it.

With the engine userspace, for which see "ipcns help run", the namespace is that
of a server, a process in the background which ends with "ipcns rm".`,
		Example: `  ipcns create web
  ipcns create web/db --limit shmmax=1g --label tier=db
  ipcns create test-{1..8} --share shm    eight, with the host's /dev/shm`,
		Args: atLeastOneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := request.Spec()
			if err != nil {
				return wrongUsage("%w", err)
			}
			var fulls []string
			for _, name := range args {
				_, full, err := resolve(name)
				if err != nil {
					return err
				}
				fulls = append(fulls, full)
			}
			// A collection waits, busily, while a holder is being started, and
			// many names would take one every few.
			debug.SetGCPercent(1000)
			return several(request.CreateAll(run.Names(), fulls, spec))
		},
	}
	addSpecFlags(cmd, &request)
	return cmd
}

func atLeastOneName(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return takes(cmd, "the name of a namespace")
	}
	return nil
}
