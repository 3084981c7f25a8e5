//go:build linux

package cli

import (
	"github.com/spf13/cobra"
)

func newRename() *cobra.Command {
	return &cobra.Command{
		Use:   "rename NAME NEW-NAME",
		Short: "Give a namespace another name",
		Long: `Give a namespace another name. What is inside it comes along: web/db becomes
www/db. Programs notice nothing.`,
		Example: `  ipcns rename web www
  ipcns rename web/db db                  take it out of web`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return takes(cmd, "the name of a namespace and a new one")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			names, from, err := resolve(args[0])
			if err != nil {
				return err
			}
			_, to, err := resolve(args[1])
			if err != nil {
				return err
			}
			return names.Rename(from, to)
		},
		ValidArgsFunction: completeName,
	}
}
