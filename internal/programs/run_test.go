//go:build linux

package programs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/rogpeppe/go-internal/diff"
	"golang.org/x/sys/unix"
)

// patience is how long a program may take, on a machine under load.
const patience = time.Minute

// A trial is a program and what becomes of it.
type trial struct {
	name     string              // what is to be the same on every engine
	needs    []string            // the programs that it takes, by name or path
	module   string              // the module of Perl that it takes
	command  []string            // the program, in a directory with the files of testdata
	ordinary bool                // root runs it as another user
	copies   int                 // how many run at once, each in a namespace: 0 is 1. Their number is the last argument
	print    func(string) string // leaves out what differs from run to run
}

// compare runs the program on every engine. On the first it has to succeed, and
// on the others to do the same.
func (p trial) compare(t *testing.T) {
	t.Parallel()
	p.skip(t)
	want := p.run(t, engines[0])
	if want.status != "0" {
		t.Fatalf("on the %s: %s, and printed\n%s", engines[0].name, want.status, want.output)
	}
	for _, e := range engines[1:] {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			if got := p.run(t, e); got != want {
				t.Errorf("%s, on the %s %s\n%s", got.status, engines[0].name, want.status, difference(want, got, e))
			}
		})
	}
}

func difference(want, got outcome, e engine) []byte {
	return diff.Diff(engines[0].name, []byte(want.output), e.name, []byte(got.output))
}

// skip skips the test where the program cannot run.
func (p trial) skip(t *testing.T) {
	for _, program := range p.needs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	if p.module != "" && exec.Command("perl", "-M"+p.module, "-e", "1").Run() != nil {
		t.Skipf("Perl's %s is not installed", p.module)
	}
	skipWithoutNamespaces(t)
}

// skipWithoutNamespaces skips the test where nothing can be compared with the
// kernel.
func skipWithoutNamespaces(t *testing.T) {
	if why := cannotMakeNamespaces(); why != "" {
		t.Skipf("this user may make no IPC namespace here: %s", why)
	}
}

var cannotMakeNamespaces = sync.OnceValue(func() string {
	command := engines[0].command(nil, []string{"true"})
	output, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err == nil {
		return ""
	}
	return strings.TrimSpace(string(output) + " " + err.Error())
})

// An outcome is what can be seen of a program that has ended.
type outcome struct{ output, status string }

// run runs the program on an engine, or as many as there are to be at once.
func (p trial) run(t *testing.T, e engine) outcome {
	dir := p.directory(t)
	if p.copies == 0 {
		return p.printed(runIn(dir, e.command(nil, p.program())))
	}
	outcomes := make([]outcome, p.copies)
	var running sync.WaitGroup
	for i := range outcomes {
		running.Go(func() {
			outcomes[i] = runIn(dir, e.command(nil, append(p.program(), strconv.Itoa(i+1))))
		})
	}
	running.Wait()
	return p.printed(joined(outcomes))
}

// joined returns what copies of a program have done as if it were one.
func joined(outcomes []outcome) outcome {
	all := outcome{status: "0"}
	for _, o := range outcomes {
		all.output += o.output
		if o.status != "0" {
			all.status = o.status
		}
	}
	return all
}

func (p trial) printed(o outcome) outcome {
	if p.print != nil {
		o.output = p.print(o.output)
	}
	return o
}

func (p trial) program() []string {
	if !p.ordinary || os.Geteuid() != 0 {
		return p.command[:len(p.command):len(p.command)]
	}
	id := strconv.Itoa(ipctest.Nobody)
	return append([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "--"}, p.command...)
}

// directory returns a directory with the files of testdata, which belongs to
// the user who runs the program. Its path is short: it holds sockets.
func (p trial) directory(t *testing.T) string {
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	ipctest.Must(t, os.CopyFS(dir, os.DirFS("testdata")))
	if p.ordinary && os.Geteuid() == 0 {
		ipctest.Must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Chown(path, ipctest.Nobody, ipctest.Nobody))
		}))
	}
	return dir
}

// runIn runs a command in a directory. If it takes too long, it is ended with
// all that it has started in its process group.
func runIn(dir string, command []string) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	return outcome{string(output), status(ctx, err)}
}

// status returns how a command has ended: with its exit status, or the reason
// why there is none.
func status(ctx context.Context, err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "0"
	case ctx.Err() != nil:
		return "no end"
	case !errors.As(err, &exit):
		return err.Error()
	}
	if wait := exit.Sys().(syscall.WaitStatus); wait.Signaled() {
		return unix.SignalName(wait.Signal())
	}
	return strconv.Itoa(exit.ExitCode())
}
