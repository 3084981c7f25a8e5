//go:build linux

package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// The main thread is kept for the main goroutine: it cannot end, so no script
// may move it to another mount namespace. The programs of the scripts, which
// are this one too, do without.
func init() {
	if name := filepath.Base(os.Args[0]); name != "ipcns" && name != "user" {
		runtime.LockOSThread()
	}
}

// mayNameNamespaces reports whether this user may make what ipcns create makes,
// and apart from the names of the machine.
var mayNameNamespaces = sync.OnceValue(func() bool {
	if os.Geteuid() == 0 {
		return exec.Command("unshare", "--ipc", "--mount", "true").Run() == nil
	}
	return userNamespaces()
})

// setupNames gives a script names of its own: as root in a /run that nobody
// else sees, and as an ordinary user, whom the program user becomes as well, in
// an XDG_RUNTIME_DIR below $WORK. $NAMES is where they are. A script that leaves what keeps a namespace
// fails.
func setupNames(env *testscript.Env) error {
	dir := filepath.Join(env.WorkDir, ".run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	env.Setenv("XDG_RUNTIME_DIR", dir)
	env.Setenv("NAMES", filepath.Join(dir, "ipcns"))
	if os.Geteuid() == 0 {
		env.Setenv("NAMES", "/run/ipcns")
	}
	env.Defer(func() {
		if left := endNames(env.WorkDir); len(left) > 0 {
			env.T().Fatal("the script has left " + strings.Join(left, ", and "))
		}
	})
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chown(dir, nobody, nogroup); err != nil || !mayNameNamespaces() {
		return err
	}
	return setupRun(env)
}

// setupRun gives the calling thread a /run of its own, in a mount namespace of
// its own. All programs of the script are started by this goroutine, and so by
// this thread, which ends with it.
func setupRun(env *testscript.Env) error {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		return errors.New("the main thread runs a script")
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount on /run: %w", err)
	}
	// A kernel that does not open a mount namespace by its number shows it by
	// a process that is in it, of which a machine has many.
	inhabitant := exec.Command("sleep", "infinity")
	if err := inhabitant.Start(); err != nil {
		return err
	}
	env.Defer(func() {
		inhabitant.Process.Kill() // which fails only if it has ended
		inhabitant.Wait()
	})
	return nil
}

// endNames ends what keeps namespaces that the script in a directory has made,
// and returns what it was.
func endNames(work string) (left []string) {
	for _, pid := range holders(work) {
		left = append(left, fmt.Sprintf("process %d, which keeps a namespace", pid))
		unix.Kill(pid, unix.SIGKILL) // which fails only if it has ended
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return append(left, err.Error())
	}
	for line := range strings.Lines(string(mounts)) {
		// Those of the thread's mount namespace end with that; see
		// proc_pid_mountinfo(5).
		if fields := strings.Fields(line); strings.HasPrefix(fields[4], "/run/") && strings.Contains(line, " - nsfs ") {
			left = append(left, "a mount at "+fields[4])
		}
	}
	return left
}

// holders returns the processes that keep the namespaces of a script: they
// have its environment.
func holders(work string) (pids []int) {
	names, _ := filepath.Glob("/proc/[1-9]*/comm")
	for _, name := range names {
		if comm, _ := os.ReadFile(name); string(comm) != "ipcns-holder\n" {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "environ"))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && strings.Contains("\x00"+string(environ), "\x00WORK="+work+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}
