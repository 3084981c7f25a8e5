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
	"strings"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"golang.org/x/sys/unix"
)

// A Removal says how Remove goes about it.
type Removal struct {
	Recursive bool // with what is inside
	Force     bool // though processes are in it
}

// Remove ends the namespace of a full name: it destroys the objects and then
// the namespace, so the memory is free when it returns. One that was adopted
// only loses its name. Notes tell of what is left: processes, and segments
// that somebody has attached.
func (r *Registry) Remove(name string, how Removal) (notes []string, err error) {
	err = r.change(func() error {
		doomed, err := r.doomed(name, how)
		if err != nil {
			return err
		}
		notes, err = r.retire(doomed)
		return err
	})
	if err != nil {
		return notes, fmt.Errorf("cannot remove %s: %w", name, err)
	}
	return notes, nil
}

// retire takes a name, which has to be the first, from its namespace and those
// inside, and ends them.
func (r *Registry) retire(doomed []*Namespace) (notes []string, err error) {
	ending, err := r.temporary(endingDir)
	if err != nil {
		return nil, err
	}
	path := r.path(doomed[0].Name)
	if err := unix.Rename(path, ending); err != nil {
		os.Remove(ending)
		return nil, cause(err, path)
	}
	return r.end(ending, doomed)
}

// doomed returns the namespace and those inside it, unless something keeps
// them from being removed.
func (r *Registry) doomed(name string, how Removal) ([]*Namespace, error) {
	ns, err := r.find(name)
	if err != nil {
		return nil, err
	}
	if ns.State == Unknown {
		return nil, errors.New(ns.Why)
	}
	inside, err := r.below(name)
	if err != nil {
		return nil, err
	}
	if len(inside) > 0 && !how.Recursive {
		return nil, fmt.Errorf("%s inside it; use -r to remove what is inside too", are(namesOf(inside)))
	}
	for _, ns := range inside {
		if ns.State == Unknown {
			return nil, fmt.Errorf("%s: %s", ns.Name, ns.Why)
		}
	}
	doomed := append([]*Namespace{ns}, inside...)
	if how.Force {
		return doomed, nil
	}
	members, err := Members()
	if err != nil {
		return nil, err
	}
	for _, ns := range doomed {
		if in := members.In(ns); len(in) > 0 && !ns.Adopted {
			return nil, fmt.Errorf("%s in %s; end them, or use -f to leave them in a namespace without objects and name", are(Commands(in)), ns.Name)
		}
	}
	return doomed, nil
}

func namesOf(namespaces []*Namespace) []string {
	var names []string
	for _, ns := range namespaces {
		names = append(names, ns.Name)
	}
	return names
}

// are lists things that are somewhere.
func are(things []string) string {
	if len(things) == 1 {
		return things[0] + " is"
	}
	const most = 5
	if len(things) > most {
		things = append(slices.Clone(things[:most-1]), fmt.Sprintf("%d more", len(things)-most+1))
	}
	last := len(things) - 1
	return strings.Join(things[:last], ", ") + " and " + things[last] + " are"
}

// Commands names processes.
func Commands(pids []int) []string {
	var commands []string
	for _, pid := range pids {
		command, _, _ := strings.Cut(host.Proc("/proc").Command(pid), " ")
		commands = append(commands, fmt.Sprintf("process %d (%s)", pid, filepath.Base(command)))
	}
	return commands
}

// end ends namespaces whose directories are below ending, from the inside out.
func (r *Registry) end(ending string, namespaces []*Namespace) (notes []string, err error) {
	outer := namespaces[0].Name
	for _, ns := range slices.Backward(namespaces) {
		dir := filepath.Join(ending, strings.TrimPrefix(ns.Name, outer))
		note, err := r.empty(ns, dir)
		if err != nil {
			return notes, err
		}
		if note != "" {
			notes = append(notes, note)
		}
		if err := r.discard(dir); err != nil {
			return notes, err
		}
	}
	return notes, nil
}

// empty destroys the objects of a namespace that is alive and ours.
func (r *Registry) empty(ns *Namespace, dir string) (note string, err error) {
	if ns.State != Alive || ns.Adopted {
		return "", nil
	}
	opened, err := ns.open(dir)
	if err != nil {
		return "", nil // its holder has ended, and it with that
	}
	defer opened.Close()
	owner, err := r.owner(ns, opened)
	if err != nil {
		return "", err
	}
	defer owner.Close()
	attached, err := launch.Empty(owner, opened.File())
	if err != nil || attached == 0 {
		return "", err
	}
	return attachedNote(ns, attached)
}

// owner opens the user namespace that has to be entered with a namespace; nil
// if none has to.
func (r *Registry) owner(ns *Namespace, opened *ipcns.Namespace) (*os.File, error) {
	if ns.Holder == nil {
		return nil, nil
	}
	return enterable(opened)
}

// enterable opens the user namespace that owns an IPC namespace, unless it is
// the one that the process is in already.
func enterable(opened *ipcns.Namespace) (*os.File, error) {
	owner, err := opened.Owner()
	if err != nil {
		return nil, err
	}
	var own, its unix.Stat_t
	if err := unix.Fstat(int(owner.Fd()), &its); err != nil {
		return nil, err
	}
	if err := unix.Stat("/proc/self/ns/user", &own); err == nil && own.Ino == its.Ino {
		return nil, owner.Close()
	}
	return owner, nil
}

func attachedNote(ns *Namespace, attached int) (string, error) {
	text := "a segment is"
	if attached > 1 {
		text = fmt.Sprintf("%d segments are", attached)
	}
	pids, err := host.Proc("/proc").Attached(ns.Inode)
	if err != nil {
		return "", err
	}
	by := "a process that you may not look at"
	if len(pids) > 0 {
		by = strings.Join(Commands(pids), ", ")
	}
	return fmt.Sprintf("%s: %s still attached by %s, and ends when that lets go of it", ns.Name, text, by), nil
}

// discard lets go of what keeps the namespace in a directory, and removes the
// directory.
func (r *Registry) discard(dir string) error {
	ipc := filepath.Join(dir, ipcFile)
	if err := unbind(ipc); err != nil {
		return err
	}
	ns := r.load(dir, "")
	if ns.Mount != 0 && ns.Holder == nil {
		if err := unbind(r.mountsOf(ns)); err != nil {
			return err
		}
	}
	if ns.Holder != nil {
		if err := ns.Holder.end(); err != nil {
			return err
		}
	}
	for _, file := range [...]string{recordFile + unfinished, recordFile, ""} {
		path := filepath.Join(dir, file)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove %w", cause(err, path))
		}
	}
	return nil
}

// unbind takes the mount from a file, and the file away.
func unbind(path string) error {
	// Only root has mounts.
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && err != unix.EINVAL && err != unix.ENOENT && err != unix.EPERM {
		return fmt.Errorf("cannot unmount %w", cause(err, path))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %w", cause(err, path))
	}
	return nil
}

// end ends the process, if it is still the one that was recorded, and waits
// until it has ended.
func (h *Holder) end() error {
	pidfd, err := unix.PidfdOpen(h.PID, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return h.endFailure(err)
	}
	defer unix.Close(pidfd)
	if h.alive() != nil {
		return nil
	}
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return h.endFailure(err)
	}
	return wait(pidfd, -time.Millisecond)
}

func (h *Holder) endFailure(err error) error {
	return fmt.Errorf("cannot end process %d, which keeps the namespace: %w", h.PID, err)
}

// wait waits until a process has ended, or for so long; for ever if that is
// negative.
func wait(pidfd int, timeout time.Duration) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(timeout.Milliseconds()))
		if err != unix.EINTR {
			return err
		}
	}
}

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
				kept = append(kept, fmt.Sprintf("%s, but %s inside it", text, are(inside)))
				continue
			}
			if _, err := r.retire([]*Namespace{ns}); err != nil {
				return err
			}
			removed = append(removed, text)
		}
		return r.pruneMounts()
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
func (r *Registry) pruneMounts() error {
	if err := os.Remove(r.path(homeFile + unfinished)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %w", cause(err, r.path(homeFile+unfinished)))
	}
	entries, err := os.ReadDir(r.path(mountsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot list %w", cause(err, r.path(mountsDir)))
	}
	names, err := r.below("")
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, ns := range names {
		if ns.State == Unknown && ns.Mount == 0 {
			return nil
		}
		used[strconv.FormatUint(ns.Mount, 10)] = true
	}
	for _, entry := range entries {
		if !used[entry.Name()] {
			if err := unbind(r.path(mountsDir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
