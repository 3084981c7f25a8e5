//go:build linux

package leak

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ipcns/ipcns/host"
	"golang.org/x/sys/unix"
)

// descriptors returns what each descriptor of the process stands for. The
// directory that it reads is always among them.
func descriptors() (open []string) {
	for _, fd := range entries("/proc/self/fd") {
		if target, err := os.Readlink("/proc/self/fd/" + fd); err == nil {
			open = append(open, "a descriptor of "+target)
		}
	}
	return open
}

// namespacesOf returns the namespaces that tests make, as the directory of a
// thread under /proc shows them; "" if it has ended.
func namespacesOf(thread string) string {
	ipc, err1 := os.Readlink(thread + "/ns/ipc")
	mnt, err2 := os.Readlink(thread + "/ns/mnt")
	if err1 != nil || err2 != nil {
		return ""
	}
	return ipc + " " + mnt
}

// threadsOutside returns a line for each thread of the process that is
// somewhere else.
func threadsOutside(home string) (lines []string) {
	for _, tid := range entries("/proc/self/task") {
		if in := namespacesOf("/proc/self/task/" + tid); in != "" && in != home {
			lines = append(lines, fmt.Sprintf("thread %s is in %s, its process is in %s", tid, in, home))
		}
	}
	return lines
}

type process struct {
	pid     int
	command string
}

// children returns the children that are alive, and waits for the others.
func children() (alive []process) {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil)
		if err == unix.ECHILD {
			return nil
		}
		if pid <= 0 && err != unix.EINTR {
			break
		}
	}
	for _, name := range entries("/proc") {
		pid, err := strconv.Atoi(name)
		if err == nil && parent(pid) == os.Getpid() {
			alive = append(alive, process{pid, host.Proc("/proc").Command(pid)})
		}
	}
	return alive
}

// parent returns the parent of a process, 0 if it has ended; see
// proc_pid_stat(5).
func parent(pid int) int {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	afterName := text[bytes.LastIndexByte(text, ')')+1:]
	fields := strings.Fields(string(afterName))
	if len(fields) < 2 {
		return 0
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return ppid
}

// killChildren ends the children that are alive, and theirs, which become
// ours when their parents end. One that the kernel cannot end is given up.
func killChildren() {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		alive := children()
		if len(alive) == 0 {
			return
		}
		for _, p := range alive {
			unix.Kill(p.pid, unix.SIGKILL)
		}
	}
}
