//go:build linux

package conformance_test

import (
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/internal/conformance/kernelworld"
	"github.com/ipcns/ipcns/internal/conformance/server"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

func TestMain(m *testing.M) {
	ipctest.Play(server.Roles())
	leak.Main(m)
}

func TestKernel(t *testing.T) { conformance.Run(t, kernelworld.Kernel{}) }
