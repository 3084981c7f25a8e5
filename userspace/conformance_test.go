//go:build linux

package userspace_test

import (
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/internal/conformance/userworld"
)

func TestConformance(t *testing.T) { conformance.Run(t, userworld.Userspace{}) }
