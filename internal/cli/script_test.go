//go:build linux

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/cli"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// The user and the group that stand for an ordinary user.
const nobody, nogroup = 65534, 65534

func TestMain(m *testing.M) {
	testscript.Main(scripts{m}, map[string]func(){
		"ipcns":               func() { os.Exit(cli.Main(os.Args)) },
		"ipcns-server":        func() { os.Exit(cli.Main(os.Args)) }, // as which the same program runs
		"ipcns-server-start":  func() { os.Exit(cli.Main(os.Args)) },
		"ipcns-server-parent": func() { os.Exit(cli.Main(os.Args)) },
		"user":                becomeUser,
	})
}

// scripts are the tests of this package, with the directory that testscript
// has put the programs in open to every user.
type scripts struct{ tests testscript.TestingM }

func (s scripts) Run() int {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // instead of a second after every program
	program, err := exec.LookPath("ipcns")
	if err == nil {
		err = chmod(0o755, filepath.Dir(program), filepath.Dir(filepath.Dir(program)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return leak.Checked(s.tests).Run()
}

func chmod(mode os.FileMode, dirs ...string) error {
	for _, dir := range dirs {
		if err := os.Chmod(dir, mode); err != nil {
			return err
		}
	}
	return nil
}

// becomeUser is the program user: it becomes the program that its arguments
// name, as an ordinary user. Only root may.
func becomeUser() {
	fail := func(err error) {
		fmt.Fprintf(os.Stderr, "user: %v\n", err)
		os.Exit(125)
	}
	os.Setenv("GOCOVERDIR", os.TempDir()) // that of go test is root's
	if err := syscall.Setgroups(nil); err != nil {
		fail(err)
	}
	if err := syscall.Setgid(nogroup); err != nil {
		fail(err)
	}
	if err := syscall.Setuid(nobody); err != nil {
		fail(err)
	}
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		fail(err)
	}
	fail(syscall.Exec(path, os.Args[1:], os.Environ()))
}

// TestScripts runs the transcripts as the user who runs the tests.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 scriptDir,
		Setup:               setup,
		Condition:           condition,
		Cmds:                commands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(scriptTimeout),
	})
}

const (
	scriptDir     = "testdata/script"
	scriptTimeout = 2 * time.Minute // far more than they take, for machines under load
)

// TestScriptsAsUser runs them again as an ordinary user.
func TestScriptsAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user, and the scripts ran as an ordinary one already")
	}
	if output, err := exec.Command("user", "true").CombinedOutput(); err != nil {
		t.Skipf("this root may not become another user: %s", output)
	}
	scripts, err := filepath.Glob(filepath.Join(scriptDir, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	program := programForUser(t)
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(program, "-test.v", "-test.run=^TestScripts$/^"+name+"$")
			cmd.Dir = filepath.Dir(program)
			tmp := filepath.Join(filepath.Dir(program), "tmp")
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "GOCOVERDIR="+tmp, "HOME=/")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nogroup}}
			output, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s%v", output, err)
			}
			if reason := skipReason.FindSubmatch(output); reason != nil {
				t.Skipf("%s", reason[1])
			}
		})
	}
}

// skipReason finds what the command skip of package testscript has told.
var skipReason = regexp.MustCompile(`\n +cmd\.go:\d+: (.*)\n`)

// programForUser copies this test program, and the scripts beside it, to where
// an ordinary user may read them.
func programForUser(t *testing.T) string {
	dir := t.TempDir()
	program := filepath.Join(dir, "cli.test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{
		chmod(0o755, dir, filepath.Dir(dir)),
		os.WriteFile(program, content, 0o755),
		os.CopyFS(filepath.Join(dir, scriptDir), os.DirFS(scriptDir)),
		os.Mkdir(filepath.Join(dir, "tmp"), 0o700),
		os.Chown(filepath.Join(dir, "tmp"), nobody, nogroup),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	return program
}

// setup opens the script's directories to every user, and gives it names of its
// own.
func setup(env *testscript.Env) error {
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("PS1", "$ ")
	program, err := exec.LookPath("ipcns")
	if err != nil {
		return err
	}
	env.Setenv("ipcns", program)
	env.Setenv("PATH", strings.Join(searchable(filepath.SplitList(os.Getenv("PATH"))), ":"))
	env.Values[terminalKey{}] = new(*terminal)
	if err := chmod(0o777, filepath.Dir(env.WorkDir), env.WorkDir, env.Getenv("TMPDIR")); err != nil {
		return err
	}
	return setupNames(env)
}

// searchable returns the directories that this user may search. A program that
// is nowhere is "permission denied" to execvp(3) if one of them is not.
func searchable(dirs []string) []string {
	return slices.DeleteFunc(dirs, func(dir string) bool { return unix.Access(dir, unix.X_OK) == unix.EACCES })
}

// condition tells what this machine and this user can do.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "userns":
		return userNamespaces(), nil
	case "namespaces":
		return mayMakeNamespaces(), nil
	case "names":
		return mayNameNamespaces(), nil
	case "mqueue":
		_, err := os.Stat("/dev/mqueue")
		return err == nil, nil
	case "init":
		_, err := os.Readlink("/proc/1/ns/ipc")
		return err == nil, nil
	}
	if module, ok := strings.CutPrefix(name, "perl:"); ok {
		return exec.Command("perl", "-M"+module, "-e", "1").Run() == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// userNamespaces reports whether an ordinary user may make a user namespace.
var userNamespaces = sync.OnceValue(func() bool {
	probe := []string{"unshare", "--user", "--map-root-user", "--ipc", "--mount", "true"}
	if os.Geteuid() == 0 {
		probe = append([]string{"user"}, probe...)
	}
	return exec.Command(probe[0], probe[1:]...).Run() == nil
})

// mayMakeNamespaces reports whether this user may make what ipcns run makes.
var mayMakeNamespaces = sync.OnceValue(func() bool {
	return exec.Command("unshare", "--ipc", "--mount", "true").Run() == nil || userNamespaces()
})
