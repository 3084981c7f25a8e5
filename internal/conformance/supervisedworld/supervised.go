//go:build linux

// Package supervisedworld is package supervise for the conformance suite: a
// world is a supervisor, and a process a server under it, whose system calls
// are those that package kernelworld makes.
package supervisedworld

import (
	"errors"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/internal/conformance/server"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/supervise"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// role is that of the test binary before it becomes a server.
const role = "become a supervised server"

// Roles are what a test binary with worlds has to play; see [ipctest.Play].
func Roles() map[string]func() error {
	roles := server.Roles()
	maps.Copy(roles, map[string]func() error{role: become})
	return roles
}

// listenerFD is where a process that is to become a server gives its listener:
// the descriptor after those of a server.
const listenerFD = 5

// become becomes a server whose calls come to the listener.
func become() error {
	runtime.LockOSThread()
	listener, err := supervise.Listen()
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(listenerFD, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return err
	}
	unix.CloseOnExec(listenerFD)
	cmd := server.Command(nil)
	return syscall.Exec(cmd.Path, cmd.Args, cmd.Env)
}

// Supervised makes worlds of supervisors. This process has to be root, if only
// of its own user namespace.
type Supervised struct{}

// NewWorld makes a supervisor and a server.
func (Supervised) NewWorld(t testing.TB) conformance.World {
	t.Helper()
	supervisor, err := supervise.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(supervisor.Close)
	w := &world{World: server.World{OneUser: server.Users() == 1}, supervisor: supervisor}
	if w.Server, err = server.Start(t, w.run); err != nil {
		t.Fatalf("cannot start a process under a supervisor: %v", err)
	}
	return w
}

// A world is a supervisor's namespace.
type world struct {
	server.World
	supervisor *supervise.Supervisor
}

func (w *world) run(files []*os.File) (pid int, reap func() error, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	defer unix.Close(fds[0])
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	cmd := ipctest.Again(role)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, append(slices.Clone(files), theirs)
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return 0, nil, err
	}
	listener, err := received(fds[0])
	if err != nil {
		return 0, nil, errors.Join(err, cmd.Wait())
	}
	w.supervisor.Serve(listener)
	return cmd.Process.Pid, cmd.Wait, nil
}

// received returns a descriptor that comes through a socket. EOF: none does.
func received(socket int) (fd int, err error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if n == 0 {
		return -1, io.EOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return -1, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

func (w *world) SetLimit(name string, value int64) error {
	return w.supervisor.Namespace(func(ns *userspace.Namespace) error { return ns.SetLimit(name, value) })
}

func (w *world) SetNextID(kind string, id int) error {
	return w.supervisor.Namespace(func(ns *userspace.Namespace) error { return ns.SetNextID(kind, id) })
}

func (w *world) NextID(kind string) (id int, err error) {
	err = w.supervisor.Namespace(func(ns *userspace.Namespace) (err error) {
		id, err = ns.NextID(kind)
		return err
	})
	return id, err
}

func (w *world) Lacks(what string) string {
	if what == conformance.HugePages {
		return "memory of package userspace has none"
	}
	return w.World.Lacks(what)
}
