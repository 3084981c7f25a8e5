//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/internal/thread"
	"golang.org/x/sys/unix"
)

// The names that bench makes are not among those of the machine: they are in a
// mount namespace with a /run of its own, and their holders in a PID namespace.
// Whatever becomes of bench, both end with it, and all that is there.

// runApart runs a command as process 1 of a PID namespace, in a mount namespace.
func runApart(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	return thread.Do(func() error {
		if err := enterOldMounts(); err != nil {
			return err
		}
		return cmd.Run()
	})
}

// enterOldMounts puts the calling thread in a new mount namespace that is older
// than all that are to come, as the kernel counts. It binds mount namespaces to
// files in older ones alone, and ipcns makes them on one CPU after another
// until it does. The machine's first is the oldest, so there the first CPU
// will do, and so it should here. Each CPU counts in blocks of its own.
func enterOldMounts() error {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	var oldest *os.File
	var lowest uint64
	for cpu := range len(all) * strconv.IntSize {
		if !all.IsSet(cpu) {
			continue
		}
		mounts, id, err := newMounts(cpu)
		if err != nil {
			return err
		}
		defer mounts.Close()
		if oldest == nil || id < lowest {
			oldest, lowest = mounts, id
		}
	}
	return errors.Join(unix.SchedSetaffinity(0, &all), unix.Setns(int(oldest.Fd()), unix.CLONE_NEWNS))
}

// newMounts puts the calling thread in a mount namespace made on a CPU. The id
// is 0 where the kernel does not tell, which does not go by it either.
func newMounts(cpu int) (mounts *os.File, id uint64, err error) {
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, 0, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, 0, err
	}
	if mounts, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
		return nil, 0, err
	}
	if id, err = sys.NamespaceID(int(mounts.Fd())); err != nil {
		id = 0
	}
	return mounts, id, nil
}

// mountRun gives this mount namespace an empty /run, and the ordinary user a
// place for names there. Mounts are shared, as systemd has it, but not with the
// machine's.
func mountRun() error {
	for _, propagation := range [...]uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", unix.MS_REC|propagation, ""); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	own := filepath.Join("/run/user", strconv.Itoa(int(ordinaryUser.Uid)))
	if err := os.MkdirAll(own, 0o755); err != nil {
		return err
	}
	if err := os.Chown(own, int(ordinaryUser.Uid), int(ordinaryUser.Gid)); err != nil {
		return err
	}
	return os.Setenv("XDG_RUNTIME_DIR", own) // which root does without
}

// mountDev gives this mount namespace a /dev with a place for mqueue.
func mountDev() error {
	const upper = "/run/dev"
	if err := os.MkdirAll(filepath.Join(upper, "mqueue"), 0o755); err != nil {
		return err
	}
	if err := unix.Mount("overlay", "/dev", "overlay", 0, "lowerdir="+upper+":/dev"); err != nil {
		return err
	}
	return unix.Mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777")
}
