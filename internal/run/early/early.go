//go:build linux

// Package early does "ipcns run" as soon as what that needs is initialised,
// which is before the packages of the command line are: the order is that of
// their import paths. It makes a start faster by a seventh. Whatever it does
// not do, the command line does later, so nothing but speed depends on it.
package early

import (
	"errors"
	"os"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/run"
)

func init() {
	if len(os.Args) < 3 {
		return
	}
	request, ok := run.Parse(os.Args[1], os.Args[2:])
	if !ok {
		return
	}
	err := request.Become()
	if failed := (*launch.Error)(nil); errors.As(err, &failed) {
		os.Stderr.WriteString("ipcns: " + oneline.Of(err.Error()) + "\n")
		os.Exit(failed.Status)
	}
	// The request was wrong, and nothing has been changed.
}
