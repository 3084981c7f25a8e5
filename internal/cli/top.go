//go:build linux

package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/top"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newTop() *cobra.Command {
	var seconds float64
	var once, asJSON bool
	cmd := &cobra.Command{
		Use:   "top [NS] [-d SECONDS] [--once [--json]]",
		Short: "Watch namespaces, their objects and who uses them",
		Long: `Watch the IPC namespaces of this machine on the terminal, or NS alone: Enter shows
the objects of a namespace, and then who uses one; Tab shows all processes of the
namespace; Esc goes back, q quits, and ? tells of the other keys.

` + top.Columns() + `

--once prints one look, or with -d the second of two that are so far apart, since
+/s, USED and ACTIVE need two. So does top if standard output is no terminal, or one
without a cursor that moves (TERM=dumb). --json prints {"namespaces": [...]} or, of
NS, {"objects": [...], "processes": [...]}, with null for what is not known. Nothing
that top does can be seen by the programs that it looks at.

` + referenceHelp,
		Example: `  sudo ipcns top
  ipcns top web -d 0.5
  ipcns top --once -d 2
  ipcns top --once --json -d 2 | jq '.namespaces[] | select(.used > 0)'`,
		Args: atMostOneNamespace,
		RunE: func(cmd *cobra.Command, args []string) error {
			interval := time.Duration(seconds * float64(time.Second))
			if interval < time.Second/2 || interval > time.Hour {
				return wrongUsage("-d takes 0.5 to 3600 seconds, not %v", seconds)
			}
			namespace := ""
			if len(args) > 0 {
				var err error
				if namespace, err = keyOfReference(cmd, args[0]); err != nil {
					return err
				}
			}
			names, err := users(cmd)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
			defer stop()
			if !once && !asJSON && showsScreens() {
				return top.Run(ctx, run.Names(), names, namespace, interval)
			}
			if !cmd.Flags().Changed("delay") {
				interval = 0
			}
			report, err := top.Once(ctx, run.Names(), namespace, interval)
			if err != nil {
				return err
			}
			if asJSON {
				return report.WriteJSON(cmd.OutOrStdout())
			}
			if s := report.Survey(); namespace == "" {
				noteMissing(cmd.ErrOrStderr(), s)
			} else if s.Unseen > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "ipcns: "+unseenUseNote(s.Unseen))
			}
			if !once {
				fmt.Fprintln(cmd.ErrOrStderr(), "ipcns: this is one look, since standard output is no terminal with a cursor; two that are compared: ipcns top --once -d 2")
			}
			return report.Write(cmd.OutOrStdout(), names, terminalWidth())
		},
		ValidArgsFunction: completeReferences,
	}
	cmd.Flags().Float64VarP(&seconds, "delay", "d", 1, "`SECONDS` from one look to the next")
	cmd.Flags().BoolVar(&once, "once", false, "print one look")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one look as JSON")
	return cmd
}

// atMostOneNamespace refuses more than one argument.
func atMostOneNamespace(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return takes(cmd, "one namespace, not %d", len(args))
	}
	return nil
}

// showsScreens reports whether standard output is a terminal whose cursor can be
// moved.
func showsScreens() bool {
	_, err := unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS)
	kind := os.Getenv("TERM")
	return err == nil && kind != "" && kind != "dumb"
}

// keyOfReference returns what top calls the namespace of a reference. Where only a
// program in the namespace may look into it, the command starts again as one.
func keyOfReference(cmd *cobra.Command, reference string) (string, error) {
	inside, err := cmd.Flags().GetBool(insideFlag)
	if err != nil || inside || reference == "self" {
		return top.Self, err
	}
	enter := func(ipc.System) error { return nil }
	if err := (&target{reference}).do(cmd, enter); err != nil {
		return "", err
	}
	ns, err := look(reference)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	if ns.named.Name != "" {
		return ns.named.Name, nil
	}
	return fmt.Sprintf("ipc:[%d]", ns.Inode()), nil
}
