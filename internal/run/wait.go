//go:build linux

package run

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// runBelow runs the program below a server of its own, and exits with its
// status: when the program ends, or when the last process of the namespace does.
func runBelow(limits []ipc.LimitSetting, p launch.Program, untilLast bool) error {
	conn, program, err := server.StartAbove(p.Path, p.Args, p.Env)
	if err != nil {
		return err
	}
	if err := conn.SetLimits(limits); err != nil {
		return err
	}
	// Those of the terminal come to the program too. Others are passed on.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	if err := program.Start(); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			if s != unix.SIGINT && s != unix.SIGQUIT {
				program.Signal(s.(syscall.Signal))
			}
		}
	}()
	status, err := program.Wait()
	signal.Stop(signals)
	if err != nil {
		return err
	}
	if untilLast {
		if err := conn.Wait(); err != nil {
			return err
		}
	}
	if status.Signaled() {
		os.Exit(128 + int(status.Signal()))
	}
	os.Exit(status.ExitStatus())
	return nil
}

// BecomeJoined is [server.JoinCommand]: it turns the process into the program
// at a path, in the namespace of a server.
func BecomeJoined(args []string) error {
	if len(args) < 3 {
		return errors.New(server.JoinCommand + " is ipcns's own and takes what ipcns gives it")
	}
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	conn, err := server.Dial(pid)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Join(); err != nil {
		return err
	}
	return launch.Become(launch.Program{Path: args[1], Args: args[2:], Env: os.Environ()})
}
