//go:build linux

package ipcns_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

func TestNewIsEmptyAndEntersNothing(t *testing.T) {
	before := home(t)
	ns, other := ipctest.New(t), ipctest.New(t)
	if after := home(t); after != before {
		t.Errorf("the process was in %s and is in %s", before, after)
	}
	if ns.String() == before || ns.String() == other.String() {
		t.Errorf("made %s and %s in %s", ns, other, before)
	}
	if ns.Initial() {
		t.Errorf("%s is said to be the one that the machine started with", ns)
	}
	ipctest.Do(t, ns, func() error {
		queues, err1 := host.MessageQueues(kernel.System{})
		sets, err2 := host.SemaphoreSets(kernel.System{})
		segments, err3 := host.Segments(kernel.System{})
		mqueues, err4 := kernel.System{}.MqCount()
		if len(queues)+len(sets)+len(segments)+mqueues > 0 {
			t.Errorf("%d message queues, %d semaphore sets, %d segments and %d POSIX queues in a new namespace", len(queues), len(sets), len(segments), mqueues)
		}
		return errors.Join(err1, err2, err3, err4)
	})
}

func TestCurrentIsThatOfTheThread(t *testing.T) {
	current := func() string {
		ns, err := ipcns.Current()
		if err != nil {
			t.Error(err)
			return ""
		}
		defer ns.Close()
		return ns.String()
	}
	if got, want := current(), home(t); got != want {
		t.Errorf("got %s in %s", got, want)
	}
	ns := ipctest.New(t)
	ipctest.Do(t, ns, func() error {
		if got := current(); got != ns.String() {
			t.Errorf("got %s in %s", got, ns)
		}
		return nil
	})
}

func TestInitialIsTheOneOfTheMachine(t *testing.T) {
	const initial = "ipc:[4026531839]" // PROC_IPC_INIT_INO of linux/proc_ns.h
	ns, err := ipcns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if got, want := ns.Initial(), home(t) == initial; got != want {
		t.Errorf("%s: initial: %v", ns, got)
	}
}

func TestNamespaceIsAsTheKernelShowsIt(t *testing.T) {
	ns, err := ipcns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if got, want := ns.String(), home(t); got != want {
		t.Errorf("String: got %s, want %s", got, want)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/ipc", &st); err != nil {
		t.Fatal(err)
	}
	if ns.Inode() != st.Ino {
		t.Errorf("Inode: got %d, want %d", ns.Inode(), st.Ino)
	}
	if err := unix.Fstat(int(ns.File().Fd()), &st); err != nil || st.Ino != ns.Inode() {
		t.Errorf("File: inode number %d, error %v, want %d", st.Ino, err, ns.Inode())
	}
}

// start starts a program in a namespace, for as long as the test takes.
func start(t *testing.T, ns *ipcns.Namespace) (pid int) {
	t.Helper()
	cmd := ns.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestOpen(t *testing.T) {
	ns := ipctest.New(t)
	pid := start(t, ns)
	link := fmt.Sprintf("/proc/%d/ns/ipc", pid)
	for name, open := range map[string]func() (*ipcns.Namespace, error){
		"OpenPID":  func() (*ipcns.Namespace, error) { return ipcns.OpenPID(pid) },
		"OpenPath": func() (*ipcns.Namespace, error) { return ipcns.OpenPath(link) },
		"OpenPath of a symbolic link": func() (*ipcns.Namespace, error) {
			path := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(link, path); err != nil {
				return nil, err
			}
			return ipcns.OpenPath(path)
		},
		"OpenFD": func() (*ipcns.Namespace, error) { return ipcns.OpenFD(int(ns.File().Fd())) },
	} {
		opened, err := open()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if opened.Inode() != ns.Inode() {
			t.Errorf("%s: got %s, want %s", name, opened, ns)
		}
		opened.Close()
	}
}

// TestOpenFDLeavesTheDescriptorToTheCaller closes either and uses the other.
func TestOpenFDLeavesTheDescriptorToTheCaller(t *testing.T) {
	fd, err := unix.Open("/proc/self/ns/ipc", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	first, err := ipcns.OpenFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	second, err := ipcns.OpenFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fstat(int(second.File().Fd()), new(unix.Stat_t)); err != nil {
		t.Error(err)
	}
	if flags, err := unix.FcntlInt(second.File().Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, error %v", flags, err)
	}
}

// deadPID returns the process id of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.Pid()
}

// zombie returns the process id of one that nobody has waited for yet.
func zombie(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() })
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestOpenOfWhatIsNoIPCNamespace(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	regular, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	mountNamespace, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer mountNamespace.Close()
	dead, ended := deadPID(t), zombie(t)

	path := func(path string) func() (*ipcns.Namespace, error) {
		return func() (*ipcns.Namespace, error) { return ipcns.OpenPath(path) }
	}
	pid := func(pid int) func() (*ipcns.Namespace, error) {
		return func() (*ipcns.Namespace, error) { return ipcns.OpenPID(pid) }
	}
	fd := func(fd int) func() (*ipcns.Namespace, error) {
		return func() (*ipcns.Namespace, error) { return ipcns.OpenFD(fd) }
	}
	for _, c := range []struct {
		name string
		open func() (*ipcns.Namespace, error)
		is   syscall.Errno
		text string
	}{
		{"a path that does not exist", path(dir + "/x"), unix.ENOENT, "cannot open IPC namespace " + dir + "/x: no such file or directory"},
		{"a regular file", path(file), unix.EINVAL, "cannot open IPC namespace " + file + ": it is something else"},
		{"a fifo that nobody writes to", path(fifo), unix.EINVAL, "cannot open IPC namespace " + fifo + ": it is something else"},
		{"a directory", path("/proc/self/ns"), unix.EINVAL, "cannot open IPC namespace /proc/self/ns: it is something else"},
		{"a mount namespace", path("/proc/self/ns/mnt"), unix.EINVAL, "cannot open IPC namespace /proc/self/ns/mnt: it is something else"},
		{"no path", path(""), unix.ENOENT, "cannot open IPC namespace : no such file or directory"},

		{"a process that has ended", pid(dead), unix.ESRCH, fmt.Sprintf("cannot open the IPC namespace of process %d: there is no such process", dead)},
		{"a zombie", pid(ended), unix.ESRCH, fmt.Sprintf("cannot open the IPC namespace of process %d: there is no such process", ended)},
		{"process 0", pid(0), unix.ESRCH, "cannot open the IPC namespace of process 0: there is no such process"},
		{"process -1", pid(-1), unix.ESRCH, "cannot open the IPC namespace of process -1: there is no such process"},

		{"descriptor -1", fd(-1), unix.EBADF, "cannot open IPC namespace behind descriptor -1: bad file descriptor"},
		{"the descriptor of a regular file", fd(int(regular.Fd())), unix.EINVAL, fmt.Sprintf("cannot open IPC namespace behind descriptor %d: it is something else", regular.Fd())},
		{"the descriptor of a mount namespace", fd(int(mountNamespace.Fd())), unix.EINVAL, fmt.Sprintf("cannot open IPC namespace behind descriptor %d: it is something else", mountNamespace.Fd())},
	} {
		opened := make(chan error, 1)
		go func() {
			ns, err := c.open()
			if err == nil {
				ns.Close()
			}
			opened <- err
		}()
		select {
		case err = <-opened:
		case <-time.After(20 * time.Second):
			t.Fatal(c.name, ": hangs")
		}
		if !errors.Is(err, c.is) || err.Error() != c.text {
			t.Errorf("%s\n got %v\nwant %s", c.name, err, c.text)
		}
	}
}

// id returns the kernel's id of the namespace.
func id(t *testing.T, ns *ipcns.Namespace) uint64 {
	t.Helper()
	id, err := ns.ID()
	if errors.Is(err, unix.ENOTTY) {
		t.Skip("this kernel gives namespaces no ids: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestIDIsThatOfTheNamespaceNotOfTheFile(t *testing.T) {
	ns, other := ipctest.New(t), ipctest.New(t)
	again, err := ipcns.OpenFD(int(ns.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if id(t, ns) != id(t, again) {
		t.Errorf("%s has the ids %d and %d", ns, id(t, ns), id(t, again))
	}
	if id(t, ns) == id(t, other) {
		t.Errorf("%s and %s have the id %d", ns, other, id(t, ns))
	}
}

// TestIDIsNotReused makes namespaces until one has the inode number of an
// earlier one, which the kernel gives away at once (SEMANTICS B.4).
func TestIDIsNotReused(t *testing.T) {
	idByInode := map[uint64]uint64{}
	for range 10000 {
		ns := ipctest.New(t)
		inode, id := ns.Inode(), id(t, ns)
		ns.Close()
		earlier, reused := idByInode[inode]
		idByInode[inode] = id
		if !reused {
			continue
		}
		if id == earlier {
			t.Errorf("two namespaces of inode number %d have the id %d", inode, id)
		}
		return
	}
	t.Skip("no inode number came twice")
}

func TestOwnerIsTheUserNamespaceOfTheMaker(t *testing.T) {
	ns := ipctest.New(t)
	owner, err := ns.Owner()
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	own, err := os.Stat("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := owner.Stat(); err != nil || !os.SameFile(got, own) {
		t.Errorf("got %v, error %v, want %v", got, err, own)
	}
}

// TestOwnerUIDIsWhoMadeTheUserNamespace looks at a program that an ordinary
// user has started in a user namespace.
func TestOwnerUIDIsWhoMadeTheUserNamespace(t *testing.T) {
	cmd := exec.Command("unshare", "--user", "--ipc", "cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	ipctest.AsNobody(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if _, err := in.Write([]byte{'\n'}); err != nil {
		t.Fatal(err)
	}
	if n, err := out.Read(make([]byte, 1)); n == 0 { // it is in the namespace once it answers
		t.Skip("user namespaces are refused: ", err, stderr.String())
	}
	ns, err := ipcns.OpenPID(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	want := uint32(os.Geteuid())
	if want == 0 {
		want = ipctest.Nobody
	}
	if uid, err := ns.OwnerUID(); uid != want || err != nil {
		t.Errorf("got %d, error %v, want %d", uid, err, want)
	}
}

const inAUserNamespace = "look at the owner from below"

// TestOwnerIsNotShownBelow starts a program in a user namespace whose IPC
// namespace belongs to the one above.
func TestOwnerIsNotShownBelow(t *testing.T) {
	cmd := ipctest.Again(inAUserNamespace)
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		t.Skip("user namespaces are refused: ", err)
	}
	link := home(t)
	want := "cannot open the owner of " + link + ": operation not permitted\n" +
		"cannot open the owner of " + link + ": operation not permitted\n"
	if err != nil || string(out) != want {
		t.Errorf("error %v\n got %s\nwant %s", err, out, want)
	}
}

func belowTheOwner() error {
	ns, err := ipcns.Current()
	if err != nil {
		return err
	}
	owner, err := ns.Owner()
	if err == nil {
		owner.Close()
	}
	_, uidErr := ns.OwnerUID()
	fmt.Printf("%v\n%v\n", err, uidErr)
	return nil
}

// TestCloseIsTheEndOfIt expects that every method which needs the descriptor
// says so.
func TestCloseIsTheEndOfIt(t *testing.T) {
	ns, err := ipcns.Current()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func() error{
		"Do": func() error {
			return ns.Do(func() error { t.Error("Do calls the function"); return nil })
		},
		"ID":             func() error { _, err := ns.ID(); return err },
		"Owner":          func() error { _, err := ns.Owner(); return err },
		"OwnerUID":       func() error { _, err := ns.OwnerUID(); return err },
		"Run":            func() error { return ns.Command("true").Run() },
		"Start":          func() error { return ns.Command("true").Start() },
		"Output":         func() error { _, err := ns.Command("true").Output(); return err },
		"CombinedOutput": func() error { _, err := ns.Command("true").CombinedOutput(); return err },
	} {
		if err := use(); !errors.Is(err, unix.EBADF) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := ns.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close: error %v", err)
	}
	if ns.String() != home(t) {
		t.Errorf("String: %s", ns)
	}
}

// TestNamespaceLivesUntilClose keeps a namespace without a process, and looks
// at the objects in it.
func TestNamespaceLivesUntilClose(t *testing.T) {
	ns := ipctest.New(t)
	ipctest.Do(t, ns, func() error { _, err := kernel.System{}.Msgget(1, ipc.Creat); return err })
	ipctest.Do(t, ns, func() error { _, err := kernel.System{}.Msgget(1, 0); return err })
}

const asOrdinaryUser = "do what takes privileges"

// TestOrdinaryUserIsRefused runs what takes privileges without them. The
// namespace of descriptor 3 is one that root has opened.
func TestOrdinaryUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make the namespace that others may not enter")
	}
	ns := ipctest.New(t)
	cmd := ipctest.AsNobody(ipctest.Again(asOrdinaryUser))
	cmd.ExtraFiles = []*os.File{ns.File()}
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf(`New: cannot make an IPC namespace: it takes CAP_SYS_ADMIN
Do: cannot enter %[1]s: it takes CAP_SYS_ADMIN there and here
Run: cannot enter %[1]s: it takes CAP_SYS_ADMIN there and here
OpenPID: cannot open the IPC namespace of process %[2]d: it is not yours to trace
OpenPath: cannot open IPC namespace /proc/%[2]d/ns/ipc: permission denied
`, ns, os.Getpid())
	if err != nil || string(out) != want {
		t.Errorf("error %v\n got %s\nwant %s", err, out, want)
	}
}

func ordinaryUser() error {
	_, newErr := ipcns.New()
	ns, err := ipcns.OpenFD(3)
	if err != nil {
		return err
	}
	doErr := ns.Do(func() error { return nil })
	runErr := ns.Command("true").Run()
	_, pidErr := ipcns.OpenPID(os.Getppid())
	_, pathErr := ipcns.OpenPath(fmt.Sprintf("/proc/%d/ns/ipc", os.Getppid()))
	fmt.Printf("New: %v\nDo: %v\nRun: %v\nOpenPID: %v\nOpenPath: %v\n", newErr, doErr, runErr, pidErr, pathErr)
	for _, err := range []error{newErr, doErr, runErr} {
		if !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("not EPERM: %w", err)
		}
	}
	for _, err := range []error{pidErr, pathErr} {
		if !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("not EACCES: %w", err)
		}
	}
	return nil
}
