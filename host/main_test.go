//go:build linux

package host_test

import (
	"testing"

	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

func TestMain(m *testing.M) {
	ipctest.Play(map[string]func() error{
		lookAtProc:  printNamespaces,
		takeCensus:  printCensus,
		keepMounted: mountNamespace,
	})
	leak.Main(m)
}
