//go:build linux

package cli

import (
	"io"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/spf13/cobra"
)

func newLimits() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "limits NS [NAME=VALUE...] [--json]",
		Short: "Show or change the limits of a namespace",
		Long: `Show the limits of a namespace, or change some. A number may end in k, m or g
for units of 2^10, 2^20 and 2^30. What is there already stays, also where it is
above a new limit.

The limits are changed by who made the namespace: root, or an ordinary user if
it has a name or was made with a limit. Root cannot change another user's.

` + referenceHelp + "\n\nThe limits, what each is in a new namespace, and what it may be:\n\n" +
			strings.TrimSuffix(limitsTable(), "\n"),
		Example: `  ipcns limits web
  ipcns limits web msgmnb=64k shmmax=1g
  ipcns limits self --json | jq .shmmni`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return takes(cmd, "a namespace")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var settings []ipc.LimitSetting
			if len(args) > 1 {
				var err error
				if settings, err = ipc.ParseLimits(strings.Join(args[1:], ",")); err != nil {
					return wrongUsage("%w", err)
				}
			}
			t := target{args[0]}
			if len(settings) > 0 {
				if ns := t.served(); ns != nil {
					return ns.SetLimits(settings)
				}
			}
			return t.do(cmd, func(system ipc.System) error {
				if len(settings) > 0 {
					return setLimits(settings)
				}
				return showLimits(cmd.OutOrStdout(), system, asJSON)
			})
		},
		ValidArgsFunction: completeNamespaceAndLimits,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// setLimits changes the limits of the thread's namespace, until the kernel
// refuses one.
func setLimits(settings []ipc.LimitSetting) error {
	for _, setting := range settings {
		if err := (kernel.System{}).SetLimit(setting); err != nil {
			return setting.Failure(err)
		}
	}
	return nil
}

func showLimits(w io.Writer, system ipc.System, asJSON bool) error {
	limits, err := system.Limits()
	if err != nil {
		return err
	}
	if asJSON {
		values := map[string]uint64{}
		for _, limit := range ipc.AllLimits {
			values[limit.Name] = *limit.Of(&limits)
		}
		return listing.WriteJSON(w, values)
	}
	t := table{rightAligned: []bool{1: true, 2: false}}
	t.add("LIMIT", "VALUE", "BOUNDS")
	for _, limit := range ipc.AllLimits {
		t.add(limit.Name, strconv.FormatUint(*limit.Of(&limits), 10), limit.Bounds)
	}
	return t.write(w, terminalWidth())
}

func completeNamespaceAndLimits(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeNamespace(cmd, args, toComplete)
	}
	return completeLimits(cmd, args, toComplete)
}

func completeLimits(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	done := toComplete[:strings.LastIndexByte(toComplete, ',')+1]
	var names []string
	for _, limit := range ipc.AllLimits {
		names = append(names, done+limit.Name+"=")
	}
	return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
