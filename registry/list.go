//go:build linux

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/ipcns/ipcns"
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
func (r *Registry) Identify(ns *ipcns.Namespace) (string, error) {
	named, err := r.Named(ns)
	if named == nil {
		return "", err
	}
	return named.Name, nil
}

// Named returns what is recorded of a namespace, nil if it has no name here.
func (r *Registry) Named(ns *ipcns.Namespace) (*Namespace, error) {
	if !r.mayHaveName(ns.Inode()) {
		return nil, nil
	}
	names, err := r.List()
	if err != nil {
		return nil, err
	}
	return identify(names, ns), nil
}

func identify(names []*Namespace, ns *ipcns.Namespace) *Namespace {
	for _, named := range names {
		if named.State == Alive && named.describes(ns) {
			return named
		}
	}
	return nil
}

// Current returns the name of the namespace that the caller is in, "" if it
// has none.
func (r *Registry) Current() (string, error) {
	if ns, ok, err := servedIn(r.List); ok {
		if ns == nil {
			return "", err
		}
		return ns.Name, err
	}
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
