//go:build linux

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The index tells whether a namespace has a name without a look at all of
// them: a record has a second link in a directory, named after the inode
// number of its namespace. It does not tell the name, which may change.

func (r *Registry) indexPath(inode uint64) string {
	return r.path(indexDir, strconv.FormatUint(inode, 10))
}

// index adds the record in a directory. A name whose namespace has ended may
// have had the same inode number.
func (r *Registry) index(ns *Namespace, dir string) error {
	if ns.Engine == Userspace {
		return nil // the kernel has no number for it
	}
	if err := os.Mkdir(r.path(indexDir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot write %w", cause(err, r.path(indexDir)))
	}
	path := r.indexPath(ns.Inode)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot write %w", cause(err, path))
	}
	if err := os.Link(filepath.Join(dir, recordFile), path); err != nil {
		return fmt.Errorf("cannot write %w", cause(err, path))
	}
	return nil
}

// unindex takes the record in a directory out, if it is the one that is there.
func (r *Registry) unindex(ns *Namespace, dir string) error {
	path := r.indexPath(ns.Inode)
	record, err := os.Stat(filepath.Join(dir, recordFile))
	if err != nil {
		return nil // there is none, or none that was added
	}
	if indexed, err := os.Stat(path); err != nil || !os.SameFile(indexed, record) {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cannot remove %w", cause(err, path))
	}
	return nil
}

// mayHaveName reports whether a namespace of that inode number may have a name.
func (r *Registry) mayHaveName(inode uint64) bool {
	_, err := os.Lstat(r.indexPath(inode))
	return r.unplaced == nil && !errors.Is(err, fs.ErrNotExist)
}

// pruneIndex removes what has lost its record.
func (r *Registry) pruneIndex() error {
	entries, err := os.ReadDir(r.path(indexDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot list %w", cause(err, r.path(indexDir)))
	}
	for _, entry := range entries {
		path := r.path(indexDir, entry.Name())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Nlink > 1 {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("cannot remove %w", cause(err, path))
		}
	}
	return nil
}
