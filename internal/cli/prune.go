//go:build linux

package cli

import (
	"fmt"

	"github.com/ipcns/ipcns/internal/run"
	"github.com/spf13/cobra"
)

func newPrune() *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove the names of namespaces that have ended",
		Long: `Remove the names whose namespaces have ended, because the process that kept it
has, or somebody has taken its mount away. Remove also what a command has left
that was killed before it was done. Nothing that is alive is touched. Each
removal is a line of output.`,
		Example: "  ipcns prune",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			removed, kept, err := run.Names().Prune()
			for _, what := range removed {
				fmt.Fprintln(cmd.OutOrStdout(), "removed "+what)
			}
			for _, what := range kept {
				fmt.Fprintln(cmd.ErrOrStderr(), "ipcns: kept "+what)
			}
			return err
		},
	}
}
