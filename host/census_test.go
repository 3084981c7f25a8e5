//go:build linux

package host_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/thread"
	"golang.org/x/sys/unix"
)

// holders has a line for each namespace, with what holds it.
func holders(census *host.Census) string {
	var lines strings.Builder
	for _, ns := range census.Namespaces {
		fmt.Fprint(&lines, ns.Inode, " ", ns.PIDs)
		for _, h := range ns.Holders {
			fmt.Fprintf(&lines, " %s:%d:%d:%s", h.Kind, h.PID, h.FD, h.Path)
		}
		fmt.Fprintln(&lines)
	}
	return lines.String()
}

// TestCensus looks at a proc file system as an ordinary user finds it.
func TestCensus(t *testing.T) {
	const mounts = `21 1 0:20 / /proc rw - proc proc rw
40 21 0:4 ipc:[9] /run/a\040b\134c rw shared:3 - nsfs nsfs rw
41 21 0:4 mnt:[9] /run/m rw - nsfs nsfs rw
42 21 0:4 ipc:[5] /run/five rw - nsfs nsfs rw
`
	proc := newProc(t, map[string]string{
		"1/task/1/ns/ipc": "ipc:[5]", "1/ns/mnt": "mnt:[50]",
		"1/task/1/fd/0": "/dev/null", "1/task/1/fd/3": "ipc:[7]", "1/task/1/fd/12": "ipc:[5]", "1/task/1/fd/4": "ipc:[x]", "1/task/1/fd/5": "uts:[7]",
		"1/mountinfo":     "21 1 0:20 / /proc rw - proc proc rw\n",
		"2/task/2/ns/ipc": "ipc:[6]", "2/ns/mnt": "mnt:[51]", "2/mountinfo": mounts, "2/task/2/fd/": "",
		"3/task/3/ns/ipc": "ipc:[6]", "3/ns/mnt": "mnt:[51]", "3/mountinfo": mounts, // which has ended before its descriptors were read
		"4/task/": "",
	})
	census, err := proc.Census()
	if err != nil {
		t.Fatal(err)
	}
	const seer = ":PID:" // any process of the mount namespace
	got := strings.NewReplacer(":2:", seer, ":3:-1", ":PID:-1").Replace(holders(census))
	want := `5 [1] descriptor:1:12: mount:PID:-1:/run/five
6 [2 3]
7 [] descriptor:1:3:
9 [] mount:PID:-1:/run/a b\c
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if want := []string{host.MountsElsewhere, host.KernelsList}; census.Unseen != 0 || !slices.Equal(census.Missing, want) {
		t.Errorf("got %d unseen, missing %q, want %q", census.Unseen, census.Missing, want)
	}
}

const takeCensus = "take a census with a descriptor of the own namespace"

func printCensus() error {
	own, err := ipcns.Current()
	if err != nil {
		return err
	}
	defer own.Close()
	census, err := host.Proc("/proc").Census()
	if err != nil {
		return err
	}
	holder := host.Holder{Kind: host.HeldByDescriptor, PID: os.Getpid(), FD: int(own.File().Fd())}
	found := slices.ContainsFunc(census.Namespaces, func(ns host.Namespace) bool {
		return ns.Inode == own.Inode() && slices.Contains(ns.Holders, holder)
	})
	fmt.Println(found, strings.Join(census.Missing, ", "))
	return nil
}

func TestCensusOfAnOrdinaryUser(t *testing.T) {
	out, err := ipctest.AsNobody(ipctest.Again(takeCensus)).CombinedOutput()
	if want := "true " + host.MountsElsewhere + ", " + host.KernelsList + "\n"; string(out) != want || err != nil {
		t.Errorf("got %s%v, want %s", out, err, want)
	}
}

// held returns what a census tells of a namespace.
func held(t *testing.T, inode uint64) (ns host.Namespace, missing []string) {
	t.Helper()
	census, err := host.Proc("/proc").Census()
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range census.Namespaces {
		if ns.Inode == inode {
			return ns, census.Missing
		}
	}
	return host.Namespace{}, census.Missing
}

// expectHolder makes a namespace, lets something hold it, lets go of it, and
// expects that a census finds the one holder, and the namespace by it.
func expectHolder(t *testing.T, needs string, hold func(ns *ipcns.Namespace) (host.Holder, error)) {
	t.Helper()
	ns := ipctest.New(t)
	want, err := hold(ns)
	if err != nil {
		t.Fatal(err)
	}
	id, idErr := ns.ID()
	ns.Close()
	found, missing := held(t, ns.Inode())
	if slices.Contains(missing, needs) {
		t.Skipf("%s may not be looked at here", needs)
	}
	if len(found.Holders) != 1 {
		t.Fatalf("got holders %+v, want one, %+v", found.Holders, want)
	}
	got := found.Holders[0]
	if (got.MountNamespace != 0) != (got.Kind == host.HeldByMount) {
		t.Errorf("a %s with mount namespace %d", got.Kind, got.MountNamespace)
	}
	if got.MountNamespace = 0; got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, by := range []uint64{found.ID, 0} {
		openable := by != 0 || want.Kind == host.HeldByDescriptor || want.Kind == host.HeldByMount
		found.ID = by
		opened, err := found.Open()
		if !openable {
			if !errors.Is(err, unix.ESRCH) {
				t.Errorf("without its id: opened, error %v", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("by id %d: %v", by, err)
			continue
		}
		if got, err := opened.ID(); got != id || err != nil && idErr == nil {
			t.Errorf("by id %d: it has id %d, not %d; error %v", by, got, id, err)
		}
		opened.Close()
	}
}

func TestHeldByADescriptor(t *testing.T) {
	expectHolder(t, "", func(ns *ipcns.Namespace) (host.Holder, error) {
		fd, err := unix.FcntlInt(ns.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
		t.Cleanup(func() { unix.Close(fd) })
		return host.Holder{Kind: host.HeldByDescriptor, PID: os.Getpid(), FD: fd}, err
	})
}

// TestHeldByADescriptorOfAThread has a thread with a table of its own.
func TestHeldByADescriptorOfAThread(t *testing.T) {
	expectHolder(t, "", func(ns *ipcns.Namespace) (holder host.Holder, err error) {
		ready, end, ended := make(chan error), make(chan struct{}), make(chan struct{})
		fd := int(ns.File().Fd())
		go func() {
			defer close(ended)
			thread.Do(func() error {
				holder = host.Holder{Kind: host.HeldByDescriptor, PID: unix.Gettid(), FD: fd}
				ready <- unix.Unshare(unix.CLONE_FILES)
				<-end
				return nil
			})
		}()
		t.Cleanup(func() { close(end); <-ended })
		err = <-ready
		return holder, err
	})
}

func TestHeldByATable(t *testing.T) {
	expectHolder(t, host.KernelsList, func(ns *ipcns.Namespace) (holder host.Holder, err error) {
		err = ns.Do(func() error {
			table, err := os.Open("/proc/sysvipc/sem")
			if err != nil {
				return err
			}
			t.Cleanup(func() { table.Close() })
			holder = host.Holder{Kind: host.HeldByTable, PID: os.Getpid(), FD: int(table.Fd())}
			return nil
		})
		return holder, err
	})
}

func TestHeldByAContext(t *testing.T) {
	expectHolder(t, host.KernelsList, func(ns *ipcns.Namespace) (holder host.Holder, err error) {
		err = ns.Do(func() error {
			fd, err := unix.Fsopen("mqueue", unix.FSOPEN_CLOEXEC)
			t.Cleanup(func() { unix.Close(fd) })
			holder = host.Holder{Kind: host.HeldByContext, PID: os.Getpid(), FD: fd}
			return err
		})
		return holder, err
	})
}

// TestHeldByAnAttachment attaches two segments, in two pieces.
func TestHeldByAnAttachment(t *testing.T) {
	expectHolder(t, host.KernelsList, func(ns *ipcns.Namespace) (host.Holder, error) {
		return host.Holder{Kind: host.HeldByAttachment, PID: os.Getpid(), FD: -1}, ns.Do(func() error {
			for range 2 {
				id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 3*os.Getpagesize(), 0o600)
				if err != nil {
					return err
				}
				segment, err := unix.SysvShmAttach(id, 0, 0)
				if err := errors.Join(err, ipctest.ShmctlRmid(id)); err != nil {
					return err
				}
				t.Cleanup(func() { unix.SysvShmDetach(segment) })
				if err := unix.Mprotect(segment[os.Getpagesize():2*os.Getpagesize()], unix.PROT_READ); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// TestHeldByWhatIsInFlight sends a descriptor and does not receive it.
func TestHeldByWhatIsInFlight(t *testing.T) {
	expectHolder(t, host.KernelsList, func(ns *ipcns.Namespace) (host.Holder, error) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return host.Holder{}, err
		}
		t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
		rights := unix.UnixRights(int(ns.File().Fd()))
		return host.Holder{Kind: host.HeldUnseen, FD: -1}, unix.Sendmsg(pair[0], []byte{0}, rights, nil, 0)
	})
}

const keepMounted = "mount a namespace in a mount namespace of its own"

// mountNamespace mounts what descriptor 3 is, where it is told, says so and waits.
func mountNamespace() error {
	if err := unix.Mount("/proc/self/fd/3", os.Args[1], "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := unix.Close(3); err != nil {
		return err
	}
	fmt.Println("mounted")
	_, err := os.Stdin.Read(make([]byte, 1))
	if err != nil && err.Error() == "EOF" {
		return nil
	}
	return err
}

// startMounting starts a process that mounts a namespace where nobody else sees
// it. It ends when it is told to, and its mount namespace with it.
func startMounting(t *testing.T, ns *ipcns.Namespace) (pid int, path string, end func(), err error) {
	path = filepath.Join(t.TempDir(), "a name")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return 0, "", nil, err
	}
	cmd := ipctest.Again(keepMounted, path)
	cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
	cmd.ExtraFiles = []*os.File{ns.File()}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return 0, "", nil, err
	}
	end = func() { stdin.Close(); cmd.Wait() }
	t.Cleanup(end)
	_, err = stdout.Read(make([]byte, 16))
	return cmd.Process.Pid, path, end, err
}

func TestHeldByAMountElsewhere(t *testing.T) {
	expectHolder(t, host.MountsElsewhere, func(ns *ipcns.Namespace) (host.Holder, error) {
		_, path, _, err := startMounting(t, ns)
		return host.Holder{Kind: host.HeldByMount, FD: -1, Path: path}, err
	})
}

// TestHeldByAMountWithoutAProcess keeps the mount namespace by a descriptor.
func TestHeldByAMountWithoutAProcess(t *testing.T) {
	expectHolder(t, host.MountsElsewhere, func(ns *ipcns.Namespace) (host.Holder, error) {
		pid, path, end, err := startMounting(t, ns)
		if err != nil {
			return host.Holder{}, err
		}
		mounts, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		t.Cleanup(func() { mounts.Close() })
		end()
		return host.Holder{Kind: host.HeldByMount, FD: -1, Path: path}, err
	})
}

// TestOpenOfANumberUsedAgain looks at a namespace that one descriptor holds, the
// number of which becomes that of something else.
func TestOpenOfANumberUsedAgain(t *testing.T) {
	ns := ipctest.New(t)
	fd, err := unix.FcntlInt(ns.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	ipctest.Must(t, err)
	defer unix.Close(fd)
	inode := ns.Inode()
	ipctest.Must(t, ns.Close())
	found, _ := held(t, inode)
	if len(found.Holders) == 0 {
		t.Fatal("no holder")
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	ipctest.Must(t, err)
	defer unix.Close(socket)
	for _, other := range []string{"/dev/null", fmt.Sprintf("/proc/self/fd/%d", socket), "/proc/self/ns/uts"} {
		instead, err := unix.Open(other, unix.O_PATH|unix.O_CLOEXEC, 0)
		ipctest.Must(t, err)
		ipctest.Must(t, unix.Dup3(instead, fd, unix.O_CLOEXEC))
		ipctest.Must(t, unix.Close(instead))
		if opened, err := found.Open(); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%s: opened %v, error %v", other, opened, err)
		}
	}
}
