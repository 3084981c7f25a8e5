//go:build linux

package cli

import (
	"strings"

	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
)

// newLimitsTopic is a page of help, not a command.
func newLimitsTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "limits",
		Short: "The limits of a namespace",
		Long: "The limits of a namespace, what each is in a new one, and what it may be:\n\n" + limitsTable() +
			"\nA number may end in k, m or g for units of 2^10, 2^20 and 2^30.",
		Example: "  ipcns run --limit msgmnb=64k,shmmax=1g -- ./server\n  ipcns ipcs -l",
	}
}

func completeLimits(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	done := toComplete[:strings.LastIndexByte(toComplete, ',')+1]
	var names []string
	for _, limit := range ipc.AllLimits {
		names = append(names, done+limit.Name+"=")
	}
	return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
