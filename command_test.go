//go:build linux

package ipcns_test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

const ownNamespace = "/proc/self/ns/ipc"

func TestCommandRunsInTheNamespace(t *testing.T) {
	ns, home := ipctest.New(t), home(t)
	var stdout bytes.Buffer
	for name, output := range map[string]func() ([]byte, error){
		"Output":         ns.Command("readlink", ownNamespace).Output,
		"CombinedOutput": ns.Command("readlink", ownNamespace).CombinedOutput,
		"Run": func() ([]byte, error) {
			cmd := ns.Command("readlink", ownNamespace)
			cmd.Stdout = &stdout
			err := cmd.Run()
			return stdout.Bytes(), err
		},
		"Start and Wait": func() ([]byte, error) {
			cmd := ns.Command("readlink", ownNamespace)
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			if err := cmd.Start(); err != nil {
				return nil, err
			}
			err := cmd.Wait()
			return stdout.Bytes(), err
		},
		"a child's child": ns.Command("sh", "-c", "readlink "+ownNamespace).Output,
		"with a context":  ns.CommandContext(t.Context(), "readlink", ownNamespace).Output,
	} {
		if got, err := output(); string(got) != ns.String()+"\n" || err != nil {
			t.Errorf("%s: got %q, error %v, want %s", name, got, err, ns)
		}
	}
	expectHere(t, "the caller", home)
	expectNoGhost(t, home)
}

func TestCommandIsAnExecCmd(t *testing.T) {
	ns := ipctest.New(t)
	cmd := ns.Command("sh", "-c", `cat; echo "$VARIABLE" >&2; exit 3`)
	cmd.Stdin = strings.NewReader("input,")
	cmd.Env = []string{"VARIABLE=value"}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 3 || string(out) != "input,value\n" {
		t.Errorf("got %q, error %v", out, err)
	}
	if _, err := ns.Command("no-such-program").Output(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that does not exist: error %v", err)
	}
	var stderr *exec.ExitError
	if _, err := ns.Command("sh", "-c", "echo complaint >&2; exit 1").Output(); !errors.As(err, &stderr) || string(stderr.Stderr) != "complaint\n" {
		t.Errorf("Output: error %v with %q", err, stderr.Stderr)
	}
}

func TestContextEndsTheCommand(t *testing.T) {
	ns := ipctest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := ns.CommandContext(ctx, "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	err := cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("error %v", err)
	}
	if err := ns.CommandContext(ctx, "true").Run(); !errors.Is(err, context.Canceled) {
		t.Errorf("afterwards: error %v", err)
	}
}

// TestPdeathsigIsForRunAlone starts programs that are to be killed when the
// thread that started them ends. Run holds it until the program has ended.
func TestPdeathsigIsForRunAlone(t *testing.T) {
	ns := ipctest.New(t)
	cmd := ns.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	const want = "cannot start a program in a namespace with Pdeathsig, which would fire at once; use Run"
	if err := cmd.Start(); err == nil || err.Error() != want {
		t.Errorf("Start: error %v", err)
	}
	if cmd.Process != nil {
		t.Error("Start has started the program")
	}

	cmd = ns.Command("sleep", "0.1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Run(); err != nil {
		t.Errorf("Run: %v", err)
	}
	cmd = ns.Command("sh", "-c", "sleep 0.1; echo done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if out, err := cmd.Output(); string(out) != "done\n" || err != nil {
		t.Errorf("Output: got %q, error %v", out, err)
	}
}
