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
// of a server, whose connection is descriptor 3.
const JoinCommand = "join-server"

// Inherited returns that connection.
func Inherited() *Conn {
	unix.CloseOnExec(connFD)
	return &Conn{os.NewFile(connFD, "server")}
}

// File returns the connection, to be inherited.
func (c *Conn) File() *os.File { return c.file }

// Start starts a server, which is no child of this process, from the program
// that this process runs: it has to call [Main]. The server ends with the
// connection, unless there are programs or it is told to be kept. Whose is the
// argument of its command line, for its owner to know it by.
func Start(whose string) (*Conn, Status, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, Status{}, fmt.Errorf("cannot start a server: %w", err)
	}
	ours, its := os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "server")
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
	files := []*os.File{null, null, null, its}
	process, err := os.StartProcess("/proc/self/exe", []string{starterName, whose}, &os.ProcAttr{Dir: "/", Env: []string{}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return Status{}, err
	}
	its.Close()
	if _, err := process.Wait(); err != nil {
		return Status{}, err
	}
	return c.Status()
}

// Main is a server, or what starts one, if the arguments are those of either. It
// returns false if they are not.
func Main(args []string) (status int, was bool) {
	if len(args) != 2 {
		return 0, false
	}
	switch args[0] {
	case starterName:
		return statusOf(startAnother(args[1])), true
	case Name:
		return statusOf(serve()), true
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
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr, os.NewFile(connFD, "starter")}
	_, err := os.StartProcess("/proc/self/exe", []string{Name, whose}, &os.ProcAttr{Dir: "/", Env: []string{}, Files: files})
	return err
}
