package userspace_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/userspace"
)

// TestMemfdTooLarge asks for more bytes than a file has.
func TestMemfdTooLarge(t *testing.T) {
	if _, err := (userspace.Memfd{}).Allocate(1 << 63); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v, want EINVAL", err)
	}
}
