//go:build linux

package host_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

// newProc makes a proc file system from files and their contents. What is
// called ipc or mnt, or is in fd, becomes a symbolic link, which points nowhere as
// those of the kernel seem to; a name that ends in a slash is a directory.
func newProc(t *testing.T, files map[string]string) host.Proc {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		case filepath.Base(name) == "ipc", filepath.Base(name) == "mnt", filepath.Base(filepath.Dir(name)) == "fd":
			err = errors.Join(err, os.Symlink(content, path))
		default:
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return host.Proc(root)
}

// describe has a line for each namespace.
func describe(namespaces []host.Namespace) string {
	var lines strings.Builder
	for _, ns := range namespaces {
		fmt.Fprintln(&lines, ns.Inode, ns.PIDs)
	}
	return lines.String()
}

func TestNamespaces(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no process": {map[string]string{"self/": "", "sysvipc/msg": "", "12x/task/12/ns/ipc": "ipc:[1]"}, ""},
		"one": {map[string]string{
			"1/task/1/ns/ipc": "ipc:[4026531839]",
		}, "4026531839 [1]\n"},
		"several processes in each, by their lowest": {map[string]string{
			"10/task/10/ns/ipc":   "ipc:[5]",
			"9/task/9/ns/ipc":     "ipc:[7]",
			"100/task/100/ns/ipc": "ipc:[7]",
			"20/task/20/ns/ipc":   "ipc:[7]",
			"11/task/11/ns/ipc":   "ipc:[7]",
			"12/task/12/ns/ipc":   "ipc:[7]",
			"2/task/2/ns/ipc":     "ipc:[5]",
			"3/task/3/ns/ipc":     "ipc:[5]",
			"7/task/7/ns/ipc":     "ipc:[5]",
			"30/task/30/ns/ipc":   "ipc:[6]",
		}, "5 [2 3 7 10]\n7 [9 11 12 20 100]\n6 [30]\n"},
		"threads in another than their process": {map[string]string{
			"5/task/5/ns/ipc": "ipc:[20]",
			"5/task/6/ns/ipc": "ipc:[21]",
			"5/task/7/ns/ipc": "ipc:[20]",
			"5/task/8/ns/ipc": "ipc:[10]",
			"9/task/9/ns/ipc": "ipc:[21]",
		}, "10 [5]\n20 [5]\n21 [5 9]\n"},
		"zombies": {map[string]string{
			"1/task/1/ns/ipc": "ipc:[4]",
			"2/task/2/ns/":    "",
			"3/task/3/":       "",
			"4/task/":         "",
			"5/":              "",
		}, "4 [1]\n"},
		"a zombie with a thread that lives": {map[string]string{
			"2/task/2/ns/":    "",
			"2/task/3/ns/ipc": "ipc:[4]",
		}, "4 [2]\n"},
		"a link to something else": {map[string]string{
			"1/task/1/ns/ipc": "mnt:[4]",
			"2/task/2/ns/ipc": "ipc:[]",
			"3/task/3/ns/ipc": "ipc:[x]",
			"4/task/4/ns/ipc": "ipc:[4]",
		}, "4 [4]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			namespaces, unseen, err := newProc(t, c.files).Namespaces()
			if got := describe(namespaces); got != c.want || unseen != 0 || err != nil {
				t.Errorf("%d unseen, error %v\n got %s\nwant %s", unseen, err, got, c.want)
			}
		})
	}
}

func TestNamespacesWithoutProc(t *testing.T) {
	_, _, err := host.Proc(filepath.Join(t.TempDir(), "x")).Namespaces()
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "cannot list processes: ") {
		t.Errorf("error %v", err)
	}
}

const lookAtProc = "look at the namespaces below a directory"

// namespacesForNobody is what an ordinary user sees.
func namespacesForNobody(t *testing.T, proc host.Proc) string {
	t.Helper()
	dir, err := os.Open(string(proc))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	// The way to the directory may be closed to that user.
	cmd := ipctest.AsNobody(ipctest.Again(lookAtProc, "/proc/self/fd/3"))
	cmd.ExtraFiles = []*os.File{dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func printNamespaces() error {
	namespaces, unseen, err := host.Proc(os.Args[1]).Namespaces()
	fmt.Printf("%s%d unseen\n", describe(namespaces), unseen)
	return err
}

// TestUnseenProcessesAreCounted closes directories as the kernel does for
// processes that this user may not trace, and with hidepid.
func TestUnseenProcessesAreCounted(t *testing.T) {
	proc := newProc(t, map[string]string{
		"1/task/1/ns/ipc": "ipc:[4]",
		"1/task/2/ns/ipc": "ipc:[5]",
		"3/task/3/ns/ipc": "ipc:[6]",
		"4/task/4/ns/ipc": "ipc:[7]",
	})
	for _, dir := range []string{"1/task/1/ns", "1/task/2/ns", "3/task"} {
		path := filepath.Join(string(proc), dir)
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(path, 0o755) })
	}
	if got, want := namespacesForNobody(t, proc), "7 [4]\n2 unseen\n"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestProcessesOfRootAreUnseen looks at the machine: this process, at least,
// is root's.
func TestProcessesOfRootAreUnseen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has processes that this user may not look at")
	}
	if got := namespacesForNobody(t, "/proc"); strings.HasSuffix(got, "\n0 unseen\n") {
		t.Errorf("got %s", got)
	}
}

// find returns what the machine has of a namespace.
func find(t *testing.T, inode uint64) (host.Namespace, bool) {
	t.Helper()
	namespaces, _, err := host.Proc("/proc").Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range namespaces {
		if ns.Inode == inode {
			return ns, true
		}
	}
	return host.Namespace{}, false
}

// startIn starts a command of the shell in a namespace. It ends when its
// standard input is closed, at the latest with the test.
func startIn(t *testing.T, ns *ipcns.Namespace, command string) (cmd *exec.Cmd, stdin io.WriteCloser) {
	t.Helper()
	started := ns.Command("sh", "-c", command)
	stdin, err := started.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := started.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		started.Wait()
	})
	return started.Cmd, stdin
}

func TestNamespacesOfThisMachine(t *testing.T) {
	ns := ipctest.New(t)
	expectNotFound(t, ns)
	cmd, stdin := startIn(t, ns, "exec cat")
	ipctest.Eventually(t, "the process that was started is alone in the namespace", func() bool {
		got, found := find(t, ns.Inode())
		return found && slices.Equal(got.PIDs, []int{cmd.Process.Pid})
	})
	ipctest.Do(t, ns, func() error {
		want := []int{cmd.Process.Pid, os.Getpid()}
		slices.Sort(want)
		if got, found := find(t, ns.Inode()); !found || !slices.Equal(got.PIDs, want) {
			t.Errorf("and a thread: found %v %v, want %v", found, got.PIDs, want)
		}
		return nil
	})
	stdin.Close()
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	expectNotFound(t, ns) // as a zombie is in none
}

// expectNotFound waits until the threads that have been in the namespace are
// gone too.
func expectNotFound(t *testing.T, ns *ipcns.Namespace) {
	t.Helper()
	ipctest.Eventually(t, "no process is in "+ns.String(), func() bool {
		_, found := find(t, ns.Inode())
		return !found
	})
}

func TestOpen(t *testing.T) {
	ns := ipctest.New(t)
	expectNotFound(t, ns)
	cmd, stdin := startIn(t, ns, "exec cat")
	opened, err := host.Open(ns.Inode())
	if err != nil {
		t.Fatal(err)
	}
	if opened.Inode() != ns.Inode() {
		t.Errorf("got %s, want %s", opened, ns)
	}
	opened.Close()

	found, _ := find(t, ns.Inode())
	stdin.Close()
	cmd.Wait()
	expectNotFound(t, ns)
	if opened, err = host.Open(ns.Inode()); err != nil {
		t.Errorf("held by a descriptor of this process: %v", err)
	} else {
		opened.Close()
	}
	const initialOfPIDs = 0xEFFFFFFC // the inode number of another kind of namespace
	_, err = host.Open(initialOfPIDs)
	_, foundErr := found.Open()
	for inode, err := range map[uint64]error{initialOfPIDs: err, ns.Inode(): foundErr} {
		if want := fmt.Sprintf("cannot open ipc:[%d]: no such process", inode); !errors.Is(err, unix.ESRCH) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// TestOpenNeedsOneProcess ends the process that is found first.
func TestOpenNeedsOneProcess(t *testing.T) {
	ns := ipctest.New(t)
	cmd, stdin := startIn(t, ns, "exec cat")
	startIn(t, ns, "exec cat")
	found, _ := find(t, ns.Inode())
	stdin.Close()
	cmd.Wait()
	opened, err := found.Open()
	if err != nil {
		t.Fatal(err)
	}
	opened.Close()
}

// TestOpenOfWhatAProcessHasLeft lets a process enter another namespace after
// it was found in the first.
func TestOpenOfWhatAProcessHasLeft(t *testing.T) {
	ns := ipctest.New(t)
	expectNotFound(t, ns)
	cmd, stdin := startIn(t, ns, "read line; exec unshare --ipc cat")
	var found host.Namespace
	ipctest.Eventually(t, "nobody else looks into the namespace", func() bool {
		found, _ = find(t, ns.Inode())
		return slices.Equal(found.PIDs, []int{cmd.Process.Pid})
	})
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	ipctest.Eventually(t, "the process has left the namespace", func() bool {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", cmd.Process.Pid))
		return err == nil && link != ns.String()
	})
	_, err := found.Open()
	if want := "cannot open " + ns.String() + ": no such process in it any more"; !errors.Is(err, unix.ESRCH) || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestCommandIsWhatPsShows(t *testing.T) {
	proc := newProc(t, map[string]string{
		"1/cmdline": "/sbin/init\x00", "1/comm": "init\n",
		"2/cmdline": "a\x00b c\x00\x00d\x00", "2/comm": "a\n",
		"3/cmdline": "a\x00\x00\x00", "3/comm": "a\n",
		"4/cmdline": "postgres: writer", "4/comm": "postgres\n", // it has written over its arguments
		"5/cmdline": "", "5/comm": "kthreadd\n",
		"6/cmdline": "\x00\x00", "6/comm": "nothing\n",
		"7/comm":    "no cmdline\n",
		"8/cmdline": "", "8/comm": "two\nlines\n",
		"9/cmdline": "evil\x1b[2J\n\xff\x00", "9/comm": "evil\n",
		"10/": "",
	})
	for pid, want := range map[int]string{
		1:  "/sbin/init",
		2:  "a b c  d",
		3:  "a",
		4:  "postgres: writer",
		5:  "[kthreadd]",
		6:  "[nothing]",
		7:  "[no cmdline]",
		8:  "[two\nlines]",
		9:  "evil\x1b[2J\n\xff", // to be made harmless where it is printed
		10: "",
		11: "",
	} {
		if got := proc.Command(pid); got != want {
			t.Errorf("process %d: got %q, want %q", pid, got, want)
		}
	}
}
