//go:build linux

package cli

import (
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/spf13/cobra"
)

func newExec() *cobra.Command {
	request := run.Request{Exists: true}
	cmd := &cobra.Command{
		Use:   "exec [--engine ENGINE] [--root] [-v] NAME [--] CMD [ARG...]",
		Short: "Run a program in a namespace that has a name",
		Long: `Run CMD in the namespace of that name, with its /dev/mqueue and /dev/shm.

ipcns becomes CMD, as with "ipcns run". An ordinary user's CMD keeps its user
and group id, in the user namespace that all programs of the namespace share.

Exit status: that of CMD; 125 if the namespace could not be entered, 126 if CMD
was found but cannot be run, 127 if it was not found.`,
		Example: `  ipcns exec web -- ./server
  ipcns exec web/db ipcs
  ipcns exec --root web sh                see yourself as root`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return takes(cmd, "the name of a namespace and a program")
			}
			if !isName(args[0]) {
				return wrongUsage("exec takes a name, not %q; give the namespace one with \"ipcns adopt NAME pid:NUMBER\"", args[0])
			}
			request.Name, request.Args = args[0], args[1:]
			if len(request.Args) > 0 && request.Args[0] == "--" {
				request.Args = request.Args[1:]
			}
			return request.Become()
		},
		ValidArgsFunction: completeName,
	}
	cmd.Flags().SetInterspersed(false)
	addEngineFlags(cmd, &request)
	cmd.Flags().BoolVar(&request.Root, "root", false, "let CMD see itself as root of the user namespace, if there is one")
	return failingWith(launch.StatusFailed, cmd)
}
