//go:build linux

package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"golang.org/x/sys/unix"
)

// recordVersion is the version of the records that this code writes, and the
// latest that it reads.
const recordVersion = 1

// A Namespace is what is recorded of a name.
type Namespace struct {
	Name string `json:"-"` // full, without a slash before it
	// State is whether the namespace is still there.
	State State `json:"-"`
	// Why it is not there, or cannot be known to be.
	Why string `json:"-"`

	Version int       `json:"version"`
	Engine  Engine    `json:"engine,omitempty"` // that of the kernel, if empty
	Inode   uint64    `json:"inode"`            // as in ipc:[4026532177]
	ID      uint64    `json:"id,omitempty"`     // 0 if the kernel does not tell
	Boot    string    `json:"boot_id"`
	Mount   uint64    `json:"mount_namespace,omitempty"` // its inode, if Share leaves something to the namespace
	Holder  *Holder   `json:"holder,omitempty"`          // nil if mounts keep the namespace
	Created time.Time `json:"created"`

	Share   []string          `json:"share,omitempty"` // what is the host's: mqueue, shm
	Labels  map[string]string `json:"labels,omitempty"`
	Adopted bool              `json:"adopted,omitempty"` // it was there before the name
}

// An Engine is who implements a namespace.
type Engine string

// The engines. Userspace is a server of ours, which the holder is.
const (
	Kernel    Engine = ""
	Userspace Engine = "userspace"
)

// A State is what became of a namespace.
type State string

// The states of a name.
const (
	Alive   State = "alive"
	Stale   State = "stale"   // the namespace has ended; Prune removes the name
	Unknown State = "unknown" // its record cannot be read
)

// A Holder is the process that keeps a namespace.
type Holder struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start_time"` // in clock ticks since the machine's start; see proc_pid_stat(5)
}

// load reads the record in the directory of a name and looks at what became of
// the namespace.
func (r *Registry) load(dir, name string) *Namespace {
	ns := &Namespace{Name: name}
	file := filepath.Join(dir, recordFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return ns.is(Stale, fmt.Errorf("its record %s is gone", file))
	}
	if err != nil {
		return ns.is(Unknown, fmt.Errorf("cannot read its record: %w", cause(err, file)))
	}
	if err := json.Unmarshal(text, ns); err != nil {
		return ns.is(Unknown, fmt.Errorf("cannot read its record: %s: %w; repair that, or remove the file and use \"ipcns prune\"", file, err))
	}
	if ns.Version > recordVersion {
		return ns.is(Unknown, fmt.Errorf("its record %s is of version %d, and this ipcns reads up to %d; use a newer one", file, ns.Version, recordVersion))
	}
	if ns.Engine == Userspace {
		if err := ns.served(); err != nil {
			return ns.is(Stale, err)
		}
		return ns.is(Alive, nil)
	}
	opened, err := ns.open(dir)
	if errors.Is(err, unix.EACCES) && ns.Holder != nil {
		return ns.is(Alive, nil) // its user namespace is not below the caller's
	}
	if err != nil {
		return ns.is(Stale, err)
	}
	opened.Close()
	return ns.is(Alive, nil)
}

func (ns *Namespace) is(state State, why error) *Namespace {
	ns.State = state
	if why != nil {
		ns.Why = why.Error()
	}
	return ns
}

// errUserspace is what can be said of no namespace of the kernel's.
var errUserspace = errors.New("it is not the kernel's namespace, but one that a server of ipcns implements; use \"ipcns exec\", or a command with -n")

// What may be the matter with a name.
var (
	errMissing = errors.New("no such name")
	errEnded   = errors.New("the namespace has ended")
)

// find returns an existing name's namespace, alive or not.
func (r *Registry) find(name string) (*Namespace, error) {
	if _, err := os.Lstat(r.path(name)); errors.Is(err, fs.ErrNotExist) {
		return nil, &NameError{name, func() string { return r.missing(name) }, errMissing}
	} else if err != nil {
		return nil, fmt.Errorf("cannot look for %s: %w", name, cause(err, r.path(name)))
	}
	return r.load(r.path(name), name), nil
}

// A NameError says what is the matter with a name.
type NameError struct {
	Name string
	say  func() string // what is to be done takes a look at other names
	err  error
}

func (e *NameError) Error() string { return e.say() }

func (e *NameError) Unwrap() error { return e.err }

// Missing reports whether err is that there is no such name.
func Missing(err error) bool { return errors.Is(err, errMissing) }

// Ended reports whether err is that the namespace of a name has ended.
func Ended(err error) bool { return errors.Is(err, errEnded) }

func (r *Registry) missing(name string) string {
	if r.dir != rootDir {
		if _, err := os.Lstat(filepath.Join(rootDir, name)); err == nil {
			return fmt.Sprintf("there is no namespace %s of yours, but root has one; use sudo", name)
		}
	}
	return fmt.Sprintf("there is no namespace %s; see \"ipcns ls\", or make it with \"ipcns create %s\"", name, r.shown(name))
}

// living returns an existing name's namespace, and refuses one that has ended.
func (r *Registry) living(name string) (*Namespace, error) {
	ns, err := r.find(name)
	if err != nil {
		return nil, err
	}
	switch ns.State {
	case Stale:
		return nil, &NameError{name, func() string {
			return fmt.Sprintf("namespace %s has ended: %s; remove the name with \"ipcns prune\"", name, ns.Why)
		}, errEnded}
	case Unknown:
		return nil, fmt.Errorf("namespace %s: %s", name, ns.Why)
	}
	return ns, nil
}

// open opens what keeps the namespace, and checks that it is the one that was
// recorded: a number may have been used again.
func (ns *Namespace) open(dir string) (*ipcns.Namespace, error) {
	if ns.Engine == Userspace {
		return nil, errUserspace
	}
	path := filepath.Join(dir, ipcFile)
	if ns.Holder != nil {
		if err := ns.Holder.alive(); err != nil {
			return nil, err
		}
		path = ns.Holder.namespace("ipc")
	}
	if boot, err := bootID(); err == nil && boot != ns.Boot {
		return nil, errors.New("the machine has been started anew since")
	}
	opened, err := ipcns.OpenPath(path)
	if ns.Holder == nil && errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("its mount at %s is gone", path)
	}
	if ns.Holder != nil && errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("it may not be entered from here, since it was made outside; do this there: %w", unix.EACCES)
	}
	if err != nil {
		return nil, err
	}
	if !ns.describes(opened) {
		opened.Close()
		return nil, fmt.Errorf("%s is another namespace now", path)
	}
	return opened, nil
}

// describes reports whether a namespace is the one that was recorded.
func (ns *Namespace) describes(opened *ipcns.Namespace) bool {
	id, err := opened.ID()
	return opened.Inode() == ns.Inode && (err != nil || ns.ID == 0 || id == ns.ID)
}

func (h *Holder) namespace(kind string) string { return fmt.Sprintf("/proc/%d/ns/%s", h.PID, kind) }

// alive returns nil if the process is the one that was recorded.
func (h *Holder) alive() error {
	start, err := host.Proc("/proc").StartTime(h.PID)
	if err == nil && start == h.Start {
		return nil
	}
	return fmt.Errorf("process %d, which kept it, has ended", h.PID)
}

var bootID = sync.OnceValues(func() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
})

// write writes the record into the directory of what is to become a name.
func (ns *Namespace) write(dir string) error {
	text, err := json.MarshalIndent(ns, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, recordFile), append(text, '\n'))
}

// unfinished ends the name of a file that is being written.
const unfinished = ".new"

// writeFile replaces a file, which is there whole or not at all.
func writeFile(path string, content []byte) error {
	temporary := path + unfinished
	err := os.WriteFile(temporary, content, 0o644)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
		return fmt.Errorf("cannot write %w", cause(err, path))
	}
	return nil
}
