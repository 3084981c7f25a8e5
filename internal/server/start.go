//go:build linux

package server

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a server is called in the list of processes, and the process that starts
// it and ends.
const (
	Name        = "ipcns-server"
	starterName = "ipcns-server-start"
)

// connFD is a server's connection to who has started it.
const connFD = 3

// JoinCommand is a command of ipcns's own: to become a program in the namespace
// of a server, whose process id is the first argument.
const JoinCommand = "join-server"

// Start starts a server, which is no child of this process, from the program
// that this process runs: it has to call [Main]. The server ends with the
// connection, unless there are programs or it is told to be kept. Whose is the
// argument of its command line, for its owner to know it by.
func Start(whose string) (*Conn, Status, error) {
	ours, its, err := pair()
	if err != nil {
		return nil, Status{}, err
	}
	defer its.Close()
	conn := &Conn{ours}
	status, err := conn.start(whose, its)
	if err != nil {
		conn.Close()
		return nil, Status{}, fmt.Errorf("cannot start a server: %w", err)
	}
	return conn, status, nil
}

func (c *Conn) start(whose string, its *os.File) (Status, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return Status{}, err
	}
	defer null.Close()
	pid, err := again([]string{starterName, whose}, null.Fd(), its.Fd())
	if err != nil {
		return Status{}, err
	}
	its.Close()
	if err := reap(pid); err != nil {
		return Status{}, err
	}
	return c.Status()
}

// again starts the program of this process with those arguments. It is in a
// process group of its own, which no signal of a terminal comes to; in a session
// of its own the kernel would schedule it apart from its programs, which makes
// each call slower by a 20th (sched_autogroup, see sched(7)).
func again(args []string, null, conn uintptr) (pid int, err error) {
	return syscall.ForkExec("/proc/self/exe", args, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: []uintptr{null, null, null, conn}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
}

// reap waits for a process that ends at once.
func reap(pid int) error {
	return retried(func() error {
		_, err := unix.Wait4(pid, nil, 0, nil)
		return err
	})
}

// Main is a server, or what is between one and its programs, if the arguments
// are those of either. It returns false if they are not.
func Main(args []string) (status int, was bool) {
	switch {
	case args[0] == starterName && len(args) == 2:
		return statusOf(startAnother(args[1])), true
	case args[0] == Name && len(args) == 2:
		return statusOf(serve(closeInherited)), true
	case args[0] == Name && len(args) > 2:
		return statusOf(serve(func() error { return startParent(args[1], args[2:]) })), true
	case args[0] == parentName && len(args) > 3:
		return statusOf(beParent(args[1], args[2], args[3:])), true
	}
	return 0, false
}

func statusOf(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ipcns:", err)
		return 1
	}
	return 0
}

// startAnother starts the server that whoever called Start has asked for, and
// which that is not to be the parent of: a program does not expect children
// that it has not started.
func startAnother(whose string) error {
	_, err := again([]string{Name, whose}, uintptr(unix.Stdin), connFD)
	return err
}
