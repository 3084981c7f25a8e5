//go:build linux

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/thread"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// A Spec says what a new namespace is like.
type Spec struct {
	Engine                Engine
	ShareMqueue, ShareShm bool // leave the host's /dev/mqueue, /dev/shm
	Limits                []ipc.LimitSetting
	Labels                map[string]string
}

func (s Spec) launched() launch.Namespace {
	return launch.Namespace{Mqueue: !s.ShareMqueue, Shm: !s.ShareShm, Limits: s.Limits}
}

// Sharing returns what stays the host's, as in [Namespace].
func (s Spec) Sharing() []string {
	var share []string
	if s.ShareMqueue {
		share = append(share, "mqueue")
	}
	if s.ShareShm {
		share = append(share, "shm")
	}
	return share
}

// errExists is that a name is taken.
var errExists = errors.New("the name is taken")

// Exists reports whether err is that a name is taken.
func Exists(err error) bool { return errors.Is(err, errExists) }

// Create makes a namespace of a full name. The namespace that it is to be
// inside must be there.
func (r *Registry) Create(name string, spec Spec) error {
	return r.create(name, spec, nil)
}

// CreateEach makes a namespace of each full name, as Create does, in less time
// for each. It returns an error for each, nil if it is there.
func (r *Registry) CreateEach(names []string, spec Spec) (results []error) {
	var from *bare
	if len(names) > 1 {
		from = &bare{}
		defer from.close()
	}
	for _, name := range names {
		results = append(results, r.create(name, spec, from))
	}
	return results
}

func (r *Registry) create(name string, spec Spec, from *bare) error {
	return r.add("create", name, func(making string) (*Namespace, holder, error) {
		ns := &Namespace{Share: spec.Sharing(), Labels: spec.Labels, Engine: spec.Engine}
		if spec.Engine == Userspace {
			return r.serve(ns, spec)
		}
		return r.keep(ns, spec, making, from)
	})
}

// A maker gets what is to become a name something that keeps its namespace:
// mounts in the directory making, or a holder.
type maker func(making string) (*Namespace, holder, error)

// A holder is a process that keeps a namespace. It ends with this process until
// it is released.
type holder interface {
	Release() error
	End()
}

// add gives a namespace a name, which is there when all else is. Verb is what
// that is to the user.
func (r *Registry) add(verb, name string, make maker) error {
	if err := Check(name); err != nil {
		return err
	}
	err := r.change(func() error {
		if err := r.free(name); err != nil {
			return err
		}
		making, err := r.temporary()
		if err != nil {
			return err
		}
		err = r.fill(making, make)
		if err == nil {
			err = cause(renameNew(making, r.path(name)), r.path(name))
		}
		if err != nil {
			return errors.Join(err, r.discard(making))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", verb, name, err)
	}
	return nil
}

// fill makes what keeps the namespace and records it. Not before that may a
// holder outlive this process, since nobody would know of it.
func (r *Registry) fill(making string, make maker) error {
	ns, holder, err := make(making)
	if err != nil {
		return err
	}
	ns.Version, ns.Created = recordVersion, time.Now().UTC().Truncate(time.Second)
	if ns.Boot, err = bootID(); err == nil {
		err = ns.write(making)
	}
	if err == nil {
		err = r.index(ns, making)
	}
	switch {
	case err == nil && holder != nil:
		return holder.Release()
	case holder != nil:
		holder.End()
	case err != nil:
		return errors.Join(err, r.unbindMounts(ns)) // which nothing else knows of
	}
	return err
}

// free refuses a name that is taken, or that is inside what is not there.
func (r *Registry) free(name string) error {
	taken, err := r.find(name)
	if err == nil {
		return r.taken(taken)
	}
	if !Missing(err) {
		return err
	}
	if outer := parent(name); outer != "" {
		if _, err := r.living(outer); err != nil {
			return err
		}
	}
	return nil
}

func (r *Registry) taken(ns *Namespace) error {
	if ns.State == Stale {
		return fmt.Errorf("the name is that of a namespace that has ended (%s); remove it with \"ipcns prune\"", ns.Why)
	}
	return &NameError{ns.Name, func() string {
		by := ""
		if ns.Holder != nil {
			by = fmt.Sprintf(" (process %d keeps it)", ns.Holder.PID)
		}
		return fmt.Sprintf("a namespace of that name exists%s; use \"ipcns exec %s\", or another name", by, r.shown(ns.Name))
	}, errExists}
}

// temporary makes an empty directory for what is to become a name, and the one
// for what has been one: to remove a name takes no room then.
func (r *Registry) temporary() (string, error) {
	for _, kind := range [...]string{makingDir, endingDir} {
		if err := os.Mkdir(r.path(kind), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("cannot write %w", cause(err, r.path(kind)))
		}
	}
	dir, err := os.MkdirTemp(r.path(makingDir), "")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write %w", cause(err, r.path(makingDir)))
	}
	return dir, nil
}

// keep makes a namespace and what keeps it.
func (r *Registry) keep(ns *Namespace, spec Spec, making string, from *bare) (*Namespace, holder, error) {
	if r.mounted {
		return ns, nil, r.keepByMounts(ns, making, from, func(hidden string) (*os.File, *os.File, error) {
			return launch.Make(spec.launched(), hidden)
		})
	}
	return ns.heldBy(launch.Hold(spec.launched(), r.dir))
}

// heldBy records the holder that was started for the namespace, and returns it,
// or ends it if that fails.
func (ns *Namespace) heldBy(holder *launch.Holder, err error) (*Namespace, holder, error) {
	if err != nil {
		return nil, nil, err
	}
	if err := ns.recordHolder(holder.PID); err != nil {
		holder.End()
		return nil, nil, err
	}
	return ns, holder, nil
}

func (ns *Namespace) recordHolder(pid int) error {
	start, err := host.Proc("/proc").StartTime(pid)
	if err != nil {
		return fmt.Errorf("process %d, which was to keep the namespace, has ended at once", pid)
	}
	ns.Holder = &Holder{pid, start}
	opened, err := ipcns.OpenPath(ns.Holder.namespace("ipc"))
	if err != nil {
		return err
	}
	defer opened.Close()
	ns.identifiedBy(opened)
	mounts, err := homeOf(ns.Holder.namespace("mnt"))
	if err != nil {
		return err
	}
	if own, err := homeOf(ownMounts); err != nil || own != mounts {
		ns.Mount = mounts.inode
	}
	return nil
}

func (ns *Namespace) identifiedBy(opened *ipcns.Namespace) {
	ns.Inode = opened.Inode()
	if id, err := opened.ID(); err == nil {
		ns.ID = id
	}
}

// A bare is home without the mounts that keep names, which mount namespaces are
// to do without. Those of several names are copied from it, since a copy of all
// these mounts for each takes long when there are many. A nil one is home.
type bare struct{ mounts *os.File }

// source returns the mount namespace to copy, and what the copy has too many.
func (b *bare) source(home *os.File, hidden string) (*os.File, string, error) {
	if b == nil {
		return home, hidden, nil
	}
	if b.mounts != nil {
		return b.mounts, "", nil
	}
	err := thread.Do(func() (err error) {
		if err := enterMounts(home); err != nil {
			return err
		}
		b.mounts, err = launch.MountsWithout(hidden)
		return err
	})
	return b.mounts, "", err
}

func (b *bare) close() { b.mounts.Close() } // which a nil file refuses

// keepByMounts binds the namespaces that make returns to files. Make is called
// on a thread of its own, at home or where that is bare, and told where mounts
// are that the mount namespace should do without.
func (r *Registry) keepByMounts(ns *Namespace, making string, from *bare, make func(hidden string) (ipc, mounts *os.File, err error)) error {
	if err := r.settle(); err != nil {
		return err
	}
	home, err := os.Open(ownMounts)
	if err != nil {
		return err
	}
	defer home.Close()
	source, hidden, err := from.source(home, r.dir)
	if err != nil {
		return err
	}
	for _, cpu := range append([]int{anyCPU}, allowedCPUs()...) {
		var ipc, mounts *os.File
		err := thread.Do(func() error {
			if err := runOn(cpu); err != nil {
				return err
			}
			if err := enterMounts(source); err != nil {
				return err
			}
			ipc, mounts, err = make(hidden)
			return err
		})
		if err != nil {
			return err
		}
		err = r.bind(ns, making, ipc, mounts)
		if err == nil || !errors.Is(err, errOrder) {
			return err
		}
	}
	return errOrder
}

// errOrder is the kernel's refusal to bind a mount namespace to a file in one
// with a higher number, which would be one that can hold itself. Numbers are
// handed out by CPU, so on some CPUs a new namespace has a lower one.
var errOrder = errors.New("cannot keep a mount namespace: the kernel counts it as older than the one where the names are kept; use --share mqueue,shm to do without")

const anyCPU = -1

func allowedCPUs() []int {
	var set unix.CPUSet
	var cpus []int
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	for cpu := range len(set) * strconv.IntSize {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// runOn keeps the calling thread, which is to end, on a CPU.
func runOn(cpu int) error {
	if cpu == anyCPU {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}

// bind binds the namespaces to files, which it closes.
func (r *Registry) bind(ns *Namespace, making string, ipc, mounts *os.File) error {
	defer ipc.Close()
	opened, err := ipcns.OpenFD(int(ipc.Fd()))
	if err != nil {
		return err
	}
	defer opened.Close()
	ns.identifiedBy(opened)
	if mounts != nil {
		defer mounts.Close()
		h, err := homeBehind(mounts)
		if err != nil {
			return err
		}
		ns.Mount = h.inode
		if err := bindNamespace(mounts, r.mountsOf(ns)); err != nil {
			if errors.Is(err, unix.EINVAL) {
				err = errOrder
			}
			return errors.Join(err, r.unbindMounts(ns))
		}
	}
	if err := bindNamespace(ipc, filepath.Join(making, ipcFile)); err != nil {
		return errors.Join(err, r.unbindMounts(ns))
	}
	return nil
}

// unbindMounts lets go of the mount namespace of a namespace that mounts keep,
// if it has one.
func (r *Registry) unbindMounts(ns *Namespace) error {
	if ns.Mount == 0 {
		return nil
	}
	return unbind(r.mountsOf(ns))
}

// mountsOf returns the file that the mount namespace is bound to.
func (r *Registry) mountsOf(ns *Namespace) string {
	return r.path(mountsDir, strconv.FormatUint(ns.Mount, 10))
}

func bindNamespace(namespace *os.File, path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o444)
	if err != nil {
		return fmt.Errorf("cannot write %w", cause(err, path))
	}
	file.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/thread-self/fd/%d", namespace.Fd()), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot keep a namespace by a mount at %w", cause(err, path))
	}
	return nil
}
