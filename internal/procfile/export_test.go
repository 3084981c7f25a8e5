//go:build linux

package procfile

import (
	"maps"
	"slices"
)

// Paths returns the paths of all files.
func Paths() []string { return slices.Sorted(maps.Keys(files())) }
