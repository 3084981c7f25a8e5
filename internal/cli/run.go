//go:build linux

package cli

import (
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
)

func newRun() *cobra.Command {
	var request run.Request
	cmd := &cobra.Command{
		Use:   "run [--name NAME] [--engine ENGINE] [--share WHAT] [--limit NAME=VALUE,...] [--label KEY=VALUE] [--root] [--wait] [-v] [--] CMD [ARG...]",
		Short: "Run a program in a new IPC namespace",
		Long: `Run CMD in a new IPC namespace, with a /dev/mqueue and a /dev/shm of its own.

ipcns becomes CMD: its process id, signals, terminal and exit status are CMD's.
Without CAP_SYS_ADMIN the namespace is made in a user namespace, in which CMD
keeps its user and group id.

The namespace ends with the last process in it. Nothing of it is left. With
--name it stays, until "ipcns rm NAME": run makes it if there is none of that
name, and otherwise runs CMD in it, with --limit set anew. For the limits see
"ipcns help limits".

--engine says who implements the namespace: the kernel; or userspace, a server of
ours, which takes no privilege, and no IPC of the kernel's. That answers the IPC
calls of CMD and of all that CMD starts, each in a few microseconds. /dev/shm
stays the host's then, /proc/sys tells the limits but does not set them, and
programs gain no privileges by execve (sudo, su), unless ipcns has CAP_SYS_ADMIN.
The default, auto, is the kernel where that lets this user have a namespace, and
userspace otherwise; -v says which and why.

Exit status: that of CMD; 125 if the namespace could not be made, 126 if CMD
was found but cannot be run, 127 if it was not found.`,
		Example: `  ipcns run -- ./server --port 8080
  ipcns run --name web -- ./server        in one that stays
  ipcns run --limit msgmnb=64k,shmmax=1g -- ./server
  ipcns run --share shm -- ./player       keep the host's /dev/shm
  ipcns run --share mqueue,shm -- ipcs    what unshare -i does
  ipcns run --root -- sh                  see yourself as root
  ipcns run --engine userspace -- ./test  without any privilege`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if request.Name == "" && cmd.Flags().Changed("name") {
				return registry.Check(request.Name)
			}
			request.Args = args
			return request.Become()
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.StringVar(&request.Name, "name", "", "use the namespace of that `NAME`, made if there is none")
	addSpecFlags(cmd, &request)
	flags.BoolVar(&request.Wait, "wait", false, "wait for all processes of the namespace, not for CMD alone; with --engine userspace")
	flags.BoolVar(&request.Root, "root", false, "let CMD see itself as root: in a user namespace, if it is not")
	cmd.RegisterFlagCompletionFunc("name", completeName)
	return failingWith(launch.StatusFailed, cmd)
}

// addSpecFlags adds the flags that say what a new namespace is like.
func addSpecFlags(cmd *cobra.Command, request *run.Request) {
	flags := cmd.Flags()
	flags.StringSliceVar(&request.Share, "share", nil, "leave the host's `WHAT` to programs: mqueue, shm, or both with a comma")
	flags.StringSliceVar(&request.Limits, "limit", nil, "set limits of the namespace: `NAME=VALUE,...`; k, m, g are 2^10, 2^20, 2^30")
	flags.StringArrayVar(&request.Labels, "label", nil, "note `KEY=VALUE` with the name, for \"ipcns inspect\"")
	cmd.RegisterFlagCompletionFunc("share", cobra.FixedCompletions([]string{"mqueue", "shm", "mqueue,shm"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("limit", completeLimits)
	addEngineFlags(cmd, request)
}

// addEngineFlags adds the flags about who implements the namespace.
func addEngineFlags(cmd *cobra.Command, request *run.Request) {
	flags := cmd.Flags()
	flags.StringVar(&request.Engine, "engine", run.Engines[0], "who implements the namespace: `ENGINE` is auto, kernel or userspace")
	flags.BoolVarP(&request.Verbose, "verbose", "v", false, "say which engine it is, and why")
	cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(run.Engines, cobra.ShellCompDirectiveNoFileComp))
}
