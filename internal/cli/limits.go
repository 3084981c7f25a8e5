//go:build linux

package cli

import (
	"fmt"
	"strings"

	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
)

// newLimitsTopic is a page of help, not a command.
func newLimitsTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("The limits of a namespace, and what each is in a new one:\n\n")
	defaults := ipc.DefaultLimits()
	for _, limit := range ipc.AllLimits {
		fmt.Fprintf(&b, "  %-15s  %20d  %s\n", limit.Name, *limit.Of(&defaults), limit.Bounds)
	}
	b.WriteString("\nA number may end in k, m or g for units of 2^10, 2^20 and 2^30.")
	return &cobra.Command{
		Use:     "limits",
		Short:   "The limits of a namespace",
		Long:    b.String(),
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
