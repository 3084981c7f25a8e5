//go:build linux

package cli

import (
	"github.com/spf13/cobra"
)

func newTour() *cobra.Command { return &cobra.Command{Use: "tour"} }
