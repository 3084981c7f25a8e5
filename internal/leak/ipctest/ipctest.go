//go:build linux

// Package ipctest has what tests of IPC namespaces share: namespaces of their
// own, their test binary as another program, and the calls that make objects
// to look at.
package ipctest

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"golang.org/x/sys/unix"
)

// New returns a new namespace, which is closed with the test. It skips the
// test if this user may not make one.
func New(t testing.TB) *ipcns.Namespace {
	t.Helper()
	ns, err := ipcns.New()
	if errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// Do calls f in the namespace, and ends the test with its error. As f is not
// on the test's goroutine, it may not end the test itself.
func Do(t testing.TB, ns *ipcns.Namespace, f func() error) {
	t.Helper()
	if err := ns.Do(f); err != nil {
		t.Fatal(err)
	}
}

// InNew calls f in a new namespace; see [New] and [Do].
func InNew(t testing.TB, f func() error) {
	t.Helper()
	Do(t, New(t), f)
}

// Nobody is the user id and the group id of an ordinary user.
const Nobody = 65534

// roleVariable names what the test binary is to do instead of its tests.
const roleVariable = "IPCTEST_ROLE"

// Again returns the test binary as a program that plays one of its roles.
func Again(role string, args ...string) *exec.Cmd {
	// Not by its path, which is in a directory that other users may not enter.
	cmd := exec.Command("/proc/self/exe", args...)
	// The race detector would sleep for a second at the end of each.
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	cmd.WaitDelay = 10 * time.Second // for a process that it leaves with its output
	return cmd
}

// Play plays the role that [Again] asks for, and exits; it returns if this
// process is to run the tests. It is for TestMain.
func Play(roles map[string]func() error) {
	name, asked := os.LookupEnv(roleVariable)
	if !asked {
		return
	}
	role, found := roles[name]
	if !found {
		os.Stderr.WriteString("no role " + name + "\n")
		os.Exit(1)
	}
	os.Unsetenv(roleVariable)
	if err := role(); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// AsNobody lets the program run as an ordinary user: without root's
// privileges, if the tests have them.
func AsNobody(cmd *exec.Cmd) *exec.Cmd {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: Nobody, Gid: Nobody}
	}
	return cmd
}

// Apart gives the program an IPC namespace and a mount namespace of its own,
// in which it is root. It skips the test if that takes a user namespace and
// this user may not make one.
func Apart(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	return isolated(t, cmd, userNamespace())
}

// Below is [Apart] in a user namespace of its own: the settings that belong
// to one are the program's too.
func Below(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	return isolated(t, cmd, unix.CLONE_NEWUSER)
}

// isolated is isolate where it is allowed; the test is skipped where it is not.
func isolated(t testing.TB, cmd *exec.Cmd, flags uintptr) *exec.Cmd {
	t.Helper()
	probe := exec.Command("true")
	probe.SysProcAttr = &syscall.SysProcAttr{}
	isolate(probe.SysProcAttr, flags)
	if err := probe.Run(); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		t.Skip("this user may not make the namespaces: ", err)
	}
	isolate(cmd.SysProcAttr, flags)
	return cmd
}

// isolate lets the kernel unshare only after it has made the user namespace,
// and the standard library make the mounts private.
func isolate(attr *syscall.SysProcAttr, flags uintptr) {
	attr.Unshareflags = unix.CLONE_NEWIPC | unix.CLONE_NEWNS
	attr.Cloneflags = flags
	if flags&unix.CLONE_NEWUSER != 0 {
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
}

// userNamespace is the flag of the user namespace that the tests need to make
// others, if they are not root's.
func userNamespace() uintptr {
	if os.Geteuid() == 0 {
		return 0
	}
	return unix.CLONE_NEWUSER
}

// Eventually ends the test if the condition does not come true. The time that
// it gives it is for hangs alone.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Hang); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never happened that ", what)
		}
	}
}
