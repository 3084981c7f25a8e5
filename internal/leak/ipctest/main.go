//go:build linux

package ipctest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"

	"github.com/ipcns/ipcns/internal/leak"
	"golang.org/x/sys/unix"
)

// inNew is the role of the process that runs the tests.
const inNew = "run the tests in a new namespace"

// MainInNew runs the tests in another process, in an IPC namespace of its own,
// in which it is root: they, and examples, may do in the namespace of their
// process what they like, and leave nothing. If this user may not make one, they
// are skipped. It also plays roles, see [Play], and then exits. It is for
// TestMain.
func MainInNew(m leak.Runner, roles map[string]func() error) {
	roles = maps.Clone(roles)
	if roles == nil {
		roles = map[string]func() error{}
	}
	roles[inNew] = func() error { leak.Main(m); return nil }
	Play(roles)
	leak.Main(elsewhere{})
}

// elsewhere is the tests, run by another process.
type elsewhere struct{}

func (elsewhere) Run() int {
	cmd := Again(inNew, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	isolate(cmd.SysProcAttr, userNamespace())
	// It ends with this process, which may be killed. The signal comes when
	// the thread that has started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	err := cmd.Run()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSPC):
		fmt.Println("skipped: this user may make neither namespaces nor a user namespace:", err)
		return 0
	case errors.As(err, new(*exec.ExitError)) && cmd.ProcessState.Exited():
		return cmd.ProcessState.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "cannot run the tests in a new namespace:", err)
	return 1
}
