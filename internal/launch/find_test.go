//go:build linux

package launch_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

// TestFind has what execvp(3) does, with the exit statuses of the shell.
func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"one", "two", "one/dir", "two/both", "sub"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, mode := range map[string]os.FileMode{
		"one/prog": 0o755, "two/prog": 0o755, "two/later": 0o700,
		"one/text": 0o644, "two/text2": 0o644, "one/fixed": 0o644, "two/fixed": 0o755,
		"one/both": 0o755, "here": 0o755, "sub/prog": 0o755,
	} {
		if err := os.WriteFile(file, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("nowhere", "one/dangling"), os.Symlink("../two/later", "one/linked"), os.Symlink("loop", "one/loop")); err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs("two/prog")
	if err != nil {
		t.Fatal(err)
	}
	const (
		missing = ": there is no such program; give its path, or check PATH"
		noFile  = ": there is no such file; check the path"
		refused = ": permission denied; is it executable?"
		isDir   = ": it is a directory"
	)
	for _, c := range []struct {
		name, path string
		want       string // the file, or the end of the error
		status     int
		errno      syscall.Errno
	}{
		{"prog", "one:two", "one/prog", 0, 0},
		{"prog", "two:one", "two/prog", 0, 0},
		{"later", "one:two", "two/later", 0, 0},
		{"later", "one:nowhere:one/prog:two", "two/later", 0, 0},
		{"linked", "one", "one/linked", 0, 0},

		// What cannot be run is passed over.
		{"fixed", "one:two", "two/fixed", 0, 0},
		{"both", "two:one", "one/both", 0, 0},
		{"dangling", "one:two", missing, 127, syscall.ENOENT},

		// A name with a slash is a path, whatever PATH.
		{"two/prog", "one", "two/prog", 0, 0},
		{"./here", "", "./here", 0, 0},
		{abs, "one", abs, 0, 0},

		// An empty directory is the working directory.
		{"here", "one::two", "./here", 0, 0},
		{"here", ":one", "./here", 0, 0},
		{"here", "one:", "./here", 0, 0},
		{"here", "one:two", missing, 127, syscall.ENOENT},
		{"sub", ":one", isDir, 126, syscall.EISDIR},

		{"no", "one:two", missing, 127, syscall.ENOENT},
		{"no/such", "one:two", noFile, 127, syscall.ENOENT},
		{"one/prog/x", "", noFile, 127, syscall.ENOENT},
		{"one/dangling", "", noFile, 127, syscall.ENOENT},
		{"", "one:two", `cannot run ""` + missing, 127, syscall.ENOENT},

		{"text", "one:two", refused, 126, syscall.EACCES},
		{"one/text", "", refused, 126, syscall.EACCES},
		{"dir", "one:two", isDir, 126, syscall.EISDIR},
		{"./one", "", isDir, 126, syscall.EISDIR},
		{"one/loop", "", ": too many levels of symbolic links", 126, syscall.ELOOP},
	} {
		file, err := launch.Find(c.name, c.path)
		if c.status == 0 {
			if file != c.want || err != nil {
				t.Errorf("%q in %q: got %q, error %v, want %s", c.name, c.path, file, err, c.want)
			}
			continue
		}
		e, ok := err.(*launch.Error)
		if !ok || e.Status != c.status || !errors.Is(err, c.errno) || !strings.HasPrefix(e.Error(), "cannot run ") || !strings.HasSuffix(e.Error(), c.want) {
			t.Errorf("%q in %q: got %q, error %v, want status %d and %s", c.name, c.path, file, err, c.status, c.want)
		}
	}
}

const find = "find a program"

// TestFindWhereThisUserMayNotLook closes the directory that the program is in.
func TestFindWhereThisUserMayNotLook(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "prog"), nil, 0o755), os.Chmod(dir, 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	file, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := ipctest.AsNobody(ipctest.Again(find))
	cmd.ExtraFiles = []*os.File{file}
	run(t, cmd).expectFailure(t, launch.StatusNotRunnable, "cannot run /proc/self/fd/3/prog: permission denied")
}

func findForNobody() error {
	// In PATH, such a directory has nothing.
	if file, err := launch.Find("prog", "/proc/self/fd/3"); err == nil || err.(*launch.Error).Status != launch.StatusNotFound {
		return fmt.Errorf("found %q, error %v", file, err)
	}
	file, err := launch.Find("/proc/self/fd/3/prog", "")
	fmt.Print(file)
	tell(err)
	return nil
}
