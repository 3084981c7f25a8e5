//go:build linux

package cli_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A session is a shell that commands are typed into.
type session struct {
	outer  *exec.Cmd // waits for the shell
	stdin  io.WriteCloser
	status *os.File // where the shell writes exit statuses
	output *os.File // all that has been printed
	read   int      // of it
}

const (
	// firstPID is below the process ids in a session, if this user may say so.
	firstPID = 4200
	// sessionPatience is how long a command may take; one may set up a database.
	sessionPatience = time.Minute
	// restless is how long jobs in the background may take to fall asleep.
	restless = 5 * time.Second
	// pause is how long one must sleep to be asleep.
	pause = 20 * time.Millisecond
)

// apart returns a program that runs with process ids and a /proc of its own, and
// with abstract sockets of its own, so without network. All that it starts ends
// with it. An ordinary user has every capability there until it gives them up.
func apart(program string, args ...string) *exec.Cmd {
	unshare := []string{"--pid", "--fork", "--mount-proc", "--net"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--user", "--map-current-user", "--keep-caps")
	}
	return exec.Command("unshare", slices.Concat(unshare, []string{program}, args)...)
}

// noKernelsList hides how the kernel's structures are laid out, without which its
// list of namespaces is not found: that has those of the whole machine.
const noKernelsList = "mount --bind /dev/null /sys/kernel/btf/vmlinux 2>/dev/null;"

func startSession(t *testing.T) *session {
	t.Helper()
	dir := t.TempDir()
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	status, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := &session{status: status, output: output}
	hide, env := ownRuntime(t)
	s.outer = apart("sh", "-c", fmt.Sprintf("%s || exit; "+noKernelsList+" { echo %d >/proc/sys/kernel/ns_last_pid; } 2>/dev/null; exec setpriv --inh-caps=-all --ambient-caps=-all ipcns run -- sh", hide, firstPID))
	s.outer.Dir = dir
	s.outer.Env = append(os.Environ(), env, "HOME="+dir, "LC_ALL=C", "PATH="+strings.Join(searchable(filepath.SplitList(os.Getenv("PATH"))), ":"))
	s.outer.Stdout, s.outer.Stderr, s.outer.ExtraFiles = output, output, []*os.File{w}
	s.stdin, err = s.outer.StdinPipe()
	if err := errors.Join(err, chmod(0o777, filepath.Dir(dir), dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.outer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	if _, status, err := s.run(":", 0); err != nil || status != 0 {
		t.Fatalf("the shell did not start: exit status %d: %v", status, err)
	}
	return s
}

// ownRuntime gives a session a place of its own for names, of which nothing is
// left when it ends: a command to run before the shell, and a variable of the
// environment. From root it also hides the machine's cgroups, which a container
// would change.
func ownRuntime(t *testing.T) (hide, env string) {
	if os.Geteuid() != 0 {
		return "true", "XDG_RUNTIME_DIR=" + t.TempDir()
	}
	return "mount -t tmpfs -o mode=755 tmpfs /run && { [ ! -d /sys/fs/cgroup ] || mount -t tmpfs tmpfs /sys/fs/cgroup; }", "XDG_RUNTIME_DIR="
}

// end ends the shell, which is process 1 of its namespace, and so everything.
func (s *session) end() {
	for _, shell := range childrenOf(s.outer.Process.Pid) {
		if process, err := os.FindProcess(shell); err == nil {
			process.Kill()
			process.Release()
		}
	}
	s.stdin.Close()
	s.outer.Wait()
	s.status.Close()
	s.output.Close()
}

// run types a command in, and returns the lines printed since the last one and
// the exit status. If that leaves jobs in the background, it waits for as many
// lines as there should be, and then until all that runs has fallen asleep.
func (s *session) run(command string, lines int) (seen []string, status int, err error) {
	s.status.SetReadDeadline(time.Now().Add(sessionPatience))
	fmt.Fprintf(s.stdin, "{ %s\n} </dev/null 3>&-\necho $? >&3\n", command)
	if _, err := fmt.Fscanln(s.status, &status); err != nil {
		return nil, 0, fmt.Errorf("the shell has ended, or the command has not: %w\n%s", err, s.unread())
	}
	late := time.Now().Add(patience)
	for strings.Count(s.unread(), "\n") < lines && len(s.jobs()) > 0 && time.Now().Before(late) {
		time.Sleep(pause)
	}
	for end := time.Now().Add(restless); !s.asleep() && time.Now().Before(end); {
	}
	printed := s.unread()
	s.read += len(printed)
	if printed == "" {
		return nil, status, nil
	}
	return strings.Split(strings.TrimSuffix(printed, "\n"), "\n"), status, nil
}

// unread returns what has been printed since run read it last.
func (s *session) unread() string {
	printed, err := os.ReadFile(s.output.Name())
	if err != nil {
		return err.Error()
	}
	return string(printed[s.read:])
}

// asleep reports, after a pause, whether every job is waiting for something
// and has been all the time. A shell without jobs is asleep at once.
func (s *session) asleep() bool {
	before := s.jobs()
	if len(before) == 0 {
		return true
	}
	time.Sleep(pause)
	after := s.jobs()
	return slices.Equal(before, after) && !slices.ContainsFunc(after, func(job string) bool { return !strings.Contains(job, "\nState:\tS") })
}

// jobs returns what /proc tells of the threads that the shell has left running,
// with how often each has run.
func (s *session) jobs() (threads []string) {
	for _, shell := range childrenOf(s.outer.Process.Pid) {
		for _, pid := range descendantsOf(shell) {
			statuses, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
			for _, path := range statuses {
				status, err := os.ReadFile(path)
				if err == nil && !strings.Contains(string(status), "\nState:\tZ") {
					threads = append(threads, string(status))
				}
			}
		}
	}
	return threads
}

func descendantsOf(pid int) (pids []int) {
	for _, child := range childrenOf(pid) {
		pids = append(append(pids, child), descendantsOf(child)...)
	}
	return pids
}

func childrenOf(pid int) (pids []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range threads {
		list, _ := os.ReadFile(path)
		for word := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
