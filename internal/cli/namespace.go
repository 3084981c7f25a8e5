//go:build linux

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const referenceHelp = `NS names a namespace: a NAME of yours, self, init (that of process 1),
pid:NUMBER, path:FILE, or ipc:[INODE] as the kernel and "ipcns ls" print it.`

// insideFlag says that this process has been put into the namespace that -n
// names.
const insideFlag = "inside"

// A target is the namespace that a command works on: the flag -n.
type target struct {
	reference string
}

func (t *target) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&t.reference, "namespace", "n", "self", "work on namespace `NS`")
	cmd.RegisterFlagCompletionFunc("namespace", completeNamespace)
}

// do calls f in the target. Where it takes entering a user namespace, which
// a process with threads cannot, the whole command starts again inside.
func (t *target) do(cmd *cobra.Command, f func(ipc.System) error) error {
	inside, err := cmd.Flags().GetBool(insideFlag)
	if err != nil {
		return err
	}
	if t.reference == "self" || inside {
		return f(kernel.System{})
	}
	if _, _, within := server.Within(); within {
		return fmt.Errorf("cannot look into %s: this process is in a namespace that is not the kernel's, and sees no other; do this outside", t.reference)
	}
	if served, err := t.becomeInside(); served {
		return err
	}
	ns, err := open(t.reference)
	if err != nil {
		return err
	}
	defer ns.Close()
	entered, err := survey.Enter(ns, f)
	if entered || !errors.Is(err, unix.EPERM) {
		return err
	}
	owner, ownerErr := ns.Owner()
	if ownerErr != nil {
		return err
	}
	defer owner.Close()
	return launch.Inside(int(owner.Fd()), int(ns.File().Fd()), append([]string{"ipcns", "--" + insideFlag}, os.Args[1:]...), os.Environ())
}

// served returns the namespace of a name or a process, if it has a server.
func (t *target) served() *registry.Namespace {
	if kind, rest, _ := strings.Cut(t.reference, ":"); kind == "pid" {
		pid, err := strconv.Atoi(rest)
		if err != nil {
			return nil // for what is wrong there are words elsewhere
		}
		if holder, ok := server.Of(pid); ok {
			return servedBy(holder)
		}
		return nil
	}
	if !isName(t.reference) {
		return nil
	}
	names, full, err := resolve(t.reference)
	if err != nil {
		return nil
	}
	ns, err := names.Find(full)
	if err != nil || ns.Engine != registry.Userspace {
		return nil
	}
	return ns
}

// servedBy returns the namespace of a server, with what is recorded of it if it
// has a name.
func servedBy(pid int) *registry.Namespace {
	names, err := run.Names().List()
	if err == nil {
		for _, ns := range names {
			if ns.Engine == registry.Userspace && ns.State == registry.Alive && ns.Holder.PID == pid {
				return ns
			}
		}
	}
	return unnamed(pid)
}

// unnamed returns the namespace of a server, which has no name.
func unnamed(pid int) *registry.Namespace {
	return &registry.Namespace{State: registry.Alive, Engine: registry.Userspace, Holder: &registry.Holder{PID: pid}}
}

// becomeInside starts the command again in the namespace of a name, if that has
// a server, which answers it as it answers programs. It is not served otherwise.
func (t *target) becomeInside() (served bool, err error) {
	ns := t.served()
	if ns == nil {
		return false, nil
	}
	return true, ns.Become(launch.Program{Path: "/proc/self/exe", Args: append([]string{"ipcns", "--" + insideFlag}, os.Args[1:]...), Env: os.Environ()})
}

// open opens the namespace of a reference.
func open(reference string) (*ipcns.Namespace, error) {
	kind, rest, _ := strings.Cut(reference, ":")
	switch {
	case reference == "self":
		return ipcns.Current()
	case reference == "init":
		return openInit()
	case kind == "pid":
		pid, err := strconv.Atoi(rest)
		if err != nil || pid <= 0 {
			return nil, wrongUsage("%q is no process; write pid:NUMBER", reference)
		}
		return ipcns.OpenPID(pid)
	case reference == "path:":
		return nil, wrongUsage("%q names no file; write path:FILE", reference)
	case kind == "path":
		return ipcns.OpenPath(rest)
	case kind == "ipc":
		inode, err := strconv.ParseUint(strings.Trim(rest, "[]"), 10, 64)
		if err != nil {
			return nil, wrongUsage("%q is no namespace; write ipc:[INODE]", reference)
		}
		return host.Open(inode)
	case !isName(reference):
		return nil, wrongUsage("no namespace %q; write a name, self, init, pid:NUMBER, path:FILE or ipc:[INODE]", reference)
	}
	names, full, err := resolve(reference)
	if err != nil {
		return nil, err
	}
	return names.OpenNamespace(full)
}

// resolve returns the names of the user, and the full name of one.
func resolve(name string) (names *registry.Registry, full string, err error) {
	if err := registry.Check(name); err != nil {
		return nil, "", wrongUsage("%w", err)
	}
	names = run.Names()
	full, err = names.Resolve(name)
	return names, full, err
}

// displayed returns a full name as the user has to write it.
func displayed(full string) (string, error) {
	current, err := run.Names().Current()
	return registry.Shown(current, full), err
}

// A looked is a namespace that a command looks at: open, and with what is
// recorded of its name, if it has one.
type looked struct {
	*ipcns.Namespace // nil for one that is not the kernel's
	named            *registry.Namespace
}

// Close lets go of the namespace.
func (ns looked) Close() error {
	if ns.Namespace == nil {
		return nil
	}
	return ns.Namespace.Close()
}

// look opens the namespace of a reference.
func look(reference string) (looked, error) {
	if ns := (&target{reference}).served(); ns != nil && ns.State == registry.Alive {
		return looked{nil, ns}, nil
	}
	opened, err := open(reference)
	if err != nil {
		return looked{}, err
	}
	named, err := run.Names().Named(opened)
	if err != nil {
		opened.Close()
		return looked{}, err
	}
	if named == nil {
		named = &registry.Namespace{State: registry.Alive, Inode: opened.Inode()}
	}
	return looked{opened, named}, nil
}

// pids returns the processes in the namespace.
func (ns looked) pids() ([]int, error) {
	return registry.MembersOf(ns.named)
}

// isName reports whether a reference is that of a name.
func isName(reference string) bool {
	return reference != "self" && reference != "init" && !strings.Contains(reference, ":")
}

// openInit opens the namespace of process 1. An ordinary user who is in the
// machine's initial one needs no permission for that process.
func openInit() (*ipcns.Namespace, error) {
	own, err := ipcns.Current()
	if err != nil || own.Initial() {
		return own, err
	}
	own.Close()
	return ipcns.OpenPID(1)
}

// An idMap translates the ids that the process's user namespace shows into
// those of the user namespace that it came from; see user_namespaces(7).
type idMap []struct{ inside, outside, count uint32 }

func readIDMap(path string) (idMap, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var m idMap
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var r struct{ inside, outside, count uint32 }
		if _, err := fmt.Sscan(lines.Text(), &r.inside, &r.outside, &r.count); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		m = append(m, r)
	}
	return m, nil
}

// outside returns an id as the user namespace outside shows it. One that has
// no place here is shown by the kernel as one that nobody has.
func (m idMap) outside(id uint32) uint32 {
	for _, r := range m {
		if id-r.inside < r.count {
			return id - r.inside + r.outside
		}
	}
	return id
}

// users shows users and groups as they are where the command was started.
func users(cmd *cobra.Command) (listing.Names, error) {
	if inside, err := cmd.Flags().GetBool(insideFlag); err != nil || !inside {
		return listing.Names{}, err
	}
	if _, _, within := server.Within(); within {
		return listing.Names{}, nil // in the same user namespace
	}
	uids, err := readIDMap("/proc/self/uid_map")
	if err != nil {
		return listing.Names{}, err
	}
	gids, err := readIDMap("/proc/self/gid_map")
	return listing.Names{UID: uids.outside, GID: gids.outside}, err
}
