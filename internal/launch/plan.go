//go:build linux

package launch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

var newIPC = call{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_NEWIPC)}, step: stepIPC}

// newUser makes a user namespace in which outside's ids are seen as inside's.
// The kernel wants setgroups denied before an ordinary user maps a gid; see
// user_namespaces(7).
func newUser(insideUID, outsideUID, insideGID, outsideGID int) []call {
	calls := []call{{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_NEWUSER)}, step: stepUser}}
	calls = append(calls, writeFile("/proc/self/setgroups", "deny", stepMap)...)
	calls = append(calls, writeFile("/proc/self/uid_map", fmt.Sprintf("%d %d 1", insideUID, outsideUID), stepMap)...)
	return append(calls, writeFile("/proc/self/gid_map", fmt.Sprintf("%d %d 1", insideGID, outsideGID), stepMap)...)
}

// writeFile writes the content in one call, as files of /proc want it. The
// descriptor is closed by execve.
func writeFile(path, content string, s step) []call {
	return []call{
		{number: unix.SYS_OPENAT, args: []arg{number(unix.AT_FDCWD), text(path), number(unix.O_WRONLY | unix.O_CLOEXEC)}, pass: true, step: s},
		{number: unix.SYS_WRITE, args: []arg{{}, text(content), number(len(content))}, step: s},
	}
}

// planLimits sets the limits of a fresh namespace.
func planLimits(settings []ipc.LimitSetting) []call {
	limits := ipc.DefaultLimits()
	var calls []call
	for _, setting := range settings {
		*setting.Of(&limits) = setting.Value
		path, content := kernel.LimitFile(setting.Limit, &limits)
		calls = append(calls, writeFile(path, content, limitStep(setting))...)
	}
	return calls
}

// Where the namespace's own file systems are mounted, and a directory that
// every machine has, to build a file system at before it is moved in place.
const (
	mqueuePath = "/dev/mqueue"
	shmPath    = "/dev/shm"
	devPath    = "/dev"
	stagePath  = "/proc"
)

// planMounts gives the program its own mount namespace with what it does not
// share. A mount made there stays there, and one made on the host later is
// seen there too.
func planMounts(ns Namespace) ([]call, error) {
	if !ns.Mqueue && !ns.Shm {
		return nil, nil
	}
	calls := []call{
		{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_NEWNS)}, step: stepMount},
		{number: unix.SYS_MOUNT, args: []arg{text("none"), text("/"), {}, number(unix.MS_REC | unix.MS_SLAVE), {}}, step: stepSlave},
	}
	if ns.Mqueue {
		if _, err := os.Stat(mqueuePath); err != nil {
			dev, err := planDev()
			if err != nil {
				return nil, err
			}
			calls = append(calls, dev...)
		}
		calls = append(calls, mount("mqueue", mqueuePath, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	}
	if ns.Shm {
		if _, err := os.Stat(shmPath); err != nil {
			return nil, mountStep(shmPath).failure(errnoOf(err))
		}
		calls = append(calls, mount("tmpfs", shmPath, unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"))
	}
	return calls, nil
}

func mount(kind, at string, flags uintptr, options string) call {
	return call{number: unix.SYS_MOUNT, args: []arg{text(kind), text(at), text(kind), number(flags), text(options)}, step: mountStep(at)}
}

// planDev gives the program a /dev with all that the host's holds and a place
// for /dev/mqueue. The host's own /dev, which everyone shares, may not get a
// directory from us.
func planDev() ([]call, error) {
	entries, err := os.ReadDir(devPath)
	if err != nil {
		return nil, mountStep(devPath).failure(errnoOf(err))
	}
	calls := []call{mount("tmpfs", stagePath, unix.MS_NOSUID, "mode=755")}
	for _, entry := range entries {
		from, to := filepath.Join(devPath, entry.Name()), filepath.Join(stagePath, entry.Name())
		if entry.Type()&fs.ModeSymlink != 0 {
			if target, err := os.Readlink(from); err == nil {
				calls = append(calls, call{number: unix.SYS_SYMLINKAT, args: []arg{text(target), number(unix.AT_FDCWD), text(to)}, step: mountStep(devPath)})
			}
			continue
		}
		calls = append(calls, place(to, entry.IsDir()), call{
			number: unix.SYS_MOUNT,
			args:   []arg{text(from), text(to), {}, number(unix.MS_BIND | unix.MS_REC), {}},
			except: syscall.ENOENT, // the device has gone
			step:   mountStep(devPath),
		})
	}
	return append(calls,
		place(filepath.Join(stagePath, filepath.Base(mqueuePath)), true),
		call{number: unix.SYS_MOUNT, args: []arg{text(stagePath), text(devPath), {}, number(unix.MS_MOVE), {}}, step: mountStep(devPath)},
	), nil
}

// place makes an empty directory or file to mount on.
func place(path string, directory bool) call {
	if directory {
		return call{number: unix.SYS_MKDIRAT, args: []arg{number(unix.AT_FDCWD), text(path), number(0o755)}, step: mountStep(devPath)}
	}
	return call{number: unix.SYS_MKNODAT, args: []arg{number(unix.AT_FDCWD), text(path), number(unix.S_IFREG | 0o644), {}}, step: mountStep(devPath)}
}
