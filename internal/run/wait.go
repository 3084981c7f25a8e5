//go:build linux

package run

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/server"
	"golang.org/x/sys/unix"
)

// waitFor runs the program beside this process, waits until it and all others
// of its namespace have ended, and exits with its status.
func waitFor(conn *server.Conn, p launch.Program) error {
	cmd := exec.Command("/proc/self/exe", append([]string{server.JoinCommand, p.Path}, p.Args...)...)
	cmd.Args[0] = "ipcns"
	cmd.Env = p.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{conn.File()}
	// Those of the terminal come to the program too. Others are passed on.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			if s != unix.SIGINT && s != unix.SIGQUIT {
				cmd.Process.Signal(s) // which fails only if it has ended
			}
		}
	}()
	err := cmd.Wait()
	signal.Stop(signals)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	if err := conn.Wait(); err != nil {
		return err
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		os.Exit(128 + int(status.Signal()))
	}
	os.Exit(status.ExitStatus())
	return nil
}

// BecomeJoined is [server.JoinCommand]: it turns the process into the program
// at a path, in the namespace of the server that it has a connection to.
func BecomeJoined(args []string) error {
	if len(args) < 2 {
		return errors.New(server.JoinCommand + " is ipcns's own and takes what ipcns gives it")
	}
	if err := server.Inherited().Join(); err != nil {
		return err
	}
	return launch.Become(launch.Program{Path: args[0], Args: args[1:], Env: os.Environ()})
}
