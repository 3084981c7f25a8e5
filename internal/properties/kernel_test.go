//go:build linux

package properties

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

var implementations = map[string]implementation{
	"kernel": {alone: alone, together: together},
}

// alone calls f on a thread that fresh moves.
func alone(t *testing.T, f func(fresh func(test) process)) {
	ns := ipctest.New(t)
	err := ns.Do(func() error {
		f(func(t test) process {
			must(t, unix.Unshare(unix.CLONE_NEWIPC))
			return process{kernel.System{}, func() { must(t, unix.Unshare(unix.CLONE_SYSVSEM)) }}
		})
		return nil
	})
	if err != nil && !t.Failed() {
		t.Fatal(err)
	}
}

// together gives each call of a namespace a thread.
func together(t test) namespace {
	ns, err := ipcns.New()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return func(f func(ipc.System)) {
		err := ns.Do(func() error {
			f(kernel.System{})
			return nil
		})
		must(t, err)
	}
}

func TestMain(m *testing.M) {
	ipctest.Play(map[string]func() error{
		"root": func() error { leak.Main(m); return nil },
	})
	if _, set := os.LookupEnv("RAPID_CHECKS"); !set {
		flag.Set("rapid.checks", "300")
	}
	ns, err := ipcns.New()
	if err == nil {
		ns.Close()
		leak.Main(m)
	}
	os.Exit(asRoot())
}

// asRoot runs the tests as root of a user namespace, and returns their status.
func asRoot() int {
	cmd := ipctest.Again("root", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The mount namespace is for listing POSIX queues.
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWIPC
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Println("skipped: this user may make neither an IPC namespace nor a user namespace:", err)
	}
	return 0
}
