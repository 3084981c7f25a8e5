//go:build linux

package launch_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == launch.FailureCommand {
		_, err := launch.Failure(os.Args[2:])
		tell(err)
	}
	ipctest.Play(map[string]func() error{
		become:     becomeWhatIsOrdered,
		showQueue:  makeAndShowQueue,
		enter:      enterAnother,
		showInside: showWhereItIs,
		find:       findForNobody,
		watchDev:   watchDuringLaunch,
		fill:       fillNamespace,
		empty:      emptyNamespace,
		hold:       holdAndWait,
	})
	leak.Main(m)
}

// tell does what a program does with the error of a launch.
func tell(err error) {
	fmt.Fprintln(os.Stderr, err)
	status := 1
	if e := (*launch.Error)(nil); errors.As(err, &e) {
		status = e.Status
	}
	os.Exit(status)
}

// An order is what a process is to become.
type order struct {
	Prepare     string // what to do first: one of the preparations
	ViaStub     bool   // as a user without CAP_SYS_ADMIN
	Mqueue, Shm bool
	Root        bool
	Limits      string
	Path        string
	Args        []string
	Env         []string
}

// script is an order to run a script of the shell.
func script(text string, args ...string) order {
	return order{Path: "/bin/sh", Args: append([]string{"sh", "-c", text}, args...), Env: os.Environ()}
}

const become = "become what the file behind descriptor 3 says"

// command returns the process that is to become what is ordered.
func (o order) command(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd, close, err := o.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(close)
	return cmd
}

// start returns the process, and what lets go of its order.
func (o order) start() (cmd *exec.Cmd, close func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	go func() {
		defer w.Close()
		gob.NewEncoder(w).Encode(o)
	}()
	cmd = ipctest.Again(become)
	cmd.ExtraFiles = []*os.File{r}
	return cmd, func() { r.Close() }, nil
}

func becomeWhatIsOrdered() error {
	runtime.LockOSThread() // for what a preparation does to the thread
	file := os.NewFile(3, "order")
	var o order
	if err := gob.NewDecoder(file).Decode(&o); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if o.Prepare != "" {
		if err := preparations[o.Prepare](); err != nil {
			return fmt.Errorf("cannot prepare %s: %w", o.Prepare, err)
		}
	}
	ns := launch.Namespace{Mqueue: o.Mqueue, Shm: o.Shm, Root: o.Root}
	if o.Limits != "" {
		var err error
		if ns.Limits, err = ipc.ParseLimits(o.Limits); err != nil {
			return err
		}
	}
	inNew := launch.InNew
	if o.ViaStub {
		inNew = launch.InNewUser
	}
	tell(inNew(ns, launch.Program{Path: o.Path, Args: o.Args, Env: o.Env}))
	return nil
}

// result is what came out of a process.
type result struct {
	pid, status    int
	stdout, stderr string
}

func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{cmd.Process.Pid, cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// expect fails the test if the program failed or wrote something else.
func (r result) expect(t *testing.T, stdout string) {
	t.Helper()
	if r.status != 0 || r.stderr != "" || r.stdout != stdout {
		t.Errorf("status %d, error output %q\n got %s\nwant %s", r.status, r.stderr, quote(r.stdout), quote(stdout))
	}
}

// expectFailure fails the test if the launch did not fail so.
func (r result) expectFailure(t *testing.T, status int, text string) {
	t.Helper()
	if r.status != status || r.stdout != "" || r.stderr != text+"\n" {
		t.Errorf("status %d, want %d, output %q\n got %swant %s", r.status, status, r.stdout, r.stderr, text)
	}
}

// quote leaves out the middle of a long text.
func quote(text string) string {
	const most = 1000
	if len(text) <= 2*most {
		return strconv.Quote(text)
	}
	return fmt.Sprintf("%q ... %q (%d bytes)", text[:most], text[len(text)-most:], len(text))
}

// The users of a launch: root, who needs no user namespace, and another one,
// who does.
type user struct {
	name string
	as   func(*exec.Cmd) *exec.Cmd
	uid  int
}

// forEachUser runs a test as each user who this one can be.
func forEachUser(t *testing.T, test func(t *testing.T, u user)) {
	t.Run("root", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("this user is not root")
		}
		test(t, user{"root", func(cmd *exec.Cmd) *exec.Cmd { return cmd }, 0})
	})
	t.Run("ordinary user", func(t *testing.T) {
		needUserNamespace(t)
		uid := os.Geteuid()
		if uid == 0 {
			uid = ipctest.Nobody
		}
		test(t, user{"ordinary user", ipctest.AsNobody, uid})
	})
}

func needUserNamespace(t *testing.T) {
	t.Helper()
	probe := ipctest.AsNobody(exec.Command("unshare", "--user", "true"))
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skip("an ordinary user may make no user namespace: ", strings.TrimSpace(string(out)))
	}
}
