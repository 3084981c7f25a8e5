//go:build linux

package supervisedworld_test

import (
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/internal/conformance/supervisedworld"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

// TestMain makes an ordinary user root of a user namespace, as cases take root.
func TestMain(m *testing.M) { ipctest.MainInNew(m, supervisedworld.Roles()) }

func TestSupervised(t *testing.T) { conformance.Run(t, supervisedworld.Supervised{}) }
