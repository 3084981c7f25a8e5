//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/spf13/cobra"
)

// lookInsideCommand is a command of ipcns's own.
const lookInsideCommand = "look-inside"

// takeWhole is [survey.Take], also of what is in an ordinary user's own namespaces
// that only a process without threads may enter.
func takeWhole(options survey.Options) (*survey.Survey, error) {
	options.Inside = lookInside
	return survey.Take(run.Names(), options)
}

// patience is how long one namespace may hold up a look at all.
const patience = 5 * time.Second

// lookInside looks into a namespace by a process that goes there.
func lookInside(ns *os.File) (seen survey.Inside, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{"ipcns", lookInsideCommand, "path:/proc/self/fd/3"}
	cmd.ExtraFiles = []*os.File{ns}
	output, err := cmd.Output()
	if err != nil {
		return seen, err
	}
	return seen, json.Unmarshal(output, &seen)
}

// newLookInside is what lookInside starts.
func newLookInside() *cobra.Command {
	return &cobra.Command{
		Use:    lookInsideCommand,
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return (&target{args[0]}).do(cmd, func(system ipc.System) error {
				contents, err := host.ContentsOf(system, true)
				if err != nil {
					return err
				}
				names, err := users(cmd)
				if err != nil {
					return err
				}
				names.Translate(contents)
				seen := survey.Inside{Contents: contents}
				if device, err := (kernel.System{}).MqDevice(); err == nil { // else its queues cannot be told
					seen.Device = device
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(seen)
			})
		},
	}
}
