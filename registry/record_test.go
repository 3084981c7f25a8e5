//go:build linux

package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// TestRecords changes what is recorded of a namespace. What is not the same
// any more is never entered.
func TestRecords(t *testing.T) {
	for name, c := range map[string]struct {
		change func(record map[string]any) // nil for a damaged one
		user   string                      // whom it concerns, if not everyone
		state  registry.State
		why    string // DIR is the directory of the name, KEEPER the file of the namespace
	}{
		"nothing is changed":              {change: func(map[string]any) {}, state: registry.Alive},
		"of a newer version":              {change: func(r map[string]any) { r["version"] = 2 }, state: registry.Unknown, why: "its record DIR/.record is of version 2, and this ipcns reads up to 1; use a newer one"},
		"with what is not known yet":      {change: func(r map[string]any) { r["color"] = "red" }, state: registry.Alive},
		"damaged":                         {state: registry.Unknown, why: `cannot read its record: DIR/.record: unexpected end of JSON input; repair that, or remove the file and use "ipcns prune"`},
		"of before the machine started":   {change: func(r map[string]any) { r["boot_id"] = "another" }, state: registry.Stale, why: "the machine has been started anew since"},
		"of another inode":                {change: func(r map[string]any) { r["inode"] = 1 }, state: registry.Stale, why: "KEEPER is another namespace now"},
		"of an inode that was used again": {change: func(r map[string]any) { r["id"] = 1 }, state: registry.Stale, why: "KEEPER is another namespace now"},
		"of a process id that was used again": {change: func(r map[string]any) {
			if holder, ok := r["holder"].(map[string]any); ok {
				holder["start_time"] = 1
			}
		}, user: "ordinary", state: registry.Stale, why: "process PID, which kept it, has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.user != "" && os.Geteuid() == 0 {
				t.Skip("root's names have no holder")
			}
			names := newNames(t)
			ipctest.Must(t, names.Create("web", registry.Spec{}))
			made := find(t, names, "web")
			file := filepath.Join(dir(), "web/.record")
			record, err := os.ReadFile(file)
			ipctest.Must(t, err)
			ipctest.Must(t, os.WriteFile(file, changed(t, record, c.change), 0o644))

			pid, keeper := 0, filepath.Join(dir(), "web/.ipc")
			if made.Holder != nil {
				pid, keeper = made.Holder.PID, fmt.Sprintf("/proc/%d/ns/ipc", made.Holder.PID)
			}
			want := strings.NewReplacer("DIR", filepath.Join(dir(), "web"), "PID", fmt.Sprint(pid), "KEEPER", keeper).Replace(c.why)
			got := find(t, names, "web")
			if got.State != c.state || got.Why != want {
				t.Errorf("%s: %q\nwant %s: %q", got.State, got.Why, c.state, want)
			}
			checkEntry(t, names, got)
			ipctest.Must(t, os.WriteFile(file, record, 0o644))
		})
	}
}

// changed returns the record after a change; without one, its first half.
func changed(t *testing.T, record []byte, change func(map[string]any)) []byte {
	t.Helper()
	if change == nil {
		return record[:len(record)/2]
	}
	var values map[string]any
	decoder := json.NewDecoder(bytes.NewReader(record))
	decoder.UseNumber()
	ipctest.Must(t, decoder.Decode(&values))
	change(values)
	text, err := json.Marshal(values)
	ipctest.Must(t, err)
	return text
}

// checkEntry expects that what is not alive is not entered, and that the name
// is not given to another.
func checkEntry(t *testing.T, names *registry.Registry, ns *registry.Namespace) {
	t.Helper()
	if ns.State == registry.Alive {
		output(t, again(command, "exec", "web", "true"))
		return
	}
	want := map[registry.State]string{
		registry.Stale:   "namespace web has ended: " + ns.Why + `; remove the name with "ipcns prune"`,
		registry.Unknown: "namespace web: " + ns.Why,
	}[ns.State]
	if got := failure(t, ipctest.Again(command, "exec", "web", "true")); got != want {
		t.Errorf("exec: got %s\nwant %s", got, want)
	}
	_, err := names.OpenNamespace("web")
	wantError(t, err, want)
	if err := names.Create("web", registry.Spec{}); err == nil {
		t.Error("the name was given to another")
	}
}

// TestPrune removes the names of what has ended, and keeps what it cannot know,
// and what something alive is inside.
func TestPrune(t *testing.T) {
	names := newNames(t)
	if removed, kept, err := names.Prune(); len(removed)+len(kept) > 0 || err != nil {
		t.Error("before there is any name: ", removed, kept, err)
	}
	for _, name := range []string{"alive", "ended", "outer", "outer/alive", "unknown"} {
		ipctest.Must(t, names.Create(name, registry.Spec{}))
	}
	record := filepath.Join(dir(), "unknown/.record")
	text, err := os.ReadFile(record)
	ipctest.Must(t, err)
	ipctest.Must(t, os.WriteFile(record, []byte(`{"version": 1,`), 0o644))
	unknown := find(t, names, "unknown")
	ended, outer := find(t, names, "ended"), find(t, names, "outer")
	ipctest.Must(t, endKeeper(ended))
	ipctest.Must(t, endKeeper(outer))
	ended, outer = find(t, names, "ended"), find(t, names, "outer")

	removed, kept, err := names.Prune()
	ipctest.Must(t, err)
	if got, want := fmt.Sprint(removed), fmt.Sprint([]string{"ended: " + ended.Why}); got != want {
		t.Errorf("removed %s\n   want %s", got, want)
	}
	if got, want := fmt.Sprint(kept), fmt.Sprint([]string{"outer: " + outer.Why + `, but outer/alive is inside it; "ipcns rm -r outer" removes both`, "unknown: " + unknown.Why}); got != want {
		t.Errorf("kept %s\nwant %s", got, want)
	}
	if got := list(t, names); got != "alive alive\nouter stale\nouter/alive alive\nunknown unknown" {
		t.Error(got)
	}
	_, err = names.Remove("unknown", registry.Removal{})
	wantError(t, err, "cannot remove unknown: "+unknown.Why)
	// It is none the worse for it.
	ipctest.Must(t, os.WriteFile(record, text, 0o644))
	output(t, again(command, "exec", "unknown", "true"))
}

// TestRemoveKeepsWhatItCannotKnow has a damaged record inside.
func TestRemoveKeepsWhatItCannotKnow(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	ipctest.Must(t, names.Create("web/db", registry.Spec{}))
	record := filepath.Join(dir(), "web/db/.record")
	text, err := os.ReadFile(record)
	ipctest.Must(t, err)
	ipctest.Must(t, os.WriteFile(record, nil, 0o644))
	_, err = names.Remove("web", registry.Removal{Recursive: true})
	wantError(t, err, "cannot remove web: web/db: "+find(t, names, "web/db").Why)
	ipctest.Must(t, os.WriteFile(record, text, 0o644))
}

func sleeper() *exec.Cmd {
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	return cmd
}

// elsewhere lets a command run in a mount namespace of its own.
func elsewhere(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
	return cmd
}

// TestNamesAreTheSameInAnotherMountNamespace has one that does not see the
// mounts that keep the namespaces.
func TestNamesAreTheSameInAnotherMountNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's names are kept by no mounts")
	}
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	other := start(t, elsewhere(sleeper()))
	in := func(args ...string) *exec.Cmd {
		cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(other.Process.Pid), "-m", "/proc/self/fd/3"}, args...)...)
		again := again(command)
		cmd.Env, cmd.ExtraFiles = again.Env, again.ExtraFiles
		return cmd
	}
	output(t, in("create", "web/db"))
	if got := output(t, in("list", "")); got != "web alive\nweb/db alive\n" {
		t.Errorf("there: %s", got)
	}
	if got := list(t, names); got != "web alive\nweb/db alive" {
		t.Errorf("here: %s", got)
	}
	output(t, in("exec", "web/db", "true"))
	output(t, in("rm", "web"))
	ipctest.Must(t, leftovers(names, other.Process.Pid))
}

// TestTheHomeIsGone has names that were kept in a mount namespace that has
// ended.
func TestTheHomeIsGone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's names are kept by no mounts")
	}
	names := newNames(t)
	output(t, elsewhere(again(command, "create", "web")))
	web := find(t, names, "web")
	if want := "its mount at /run/ipcns/web/.ipc is gone"; web.State != registry.Stale || web.Why != want {
		t.Errorf("%s: %s, want %s", web.State, web.Why, want)
	}
	wantError(t, names.Create("web", registry.Spec{}), `cannot create web: the name is that of a namespace that has ended (its mount at /run/ipcns/web/.ipc is gone); remove it with "ipcns prune"`)
	_, _, err := names.Prune()
	ipctest.Must(t, err)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	if got := list(t, names); got != "web alive" {
		t.Error(got)
	}
	ipctest.Must(t, leftovers(names))
}

// TestTheHomeCannotBeRead has a file that says nothing.
func TestTheHomeCannotBeRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's names are kept by no mounts")
	}
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	home := filepath.Join(dir(), ".home")
	text, err := os.ReadFile(home)
	ipctest.Must(t, err)
	ipctest.Must(t, os.WriteFile(home, []byte("nonsense"), 0o644))
	_, err = names.List()
	wantError(t, err, `cannot read where the names are kept: /run/ipcns/.home holds "nonsense", which is no mount namespace; remove it if there are no names`)
	ipctest.Must(t, os.WriteFile(home, text, 0o644))
}
