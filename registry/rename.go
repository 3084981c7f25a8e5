//go:build linux

package registry

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Rename gives a namespace, and with it what is inside, another full name.
func (r *Registry) Rename(from, to string) error {
	if err := Check(to); err != nil {
		return err
	}
	err := r.change(func() error {
		if _, err := r.find(from); err != nil {
			return err
		}
		if Inside(to, from) {
			return errors.New("a namespace cannot be inside itself")
		}
		if err := r.free(to); err != nil {
			return err
		}
		return cause(renameNew(r.path(from), r.path(to)), r.path(to))
	})
	if err != nil {
		return fmt.Errorf("cannot rename %s to %s: %w", from, to, err)
	}
	return nil
}

// renameNew renames a directory to what is not there.
func renameNew(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}
