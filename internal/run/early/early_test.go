//go:build linux

package early_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/leak"
	_ "github.com/ipcns/ipcns/internal/run/early"
)

func TestMain(m *testing.M) { leak.Main(m) }

// ipcns is this program, which does what its arguments say before any test
// could begin.
func ipcns(args ...string) (stdout, stderr string, status int) {
	cmd := exec.Command("/proc/self/exe", args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return "", err.Error(), -1
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestTheProgramIsInAnotherNamespace(t *testing.T) {
	own, err := os.Readlink("/proc/self/ns/ipc")
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := ipcns("run", "--share", "mqueue,shm", "--", "readlink", "/proc/self/ns/ipc")
	if strings.HasPrefix(stderr, "ipcns: cannot make") {
		t.Skip(stderr)
	}
	if status != 0 || !strings.HasPrefix(stdout, "ipc:[") || strings.TrimSpace(stdout) == own {
		t.Errorf("status %d, namespace %q where this is %q, %s", status, stdout, own, stderr)
	}
}

func TestAProgramThatDoesNotExist(t *testing.T) {
	stdout, stderr, status := ipcns("run", "--", "no-such\nprogram")
	want := "ipcns: cannot run no-such?program: there is no such program; give its path, or check PATH\n"
	if stdout != "" || stderr != want || status != 127 {
		t.Errorf("status %d, %q, %q, want 127 and %q", status, stdout, stderr, want)
	}
}
