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

// Remove is RemoveAll of one name.
func (r *Registry) Remove(name string, how Removal) (notes []string, err error) {
	notes, failures := r.RemoveAll([]string{name}, how)
	return notes, errors.Join(failures...)
}

// RemoveAll ends the namespaces of full names: it destroys the objects and then the
// namespace, so the memory is free when it returns. One that was adopted only
// loses its name. What cannot be removed is left, with a reason. Notes tell of
// segments that are left, since somebody has attached them.
func (r *Registry) RemoveAll(names []string, how Removal) (notes []string, failures []error) {
	err := r.change(func() error {
		members, err := Members()
		if err != nil {
			return err
		}
		for _, name := range names {
			doomed, err := r.doomed(name, how, members)
			if err == nil {
				var left []string
				left, err = r.retire(doomed)
				notes = append(notes, left...)
			}
			if err != nil {
				failures = append(failures, fmt.Errorf("cannot remove %s: %w", name, err))
			}
		}
		return nil
	})
	if err != nil {
		failures = append(failures, fmt.Errorf("cannot remove %s: %w", strings.Join(names, ", "), err))
	}
	return notes, failures
}

// retire takes a name, which has to be the first, from its namespace and those
// inside, and ends them.
func (r *Registry) retire(doomed []*Namespace) (notes []string, err error) {
	path := r.path(doomed[0].Name)
	ending := r.path(endingDir, strconv.FormatInt(time.Now().UnixNano(), 10))
	if err := renameNew(path, ending); err != nil {
		return nil, cause(err, path)
	}
	return r.end(ending, doomed)
}

// doomed returns the namespace and those inside it, unless something keeps
// them from being removed.
func (r *Registry) doomed(name string, how Removal, members Membership) ([]*Namespace, error) {
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
	for _, ns := range doomed {
		if err := r.endable(ns); err != nil {
			return nil, err
		}
	}
	if how.Force {
		return doomed, nil
	}
	for _, ns := range doomed {
		if ns.Adopted {
			continue
		}
		in, err := staying(ns, members)
		if err != nil {
			return nil, err
		}
		if len(in) > 0 {
			return nil, fmt.Errorf("%s in %s; end what runs there, or use -f to leave it in a namespace without objects and name", are(Commands(in)), ns.Name)
		}
	}
	return doomed, nil
}

// endable refuses a namespace that cannot be ended from where the caller is, or
// by a root without the capability, before anything is done to it.
func (r *Registry) endable(ns *Namespace) error {
	if ns.State == Alive && ns.Holder == nil && !r.mounted {
		return fmt.Errorf("%s is kept by a mount, and it takes CAP_SYS_ADMIN to end that: %w", ns.Name, unix.EPERM)
	}
	if ns.State != Alive || ns.Adopted || ns.Holder == nil || ns.Engine == Userspace {
		return nil
	}
	opened, err := ns.open(r.path(ns.Name))
	if err != nil {
		return fmt.Errorf("%s: %w", ns.Name, err)
	}
	defer opened.Close()
	owner, err := enterable(opened)
	if err != nil {
		return fmt.Errorf("a program in %s has no capabilities to end that; do this outside", ns.Name)
	}
	owner.Close() // which there may be none of
	return nil
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
	if ns.State != Alive || ns.Adopted || ns.Engine == Userspace { // whose server has all of it
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
	if err != nil {
		// The kernel does it when nobody is in it any more, if not at once.
		return fmt.Sprintf("%s was not emptied, so what it holds ends with its last process: %v", ns.Name, err), nil
	}
	if attached == 0 {
		return "", nil
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
	err := unbind(filepath.Join(dir, ipcFile))
	if err != nil {
		return err
	}
	ns := r.load(dir, "")
	if ns.Holder == nil {
		err = r.unbindMounts(ns)
	} else {
		err = ns.Holder.end()
	}
	if err != nil {
		return err
	}
	if err := r.unindex(ns, dir); err != nil {
		return err
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
