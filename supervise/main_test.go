//go:build linux

package supervise_test

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/supervise"
	"golang.org/x/sys/unix"
)

// The roles of a process that becomes a program, or one that plays another
// role, under the supervisor.
const (
	programRole = "become a supervised program"
	roleRole    = "play a role under the supervisor"
)

func TestMain(m *testing.M) {
	ipctest.Play(map[string]func() error{
		programRole: become, roleRole: becomeRole,
		disturbRole: disturb, sleepRole: sleep, endRole: lookWhatIsLeft,
		otherABIRole: tryOtherABIs,
		countRole:    countMessages, exchangeRole: sendOrReceive,
		fuzzRole: fuzz, fuzzLeafRole: fuzzLeaf, hostileRole: meanHarm, openRole: openOften, credentialsRole: becomeAnother, undumpableRole: beUndumpable, memfdRole: changeMemfd,
		checkRole: check, outsideRole: beOutside, escapeRole: escape, traceeRole: func() error { return nil }, belowRole: playBelow, userRole: useAll,
	})
	leak.Main(m)
}

// become becomes the program that the arguments name.
func become() error {
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		return err
	}
	return exchange(path, os.Args[1:], os.Environ())
}

// becomeRole plays the role that the arguments name.
func becomeRole() error {
	cmd := ipctest.Again(os.Args[1], os.Args[2:]...)
	return exchange(cmd.Path, cmd.Args, cmd.Env)
}

// exchange becomes a program under the supervisor, to which it gives its listener
// by descriptor 3.
func exchange(path string, args, environment []string) error {
	runtime.LockOSThread()
	listener, err := supervise.Listen()
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return err
	}
	unix.CloseOnExec(3)
	return syscall.Exec(path, args, environment)
}

// supervised returns a command that runs a program under the supervisor.
func supervised(t testing.TB, s *supervise.Supervisor, args ...string) *exec.Cmd {
	t.Helper()
	return listening(t, s, ipctest.Again(programRole, args...))
}

// playing is [supervised] of one of the test binary's roles.
func playing(t testing.TB, s *supervise.Supervisor, role string, args ...string) *exec.Cmd {
	t.Helper()
	return listening(t, s, ipctest.Again(roleRole, append([]string{role}, args...)...))
}

// listening gives the command a socket, and serves the listener that comes from
// there.
func listening(t testing.TB, s *supervise.Supervisor, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	cmd.ExtraFiles = []*os.File{theirs}
	go func() {
		defer unix.Close(fds[0])
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(fds[0], make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
		if err != nil || n == 0 {
			return
		}
		messages, _ := unix.ParseSocketControlMessage(oob[:n])
		listeners, _ := unix.ParseUnixRights(&messages[0])
		s.Serve(listeners[0])
	}()
	t.Cleanup(func() { theirs.Close() })
	return cmd
}
