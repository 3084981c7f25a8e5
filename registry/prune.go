//go:build linux

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"golang.org/x/sys/unix"
)

// Prune removes the names whose namespaces have ended, and what commands that
// were killed have left. Removed tells of each, and kept of what it left alone.
func (r *Registry) Prune() (removed, kept []string, err error) {
	if there, err := r.exists(); err != nil || !there {
		return nil, nil, err
	}
	err = r.change(func() error {
		if removed, err = r.pruneUnfinished(); err != nil {
			return err
		}
		names, err := r.below("")
		if err != nil {
			return err
		}
		for _, ns := range slices.Backward(names) { // what is inside first
			text := fmt.Sprintf("%s: %s", ns.Name, ns.Why)
			inside, err := r.children(ns.Name)
			switch {
			case err != nil:
				return err
			case ns.State == Alive:
				continue
			case ns.State == Unknown:
				kept = append(kept, text)
				continue
			case len(inside) > 0:
				kept = append(kept, fmt.Sprintf("%s, but %s inside it; \"ipcns rm -r %s\" removes both", text, are(inside), r.shown(ns.Name)))
				continue
			}
			if _, err := r.retire([]*Namespace{ns}); err != nil {
				return err
			}
			removed = append(removed, text)
		}
		holders, err := r.pruneHolders()
		mounts, mountsErr := r.pruneMounts()
		removed = append(append(removed, holders...), mounts...)
		return errors.Join(err, mountsErr, r.pruneIndex())
	})
	slices.Reverse(kept)
	if err != nil {
		return removed, kept, fmt.Errorf("cannot prune: %w", err)
	}
	return removed, kept, nil
}

// pruneUnfinished removes what was to become a name, and what has been one.
func (r *Registry) pruneUnfinished() (removed []string, err error) {
	for kind, what := range map[string]string{makingDir: "half made", endingDir: "half removed"} {
		entries, err := os.ReadDir(r.path(kind))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, fmt.Errorf("cannot list %w", cause(err, r.path(kind)))
		}
		for _, entry := range entries {
			if err := r.finish(filepath.Join(kind, entry.Name())); err != nil {
				return removed, err
			}
			removed = append(removed, "a namespace that a killed command has left "+what)
		}
	}
	return removed, nil
}

// finish removes what a killed command has left at a path in the registry.
func (r *Registry) finish(path string) error {
	inside, err := r.below(path)
	if err != nil {
		return err
	}
	left := append([]*Namespace{r.load(r.path(path), path)}, inside...)
	_, err = r.end(r.path(path), left)
	return err
}

// pruneMounts removes the mount namespaces that no name has, and what was to
// become the record of where the mounts are. Where a name's record cannot be
// read, any mount namespace may be its.
func (r *Registry) pruneMounts() (removed []string, err error) {
	if err := os.Remove(r.path(homeFile + unfinished)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return removed, fmt.Errorf("cannot remove %w", cause(err, r.path(homeFile+unfinished)))
	}
	entries, err := os.ReadDir(r.path(mountsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return removed, nil
	}
	if err != nil {
		return removed, fmt.Errorf("cannot list %w", cause(err, r.path(mountsDir)))
	}
	names, err := r.below("")
	if err != nil {
		return removed, err
	}
	used := map[string]bool{}
	for _, ns := range names {
		if ns.State == Unknown && ns.Mount == 0 {
			return removed, nil
		}
		used[strconv.FormatUint(ns.Mount, 10)] = true
	}
	for _, entry := range entries {
		if !used[entry.Name()] {
			if err := unbind(r.path(mountsDir, entry.Name())); err != nil {
				return removed, err
			}
			removed = append(removed, "the mounts of a namespace whose record is gone")
		}
	}
	return removed, nil
}

// pruneHolders ends the holders of this registry that no name has: somebody has
// removed their records. Where a record cannot be read, any may be its.
func (r *Registry) pruneHolders() (removed []string, err error) {
	names, err := r.below("")
	if err != nil {
		return nil, err
	}
	recorded := map[int]bool{}
	for _, ns := range names {
		if ns.State == Unknown && ns.Holder == nil {
			return nil, nil
		}
		if ns.Holder != nil {
			recorded[ns.Holder.PID] = true
		}
	}
	holders, err := r.holders()
	if err != nil {
		return nil, err
	}
	for _, h := range holders {
		if recorded[h.PID] {
			continue
		}
		if err := h.end(); err != nil {
			return removed, err
		}
		removed = append(removed, fmt.Sprintf("a namespace that process %d has kept, and whose record is gone", h.PID))
	}
	return removed, nil
}

// holders returns the processes that keep, or have kept, namespaces of this
// registry.
func (r *Registry) holders() (holders []*Holder, err error) {
	files, err := filepath.Glob("/proc/[1-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		args, err := os.ReadFile(file)
		if err != nil || string(args) != launch.HolderName+"\x00"+r.dir+"\x00" {
			continue
		}
		var st unix.Stat_t
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || unix.Stat(filepath.Dir(file), &st) != nil || int(st.Uid) != os.Geteuid() {
			continue
		}
		if start, err := host.Proc("/proc").StartTime(pid); err == nil {
			holders = append(holders, &Holder{pid, start})
		}
	}
	return holders, nil
}
