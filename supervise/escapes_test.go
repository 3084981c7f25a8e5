//go:build linux

package supervise_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// The roles of the process that has objects of the kernel's, of its child that
// tries to get at them from under a supervisor, and of one that this debugs.
const (
	outsideRole = "have objects that nobody is to get at"
	escapeRole  = "try to get at the objects of the kernel"
	traceeRole  = "make a call when told to"
)

// The objects outside.
const (
	outsideKey  = 4242
	outsideName = "outside"
)

// TestNothingLeadsToTheKernelsObjects tries to see and to change those of the
// kernel's namespace that a supervised program is in.
func TestNothingLeadsToTheKernelsObjects(t *testing.T) {
	for name := range escapes {
		t.Run(name, func(t *testing.T) {
			cmd := ipctest.Apart(t, listening(t, newSupervisor(t), ipctest.Again(outsideRole, name)))
			cmd.Dir = t.TempDir()
			output, err := cmd.CombinedOutput()
			if err != nil || len(output) > 0 {
				t.Errorf("%s(%v)", output, err)
			}
		})
	}
}

// beOutside makes objects of the kernel's, has a program try to escape, and
// prints what has changed.
func beOutside() error {
	if err := mountQueues(); err != nil {
		return err
	}
	if _, err := unix.SysvShmGet(outsideKey, 4096, ipc.Creat|0o666); err != nil {
		return err
	}
	if _, err := ipctest.Semget(outsideKey, 1, ipc.Creat|0o666); err != nil {
		return err
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_MSGGET, outsideKey, ipc.Creat|0o666, 0); errno != 0 {
		return errno
	}
	fd, err := ipctest.MqOpen(outsideName, unix.O_CREAT|unix.O_RDWR, 0o666, nil)
	if err != nil {
		return err
	}
	unix.Close(fd)
	before := outside()
	cmd := ipctest.Again(roleRole, escapeRole, os.Args[1])
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{os.NewFile(3, "socket")}
	if err := cmd.Run(); err != nil {
		return err
	}
	if after := outside(); after != before {
		fmt.Printf("there were\n%s\nand are\n%s\n", before, after)
	}
	return nil
}

// mountQueues shows the kernel's POSIX queues where programs look for them: in a
// /dev of this process's own, as the machine's may have no such directory.
func mountQueues() error {
	if err := unix.Mount("dev", "/dev", "tmpfs", 0, ""); err != nil {
		return err
	}
	if err := os.Mkdir("/dev/mqueue", 0o777); err != nil {
		return err
	}
	if err := os.Symlink("/proc/self/fd", "/dev/fd"); err != nil {
		return err
	}
	if err := os.WriteFile("/dev/null", nil, 0o666); err != nil {
		return err
	}
	return unix.Mount("mqueue", "/dev/mqueue", "mqueue", 0, "")
}

// outside is what there is of the kernel's.
func outside() string {
	var all strings.Builder
	for _, table := range []string{"msg", "sem", "shm"} {
		text, err := os.ReadFile("/proc/sysvipc/" + table)
		fmt.Fprintf(&all, "%s%v\n", text, err)
	}
	queues, err := filepath.Glob("/dev/mqueue/*")
	fmt.Fprintln(&all, queues, err)
	return all.String()
}

func escape() error {
	runtime.LockOSThread()
	return escapes[os.Args[1]]()
}

// escapes are the ways out that are tried. They return how far they have come.
var escapes = map[string]func() error{
	"System V calls":          trySystemV,
	"calls of 32 bits":        tryCompat,
	"names of tables":         tryTables,
	"names of queues":         tryQueues,
	"names in calls of i386":  tryCompatNames,
	"new kernel namespaces":   tryNamespaces,
	"mounts":                  tryMounts,
	"a debugger":              tryDebugger,
	"another mount of /proc":  tryAnotherProc,
	"other users and threads": tryUsers,
}

// reached is an error if a key is known.
func reached(by string, id uintptr, errno syscall.Errno) error {
	if errno == 0 {
		return fmt.Errorf("%s gets at %d", by, id)
	}
	return nil
}

func trySystemV() error {
	for by, number := range map[string]uintptr{"msgget": unix.SYS_MSGGET, "semget": unix.SYS_SEMGET, "shmget": unix.SYS_SHMGET} {
		id, _, errno := syscall.RawSyscall(number, outsideKey, 0, 0)
		if err := reached(by, id, errno); err != nil {
			return err
		}
		const x32 = 0x40000000
		if id, _, errno = syscall.RawSyscall(x32|number, outsideKey, 0, 0); errno != syscall.ENOSYS {
			return fmt.Errorf("%s of x32: %d, %w", by, id, errno)
		}
	}
	return nil
}

// tryCompat makes the calls of IPC that i386 has.
func tryCompat() error {
	if compat == nil {
		return nil
	}
	for number := uintptr(0); number < 512; number++ {
		if number != 117 && (number < 277 || number > 282) && (number < 393 || number > 402) && (number < 418 || number > 420) {
			continue
		}
		for subcall := range uintptr(25) { // of ipc(2), and keys of others
			if result := int32(compat(number, subcall, outsideKey, 0, 0, 0)); syscall.Errno(-result) != syscall.ENOSYS {
				return fmt.Errorf("call %d of i386 returns %d", number, result)
			}
		}
	}
	return nil
}

// tables are paths of tables of objects, from a directory with links.
func tables() []string {
	all := []string{
		"//proc/.//sysvipc/../sysvipc/%s", "/proc/self/root/proc/sysvipc/%s", "/proc/thread-self/root/proc/sysvipc/%s",
		"linked/%s", "proc/sysvipc/%s", "/proc/self/cwd/linked/%s", "/dev/fd/9/%s", "/proc/self/fd/9/%s", "/proc/self/fd/../fd/9/%s",
		fmt.Sprintf("/proc/%d/root/proc/sysvipc/", os.Getpid()) + "%s", fmt.Sprintf("/proc/%d/cwd/linked/", os.Getpid()) + "%s",
	}
	var paths []string
	for _, pattern := range all {
		for _, table := range []string{"msg", "sem", "shm"} {
			paths = append(paths, fmt.Sprintf(pattern, table))
		}
	}
	return paths
}

// withLinks makes the links that tables has, and descriptor 9.
func withLinks() error {
	if err := os.Symlink("/proc/sysvipc", "linked"); err != nil {
		return err
	}
	if err := os.Symlink("/proc", "proc"); err != nil {
		return err
	}
	fd, err := unix.Open("/proc/sysvipc", unix.O_PATH, 0)
	if err != nil {
		return err
	}
	return unix.Dup2(fd, 9)
}

func tryTables() error {
	if err := withLinks(); err != nil {
		return err
	}
	for _, path := range tables() {
		if err := lookInto(path, unix.AT_FDCWD, path); err != nil {
			return err
		}
	}
	if err := lookInto("a directory's descriptor", 9, "msg"); err != nil {
		return err
	}
	for _, resolve := range []uint64{0, unix.RESOLVE_NO_SYMLINKS, unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT} {
		for dir, name := range map[string]string{"/proc/sysvipc": "msg", "/proc": "sysvipc/msg", "/": "proc/sysvipc/msg"} {
			dirfd, err := unix.Open(dir, unix.O_PATH, 0)
			if err != nil {
				return err
			}
			fd, err := unix.Openat2(dirfd, name, &unix.OpenHow{Resolve: resolve})
			if err == nil {
				err = noneIn("openat2", fd)
			}
			if err != nil {
				return fmt.Errorf("openat2 of %s in %s with %#x: %w", name, dir, resolve, err)
			}
		}
	}
	if err := os.Chdir("/proc/sysvipc"); err != nil {
		return err
	}
	return lookInto("the current directory", unix.AT_FDCWD, "msg")
}

// lookInto looks for the objects outside in a file.
func lookInto(by string, dirfd int, path string) error {
	fd, err := unix.Openat(dirfd, path, 0, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", by, err)
	}
	return noneIn(by, fd)
}

func noneIn(by string, fd int) error {
	file := os.NewFile(uintptr(fd), by)
	defer file.Close()
	text := make([]byte, 1<<12)
	n, err := file.Read(text)
	if err != nil || strings.Contains(string(text[:n]), fmt.Sprint(outsideKey)) {
		return fmt.Errorf("%s shows %s(%w)", by, text[:n], err)
	}
	return nil
}

// tryQueues gets at POSIX queues by the names of files.
func tryQueues() error {
	dirfd, err := unix.Open("/dev", unix.O_PATH, 0)
	if err != nil {
		return err
	}
	if err := os.Symlink("/dev/mqueue", "mqueue"); err != nil {
		return err
	}
	for _, dir := range []string{"/dev/mqueue/", "/dev//./mqueue/", "mqueue/", "/proc/self/root/dev/mqueue/", "/proc/self/cwd/mqueue/"} {
		for _, name := range []string{outsideName, "another"} {
			if err := tryQueue(unix.AT_FDCWD, dir+name); err != nil {
				return err
			}
		}
	}
	if entries, err := os.ReadDir("/dev/mqueue"); err == nil {
		return fmt.Errorf("there are %v", entries)
	}
	return tryQueue(dirfd, "mqueue/"+outsideName)
}

func tryQueue(dirfd int, path string) error {
	for by, try := range map[string]func() error{
		"open":    func() error { return second(unix.Openat(dirfd, path, unix.O_RDONLY, 0)) },
		"create":  func() error { return second(unix.Openat(dirfd, path, unix.O_CREAT|unix.O_RDWR, 0o666)) },
		"mknodat": func() error { return unix.Mknodat(dirfd, path, unix.S_IFREG|0o666, 0) },
		"remove":  func() error { return unix.Unlinkat(dirfd, path, 0) },
	} {
		if err := try(); err == nil {
			return fmt.Errorf("%s %s works", by, path)
		}
	}
	return nil
}

func second[T any](_ T, err error) error { return err }

// tryCompatNames does the same with the calls of i386.
func tryCompatNames() error {
	if compat == nil {
		return nil
	}
	low, _, errno := syscall.Syscall6(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|mapLow, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	memory := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&low))), 4096)
	at := func(path string) uintptr {
		copy(memory, path+"\x00")
		return low
	}
	const i386AtCwd = uintptr(uint32(0xffffff9c))
	for _, path := range []string{"/dev/mqueue/" + outsideName, "/dev/mqueue/another", "//dev/mqueue/../mqueue/" + outsideName} {
		for by, try := range map[string]func() uintptr{
			"open":     func() uintptr { return compat(5, at(path), 0, 0, 0, 0) },
			"creat":    func() uintptr { return compat(8, at(path), 0o666, 0, 0, 0) },
			"unlink":   func() uintptr { return compat(10, at(path), 0, 0, 0, 0) },
			"mknod":    func() uintptr { return compat(14, at(path), unix.S_IFREG|0o666, 0, 0, 0) },
			"openat":   func() uintptr { return compat(295, i386AtCwd, at(path), unix.O_CREAT|unix.O_RDWR, 0o666, 0) },
			"mknodat":  func() uintptr { return compat(297, i386AtCwd, at(path), unix.S_IFREG|0o666, 0, 0) },
			"unlinkat": func() uintptr { return compat(301, i386AtCwd, at(path), 0, 0, 0) },
		} {
			if result := int32(try()); result >= 0 {
				return fmt.Errorf("%s of %s by int 0x80 returns %d", by, path, result)
			}
		}
	}
	fd := int32(compat(5, at("/proc/sysvipc/msg"), 0, 0, 0, 0))
	if fd < 0 {
		return fmt.Errorf("open by int 0x80: %w", syscall.Errno(-fd))
	}
	if err := noneIn("open by int 0x80", int(fd)); err != nil {
		return err
	}
	for by, number := range map[string]uintptr{"unshare": 310, "clone": 120} {
		if result := int32(compat(number, unix.CLONE_NEWIPC, 0, 0, 0, 0)); result >= 0 {
			return fmt.Errorf("%s by int 0x80 makes an IPC namespace of the kernel's", by)
		}
	}
	if result := syscall.Errno(-int32(compat(435, 0, 0, 0, 0, 0))); result != syscall.ENOSYS {
		return fmt.Errorf("clone3 by int 0x80: %w", result)
	}
	return nil
}

func tryNamespaces() error {
	if _, _, errno := syscall.RawSyscall(unix.SYS_CLONE, unix.CLONE_NEWIPC|uintptr(unix.SIGCHLD), 0, 0); errno != syscall.EPERM {
		return fmt.Errorf("clone: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); errno != syscall.ENOSYS {
		return fmt.Errorf("clone3: %w", errno)
	}
	fd, err := unix.Open("/proc/self/ns/ipc", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	for _, kind := range []int{0, unix.CLONE_NEWIPC} {
		if err := unix.Setns(fd, kind); err != unix.EPERM {
			return fmt.Errorf("setns: %w", err)
		}
	}
	pidfd, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		return err
	}
	if err := unix.Setns(pidfd, unix.CLONE_NEWIPC|unix.CLONE_NEWUTS); err != unix.EPERM {
		return fmt.Errorf("setns of a pidfd: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil {
		return err
	}
	return trySystemV()
}

func tryMounts() error {
	if err := os.Mkdir("here", 0o777); err != nil {
		return err
	}
	if err := unix.Mount("x", "here", "mqueue", 0, ""); err != unix.EPERM {
		return fmt.Errorf("mount: %w", err)
	}
	if _, err := unix.Fsopen("mqueue", 0); err != unix.EPERM {
		return fmt.Errorf("fsopen: %w", err)
	}
	return nil
}

// tryAnotherProc looks into a /proc that is mounted elsewhere.
func tryAnotherProc() error {
	if err := os.Mkdir("here", 0o777); err != nil {
		return err
	}
	if err := unix.Mount("proc", "here", "proc", 0, ""); err != nil {
		return nil // it takes a PID namespace of one's own
	}
	return lookInto("another /proc", unix.AT_FDCWD, "here/sysvipc/msg")
}

// tryUsers becomes another user, who has all capabilities in a user namespace.
func tryUsers() error {
	for _, flags := range []int{unix.CLONE_NEWUSER, unix.CLONE_NEWUSER | unix.CLONE_NEWIPC | unix.CLONE_NEWNS} {
		cmd := ipctest.Again(escapeRole, "System V calls")
		cmd.SysProcAttr.Unshareflags = uintptr(flags)
		output, err := cmd.CombinedOutput()
		if len(output) > 0 && err != nil {
			return fmt.Errorf("%s%w", output, err)
		}
	}
	return nil
}

// tryDebugger changes the number of a call of another process's, where it stops
// at its beginning.
func tryDebugger() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args, cmd.Env = []string{"tracee"}, ipctest.Again(traceeRole).Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return err
	}
	result, err := changeCall(pid)
	unix.PtraceDetach(pid)
	cmd.Process.Kill()
	cmd.Wait()
	if err == nil && syscall.Errno(-result) != syscall.ENOENT {
		err = fmt.Errorf("a call that was changed to msgget returns %d", result)
	}
	return err
}
