//go:build linux

package cli

import (
	"fmt"

	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
)

func newRm() *cobra.Command {
	var how registry.Removal
	cmd := &cobra.Command{
		Use:   "rm NAME... [-r] [-f]",
		Short: "End namespaces that have names, and all that is in them",
		Long: `Destroy the objects of the namespace, and then the namespace and its name. When
rm returns, the memory is free, but for segments that a process still has
attached: rm says which.

A namespace that others are inside of, or with a process in it, stays, and rm
says why. One that "ipcns adopt" has named only loses its name.`,
		Example: `  ipcns rm web
  ipcns rm -r web                         with web/db, which is inside
  kill $(ipcns pids web); ipcns wait web; ipcns rm web`,
		Args: atLeastOneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			var fulls []string
			var names *registry.Registry
			for _, name := range args {
				var full string
				var err error
				if names, full, err = resolve(name); err != nil {
					return err
				}
				fulls = append(fulls, full)
			}
			notes, failures := names.RemoveAll(fulls, how)
			for _, note := range notes {
				fmt.Fprintln(cmd.ErrOrStderr(), "ipcns: "+oneline.Of(note))
			}
			return several(failures)
		},
		ValidArgsFunction: completeNames,
	}
	cmd.Flags().BoolVarP(&how.Recursive, "recursive", "r", false, "with the namespaces that are inside")
	cmd.Flags().BoolVarP(&how.Force, "force", "f", false, "leave processes in a namespace without objects and name")
	return cmd
}
