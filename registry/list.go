//go:build linux

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns"
	"golang.org/x/sys/unix"
)

// List returns the names in order, each before those inside it. Whoever has no
// place for names has none.
func (r *Registry) List() (names []*Namespace, err error) {
	if r.unplaced != nil {
		return nil, nil
	}
	err = r.read(func(*os.File) error {
		names, err = r.below("")
		return err
	})
	return names, err
}

// below returns the names inside a namespace, at any depth.
func (r *Registry) below(name string) ([]*Namespace, error) {
	children, err := r.children(name)
	if err != nil {
		return nil, err
	}
	var all []*Namespace
	for _, child := range children {
		below, err := r.below(child)
		if err != nil {
			return nil, err
		}
		all = append(append(all, r.load(r.path(child), child)), below...)
	}
	return all, nil
}

// children returns the names of the namespaces inside one.
func (r *Registry) children(name string) ([]string, error) {
	if r.isLeaf(r.path(name)) {
		return nil, nil
	}
	entries, err := os.ReadDir(r.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the names: %w", cause(err, r.path(name)))
	}
	var children []string
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			children = append(children, path.Join(name, entry.Name()))
		}
	}
	return children, nil
}

// isLeaf reports whether a directory certainly has no other inside. Where names
// usually are, on tmpfs, a directory has two links of its own and one from each
// inside it. Most have none, and this is faster than a list.
func (r *Registry) isLeaf(dir string) bool {
	var st unix.Stat_t
	return r.onTmpfs && unix.Stat(dir, &st) == nil && st.Nlink == 2
}

// Find returns what is recorded of a name, which is full.
func (r *Registry) Find(name string) (ns *Namespace, err error) {
	err = r.read(func(*os.File) error {
		ns, err = r.find(name)
		return err
	})
	return ns, err
}

// OpenNamespace opens the namespace of a full name.
func (r *Registry) OpenNamespace(name string) (opened *ipcns.Namespace, err error) {
	err = r.read(func(*os.File) error {
		ns, err := r.living(name)
		if err != nil {
			return err
		}
		opened, err = ns.open(r.path(name))
		return err
	})
	return opened, err
}

// Identify returns the name of a namespace, "" if it has none here.
func (r *Registry) Identify(ns *ipcns.Namespace) (name string, err error) {
	if r.unplaced != nil {
		return "", nil
	}
	err = r.read(func(*os.File) error {
		name, err = r.identify("", ns)
		return err
	})
	return name, err
}

// identify looks for the name of a namespace inside outer, at any depth.
func (r *Registry) identify(outer string, ns *ipcns.Namespace) (string, error) {
	children, err := r.children(outer)
	if err != nil {
		return "", err
	}
	for _, child := range children {
		if dir := r.path(child); mayKeep(dir, ns.Inode()) {
			if named := r.load(dir, child); named.State == Alive && named.describes(ns) {
				return child, nil
			}
		}
		if name, err := r.identify(child, ns); name != "" || err != nil {
			return name, err
		}
	}
	return "", nil
}

// mayKeep reports whether the directory of a name could be that of a namespace,
// for less than it takes to know.
func mayKeep(dir string, inode uint64) bool {
	var st unix.Stat_t
	if unix.Stat(filepath.Join(dir, ipcFile), &st) == nil {
		return st.Ino == inode
	}
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	return err == nil && strings.Contains(string(text), strconv.FormatUint(inode, 10))
}

// Current returns the name of the namespace that the caller is in, "" if it
// has none.
func (r *Registry) Current() (string, error) {
	own, err := ipcns.Current()
	if err != nil {
		return "", err
	}
	defer own.Close()
	if own.Initial() {
		return "", nil
	}
	return r.Identify(own)
}

// Unfinished returns how many names commands that were killed have left half
// made or half removed. Prune removes them.
func (r *Registry) Unfinished() int {
	count := 0
	for _, dir := range [...]string{makingDir, endingDir} {
		if entries, err := os.ReadDir(r.path(dir)); err == nil && r.unplaced == nil {
			count += len(entries)
		}
	}
	return count
}
