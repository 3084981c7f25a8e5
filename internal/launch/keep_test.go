//go:build linux

package launch_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/thread"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// The roles: one makes a holder, one a namespace that it empties, and one the
// objects in that.
const (
	hold  = "make a holder, and wait"
	empty = "make a namespace, and empty it"
	fill  = "make objects of all kinds"

	released = "released" // an argument of hold
)

// TestAHolderEndsWithItsMaker kills the maker before it has released the holder,
// and after.
func TestAHolderEndsWithItsMaker(t *testing.T) {
	needUserNamespace(t)
	for _, c := range []struct {
		released string
		alive    bool
	}{{"not released", false}, {released, true}} {
		t.Run(c.released, func(t *testing.T) {
			maker := ipctest.AsNobody(ipctest.Again(hold, c.released))
			stdin, err := maker.StdinPipe()
			ipctest.Must(t, err)
			defer stdin.Close()
			stdout, err := maker.StdoutPipe()
			ipctest.Must(t, err)
			ipctest.Must(t, maker.Start())
			line, err := bufio.NewReader(stdout).ReadString('\n')
			ipctest.Must(t, err)
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			ipctest.Must(t, err)
			holder, err := unix.PidfdOpen(pid, 0)
			ipctest.Must(t, err)
			defer unix.Close(holder)
			maker.Process.Kill()
			maker.Wait()
			if c.alive {
				if ended(t, holder, ipctest.Tick.Milliseconds()) {
					t.Error("the holder has ended, though it was released")
				}
				t.Log("a holder takes", residentSize(t, pid))
				ipctest.Must(t, unix.PidfdSendSignal(holder, unix.SIGKILL, nil, 0))
			}
			if !ended(t, holder, ipctest.Hang.Milliseconds()) {
				t.Error("the holder is alive")
			}
		})
	}
}

func holdAndWait() error {
	holder, err := launch.Hold(launch.Namespace{Mqueue: true, Shm: true}, "a test")
	if err != nil {
		return err
	}
	if os.Args[1] == released {
		if err := holder.Release(); err != nil {
			return err
		}
	}
	fmt.Println(holder.PID)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// ended reports whether the process ends in so many milliseconds.
func ended(t *testing.T, pidfd int, timeout int64) bool {
	t.Helper()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(timeout))
	ipctest.Must(t, err)
	return n > 0
}

func residentSize(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	ipctest.Must(t, err)
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	size, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(size)
}

// TestAHolderDoesNotTakeTheEndOfItsMakerForRelease has the order in which the
// kernel ends a process: it closes the files first, and signals then.
func TestAHolderDoesNotTakeTheEndOfItsMakerForRelease(t *testing.T) {
	needUserNamespace(t)
	holder, err := launch.Hold(launch.Namespace{}, "a test")
	ipctest.Must(t, err)
	defer holder.End()
	pidfd, err := unix.PidfdOpen(holder.PID, 0)
	ipctest.Must(t, err)
	defer unix.Close(pidfd)
	holder.Forsake()
	if !ended(t, pidfd, ipctest.Hang.Milliseconds()) {
		t.Error("the holder goes on")
	}
}

func TestAReleaseOfAHolderThatHasEndedFails(t *testing.T) {
	needUserNamespace(t)
	holder, err := launch.Hold(launch.Namespace{}, "a test")
	ipctest.Must(t, err)
	ipctest.Must(t, unix.Kill(holder.PID, unix.SIGKILL))
	const want = "cannot run ipcns again: broken pipe; is /proc mounted?"
	if err := holder.Release(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestMakeHasWhatIsAskedFor makes namespaces that have no process.
func TestMakeHasWhatIsAskedFor(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this user is not root")
	}
	limits, err := ipc.ParseLimits("msgmni=7")
	ipctest.Must(t, err)
	for name, c := range map[string]struct {
		ns   launch.Namespace
		want string
	}{
		"nothing of its own": {launch.Namespace{}, "mount namespace: false, msgmni 32000"},
		"all of its own":     {launch.Namespace{Mqueue: true, Shm: true}, "mount namespace: true, msgmni 32000"},
		"a limit":            {launch.Namespace{Limits: limits}, "mount namespace: false, msgmni 7"},
	} {
		t.Run(name, func(t *testing.T) {
			var mounts, ns *os.File
			ipctest.Must(t, thread.Do(func() (err error) { ns, mounts, err = launch.Make(c.ns, ""); return err }))
			defer ns.Close()
			defer mounts.Close()
			opened, err := ipcns.OpenFD(int(ns.Fd()))
			ipctest.Must(t, err)
			defer opened.Close()
			var msgmni []byte
			ipctest.Do(t, opened, func() (err error) { msgmni, err = os.ReadFile("/proc/sys/kernel/msgmni"); return err })
			if got := fmt.Sprintf("mount namespace: %v, msgmni %s", mounts != nil, strings.TrimSpace(string(msgmni))); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestEmpty makes objects of all kinds, of which one is attached by a process,
// and destroys them.
func TestEmpty(t *testing.T) {
	forEachUser(t, func(t *testing.T, u user) {
		run(t, u.as(ipctest.Again(empty))).expect(t, `nothing: {Queues:0 Sets:0 Segments:0 Mqueues:[]}, attached 0
filled: {Queues:8 Sets:8 Segments:8 Mqueues:8}
emptied: attached 1, {Queues:0 Sets:0 Segments:1 Mqueues:[]}
detached: {Queues:0 Sets:0 Segments:0 Mqueues:[]}
`)
	})
}

// emptyNamespace prints what it sees.
func emptyNamespace() error {
	owner, ns, inside, end, err := keepNamespace()
	if err != nil {
		return err
	}
	defer end()
	attached, err := launch.Empty(owner, ns)
	if err != nil {
		return err
	}
	fmt.Print("nothing: ")
	if err := show(owner, ns, ", attached ", attached, "\n"); err != nil {
		return err
	}
	stdin, err := inside.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := inside.StdoutPipe()
	if err != nil {
		return err
	}
	inside.Stderr = os.Stderr
	if err := inside.Start(); err != nil {
		return err
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		return err
	}
	c, err := launch.Look(owner, ns)
	if err != nil {
		return err
	}
	fmt.Printf("filled: {Queues:%d Sets:%d Segments:%d Mqueues:%d}\n", c.Queues, c.Sets, c.Segments, len(c.Mqueues))
	if attached, err = launch.Empty(owner, ns); err != nil {
		return err
	}
	fmt.Printf("emptied: attached %d, ", attached)
	if err := errors.Join(show(owner, ns, "\n"), stdin.Close(), inside.Wait()); err != nil {
		return err
	}
	fmt.Print("detached: ")
	return show(owner, ns, "\n")
}

func show(owner, ns *os.File, more ...any) error {
	c, err := launch.Look(owner, ns)
	if err != nil {
		return err
	}
	fmt.Printf("{Queues:%d Sets:%d Segments:%d Mqueues:%v}", c.Queues, c.Sets, c.Segments, c.Mqueues)
	fmt.Print(fmt.Sprint(more...))
	return nil
}

// keepNamespace makes a namespace as the user may, and a command to fill it.
func keepNamespace() (owner, ns *os.File, inside *exec.Cmd, end func(), err error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, nil, nil, nil, err
	}
	const program = "/proc/self/fd/3"
	if os.Geteuid() == 0 {
		err = thread.Do(func() (err error) { ns, _, err = launch.Make(launch.Namespace{}, ""); return err })
		if err != nil {
			return nil, nil, nil, nil, err
		}
		inside = exec.Command("nsenter", fmt.Sprintf("--ipc=/proc/%d/fd/%d", os.Getpid(), ns.Fd()), program)
		inside.Env, inside.ExtraFiles = ipctest.Again(fill).Env, []*os.File{self}
		return nil, ns, inside, func() { ns.Close() }, nil
	}
	holder, err := launch.Hold(launch.Namespace{Mqueue: true}, "a test")
	if err != nil {
		return nil, nil, nil, nil, err
	}
	proc := fmt.Sprintf("/proc/%d/ns/", holder.PID)
	if ns, err = os.Open(proc + "ipc"); err == nil {
		opened, openErr := ipcns.OpenFD(int(ns.Fd()))
		if openErr != nil {
			return nil, nil, nil, nil, openErr
		}
		defer opened.Close()
		owner, err = opened.Owner()
	}
	if err != nil {
		return nil, nil, nil, nil, err
	}
	inside = exec.Command("nsenter", fmt.Sprintf("--user=/proc/%d/fd/%d", os.Getpid(), owner.Fd()), "--ipc="+proc+"ipc", "--preserve-credentials", program)
	inside.Env, inside.ExtraFiles = ipctest.Again(fill).Env, []*os.File{self}
	return owner, ns, inside, holder.End, nil
}

// fillNamespace attaches one segment until its input ends.
func fillNamespace() error {
	const many = 8 // RLIMIT_MSGQUEUE allows about ten POSIX queues
	for i := range many {
		_, err1 := unix.SysvShmGet(unix.IPC_PRIVATE, 1, 0o600)
		_, err2 := ipctest.Semget(0, 1, 0o600)
		_, _, errno := unix.Syscall(unix.SYS_MSGGET, 0, 0o600, 0)
		fd, err3 := ipctest.MqOpen(fmt.Sprint("queue", i), unix.O_RDWR|unix.O_CREAT, 0o600, nil)
		if err := errors.Join(err1, err2, err3); err != nil || errno != 0 {
			return fmt.Errorf("%w, %w", err, errno)
		}
		unix.Close(fd)
	}
	if _, err := unix.SysvShmAttach(0, 0, 0); err != nil {
		return err
	}
	fmt.Println("filled")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// TestLookIsRefused looks into what is no IPC namespace.
func TestLookIsRefused(t *testing.T) {
	file, err := os.Open("/proc/self/ns/net")
	ipctest.Must(t, err)
	defer file.Close()
	const want = "cannot enter the IPC namespace: "
	for _, look := range []func(owner, ipc *os.File) error{
		func(owner, ipc *os.File) error { _, err := launch.Look(owner, ipc); return err },
		func(owner, ipc *os.File) error { _, err := launch.Empty(owner, ipc); return err },
	} {
		if err := look(nil, file); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s...", err, want)
		}
		if err := look(file, file); err == nil || !strings.HasPrefix(err.Error(), "cannot enter the user namespace") {
			t.Errorf("got %v", err)
		}
	}
}

// TestAReleasedHolderIsWaitedFor ends one while its parent lives, in which a
// zombie would stay.
func TestAReleasedHolderIsWaitedFor(t *testing.T) {
	needUserNamespace(t)
	holder, err := launch.Hold(launch.Namespace{}, "a test")
	if err != nil {
		t.Fatal(err)
	}
	ipctest.Must(t, holder.Release())
	ipctest.Must(t, unix.Kill(holder.PID, unix.SIGKILL))
	ipctest.Eventually(t, "the holder is no process any more", func() bool {
		return unix.Kill(holder.PID, 0) == unix.ESRCH
	})
}
