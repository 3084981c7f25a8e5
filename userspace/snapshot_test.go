package userspace_test

import (
	"bytes"
	"fmt"

	"github.com/ipcns/ipcns/userspace"
)

// sameAfterRestore reports if a snapshot does not bring a namespace back.
func sameAfterRestore(ns *userspace.Namespace) error {
	var first, second bytes.Buffer
	if err := ns.Snapshot(&first); err != nil {
		return err
	}
	restored, err := userspace.Restore(bytes.NewReader(first.Bytes()), userspace.Options{})
	if err != nil {
		return err
	}
	if err := restored.Broken(); err != nil {
		return fmt.Errorf("restored: %w", err)
	}
	if err := restored.Snapshot(&second); err != nil {
		return err
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		return fmt.Errorf("a snapshot of what was restored differs:\n%q\n%q", first.Bytes(), second.Bytes())
	}
	return nil
}
