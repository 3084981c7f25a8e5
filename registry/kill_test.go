//go:build linux

package registry_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// The roles: one makes a command that it is told, the other makes it again and
// again, and has it killed at another call each time.
const (
	command = "make the command of the arguments"
	walk    = "have the command killed at each call"
)

// runCommand does what the command line does with the arguments.
func runCommand() error {
	names, args := registry.Open(), os.Args[2:]
	pid, _ := strconv.Atoi(args[len(args)-1])
	begin()
	switch os.Args[1] {
	case "create":
		return names.Create(args[0], registry.Spec{Labels: map[string]string{"made": "by a test"}})
	case "run":
		return run.Request{Name: args[0], Args: args[1:]}.Become()
	case "exec":
		return run.Request{Name: args[0], Args: args[1:], Exists: true}.Become()
	case "exec as root":
		return run.Request{Name: args[0], Args: args[1:], Exists: true, Root: true}.Become()
	case "become":
		return names.Become(args[0], args[1], args[1:], os.Environ(), false)
	case "become where there is no directory":
		if err := errors.Join(os.Chdir(args[1]), os.Remove(args[1])); err != nil {
			return err
		}
		return names.Become(args[0], "/bin/true", []string{"true"}, os.Environ(), false)
	case "list":
		return printNames(names)
	case "resolve":
		full, err := names.Resolve(args[0])
		fmt.Println(full)
		return err
	case "rm":
		_, err := names.Remove(args[0], registry.Removal{Recursive: true})
		return err
	case "rename":
		return names.Rename(args[0], args[1])
	case "adopt":
		return names.Adopt(args[0], pid)
	case "prune":
		_, _, err := names.Prune()
		return err
	}
	return fmt.Errorf("no command %q", os.Args[1])
}

// What there is before a command: names that hold a queue each. The process is
// one in a namespace without a name.
var namesBefore = []string{"other", "web", "web/db"}

const process = "PROCESS"

// A walked is a command that is killed. When it has been made, each name is the
// namespace of one of namesBefore, or that of none.
type walked struct {
	command string
	ready   func(*stage) error // makes what the command needs besides
	after   map[string]string
	fresh   bool // there is no registry before
}

var walks = map[string]walked{
	"create":              {command: "create new", after: renamed("new", "")},
	"create the first":    {command: "create new", fresh: true, after: map[string]string{"new": ""}},
	"create inside":       {command: "create web/db/new", after: renamed("web/db/new", "")},
	"run with a new name": {command: "run new true", after: renamed("new", "")},
	"run":                 {command: "run web true", after: renamed()},
	"exec":                {command: "exec web true", after: renamed()},
	"rm":                  {command: "rm other", after: renamed("other")},
	"rm -r":               {command: "rm web", after: renamed("web", "web/db")},
	"rename":              {command: "rename web www", after: map[string]string{"other": "other", "www": "web", "www/db": "web/db"}},
	"adopt":               {command: "adopt new " + process, after: renamed("new", "")},
	"prune":               {command: "prune -", ready: (*stage).spoil, after: renamed()},
}

// renamed returns namesBefore without some, or with one that is new, before "".
func renamed(changed ...string) map[string]string {
	after := map[string]string{}
	for _, name := range namesBefore {
		if !slices.Contains(changed, name) {
			after[name] = name
		}
	}
	if n := len(changed); n > 0 && changed[n-1] == "" {
		after[changed[0]] = ""
	}
	return after
}

// TestKilledAtAnyPoint kills each command at each call that changes something:
// before the call and after it, the process that makes it, and the one that has
// started that. The names are then as before or as after the command, every
// command works, and prune leaves nothing but what the names need.
func TestKilledAtAnyPoint(t *testing.T) {
	for name := range walks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachUser(t, func(t *testing.T, play func(string, ...string) string) {
				t.Log(play(walk, name))
			})
		})
	}
}

func walkCommand() error {
	names, err := enterStage()
	if err != nil {
		return err
	}
	s := &stage{Registry: names, walked: walks[os.Args[1]], seen: map[string]bool{}}
	if s.stderr, err = os.CreateTemp("", "stderr"); err != nil {
		return err
	}
	os.Remove(s.stderr.Name())
	if s.process, err = startElsewhere(); err != nil {
		return err
	}
	defer s.process.Kill()
	for _, k := range []killing{{}, {after: true}, {first: true}} {
		if err := s.walk(k); err != nil {
			return err
		}
		if s.fresh {
			continue
		}
		if err := s.checkObjects(namesBefore); err != nil {
			return err
		}
	}
	fmt.Printf("killed at %d points, which left %d states", s.kills, len(s.seen))
	return s.end()
}

// A stage is names of its own, on which a command is killed.
type stage struct {
	*registry.Registry
	walked
	process *os.Process
	stderr  *os.File
	ids     map[string]uint64 // of namesBefore
	kills   int
	seen    map[string]bool // what killed commands have left; see left
}

// walk kills the command at each call, until it is done before.
func (s *stage) walk(k killing) error {
	for k.at = 1; ; k.at++ {
		if err := s.prepare(); err != nil {
			return fmt.Errorf("cannot prepare: %w", err)
		}
		t, err := k.run(s.commandLine())
		if err != nil {
			return err
		}
		if t.call == "" && t.status.ExitStatus() != 0 {
			return fmt.Errorf("the command failed: %s", s.output())
		}
		if err := s.check(t.other); err != nil {
			return fmt.Errorf("killed at %s, call %d (after it: %v; the first process at another's call: %v): %w\n%s", t.call, k.at, k.after, k.first, err, s.output())
		}
		if t.call == "" {
			return nil
		}
		s.kills++
	}
}

func (s *stage) commandLine() *exec.Cmd {
	line := strings.ReplaceAll(s.command, process, strconv.Itoa(s.process.Pid))
	cmd := ipctest.Again(command, strings.Fields(line)...)
	cmd.Stderr = s.stderr
	return cmd
}

// output returns what the last command has written.
func (s *stage) output() []byte {
	s.stderr.Seek(0, io.SeekStart)
	text, _ := io.ReadAll(s.stderr)
	return text
}

// prepare makes the names that are there before, and removes all others.
func (s *stage) prepare() error {
	if err := errors.Join(s.stderr.Truncate(0), s.restore()); err != nil {
		return err
	}
	s.ids = map[string]uint64{}
	if s.fresh {
		return s.anew()
	}
	for _, name := range namesBefore {
		ns, err := s.Find(name)
		if registry.Missing(err) {
			err = s.makeWithQueue(name)
		}
		if err == nil {
			ns, err = s.Find(name)
		}
		if err != nil {
			return err
		}
		s.ids[name] = ns.ID
	}
	if s.ready != nil {
		return s.ready(s)
	}
	return nil
}

// anew takes the registry away, in which there is no name.
func (s *stage) anew() error {
	if os.Geteuid() != 0 {
		return os.RemoveAll(dir())
	}
	if err := unix.Unmount("/run", unix.MNT_DETACH); err != nil {
		return err
	}
	return emptyRun()
}

// before is what the names are before the command.
func (s *stage) before() map[string]string {
	if s.fresh {
		return map[string]string{}
	}
	return renamed()
}

func (s *stage) restore() error {
	all, err := s.List()
	if err != nil {
		return err
	}
	for _, ns := range all {
		switch {
		case ns.Name == "www":
			return s.Rename("www", "web")
		case slices.Contains(namesBefore, ns.Name):
			continue
		}
		if _, err := s.Remove(ns.Name, registry.Removal{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) makeWithQueue(name string) error {
	if err := s.Create(name, registry.Spec{}); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return ipctest.Again(command, "exec", name, "ipcmk", "-Q").Run()
	}
	ns, err := s.OpenNamespace(name)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(func() error { _, err := kernel.System{}.Msgget(1, ipc.Creat); return err })
}

// spoil makes what prune repairs: a name whose keeper has ended, and what has
// been one, with another inside.
func (s *stage) spoil() error {
	for _, name := range []string{"stale", "half-removed", "half-removed/inside"} {
		if err := s.Create(name, registry.Spec{}); err != nil {
			return err
		}
	}
	stale, err := s.Find("stale")
	if err != nil {
		return err
	}
	if err := endKeeper(stale); err != nil {
		return err
	}
	ending := filepath.Join(dir(), ".ending")
	if err := os.MkdirAll(ending, 0o700); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir(), "half-removed"), filepath.Join(ending, "1"))
}

// endKeeper ends what keeps a namespace, behind the registry's back.
func endKeeper(ns *registry.Namespace) error {
	if ns.Holder == nil {
		return unix.Unmount(filepath.Join(dir(), ns.Name, ".ipc"), unix.MNT_DETACH)
	}
	holder, err := unix.PidfdOpen(ns.Holder.PID, 0)
	if err != nil {
		return err
	}
	defer unix.Close(holder)
	if err := unix.PidfdSendSignal(holder, unix.SIGKILL, nil, 0); err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(holder), Events: unix.POLLIN}}, -1)
	return err
}

// check looks at what a killed command has left, and lets prune repair it. The
// name that the command makes has ended if what was killed is its holder.
func (s *stage) check(holder bool) error {
	if err := s.checkNames(holder); err != nil {
		return fmt.Errorf("at once: %w", err)
	}
	if left, err := s.left(); err != nil || !s.seen[left] {
		s.seen[left] = true
		if err := errors.Join(err, s.checkCommands()); err != nil {
			return fmt.Errorf("the next command: %w", err)
		}
	}
	if _, kept, err := s.Prune(); err != nil || len(kept) > 0 {
		return fmt.Errorf("prune kept %q: %w", kept, err)
	}
	if removed, _, err := s.Prune(); err != nil || len(removed) > 0 || s.Unfinished() > 0 {
		return fmt.Errorf("a second prune removed %q, %v", removed, err)
	}
	if err := errors.Join(s.checkNames(false), s.checkObjects(strings.Fields(s.command)), leftovers(s.Registry, s.process.Pid)); err != nil {
		return fmt.Errorf("after prune: %w", err)
	}
	return nil
}

// left tells what a killed command has left: files and mounts, but for the
// numbers in their names.
func (s *stage) left() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	var files []string
	err = errors.Join(err, filepath.WalkDir(dir(), func(path string, _ os.DirEntry, err error) error {
		files = append(files, path)
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}))
	for _, line := range strings.Split(string(mounts), "\n") {
		if i := strings.Index(line, dir()); i >= 0 {
			files = append(files, line[i:])
		}
	}
	return regexp.MustCompile(`\d+`).ReplaceAllString(strings.Join(files, "\n"), "N"), err
}

// checkNames expects the names of before or of after. What prune is to remove
// counts as removed.
func (s *stage) checkNames(newMayHaveEnded bool) error {
	all, err := s.List()
	if err != nil {
		return err
	}
	got, origin := map[string]string{}, map[uint64]string{}
	for name, id := range s.ids {
		origin[id] = name
	}
	for _, ns := range all {
		switch {
		case ns.State == registry.Alive:
			got[ns.Name] = origin[ns.ID]
		case ns.Name == "stale", ns.State == registry.Stale && newMayHaveEnded && origin[ns.ID] == "":
		default:
			return fmt.Errorf("%s is %s: %s", ns.Name, ns.State, ns.Why)
		}
	}
	if !maps.Equal(got, s.before()) && !maps.Equal(got, s.after) {
		return fmt.Errorf("the names are %v, want %v or %v", got, s.before(), s.after)
	}
	return nil
}

// checkCommands makes other commands.
func (s *stage) checkCommands() error {
	if err := s.Create("next", registry.Spec{}); err != nil {
		return err
	}
	if err := s.Rename("next", "other-next"); err != nil {
		return err
	}
	_, err := s.Remove("other-next", registry.Removal{})
	return err
}

// checkObjects expects the queue in each of the names that was there before,
// if it still is.
func (s *stage) checkObjects(names []string) error {
	for _, name := range names {
		ns, err := s.Find(name)
		if registry.Missing(err) || s.ids[name] == 0 {
			continue
		}
		if err != nil {
			return err
		}
		got, err := contents(s.Registry, name)
		if err != nil {
			return err
		}
		if ns.ID == s.ids[name] && got.Queues != 1 {
			return fmt.Errorf("%s has %d queues, want 1", name, got.Queues)
		}
	}
	return nil
}

// contents looks at what a name's namespace holds.
func contents(names *registry.Registry, name string) (launch.Contents, error) {
	ns, err := names.OpenNamespace(name)
	if err != nil {
		return launch.Contents{}, err
	}
	defer ns.Close()
	if os.Geteuid() == 0 {
		return launch.Look(nil, ns.File())
	}
	owner, err := ns.Owner()
	if err != nil {
		return launch.Contents{}, err
	}
	defer owner.Close()
	return launch.Look(owner, ns.File())
}

// end removes everything, and looks whether it is gone.
func (s *stage) end() error {
	all, err := s.List()
	if err != nil {
		return err
	}
	for _, ns := range slices.Backward(all) { // what is inside first
		if _, err := s.Remove(ns.Name, registry.Removal{}); err != nil {
			return err
		}
	}
	return leftovers(s.Registry, s.process.Pid)
}

// startElsewhere starts a process in an IPC namespace and a mount namespace of
// its own, with its own /dev/shm. It ends with the caller.
func startElsewhere() (*os.Process, error) {
	cmd := exec.Command("sh", "-c", "mount -t tmpfs tmpfs /dev/shm && touch /dev/shm/its-own && echo ready && exec sleep 1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWIPC | unix.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, err
	}
	if _, err := r.Read(make([]byte, 1)); err != nil {
		cmd.Wait()
		return nil, fmt.Errorf("cannot start a process in namespaces of its own: %w", err)
	}
	return cmd.Process, nil
}
