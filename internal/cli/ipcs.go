//go:build linux

package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
)

func newIpcs() *cobra.Command {
	var t target
	var report listing.Report
	var asJSON, all bool
	var object string
	cmd := &cobra.Command{
		Use:   "ipcs [-q] [-m] [-s] [-Q] [-t|-p|-c|-l|-u|-i ID] [-n NS] [--json]",
		Short: "Show the IPC objects of a namespace",
		Long: `Show the message queues (-q), shared memory segments (-m), semaphore sets (-s)
and POSIX message queues (-Q) of a namespace; all of them if none is chosen.

The first three are printed as util-linux's ipcs prints them, byte for byte.
It takes no permission on an object to see it here. Seeing POSIX queues takes
CAP_SYS_ADMIN, or a mount of the namespace's mqueue file system at /dev/mqueue.

--json prints all that is known of each object, whatever the view.

` + referenceHelp,
		Example: `  ipcns ipcs                     all four kinds
  ipcns ipcs -m -p               who made and last used the segments
  ipcns ipcs -n pid:4242         in the namespace of another process
  ipcns ipcs -s -i 0             the semaphores of one set
  ipcns ipcs --json | jq '.message_queues[] | select(.qnum > 0)'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if report.Names, err = users(cmd); err != nil {
				return err
			}
			if all {
				report.Select = listing.Selection{}
			}
			report.Warn = func(err error) { fmt.Fprintf(cmd.ErrOrStderr(), "ipcns: %v\n", err) }
			out := cmd.OutOrStdout()
			return t.do(cmd, func(system ipc.System) error {
				switch {
				case object != "":
					return showObject(out, report, system, object, asJSON)
				case asJSON:
					return report.JSON(out, system)
				}
				return report.Text(out, system)
			})
		},
	}
	t.addFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&report.Select.MessageQueues, "queues", "q", false, "message queues")
	flags.BoolVarP(&report.Select.Segments, "shmems", "m", false, "shared memory segments")
	flags.BoolVarP(&report.Select.SemaphoreSets, "semaphores", "s", false, "semaphore sets")
	flags.BoolVarP(&report.Select.Mqueues, "mqueues", "Q", false, "POSIX message queues")
	flags.BoolVarP(&all, "all", "a", false, "all four, which is the default")
	for _, view := range []struct {
		name, letter, usage string
		view                listing.View
	}{
		{"time", "t", "show the times", listing.Times},
		{"pid", "p", "show process ids", listing.PIDs},
		{"creator", "c", "show creators and owners", listing.Creators},
		{"limits", "l", "show the limits of the namespace", listing.Limits},
		{"summary", "u", "show how many there are", listing.Summary},
	} {
		flags.BoolFuncP(view.name, view.letter, view.usage, func(value string) error {
			if value != "true" {
				return errors.New("it takes no value")
			}
			report.View = view.view
			return nil
		})
	}
	flags.StringVarP(&object, "id", "i", "", "show the one object with this `ID`; with -q, -m or -s")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// showObject prints the one object that the option -i names.
func showObject(out io.Writer, report listing.Report, system ipc.System, object string, asJSON bool) error {
	id, err := strconv.Atoi(object)
	if err != nil || id < 0 {
		return wrongUsage("%q is no id; write -i NUMBER", object)
	}
	show := report.ObjectText
	if asJSON {
		show = report.ObjectJSON
	}
	err = show(out, system, id)
	if errors.Is(err, listing.ErrSelection) {
		return &exitError{statusUsage, err}
	}
	return err
}
