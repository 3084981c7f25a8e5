//go:build linux

package registry_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// TestMain runs the tests of root in mounts of their own, with a /run that is
// empty: what is on the machine is not touched.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == launch.FailureCommand {
		_, err := launch.Failure(os.Args[2:])
		fmt.Fprintln(os.Stderr, err)
		os.Exit(launch.StatusFailed)
	}
	roles := map[string]func() error{
		command:   runCommand,
		walk:      walkCommand,
		crowd:     runCrowd,
		crowdling: runCrowdling,
		enterName: becomeInName,
		whoAmI:    printNamespace,
		attach:    attachSegment,
	}
	if os.Geteuid() != 0 {
		ipctest.Play(roles)
		leak.Main(m)
	}
	ipctest.MainInNew(withOwnRun{m}, roles)
}

// withOwnRun runs the tests with an empty /run.
type withOwnRun struct{ tests leak.Runner }

func (w withOwnRun) Run() int {
	if err := emptyRun(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer unix.Unmount("/run", unix.MNT_DETACH)
	return w.tests.Run()
}

// emptyRun mounts an empty /run, over which root's names are not seen.
func emptyRun() error {
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("cannot mount an empty /run: %w", err)
	}
	return nil
}

// newNames returns a registry for the test that is empty, and is so again at
// the end, whatever the test leaves in it.
func newNames(t *testing.T) *registry.Registry {
	t.Helper()
	if os.Geteuid() == 0 {
		ipctest.Must(t, emptyRun())
		t.Cleanup(func() { unix.Unmount("/run", unix.MNT_DETACH) })
	} else {
		needUserNamespace(t)
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	}
	names := registry.Open()
	t.Cleanup(func() { removeAll(t, names) })
	return names
}

func removeAll(t *testing.T, names *registry.Registry) {
	all, err := names.List()
	if err != nil {
		t.Error(err)
	}
	for _, ns := range all {
		_, err := names.Remove(ns.Name, registry.Removal{Recursive: true, Force: true})
		if err != nil && !registry.Missing(err) {
			t.Errorf("cannot clean up: %v", err)
		}
	}
}

// dir is where the names are.
func dir() string {
	if os.Geteuid() == 0 {
		return "/run/ipcns"
	}
	return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "ipcns")
}

func needUserNamespace(t *testing.T) {
	t.Helper()
	out, err := ipctest.AsNobody(exec.Command("unshare", "--user", "true")).CombinedOutput()
	if err != nil {
		t.Skip("an ordinary user may make no user namespace: ", strings.TrimSpace(string(out)))
	}
}

// forEachUser runs a role as each user who this one can be, with names of its
// own.
func forEachUser(t *testing.T, test func(t *testing.T, play func(role string, args ...string) string)) {
	player := func(t *testing.T, prepare func(*exec.Cmd)) func(string, ...string) string {
		return func(role string, args ...string) string {
			cmd := ipctest.Again(role, args...)
			prepare(cmd)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return strings.TrimSpace(string(out))
		}
	}
	t.Run("root", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("this user is not root")
		}
		t.Parallel()
		test(t, player(t, func(cmd *exec.Cmd) { ipctest.Apart(t, cmd) }))
	})
	t.Run("ordinary user", func(t *testing.T) {
		needUserNamespace(t)
		t.Parallel()
		test(t, player(t, func(cmd *exec.Cmd) {
			home, err := os.MkdirTemp("", "registry") // where that user may go, as t.TempDir is not
			ipctest.Must(t, err)
			t.Cleanup(func() { os.RemoveAll(home) })
			if os.Geteuid() == 0 {
				ipctest.Must(t, os.Chown(home, ipctest.Nobody, ipctest.Nobody))
			}
			ipctest.AsNobody(cmd)
			cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+home)
		}))
	})
}

// enterStage readies this process, a role, for names of its own: processes that
// it leaves behind become its children.
func enterStage() (*registry.Registry, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := emptyRun(); err != nil {
			return nil, err
		}
	}
	return registry.Open(), nil
}

// leftovers says what is there that no name needs: files, mounts, processes.
// Known are processes that may be there.
func leftovers(names *registry.Registry, known ...int) error {
	all, err := names.List()
	if err != nil {
		return err
	}
	files, mounts, processes := neededFiles, neededMounts(), map[int]bool{}
	wantFiles, wantMounts := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		wantFiles[file] = true
	}
	for _, mount := range mounts {
		wantMounts[mount] = true
	}
	for _, pid := range known {
		processes[pid] = true
	}
	for _, ns := range all {
		wantFiles[ns.Name], wantFiles[ns.Name+"/.record"], wantFiles[fmt.Sprint(".inodes/", ns.Inode)] = true, true, true
		if ns.Holder != nil {
			processes[ns.Holder.PID] = true
			continue
		}
		bound := []string{ns.Name + "/.ipc"}
		if ns.Mount != 0 {
			bound = append(bound, fmt.Sprint(".mnt/", ns.Mount))
		}
		for _, file := range bound {
			wantFiles[file], wantMounts[filepath.Join(dir(), file)] = true, true
		}
	}
	return errors.Join(onlyFiles(wantFiles), onlyMounts(wantMounts), onlyProcesses(processes))
}

// neededFiles are those that a registry has without any name.
var neededFiles = []string{".", ".lock", ".home", ".making", ".ending", ".inodes", ".mnt"}

func neededMounts() []string { return []string{dir(), filepath.Join(dir(), ".mnt")} }

func onlyFiles(want map[string]bool) error {
	return filepath.WalkDir(dir(), func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		if name, err := filepath.Rel(dir(), path); err != nil || !want[name] {
			return fmt.Errorf("the file %s is left (%v)", path, err)
		}
		return nil
	})
}

// onlyMounts looks at the mounts below the /run that was mounted last: there may be
// others under that, of somebody who uses names on this machine.
func onlyMounts(want map[string]bool) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var below map[string]bool // the mounts on that, and on those
	seen := map[string]bool{}
	var left error
	for line := range strings.Lines(string(text)) {
		const mountID, parentID, mountPoint = 0, 1, 4
		fields := strings.Fields(line)
		id, parent, point := fields[mountID], fields[parentID], fields[mountPoint]
		if point == "/run" {
			below, seen, left = map[string]bool{id: true}, map[string]bool{}, nil
			continue
		}
		if !strings.HasPrefix(point, dir()) || below != nil && !below[parent] {
			continue
		}
		if below != nil {
			below[id] = true
		}
		if !want[point] || seen[point] {
			left = fmt.Errorf("the mount %s is left", point)
		}
		seen[point] = true
	}
	return left
}

// onlyProcesses looks at the children, which also those become that have lost
// their parent. They may need a moment to end.
func onlyProcesses(want map[int]bool) (err error) {
	for deadline := time.Now().Add(ipctest.Hang); time.Now().Before(deadline); time.Sleep(ipctest.Tick) {
		if err = strangeChild(want); err == nil {
			return nil
		}
	}
	return err
}
