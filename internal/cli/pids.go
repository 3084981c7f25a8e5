//go:build linux

package cli

import (
	"fmt"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
)

func newPids() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "pids NS [--json]",
		Short: "List the processes in a namespace",
		Long: `List the ids of the processes that are in a namespace, those that this user may
look at. The process that keeps a name's namespace is not one of them.

` + referenceHelp,
		Example: `  ipcns pids web
  kill $(ipcns pids web)
  ipcns pids --json web`,
		Args: oneNamespace,
		RunE: func(cmd *cobra.Command, args []string) error {
			ns, err := look(args[0])
			if err != nil {
				return err
			}
			defer ns.Close()
			pids, err := ns.pids()
			if err != nil {
				return err
			}
			if asJSON {
				return listing.WriteJSON(cmd.OutOrStdout(), commandsOf(pids))
			}
			for _, pid := range pids {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), pid); err != nil {
					return err
				}
			}
			return nil
		},
		ValidArgsFunction: completeReferences,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the commands")
	return cmd
}

func completeReferences(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeNamespace(cmd, args, toComplete)
}

func oneNamespace(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return takes(cmd, "a namespace")
	}
	return nil
}

// A jsonProcess is a process in JSON.
type jsonProcess struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
}

func commandsOf(pids []int) []jsonProcess {
	processes := []jsonProcess{}
	for _, pid := range pids {
		processes = append(processes, jsonProcess{pid, host.Proc("/proc").Command(pid)})
	}
	return processes
}

func newWait() *cobra.Command {
	return &cobra.Command{
		Use:   "wait NS",
		Short: "Wait until a namespace has no process any more",
		Long: `Wait until the last process of a namespace has ended, or left it, of those that
this user may look at. The process that keeps a name's namespace does not count.

` + referenceHelp,
		Example: `  ipcns wait web && ipcns rm web`,
		Args:    oneNamespace,
		RunE: func(cmd *cobra.Command, args []string) error {
			ns, err := look(args[0])
			if err != nil {
				return err
			}
			defer ns.Close()
			return registry.Wait(ns.named)
		},
		ValidArgsFunction: completeReferences,
	}
}
