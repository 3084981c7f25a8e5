//go:build linux

package launch_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

// preparations change a process that is root in namespaces of its own, before
// it launches a program.
var preparations = map[string]func() error{
	"no user namespaces":  func() error { return forbid("user") },
	"no IPC namespaces":   func() error { return forbid("ipc") },
	"no mount namespaces": func() error { return forbid("mnt") },

	"a chroot": func() error {
		return errors.Join(unix.Mount("/", "/dev/shm", "", unix.MS_BIND|unix.MS_REC, ""), chroot("/dev/shm"))
	},
	"a chroot that is no mount point": func() error {
		return errors.Join(
			unix.Mount("tmpfs", "/dev/shm", "tmpfs", 0, ""),
			os.MkdirAll("/dev/shm/root/dev/shm", 0o755),
			os.Mkdir("/dev/shm/root/dev/mqueue", 0o755),
			chroot("/dev/shm/root"))
	},

	"a system that refuses unshare": refuseUnshare,

	"root without CAP_SETFCAP": func() error { return forgo(unix.CAP_SETFCAP) },

	"no proc":               func() error { return unix.Mount("tmpfs", "/proc", "tmpfs", 0, "") },
	"proc to read only":     func() error { return bindReadOnly("/proc") },
	"no limits of mqueue":   func() error { return unix.Mount("tmpfs", "/proc/sys/fs", "tmpfs", 0, "") },
	"limits to read only":   func() error { return bindReadOnly("/proc/sys") },
	"memory to run nothing": forbidMemory,
	"a small stack":         func() error { return unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: 512 << 10, Max: 512 << 10}) },

	"dev without shm":        func() error { return coverDev("mqueue") },
	"dev without mqueue":     func() error { return coverDev("shm") },
	"dev with mqueue":        func() error { return coverDev("shm", "mqueue") },
	"dev with a file mqueue": func() error { return errors.Join(coverDev("shm"), os.WriteFile("/dev/mqueue", nil, 0o644)) },
	"dev with a file shm":    func() error { return errors.Join(coverDev("mqueue"), os.WriteFile("/dev/shm", nil, 0o644)) },
}

// forbid lets the user namespace have no more namespaces of a kind.
func forbid(kind string) error {
	idMap, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	if !strings.HasSuffix(string(idMap), " 1\n") {
		return errors.New("this user namespace is not the test's own")
	}
	return os.WriteFile("/proc/sys/user/max_"+kind+"_namespaces", []byte("0"), 0)
}

// forbidMemory lets the PID namespace run no program from memory.
func forbidMemory() error {
	if os.Getpid() != 1 {
		return errors.New("this PID namespace is not the test's own")
	}
	return os.WriteFile("/proc/sys/vm/memfd_noexec", []byte("2"), 0)
}

// inUserNamespace are the preparations that would change the machine's
// settings anywhere else.
var inUserNamespace = []string{"no user namespaces", "no IPC namespaces", "no mount namespaces"}

func chroot(dir string) error { return errors.Join(unix.Chroot(dir), unix.Chdir("/")) }

// coverDev puts a /dev with null and those directories over the host's.
func coverDev(dirs ...string) error {
	null, err := unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.Mkdir("/dev/"+dir, 0o755); err != nil {
			return err
		}
	}
	return errors.Join(os.WriteFile("/dev/null", nil, 0o666), unix.Mount(fmt.Sprint("/proc/self/fd/", null), "/dev/null", "", unix.MS_BIND, ""))
}

func bindReadOnly(path string) error {
	return errors.Join(
		unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

// refuseUnshare makes unshare(2) fail with EPERM, as a container's filter
// does; see seccomp(2).
func refuseUnshare() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_UNSHARE, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// forgo gives up a capability of the calling thread, for what it executes too.
func forgo(capability int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	sets[0].Effective &^= 1 << capability
	sets[0].Permitted &^= 1 << capability
	return errors.Join(
		unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0),
		unix.Capset(&header, &sets[0]))
}

// The ways of a launch.
const (
	direct = "direct"
	stub   = "via the stub"
)

// TestEachStepThatFailsSaysSo prepares a failure. The process is root in
// namespaces of its own.
func TestEachStepThatFailsSaysSo(t *testing.T) {
	const (
		noPrivilege = "cannot make an IPC namespace: it takes CAP_SYS_ADMIN, which this user lacks, or a user namespace, and "
		refused     = noPrivilege + "the kernel refuses that (operation not permitted); allow user namespaces, run as root, or give the container CAP_SYS_ADMIN"
		noShm       = "cannot give the program its own /dev/shm: "
		noMqueue    = "cannot give the program its own /dev/mqueue: "
	)
	own := order{Mqueue: true, Shm: true}
	for _, c := range []struct {
		prepare string
		ways    []string
		order   order
		text    string
	}{
		{"no user namespaces", []string{stub}, order{}, noPrivilege + "there are as many of those as sysctl user.max_user_namespaces = 0 allows; raise it, or run as root"},
		{"a chroot", []string{stub}, order{}, refused},
		{"a system that refuses unshare", []string{direct, stub}, order{}, refused},
		{"root without CAP_SETFCAP", []string{stub}, order{}, "cannot map this user into a user namespace: operation not permitted; run as root, who needs CAP_SETFCAP for it, or CAP_SYS_ADMIN to do without"},
		{"proc to read only", []string{stub}, order{}, "cannot map this user into a user namespace: read-only file system; run as root"},
		{"no proc", []string{stub}, order{}, "cannot run ipcns again: no such file or directory; is /proc mounted?"},

		{"no IPC namespaces", []string{direct}, order{}, "cannot make an IPC namespace: there are as many as sysctl user.max_ipc_namespaces = 0 allows; end some, or raise it"},
		{"no mount namespaces", []string{direct}, own, "cannot make a mount namespace: there are as many as sysctl user.max_mnt_namespaces = 0 allows; use --share mqueue,shm to do without"},
		{"a chroot that is no mount point", []string{direct}, own, "cannot keep the program's mounts to itself: invalid argument (in a chroot, / is no mount point); use --share mqueue,shm to do without"},

		{"dev without shm", []string{direct, stub}, own, noShm + "there is no such directory to mount it on; make one, or use --share shm"},
		{"dev with a file shm", []string{direct, stub}, own, noShm + "not a directory; use --share shm to leave the host's"},
		{"dev with a file mqueue", []string{direct, stub}, own, noMqueue + "not a directory; use --share mqueue to leave the host's"},

		{"", []string{direct, stub}, order{Limits: "msgmax=2147483648"}, "cannot set msgmax to 2147483648: it takes 0 to 2147483647 (bytes in one message)"},
		{"", []string{direct, stub}, order{Limits: "msg_max=0"}, "cannot set msg_max to 0: it takes 1 to 65536 (messages that a POSIX queue takes)"},
		{"", []string{direct, stub}, order{Limits: "msgmni=1,semmni=32769"}, "cannot set semmni to 32769: it takes 0 to 32768 (semaphore sets)"},
		{"", []string{direct, stub}, order{Limits: "shm_rmid_forced=2"}, "cannot set shm_rmid_forced to 2: it takes 0 to 1 (1 destroys segments that nobody has attached)"},
		{"limits to read only", []string{direct, stub}, order{Limits: "msgmax=1"}, "cannot set msgmax to 1: read-only file system"},
		{"no limits of mqueue", []string{direct, stub}, order{Limits: "msg_max=1"}, "cannot set msg_max: this kernel has no such limit; leave it out"},
	} {
		for _, way := range c.ways {
			t.Run(strings.Join([]string{c.prepare, c.order.Limits, way}, " "), func(t *testing.T) {
				o := script("echo started")
				o.Prepare, o.ViaStub = c.prepare, way == stub
				o.Mqueue, o.Shm, o.Limits = c.order.Mqueue, c.order.Shm, c.order.Limits
				isolate := ipctest.Apart
				if slices.Contains(inUserNamespace, c.prepare) {
					isolate = ipctest.Below
				}
				run(t, isolate(t, o.command(t))).expectFailure(t, launch.StatusFailed, c.text)
			})
		}
	}
}

// TestAKernelThatRunsNothingFromMemory has the setting of a PID namespace of
// its own.
func TestAKernelThatRunsNothingFromMemory(t *testing.T) {
	const setting = "/proc/sys/vm/memfd_noexec"
	before, err := os.ReadFile(setting)
	if err != nil {
		t.Skip("this kernel always allows it: ", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root may refuse it")
	}
	o := script("echo started")
	o.Prepare, o.ViaStub = "memory to run nothing", true
	cmd := ipctest.Apart(t, o.command(t))
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
	run(t, cmd).expectFailure(t, launch.StatusFailed, "cannot make a user namespace: the kernel refuses to run a program from memory (permission denied, see sysctl vm.memfd_noexec); run as root")
	if after, err := os.ReadFile(setting); string(after) != string(before) || err != nil {
		t.Errorf("%s was %q and is %q, error %v", setting, before, after, err)
	}
}

// TestTheLastWord is for a failure that cannot be explained: the environment
// is too big for any program.
func TestTheLastWord(t *testing.T) {
	o := script("echo started")
	o.Prepare, o.ViaStub = "a small stack", true
	o.Env = slices.Repeat([]string{"BIG=" + strings.Repeat("x", 100<<10)}, 3)
	run(t, ipctest.Apart(t, o.command(t))).expectFailure(t, launch.StatusFailed, "ipcns: cannot start the program")
}

// TestAnErrorHoldsItsErrno is for programs that ask for it.
func TestAnErrorHoldsItsErrno(t *testing.T) {
	_, err := launch.Failure([]string{"exec /a path with blanks", string([]byte{byte(syscall.ENOENT)})})
	if e := (*launch.Error)(nil); !errors.As(err, &e) || e.Status != launch.StatusNotFound || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("error %#v", err)
	}
	if want := "cannot run /a path with blanks: the interpreter that it names does not exist"; err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestFailureCommandIsNotForPeople(t *testing.T) {
	for _, args := range [][]string{nil, {"ipc"}, {"ipc", ""}, {"ipc", "12"}} {
		_, err := launch.Failure(args)
		if e := (*launch.Error)(nil); err == nil || errors.As(err, &e) || err.Error() != "launch-failed is ipcns's own and takes what ipcns gives it" {
			t.Errorf("%q: error %v", args, err)
		}
	}
}
