//go:build linux

package launch

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where the namespace's own file systems are mounted.
const (
	devPath    = "/dev"
	mqueuePath = "/dev/mqueue"
	shmPath    = "/dev/shm"
)

// planMounts gives the program its own mount namespace with what it does not
// share. A mount made there stays there, and one made on the host later is
// seen there too. For release see planNamespace.
func planMounts(ns Namespace, inUser bool) (calls []call, release func(), err error) {
	release = func() {}
	if !ns.Mqueue && !ns.Shm {
		return nil, release, nil
	}
	if ns.Shm {
		if _, err := os.Stat(shmPath); err != nil {
			return nil, nil, mountStep(shmPath).failure(errnoOf(err))
		}
	}
	calls = slices.Clone(newMount)
	if ns.Mqueue {
		var dev []call
		if dev, release, err = planDev(inUser); err != nil {
			return nil, nil, err
		}
		calls = append(append(calls, dev...), mountMqueue(mqueuePath))
	}
	if ns.Shm {
		calls = append(calls, mount("tmpfs", shmPath, unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"))
	}
	return calls, release, nil
}

// newMount makes a mount namespace that follows the host's.
var newMount = []call{
	{number: unix.SYS_UNSHARE, args: []arg{number(unix.CLONE_NEWNS)}, step: stepMount},
	{number: unix.SYS_MOUNT, args: []arg{text("none"), text("/"), {}, number(unix.MS_REC | unix.MS_SLAVE), {}}, step: stepSlave},
}

func mountMqueue(at string) call {
	return mount("mqueue", at, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// planDev makes sure that there is a directory to mount /dev/mqueue on. The
// host's own /dev, which everyone shares, may not get one from us: where it
// has none, the program gets a /dev with all that the host's holds, and that.
func planDev(inUser bool) (calls []call, release func(), err error) {
	if _, err := os.Stat(mqueuePath); err == nil {
		return nil, func() {}, nil
	}
	// The host's /dev, as the mount namespace shows it.
	fds, release, err := reserve(1)
	if err != nil {
		return nil, nil, err
	}
	fd := fds[0]
	open := call{number: unix.SYS_OPENAT, args: []arg{number(unix.AT_FDCWD), text(devPath), number(unix.O_PATH | unix.O_CLOEXEC)}, pass: true, step: stepDev}
	contents := overlayDev
	if inUser || !initialUserNamespace() {
		// A copy, in which what is mounted at /dev from now on is not.
		open = call{number: unix.SYS_OPEN_TREE, args: []arg{number(unix.AT_FDCWD), text(devPath), number(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE)}, pass: true, step: stepDev}
		contents = bindDev
	}
	calls = []call{
		open,
		{number: unix.SYS_DUP3, args: []arg{{}, number(fd), number(unix.O_CLOEXEC)}, spend: true, step: stepDev},
		mount("tmpfs", devPath, unix.MS_NOSUID, "mode=755"),
		place(mqueuePath, true),
	}
	filled, err := contents(fd)
	if err != nil {
		release()
		return nil, nil, err
	}
	return append(calls, filled...), release, nil
}

// reserve returns descriptors whose numbers a plan may use until release. They
// are above those of a side's files.
func reserve(count int) (fds []int, release func(), err error) {
	const above = 64
	release = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	dev, err := unix.Open(devPath, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, stepDev.failure(errnoOf(err))
	}
	defer unix.Close(dev)
	for range count {
		fd, err := unix.FcntlInt(uintptr(dev), unix.F_DUPFD_CLOEXEC, above)
		if err != nil {
			release()
			return nil, nil, stepDev.failure(errnoOf(err))
		}
		fds = append(fds, fd)
	}
	return fds, release, nil
}

// initialUserNamespace reports whether the process is in the machine's first
// user namespace; the inode number is PROC_USER_INIT_INO of linux/proc_ns.h.
func initialUserNamespace() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &st) == nil && st.Ino == 0xEFFFFFFD
}

// overlayDev lays the host's /dev over what is at /dev, and brings along what
// is mounted below it.
func overlayDev(fd int) ([]call, error) {
	host := "/proc/self/fd/" + strconv.Itoa(fd)
	below, err := mountPointsBelow(devPath)
	if err != nil {
		return nil, stepDev.failure(errnoOf(err))
	}
	calls := []call{mount("overlay", devPath, unix.MS_NOSUID, "lowerdir="+devPath+":"+host)}
	for _, path := range below {
		calls = append(calls, bind(host+strings.TrimPrefix(path, devPath), path))
	}
	return calls, nil
}

// hostDev is where bindDev keeps the host's /dev.
const hostDev = ".host"

// bindDev binds each entry of the host's /dev into what is at /dev: in a user
// namespace, devices cannot be opened through an overlay.
func bindDev(fd int) ([]call, error) {
	entries, err := os.ReadDir(devPath)
	if err != nil {
		return nil, stepDev.failure(errnoOf(err))
	}
	whole := filepath.Join(devPath, hostDev)
	calls := []call{
		place(whole, true),
		{number: unix.SYS_MOVE_MOUNT, args: []arg{number(fd), text(""), number(unix.AT_FDCWD), text(whole), number(unix.MOVE_MOUNT_F_EMPTY_PATH)}, step: stepDev},
	}
	for _, entry := range entries {
		path := filepath.Join(devPath, entry.Name())
		switch {
		case entry.Type()&fs.ModeSymlink != 0:
			if target, err := os.Readlink(path); err == nil {
				calls = append(calls, link(target, path))
			}
		case entry.Name() == "ptmx":
			// The kernel looks for pts beside the file itself, and so does
			// not take one that is bound alone.
			calls = append(calls, link(filepath.Join(hostDev, entry.Name()), path))
		default:
			calls = append(calls, place(path, entry.IsDir()), bind(filepath.Join(whole, entry.Name()), path))
		}
	}
	return calls, nil
}

// mountPointsBelow returns where something is mounted below the directory,
// without what is below another of them; see proc_pid_mountinfo(5).
func mountPointsBelow(dir string) ([]string, error) {
	file, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var points []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescapeOctal(fields[4])
		if strings.HasPrefix(point, dir+"/") && !containsParent(points, point) {
			points = append(points, point)
		}
	}
	return points, nil
}

func containsParent(paths []string, path string) bool {
	for _, p := range paths {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// unescapeOctal undoes what the kernel does to blanks and backslashes.
var unescapeOctal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

func mount(kind, at string, flags uintptr, options string) call {
	return call{number: unix.SYS_MOUNT, args: []arg{text(kind), text(at), text(kind), number(flags), text(options)}, step: mountStep(at)}
}

// bind shows a part of the host's /dev at a path of the program's. A device
// may have gone since.
func bind(from, to string) call {
	return call{number: unix.SYS_MOUNT, args: []arg{text(from), text(to), {}, number(unix.MS_BIND | unix.MS_REC), {}}, except: syscall.ENOENT, step: stepDev}
}

func link(target, path string) call {
	return call{number: unix.SYS_SYMLINKAT, args: []arg{text(target), number(unix.AT_FDCWD), text(path)}, step: stepDev}
}

// place makes an empty directory or file to mount on.
func place(path string, directory bool) call {
	if directory {
		return call{number: unix.SYS_MKDIRAT, args: []arg{number(unix.AT_FDCWD), text(path), number(0o755)}, step: stepDev}
	}
	return call{number: unix.SYS_MKNODAT, args: []arg{number(unix.AT_FDCWD), text(path), number(unix.S_IFREG | 0o644), {}}, step: stepDev}
}
