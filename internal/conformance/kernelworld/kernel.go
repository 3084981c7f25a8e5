//go:build linux

// Package kernelworld is the kernel for the conformance suite: a world is an
// IPC namespace, and a process a server that is started in it.
package kernelworld

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/internal/conformance/server"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// Kernel makes worlds of the kernel's.
type Kernel struct{}

// NewWorld makes a process in a new IPC namespace. The test is skipped if this
// user may not.
func (Kernel) NewWorld(t testing.TB) conformance.World {
	t.Helper()
	w := &world{}
	var err error
	if w.Server, err = server.Start(t, w.run); errors.Is(err, syscall.EPERM) {
		w.OneUser = true
		w.Server, err = server.Start(t, w.run)
	}
	if w.OneUser && (errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOSPC)) {
		t.Skip("needs IPC namespaces: root, or user namespaces for everybody")
	}
	if err != nil {
		t.Fatalf("cannot start a process in a new namespace: %v", err)
	}
	return w
}

// A world is an IPC namespace of the kernel.
type world struct{ server.World }

func (w *world) run(files []*os.File) (pid int, reap func() error, err error) {
	cmd := server.Command(files)
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWIPC
	if w.OneUser {
		inUserNamespace(cmd)
	} else {
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	return cmd.Process.Pid, cmd.Wait, nil
}

// inUserNamespace makes the user root of a namespace that owns the IPC
// namespace, and a mount namespace, without which the queues of mq_overview(7)
// cannot be listed.
func inUserNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNS
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
}

var (
	semLimits    = []string{"semmsl", "semmns", "semopm", "semmni"}
	mqueueLimits = []string{"queues_max", "msg_max", "msgsize_max", "msg_default", "msgsize_default"}
)

func (w *world) SetLimit(name string, value int64) error {
	text := strconv.FormatInt(value, 10)
	if i := slices.Index(semLimits, name); i >= 0 {
		const file = "/proc/sys/kernel/sem"
		content, err := w.Server.ReadFile(file)
		if err != nil {
			return err
		}
		fields := strings.Fields(content)
		fields[i] = text
		return w.Server.WriteFile(file, strings.Join(fields, " "))
	}
	if slices.Contains(mqueueLimits, name) {
		return w.Server.WriteFile("/proc/sys/fs/mqueue/"+name, text)
	}
	return w.Server.WriteFile("/proc/sys/kernel/"+name, text)
}

func (w *world) SetNextID(kind string, id int) error {
	return w.Server.WriteFile(nextIDFile(kind), strconv.Itoa(id))
}

func (w *world) NextID(kind string) (int, error) {
	text, err := w.Server.ReadFile(nextIDFile(kind))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

func nextIDFile(kind string) string { return "/proc/sys/kernel/" + kind + "_next_id" }

func (w *world) Lacks(what string) string {
	switch what {
	case conformance.HugePages:
		return w.lacksHugePages()
	case conformance.MsgCopy:
		// The kernel looks whether it can before it looks for the queue.
		_, _, err := w.Server.Msgrcv(context.Background(), 0, 0, nil, ipc.MsgCopy|ipc.NoWait)
		if errors.Is(err, syscall.ENOSYS) {
			return "a kernel without CONFIG_CHECKPOINT_RESTORE"
		}
	case conformance.NextID:
		if _, err := w.NextID("msg"); errors.Is(err, os.ErrNotExist) {
			return "a kernel without CONFIG_CHECKPOINT_RESTORE"
		}
	default:
		return w.World.Lacks(what)
	}
	return ""
}

func (w *world) lacksHugePages() string {
	free, err := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
	if err != nil || strings.TrimSpace(string(free)) == "0" {
		return "no free huge pages of 2 MiB"
	}
	return ""
}
