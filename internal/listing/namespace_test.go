//go:build linux

package listing_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onThread runs do on a thread that ends with it, and never on the leader of
// the thread group, which would stay in whatever namespace do enters.
func onThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onThread(do)
			runtime.UnlockOSThread()
			return
		}
		do()
	}()
	<-done
}

// inNamespace runs do on a thread in an IPC namespace and a mount namespace
// of its own. As do is not on the test's goroutine, it may not end the test.
func inNamespace(t *testing.T, do func() error) {
	t.Helper()
	var refused, err error
	onThread(func() {
		if refused = unix.Unshare(unix.CLONE_NEWIPC | unix.CLONE_NEWNS); refused != nil {
			return
		}
		if err = unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err == nil {
			err = do()
		}
	})
	if errors.Is(refused, unix.EPERM) {
		t.Skip("making an IPC namespace takes CAP_SYS_ADMIN")
	}
	if err := errors.Join(refused, err); err != nil {
		t.Fatal(err)
	}
}

func needIpcs(t *testing.T) {
	if _, err := exec.LookPath("ipcs"); err != nil {
		t.Skip("util-linux's ipcs is not installed")
	}
}

// ipcs returns what ipcs prints in the thread's namespace.
func ipcs(options ...string) ([]byte, error) {
	cmd := exec.Command("ipcs", options...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd.Output()
}

// cover puts a file with that text over another in the thread's mount
// namespace.
func cover(t *testing.T, path, text string) error {
	over := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(over, []byte(text), 0o644); err != nil {
		return err
	}
	return os.NewSyscallError("mount over "+path, unix.Mount(over, path, "", unix.MS_BIND, ""))
}

// coverNames gives names to some user and group ids: long ones, two for one
// id, and one that is commented out.
func coverNames(t *testing.T) error {
	return errors.Join(
		cover(t, "/etc/passwd", "# uids\n#gone:x:54321:1::/:/bin/sh\nroot:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n"+
			"first:x:776:776::/:/bin/sh\nsecond:x:776:776::/:/bin/sh\n"+
			"a-very-long-user-name:x:777:777::/:/bin/sh\nmessagebus:x:778:778::/:/bin/sh\n"),
		cover(t, "/etc/group", "root:x:0:\nwww-data:x:33:\na-very-long-group-name:x:777:www-data,first\n"))
}

// A comparison is a text and what it should be.
type comparison struct {
	name      string
	want, got []byte
}

func (c comparison) check(t *testing.T) {
	t.Helper()
	want, got := strings.Split(string(c.want), "\n"), strings.Split(string(c.got), "\n")
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			t.Fatalf("line %d\nwant %q\n got %q", i+1, want[i], got[i])
		}
	}
	if !bytes.Equal(c.want, c.got) {
		t.Fatalf("%d lines, want %d\nwant %q\n got %q", len(got), len(want), c.want, c.got)
	}
}
