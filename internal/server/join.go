//go:build linux

package server

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/supervise"
	"golang.org/x/sys/unix"
)

// Join puts the calling thread, and what it becomes and starts, into the
// namespace. The goroutine stays on its thread, and nothing but execve(2) and
// calls that no supervisor answers should follow. If the server may not look at
// this process, nothing has happened.
func (c *Conn) Join() error {
	if _, err := c.ask(request{Op: opLook}, -1); err != nil {
		return err
	}
	runtime.LockOSThread()
	listener, err := supervise.Listen()
	if err != nil {
		return listenFailure(err)
	}
	defer unix.Close(listener)
	_, err = c.ask(request{Op: opJoin}, listener)
	return err
}

func listenFailure(err error) error {
	switch err {
	case unix.EBUSY:
		return errors.New("this process is served by a supervisor already, and no program has two; do this outside of that")
	case unix.EINVAL, unix.ENOSYS:
		return fmt.Errorf("this kernel cannot stop programs at their calls, which takes Linux 5.19 with CONFIG_SECCOMP_FILTER: %w", err)
	}
	return fmt.Errorf("cannot install a seccomp filter: %w", err)
}

// Within returns the process id of the server, or other supervisor of ours, that
// the calling process is served by, and a number for the namespace within that
// it is in, 0 for the outermost. False: it is served by none.
func Within() (pid, number int, within bool) {
	text, err := os.ReadFile(sys.SupervisorFile)
	if err != nil {
		return 0, 0, false
	}
	first, second, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err = strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	number, err = strconv.Atoi(second)
	return pid, number, err == nil
}

// Unshare puts the calling thread, and what it becomes and starts, into a new
// namespace within the one that it is served in. The goroutine stays on its
// thread.
func Unshare() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil {
		return fmt.Errorf("cannot make a namespace within: %w", err)
	}
	return nil
}
