//go:build linux

package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newAdopt() *cobra.Command {
	return &cobra.Command{
		Use:   "adopt NAME pid:NUMBER",
		Short: "Give a name to the namespace of a process",
		Long: `Give a name to the IPC namespace of a process, a container's for instance. It
stays then, also when the process ends. "ipcns exec NAME" shows the process's
/dev/shm, and the POSIX queues, and the host's files otherwise.

"ipcns rm NAME" takes the name away, and nothing else.`,
		Example: `  ipcns adopt web pid:4242
  ipcns adopt db pid:$(podman inspect --format '{{.State.Pid}}' db)`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return takes(cmd, "a name and pid:NUMBER")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			number, found := strings.CutPrefix(args[1], "pid:")
			pid, err := strconv.Atoi(number)
			if err != nil || !found || pid <= 0 {
				return wrongUsage("%q is no process; write pid:NUMBER", args[1])
			}
			names, full, err := resolve(args[0])
			if err != nil {
				return err
			}
			return names.Adopt(full, pid)
		},
	}
}
