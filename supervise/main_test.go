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

const programRole = "become a supervised program"

func TestMain(m *testing.M) {
	ipctest.Play(map[string]func() error{programRole: become})
	leak.Main(m)
}

// become becomes the program that the environment names, and gives its listener
// to descriptor 3.
func become() error {
	runtime.LockOSThread()
	listener, err := supervise.Listen()
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return err
	}
	unix.CloseOnExec(3)
	args := os.Args[1:]
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

// supervised returns a command that runs a program under the supervisor.
func supervised(t testing.TB, s *supervise.Supervisor, args ...string) *exec.Cmd {
	t.Helper()
	cmd := ipctest.Again(programRole, args...)
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
