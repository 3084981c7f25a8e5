//go:build linux

package launch_test

import (
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/launch"
)

// TestTheWholeStubIsCopied asks the runtime where the function ends whose
// code the image has room for.
func TestTheWholeStubIsCopied(t *testing.T) {
	if name := launch.StubName(); !strings.HasSuffix(name, "/launch.stub") {
		t.Errorf("the code is that of %s", name)
	}
	if size := launch.StubSize(); size < 16 || size > launch.CodeSize {
		t.Errorf("the stub has %d bytes, the image room for %d", size, launch.CodeSize)
	}
}
