//go:build linux

package registry

import (
	"fmt"
	"path"
	"strings"

	"github.com/ipcns/ipcns"
)

// The longest name, and the longest part of one, in bytes.
const (
	maxName = 255
	maxPart = 64
)

// Check refuses what is no name, full or not: parts with a slash between, the
// outer namespace first.
func Check(name string) error {
	typed := name
	name = strings.TrimPrefix(name, "/")
	if len(name) > maxName {
		return fmt.Errorf("a name takes up to %d bytes, and this has %d: %q...; use a shorter one", maxName, len(name), name[:20])
	}
	for part := range strings.SplitSeq(name, "/") {
		if err := checkPart(part, typed); err != nil {
			return err
		}
	}
	switch outermost, _, _ := strings.Cut(name, "/"); outermost {
	case "self", "init":
		return fmt.Errorf("%q is no name for a namespace, since it means one already; use another", outermost)
	}
	return nil
}

func checkPart(part, name string) error {
	switch {
	case part == "":
		return fmt.Errorf("%q is no name: a part of it is empty", name)
	case len(part) > maxPart:
		return fmt.Errorf("each part of a name takes up to %d bytes, and %q... has %d; use a shorter one", maxPart, part[:20], len(part))
	case !isAlphanumeric(rune(part[0])):
		return fmt.Errorf("%q is no name: each part begins with a letter or a digit", name)
	}
	for _, r := range part {
		if !isAlphanumeric(r) && !strings.ContainsRune("._-", r) {
			return fmt.Errorf("%q is no name: names are made of the letters a to z and A to Z, digits, and . _ -, with / between the parts", name)
		}
	}
	return nil
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// Resolve returns the full name of what the user calls name: one that begins
// with a slash is full, and any other is that of a namespace inside the one
// that the caller is in, if that has a name.
func (r *Registry) Resolve(name string) (string, error) {
	if err := Check(name); err != nil {
		return "", err
	}
	if full, absolute := strings.CutPrefix(name, "/"); absolute {
		return full, nil
	}
	current, err := r.Current()
	if err != nil {
		return "", err
	}
	return path.Join(current, name), nil
}

// Shown returns a full name as a user has to write it who is in the namespace
// of the full name current, or in none that has a name.
func Shown(current, full string) string {
	switch {
	case current == "":
		return full
	case Inside(full, current):
		return strings.TrimPrefix(full, current+"/")
	}
	return "/" + full
}

// shown is [Shown] for the caller, who may have the lock.
func (r *Registry) shown(full string) string {
	if ns, ok, _ := servedIn(func() ([]*Namespace, error) { return r.below("") }); ok {
		if ns == nil {
			return "/" + full
		}
		return Shown(ns.Name, full)
	}
	own, err := ipcns.Current()
	if err != nil {
		return full
	}
	defer own.Close()
	if own.Initial() || !r.mayHaveName(own.Inode()) {
		return full
	}
	err = r.atHome(func() error {
		names, err := r.below("")
		if current := identify(names, own); current != nil {
			full = Shown(current.Name, full)
		}
		return err
	})
	if err != nil {
		return "/" + full // which is what it is called everywhere
	}
	return full
}

// parent returns the name of the namespace that one is inside, "" for none.
func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// Inside reports whether a namespace is inside another, at any depth.
func Inside(name, outer string) bool { return strings.HasPrefix(name, outer+"/") }
