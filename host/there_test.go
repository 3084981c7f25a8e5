//go:build linux

package host_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

func TestThere(t *testing.T) {
	const proc = host.Proc("/proc")
	if !proc.There(1) || !proc.There(os.Getpid()) {
		t.Error("process 1 and this one are not there")
	}
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	for {
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			break
		}
	}
	if proc.There(cmd.Process.Pid) {
		t.Error("one that has ended, and that nobody has waited for, is there")
	}
	ipctest.Must(t, cmd.Wait())
	if proc.There(cmd.Process.Pid) || proc.Threads(cmd.Process.Pid) != 0 {
		t.Error("one that has ended is there")
	}
	if proc.Threads(os.Getpid()) < 2 {
		t.Error("a program in Go has one thread")
	}
}
