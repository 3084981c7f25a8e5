//go:build linux

package registry_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// TestABrokenRegistry has something else where the registry keeps its files.
// Each command says what is in its way, and works when that is gone.
func TestABrokenRegistry(t *testing.T) {
	create := func(names *registry.Registry) error { return names.Create("new", registry.Spec{}) }
	remove := func(names *registry.Registry) error { _, err := names.Remove("web", registry.Removal{}); return err }
	prune := func(names *registry.Registry) error { _, _, err := names.Prune(); return err }
	list := func(names *registry.Registry) error { _, err := names.List(); return err }
	inner := func(names *registry.Registry) error { _, err := names.Find("web/db"); return err }
	for name, c := range map[string]struct {
		spoil   func(path string) error
		path    string
		command func(*registry.Registry) error
		user    string // whom it concerns, if not everyone
		want    string // DIR is that of the registry
	}{
		"the lock is a directory, create": {beDirectory, ".lock", create, "", "cannot create new: cannot lock the names: DIR/.lock: is a directory"},
		"the lock may not be read":        {beSecret, ".lock", list, "ordinary", "cannot lock the names: DIR/.lock: permission denied"},
		"no place for what is made":       {beFile, ".making", create, "", "cannot create new: cannot write DIR/.making: not a directory"},
		"no place for what is removed":    {beFile, ".ending", remove, "", "cannot remove web: DIR/web: not a directory"},
		"what was made is no directory":   {beFile, ".making", prune, "", "cannot prune: cannot list DIR/.making: not a directory"},
		"the mounts are no directory":     {beFile, ".mnt", prune, "ordinary", "cannot prune: cannot list DIR/.mnt: not a directory"},
		"a name may not be read":          {beSecret, "web", list, "ordinary", "cannot list the names: DIR/web: permission denied"},
		"a name may not be searched":      {beSecret, "web", inner, "ordinary", "cannot look for web/db: DIR/web/db: permission denied"},
		"a place may not be written":      {beReadOnly, ".", create, "ordinary", "cannot create new: DIR/new: permission denied"},
		"a record may not be read":        {beSecret, "web/.record", remove, "ordinary", "cannot remove web: cannot read its record: DIR/web/.record: permission denied"},
		"the place may not be searched":   {beSecret, "..", list, "ordinary", "cannot look at the names in DIR: permission denied"},
		"a name holds a file of somebody": {beFile, "web/stray", remove, "", "cannot remove web: cannot remove DIR/.ending/N: directory not empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.user != "" && os.Geteuid() == 0 {
				t.Skip("root may read any file, and .mnt is a mount point")
			}
			names := newNames(t)
			ipctest.Must(t, names.Create("web", registry.Spec{}))
			path := filepath.Join(dir(), c.path)
			ipctest.Must(t, c.spoil(path))
			err := c.command(names)
			ipctest.Must(t, restore(path))
			if err == nil {
				t.Fatal("no error")
			}
			got := number.ReplaceAllString(strings.ReplaceAll(err.Error(), dir(), "DIR"), "/N$1")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			_, _, err = names.Prune()
			ipctest.Must(t, err)
			ipctest.Must(t, create(names))
		})
	}
}

// number is the name of what has been a name.
var number = regexp.MustCompile(`/\d+(:|/)`)

// restore takes away what was made at a path, or its permissions back. That a
// name holds a file is seen when it has been one.
func restore(path string) error {
	if stray, _ := filepath.Glob(filepath.Join(dir(), ".ending/*/stray")); len(stray) > 0 {
		return os.Remove(stray[0])
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Mode().Perm() == mine {
		return os.RemoveAll(path)
	}
	return os.Chmod(path, 0o700)
}

// mine are the permissions of what a test makes.
const mine = 0o640

// instead removes what is at a path, empty as it is, for something else.
func instead(path string, make func() error) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return errors.Join(make(), os.Chmod(path, mine))
}

func beFile(path string) error {
	return instead(path, func() error { return os.WriteFile(path, nil, mine) })
}

func beDirectory(path string) error {
	return instead(path, func() error { return os.Mkdir(path, mine) })
}

func beSecret(path string) error { return os.Chmod(path, 0) }

func beReadOnly(path string) error { return os.Chmod(path, 0o500) }

// TestAProcessWithTheNumberOfAHolderIsLeftAlone has a record of a process that
// was started at another time.
func TestAProcessWithTheNumberOfAHolderIsLeftAlone(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root's names have no holder")
	}
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	holder := find(t, names, "web").Holder.PID
	file := filepath.Join(dir(), "web/.record")
	record, err := os.ReadFile(file)
	ipctest.Must(t, err)
	ipctest.Must(t, os.WriteFile(file, changed(t, record, func(r map[string]any) {
		r["holder"].(map[string]any)["start_time"] = json.Number("1")
	}), 0o644))
	_, err = names.Remove("web", registry.Removal{})
	ipctest.Must(t, err)
	if err := unix.Kill(holder, 0); err != nil {
		t.Error("the process has been ended: ", err)
	}
	ipctest.Must(t, unix.Kill(holder, unix.SIGKILL))
}
