//go:build linux

package registry_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// again is a role of this binary, which is behind descriptor 3 too: for what is
// in another user namespace there is no other way to it. See within.
func again(role string, args ...string) *exec.Cmd {
	cmd := ipctest.Again(role, args...)
	if self, err := os.Open("/proc/self/exe"); err == nil {
		cmd.ExtraFiles = []*os.File{self}
	}
	return cmd
}

// within is a role of this binary as the program of a command that again
// returns.
func within(role string, args ...string) []string {
	env := ipctest.Again(role).Env
	variable := env[slices.IndexFunc(env, func(v string) bool { return strings.HasSuffix(v, "="+role) })]
	return append([]string{"env", variable, "/proc/self/fd/3"}, args...)
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	for _, file := range cmd.ExtraFiles {
		defer file.Close()
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// failure returns what a command that has to fail writes.
func failure(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("%v has not failed", cmd.Args)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// start starts a command for as long as the test takes.
func start(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	ipctest.Must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// sleepIn starts a process in the namespace of a name.
func sleepIn(t *testing.T, names *registry.Registry, name string) *exec.Cmd {
	t.Helper()
	cmd := start(t, ipctest.Again(command, "exec", name, "sleep", "1000"))
	ipctest.Eventually(t, "a process sleeps in "+name, func() bool {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		return string(text) == "sleep\n"
	})
	return cmd
}

func find(t *testing.T, names *registry.Registry, name string) *registry.Namespace {
	t.Helper()
	ns, err := names.Find(name)
	ipctest.Must(t, err)
	return ns
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// kept replaces what says who keeps a namespace, which root has no process for.
func kept(ns *registry.Namespace) string {
	if ns.Holder == nil {
		return ""
	}
	return fmt.Sprintf(" (process %d keeps it)", ns.Holder.PID)
}

func printNames(names *registry.Registry) error {
	all, err := names.List()
	for _, ns := range all {
		fmt.Println(ns.Name, ns.State)
	}
	return err
}

func list(t *testing.T, names *registry.Registry) string {
	t.Helper()
	all, err := names.List()
	ipctest.Must(t, err)
	var lines []string
	for _, ns := range all {
		lines = append(lines, ns.Name+" "+string(ns.State))
	}
	return strings.Join(lines, "\n")
}

func TestSharing(t *testing.T) {
	for _, c := range []struct {
		spec registry.Spec
		want []string
	}{
		{registry.Spec{}, nil},
		{registry.Spec{ShareMqueue: true}, []string{"mqueue"}},
		{registry.Spec{ShareShm: true, ShareMqueue: true}, []string{"mqueue", "shm"}},
	} {
		if got := c.spec.Sharing(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q", c.spec, got)
		}
	}
}

// TestCreate makes names and looks at them in each way that there is.
func TestCreate(t *testing.T) {
	names := newNames(t)
	if list(t, names) != "" {
		t.Error("there are names before any is made")
	}
	limits, err := ipc.ParseLimits("msgmni=7")
	ipctest.Must(t, err)
	ipctest.Must(t, names.Create("web", registry.Spec{Limits: limits, Labels: map[string]string{"tier": "db"}}))
	ipctest.Must(t, names.Create("web/db", registry.Spec{ShareMqueue: true, ShareShm: true}))
	if got := list(t, names); got != "web alive\nweb/db alive" {
		t.Error(got)
	}
	web, db := find(t, names, "web"), find(t, names, "web/db")
	if web.Labels["tier"] != "db" || web.Share != nil || web.Adopted || time.Since(web.Created) > time.Hour || web.Mount == 0 {
		t.Errorf("%+v", web)
	}
	if !slices.Equal(db.Share, []string{"mqueue", "shm"}) || os.Geteuid() == 0 && db.Mount != 0 {
		t.Errorf("%+v", db)
	}
	if got := output(t, again(command, "exec", "web", "cat", "/proc/sys/kernel/msgmni")); got != "7\n" {
		t.Errorf("msgmni %s", got)
	}
	if path := names.Path(web); (path == "") != (web.Holder != nil) {
		t.Errorf("path %q", path)
	}
	opened, err := names.OpenNamespace("web/db")
	ipctest.Must(t, err)
	defer opened.Close()
	if name, err := names.Identify(opened); name != "web/db" || err != nil {
		t.Error(name, err)
	}
	if name, err := names.Current(); name != "" || err != nil {
		t.Errorf("this process is in %q, %v", name, err)
	}
	own, err := ipcns.Current()
	ipctest.Must(t, err)
	defer own.Close()
	if name, err := names.Identify(own); name != "" || err != nil {
		t.Errorf("its namespace is %q, %v", name, err)
	}
}

func TestCreateIsRefused(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	err := names.Create("web", registry.Spec{})
	wantError(t, err, "cannot create web: a namespace of that name exists"+kept(find(t, names, "web"))+`; use "ipcns exec web", or another name`)
	if !registry.Exists(err) || registry.Missing(err) {
		t.Error("it is not that the name is taken")
	}
	err = names.Create("no/db", registry.Spec{})
	wantError(t, err, `cannot create no/db: there is no namespace no; see "ipcns ls", or make it with "ipcns create no"`)
	if !registry.Missing(err) {
		t.Error("it is not that a name is missing")
	}
	wantError(t, names.Create("no name", registry.Spec{}), `"no name" is no name: names are made of the letters a to z and A to Z, digits, and . _ -, with / between the parts`)
	limits, err := ipc.ParseLimits("msg_max=99999999")
	ipctest.Must(t, err)
	if err := names.Create("limited", registry.Spec{Limits: limits}); err == nil || !strings.HasPrefix(err.Error(), "cannot create limited: ") {
		t.Errorf("got %v", err)
	}
	if err := leftovers(names); err != nil && os.Geteuid() == 0 {
		t.Error(err)
	}
}

// TestExec runs programs in a namespace, which tell where and who they are.
func TestExec(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	web := find(t, names, "web")
	inode := fmt.Sprintf("ipc:[%d]\n", web.Inode)
	if got := output(t, again(command, "exec", "web", "readlink", "/proc/self/ns/ipc")); got != inode {
		t.Errorf("it is in %s, want %s", got, inode)
	}
	if got, want := output(t, again(command, "exec", "web", "id", "-u")), fmt.Sprintln(os.Geteuid()); got != want {
		t.Errorf("user %s, want %s", got, want)
	}
	if got := output(t, again(command, "exec as root", "web", "id", "-u")); got != "0\n" {
		t.Errorf("user %s, want root", got)
	}
	// Who is inside may not be able to enter anything, and need not.
	if got := output(t, again(command, append([]string{"exec", "web"}, within(command, "exec", "/web", "readlink", "/proc/self/ns/ipc")...)...)); got != inode {
		t.Errorf("it is in %s, want %s", got, inode)
	}
	if got := output(t, again(command, "run", "new", "readlink", "/proc/self/ns/ipc")); got != fmt.Sprintf("ipc:[%d]\n", find(t, names, "new").Inode) {
		t.Error(got)
	}
	want := `cannot run true: there is no namespace no; see "ipcns ls", or make it with "ipcns create no"`
	if got := failure(t, ipctest.Again(command, "exec", "no", "true")); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestExecIsRefused runs what cannot be run, or from where there is nothing.
func TestExecIsRefused(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	for name, c := range map[string]struct {
		cmd  *exec.Cmd
		want string
	}{
		"no program":           {ipctest.Again(command, "become", "web", "/no/such"), "cannot run /no/such: the interpreter that it names does not exist"},
		"no working directory": {ipctest.Again(command, "become where there is no directory", "web", t.TempDir()), "cannot tell the working directory: .: no such file or directory; go to one that is there, such as /"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := failure(t, c.cmd); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestANameThatRootHas is looked for by an ordinary user.
func TestANameThatRootHas(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this user is not root")
	}
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	cmd := ipctest.AsNobody(ipctest.Again(command, "exec", "web", "true"))
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR=/nowhere")
	const want = "cannot run true: there is no namespace web of yours, but root has one; use sudo"
	if got := failure(t, cmd); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestThereIsNoPlaceForNames(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root's names have their place")
	}
	for place, want := range map[string]string{
		"":     fmt.Sprintf("cannot create web: there is no place for names, since XDG_RUNTIME_DIR is not set; set it to a directory that is yours alone, such as /run/user/%d", os.Geteuid()),
		"here": `cannot create web: there is no place for names, since XDG_RUNTIME_DIR is "here"; set it to an absolute path`,
	} {
		t.Setenv("XDG_RUNTIME_DIR", place)
		names := registry.Open()
		wantError(t, names.Create("web", registry.Spec{}), want)
		if list(t, names) != "" || names.Unfinished() != 0 {
			t.Error("there are names")
		}
		if _, err := names.Find("web"); err == nil {
			t.Error("a name was found")
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", "/nowhere")
	wantError(t, registry.Open().Create("web", registry.Spec{}), "cannot create web: cannot make a place for names: /nowhere/ipcns: no such file or directory; it takes a directory /nowhere that this user may write")
}

// TestNamesThatOthersMayWriteAreNotTrusted has a directory that is writable
// for the group.
func TestNamesThatOthersMayWriteAreNotTrusted(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, os.Mkdir(dir(), 0o700))
	ipctest.Must(t, os.Chmod(dir(), 0o770))
	want := fmt.Sprintf("cannot trust the names in %s: it is not a directory that only this user (%d) may write; remove it, or set that right", dir(), os.Geteuid())
	_, err := names.List()
	wantError(t, err, want)
	wantError(t, names.Create("web", registry.Spec{}), "cannot create web: "+want)
	_, _, err = names.Prune()
	wantError(t, err, want)
	ipctest.Must(t, os.Remove(dir()))
}

// TestLock has the names locked for longer than a command takes.
func TestLock(t *testing.T) {
	names := newNames(t)
	ipctest.Must(t, names.Create("web", registry.Spec{}))
	waiting := make(chan int, 1)
	names.Waiting = func(pid int) { waiting <- pid }
	list(t, names) // does not wait

	lock, err := os.Open(filepath.Join(dir(), ".lock"))
	ipctest.Must(t, err)
	defer lock.Close()
	ipctest.Must(t, unix.Flock(int(lock.Fd()), unix.LOCK_SH))
	list(t, names) // reads together with others
	ipctest.Must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	listed := ipctest.Begun(func() error { _, err := names.List(); return err })
	if pid := ipctest.Received(t, waiting); pid != os.Getpid() {
		t.Errorf("process %d has the lock, want this one, %d", pid, os.Getpid())
	}
	select {
	case err := <-listed:
		t.Error("it has not waited: ", err)
	default:
	}
	ipctest.Must(t, unix.Flock(int(lock.Fd()), unix.LOCK_UN))
	ipctest.Must(t, ipctest.Received(t, listed))
}
