//go:build linux

// Package top shows what happens in the IPC namespaces of the machine: the
// namespaces, the objects of one and its processes, look after look.
package top

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/registry"
)

// framesPerSecond is how often the screen may be drawn: soon enough after a key,
// and a wake-up each.
const framesPerSecond = 20

// Run shows the namespaces on the terminal of standard output until the user has
// seen enough or the context ends, and leaves the terminal as it was. A namespace
// that is not empty is the key of the only one that is shown.
func Run(ctx context.Context, names *registry.Registry, users listing.Names, namespace string, interval time.Duration) error {
	l := looker{names: names}
	return show(ctx, newModel(l.look, users, interval, namespace))
}

func show(ctx context.Context, m *model, options ...tea.ProgramOption) error {
	options = append(options,
		tea.WithContext(ctx),
		tea.WithoutSignalHandler(), // the context ends with signals
		tea.WithFPS(framesPerSecond),
		tea.WithColorProfile(colorprofile.ASCII), // there are no colours
	)
	_, err := tea.NewProgram(m, options...).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot show this on the terminal: %w; try --once", err)
	}
	return nil
}
