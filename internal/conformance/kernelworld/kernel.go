//go:build linux

// Package kernelworld is the kernel for the conformance suite: a world is an
// IPC namespace, and a process one that is started in it and makes the calls
// that the test asks for.
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
	if w.root, err = start(t, w.run); errors.Is(err, syscall.EPERM) {
		w.oneUser = true
		w.root, err = start(t, w.run)
	}
	if w.oneUser && (errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOSPC)) {
		t.Skip("needs IPC namespaces: root, or user namespaces for everybody")
	}
	if err != nil {
		t.Fatalf("cannot start a process in a new namespace: %v", err)
	}
	return w
}

// A world is an IPC namespace of the kernel.
type world struct {
	root    *Process
	oneUser bool // root of a user namespace
}

func (w *world) run(files []*os.File) (pid int, reap func() error, err error) {
	cmd := serverCommand(files)
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWIPC
	if w.oneUser {
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

func (w *world) Root() conformance.Process { return w.root }

func (w *world) Process(t testing.TB, who conformance.Credentials) conformance.Process {
	t.Helper()
	credentials := &who
	if w.oneUser {
		if who.UID != 0 || who.GID != 0 || who.Groups != nil {
			t.Skip("needs other users: ", w.Lacks(conformance.Users))
		}
		credentials = nil
	}
	p := w.root.start(t, credentials)
	for resource, value := range who.Rlimits {
		if err := p.do("Setrlimit", resource, value); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

var (
	semLimits    = []string{"semmsl", "semmns", "semopm", "semmni"}
	mqueueLimits = []string{"queues_max", "msg_max", "msgsize_max", "msg_default", "msgsize_default"}
)

func (w *world) SetLimit(name string, value int64) error {
	text := strconv.FormatInt(value, 10)
	if i := slices.Index(semLimits, name); i >= 0 {
		const file = "/proc/sys/kernel/sem"
		content, err := one[string](&w.root.connection, "ReadFile", file)
		if err != nil {
			return err
		}
		fields := strings.Fields(content)
		fields[i] = text
		return w.root.do("WriteFile", file, strings.Join(fields, " "))
	}
	if slices.Contains(mqueueLimits, name) {
		return w.root.do("WriteFile", "/proc/sys/fs/mqueue/"+name, text)
	}
	return w.root.do("WriteFile", "/proc/sys/kernel/"+name, text)
}

func (w *world) SetNextID(kind string, id int) error {
	return w.root.do("WriteFile", nextIDFile(kind), strconv.Itoa(id))
}

func (w *world) NextID(kind string) (int, error) {
	text, err := one[string](&w.root.connection, "ReadFile", nextIDFile(kind))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

func nextIDFile(kind string) string { return "/proc/sys/kernel/" + kind + "_next_id" }

func (w *world) Lacks(what string) string {
	switch what {
	case conformance.CapSysResource:
		return w.lacksSysResource()
	case conformance.HugePages:
		return w.lacksHugePages()
	case conformance.MsgCopy:
		// The kernel looks whether it can before it looks for the queue.
		_, _, err := w.root.Msgrcv(context.Background(), 0, 0, nil, ipc.MsgCopy|ipc.NoWait)
		if errors.Is(err, syscall.ENOSYS) {
			return "a kernel without CONFIG_CHECKPOINT_RESTORE"
		}
	case conformance.NextID:
		if _, err := w.NextID("msg"); errors.Is(err, os.ErrNotExist) {
			return "a kernel without CONFIG_CHECKPOINT_RESTORE"
		}
	case conformance.Users:
		if w.oneUser {
			return "an ordinary user's user namespace has no other"
		}
	}
	return ""
}

// lacksSysResource looks for what the kernel asks for: the capability in the
// first user namespace, the only one that has all users.
func (w *world) lacksSysResource() string {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err.Error()
	}
	if fields := strings.Fields(string(users)); w.oneUser || fields[2] != "4294967295" {
		return "not in the machine's first user namespace"
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err.Error()
	}
	if sets[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		return "root here does not have it"
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
