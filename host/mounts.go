//go:build linux

package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/internal/thread"
	"golang.org/x/sys/unix"
)

// mayWalkMountNamespaces reports whether every mount namespace can be looked at.
// It takes CAP_SYS_ADMIN, in the machine's first PID namespace, and Linux 6.12.
func mayWalkMountNamespaces() bool {
	own, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(own)
	next, _, err := sys.NextMountNamespace(own)
	if err == nil {
		unix.Close(next)
	}
	return err == nil || errors.Is(err, unix.ENOENT)
}

// mountsHeld returns the mounts of IPC namespaces in every mount namespace, also
// in those that no process is in.
func mountsHeld() (all []held, err error) {
	err = eachMountNamespace(func(_ int, id uint64) (bool, error) {
		mounts, err := sys.ListMounts(id)
		if errors.Is(err, unix.ENOENT) {
			return true, nil // it has ended
		}
		if err != nil {
			return false, err
		}
		var buffer [8192]byte
		for _, mount := range mounts {
			m, err := sys.StatMount(id, mount, &buffer)
			if err != nil {
				continue // it has been unmounted
			}
			if inode, is := namespaceInode(m.Root, "ipc:["); is && m.Magic == sys.NsfsMagic {
				all = append(all, held{inode, Holder{Kind: HeldByMount, FD: -1, Path: string(m.Point), MountNamespace: id}})
			}
		}
		return true, nil
	})
	return all, err
}

// eachMountNamespace calls f with a descriptor and the number of each mount
// namespace, from this process's to the first and then to the last, until f
// wants no more.
func eachMountNamespace(f func(fd int, id uint64) (more bool, err error)) error {
	own, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(own)
	id, err := sys.MountNamespaceID(own)
	if err != nil {
		return err
	}
	if more, err := f(own, id); err != nil || !more {
		return err
	}
	for _, beside := range [...]func(fd int) (int, uint64, error){sys.PreviousMountNamespace, sys.NextMountNamespace} {
		if more, err := walkMountNamespaces(own, beside, f); err != nil || !more {
			return err
		}
	}
	return nil
}

func walkMountNamespaces(from int, beside func(fd int) (int, uint64, error), f func(fd int, id uint64) (bool, error)) (more bool, err error) {
	fd, err := unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	for {
		next, id, err := beside(fd)
		unix.Close(fd)
		if errors.Is(err, unix.ENOENT) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if more, err := f(next, id); err != nil || !more {
			unix.Close(next)
			return false, err
		}
		fd = next
	}
}

// mountsSeen returns the mounts of IPC namespaces in the mount namespaces that
// processes are in; see proc_pid_mountinfo(5).
func (s *seen) mountsSeen() (all []held) {
	pids := make([]int, 0, len(s.mounts))
	for _, pid := range s.mounts {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	for _, pid := range pids {
		dir := filepath.Join(string(s.proc), strconv.Itoa(pid))
		text, err := os.ReadFile(filepath.Join(dir, "mountinfo"))
		if err != nil {
			continue // it has ended
		}
		mounts := parseMountinfo(text)
		if len(mounts) == 0 {
			continue
		}
		id := mountNamespaceID(filepath.Join(dir, "ns/mnt"))
		for _, m := range mounts {
			m.PID, m.MountNamespace = pid, id
			all = append(all, m)
		}
	}
	return all
}

// mountNamespaceID returns the kernel's number for a mount namespace, 0 if it
// does not tell.
func mountNamespaceID(path string) uint64 {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	id, err := sys.MountNamespaceID(fd)
	if err != nil {
		return 0
	}
	return id
}

// parseMountinfo returns the mounts of IPC namespaces.
func parseMountinfo(text []byte) (all []held) {
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte(" ipc:[")) {
			continue
		}
		const root, point = 3, 4
		fields := strings.Fields(string(line))
		if len(fields) <= point {
			continue
		}
		if inode, is := namespaceInode(fields[root], "ipc:["); is {
			all = append(all, held{inode, Holder{Kind: HeldByMount, FD: -1, Path: unescaped(fields[point])}})
		}
	}
	return all
}

// unescaped returns a path name of mountinfo, in which spaces and the like are
// in octal, as it is.
func unescaped(path string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(path, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		code, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8)
		if err != nil {
			b.WriteString(`\` + after)
			return b.String()
		}
		b.WriteByte(byte(code))
		path = after[3:]
	}
}

// openMount opens the namespace that is mounted somewhere: through the root of a
// process there, or on a thread that goes there.
func (ns Namespace) openMount(holder Holder) (opened *ipcns.Namespace, err error) {
	if holder.PID != 0 {
		return ns.openPath(fmt.Sprintf("/proc/%d/root%s", holder.PID, holder.Path))
	}
	err = eachMountNamespace(func(fd int, id uint64) (bool, error) {
		if id != holder.MountNamespace {
			return true, nil
		}
		return false, thread.Do(func() error {
			if err := enterMounts(fd); err != nil {
				return err
			}
			opened, err = ns.openPath(holder.Path)
			return err
		})
	})
	if err == nil && opened == nil {
		return nil, unix.ESRCH
	}
	return opened, err
}

// enterMounts puts the calling thread into a mount namespace, for which it has
// to have a working directory of its own.
func enterMounts(fd int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Setns(fd, unix.CLONE_NEWNS)
}
