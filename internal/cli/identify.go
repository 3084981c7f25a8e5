//go:build linux

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/spf13/cobra"
)

func newIdentify() *cobra.Command {
	return &cobra.Command{
		Use:   "identify PID",
		Short: "Tell which namespace a process is in",
		Long: `Print the name of the namespace that a process is in, or what else it can be
called where a command takes a namespace: init, or ipc:[INODE], or the process
where the namespace is not the kernel's and has no name.`,
		Example: `  ipcns identify $$`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return takes(cmd, "the id of a process")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			pid, err := strconv.Atoi(strings.TrimPrefix(args[0], "pid:"))
			if err != nil || pid <= 0 {
				return wrongUsage("%q is no process; write its number", args[0])
			}
			name, err := namespaceOf(pid)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
			return err
		},
	}
}

// namespaceOf returns a reference for the namespace of a process.
func namespaceOf(pid int) (string, error) {
	if server, ok := server.Of(pid); ok {
		if ns := servedBy(server); ns.Name != "" {
			return displayed(ns.Name)
		}
		return fmt.Sprintf("pid:%d", pid), nil
	}
	ns, err := ipcns.OpenPID(pid)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	return called(ns)
}

// called returns a reference for the namespace.
func called(ns *ipcns.Namespace) (string, error) {
	if ns.Initial() {
		return "init", nil
	}
	name, err := run.Names().Identify(ns)
	if err != nil || name == "" {
		return ns.String(), err
	}
	return displayed(name)
}
