//go:build linux

package server

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// parentName is what the process is called that is between a server and the
// programs that it has started: their parent, as a server cannot be. It traces
// them at times, and wait(2) would tell it of stops that it looks for elsewhere.
const parentName = "ipcns-server-parent"

// parentFD is a connection to who has asked for the program.
const parentFD = 4

// A Program is one that runs below the server that it has: the server is its
// ancestor, and may look at it also where the kernel lets nobody look at others;
// see "ptrace_scope" of ptrace(2). Its methods are for one goroutine.
type Program struct {
	conn  *os.File
	pidfd int
}

// What is said between a Program and the parent of the process: the process
// group that it is to be in, then its process id, then how it has ended.
type (
	order  struct{ Group int }
	report struct {
		PID    int
		Status syscall.WaitStatus
		Error  string
	}
)

// StartAbove is [Start] of a server for one program, the file at a path with
// those arguments, its name first, and that environment. The program is not
// started yet. It gets what this process has: descriptors, directory and limits.
func StartAbove(path string, args, env []string) (*Conn, *Program, error) {
	conn, its, err := pair()
	if err != nil {
		return nil, nil, err
	}
	defer its.Close()
	program, parents, err := pair()
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	defer parents.Close()
	_, err = syscall.ForkExec("/proc/self/exe", append([]string{Name, path}, args...), &syscall.ProcAttr{
		Env: env, Files: []uintptr{0, 1, 2, its.Fd(), parents.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		conn.Close()
		program.Close()
		return nil, nil, fmt.Errorf("cannot start a server: %w", err)
	}
	server := &Conn{conn}
	if _, err := server.Status(); err != nil {
		server.Close()
		program.Close()
		return nil, nil, err
	}
	return server, &Program{program, -1}, nil
}

func pair() (ours, its *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot start a server: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "server"), nil
}

// Start starts the program, in the process group of this process: as a job of a
// shell the two are one.
func (p *Program) Start() error {
	if err := send(p.conn, order{unix.Getpgrp()}, -1); err != nil {
		return fmt.Errorf("cannot start the program: %w", err)
	}
	started, err := p.next()
	if err != nil {
		return err
	}
	p.pidfd, err = unix.PidfdOpen(started.PID, 0)
	return err
}

// Signal sends a signal to the program, if that has not ended. Other goroutines
// may do it too.
func (p *Program) Signal(s syscall.Signal) { unix.PidfdSendSignal(p.pidfd, s, nil, 0) }

// Wait returns how the program has ended.
func (p *Program) Wait() (syscall.WaitStatus, error) {
	ended, err := p.next()
	return ended.Status, err
}

func (p *Program) next() (report, error) {
	var r report
	if _, err := receive(p.conn, &r); err != nil {
		return r, fmt.Errorf("what has become of the program is not known: %w", err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("cannot start the program: %s", r.Error)
	}
	return r, nil
}

// startParent starts the parent of the program that the server is for, and
// leaves it all that this process was given for the program.
func startParent(path string, args []string) error {
	unix.CloseOnExec(parentFD)
	_, err := syscall.ForkExec("/proc/self/exe", append([]string{parentName, strconv.Itoa(os.Getpid()), path}, args...), &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2, parentFD},
	})
	if err != nil {
		return err
	}
	return leave()
}

// leave lets go of all that a process has been given, but for its connection,
// descriptor connFD: somebody may wait for its end, or want to unmount where it
// is.
func leave() error {
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for fd := range connFD {
		if err := unix.Dup2(null, fd); err != nil {
			return err
		}
	}
	return closeInherited()
}

// closeInherited closes the descriptors that the process was started with, which
// are those that another would inherit, but for the first and its connection.
func closeInherited() error {
	unix.CloseOnExec(connFD)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < connFD {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// beParent starts the program when it is told to, tells how it ends, and stays
// until all processes that the program has left have ended.
func beParent(server, path string, args []string) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	unix.CloseOnExec(connFD)
	conn := os.NewFile(connFD, "asker")
	var o order
	if _, err := receive(conn, &o); err != nil {
		return nil // who has asked for the program wants it no more
	}
	pid, err := syscall.ForkExec("/proc/self/exe", append([]string{"ipcns", JoinCommand, server, path}, args...), &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true, Pgid: o.Group},
	})
	if err != nil {
		return send(conn, report{Error: err.Error()}, -1)
	}
	signal.Ignore(unix.SIGHUP)
	if err := leave(); err != nil {
		return err
	}
	if err := send(conn, report{PID: pid}, -1); err != nil {
		return err
	}
	go endWith(conn, pid)
	return reapAll(pid, func(status syscall.WaitStatus) error { return send(conn, report{PID: pid, Status: status}, -1) })
}

// endWith ends the program with the process that has asked for it: who has ended
// that means the program.
func endWith(conn *os.File, pid int) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(pidfd)
	if _, err := receive(conn, &struct{}{}); err != nil {
		unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	}
}

// reapAll waits for all processes below this one, and tells of one.
func reapAll(pid int, tell func(syscall.WaitStatus) error) error {
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.ECHILD:
			return nil
		case err != nil && err != unix.EINTR:
			return err
		case err == nil && ended == pid:
			tell(syscall.WaitStatus(status)) // if anybody still listens
		}
	}
}
