//go:build linux

package kernel

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// mqueueDir opens the directory of the thread's POSIX queues by a mount that
// is never attached anywhere, so no mount point is needed and none is seen
// (SEMANTICS C.2). It needs CAP_SYS_ADMIN; without it the mount at
// /dev/mqueue serves, if it shows this namespace.
func mqueueDir() (*os.File, error) {
	context, err := unix.Fsopen("mqueue", unix.FSOPEN_CLOEXEC)
	if err == nil {
		defer unix.Close(context)
		return mountDetached(context)
	}
	if err != unix.EPERM {
		return nil, os.NewSyscallError("fsopen", err)
	}
	return ownMqueueMount()
}

func mountDetached(context int) (*os.File, error) {
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOATIME)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(fd)
	// The descriptor of a mount is for path names only: it cannot be read.
	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	return os.NewFile(uintptr(dir), "mqueue"), nil
}

// mqueueMagic is MQUEUE_MAGIC of the kernel's ipc/mqueue.c, in statfs(2).
const mqueueMagic = 0x19800202

// ownMqueueMount opens /dev/mqueue. What it shows is the namespace of whoever
// mounted it. Whether that is the thread's shows in a queue, which has the same
// device number if it is opened by name; a mount without one is believed.
func ownMqueueMount() (*os.File, error) {
	fd, err := unix.Open("/dev/mqueue", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err == unix.EPERM { // only its owner may leave the time of access as it is
		fd, err = unix.Open("/dev/mqueue", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, noMqueues()
	}
	dir := os.NewFile(uintptr(fd), "/dev/mqueue")
	if own, err := isOwnMqueueMount(dir); err != nil || !own {
		dir.Close()
		return nil, cmp.Or(err, noMqueues())
	}
	return dir, nil
}

func isOwnMqueueMount(dir *os.File) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil || fs.Type != mqueueMagic {
		return false, err
	}
	names, err := dir.Readdirnames(1)
	if err == io.EOF {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	var mount unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &mount); err != nil {
		return false, err
	}
	device, errno := mqueueDevice(names[0])
	// A queue that may not be opened is there all the same.
	return errno == unix.EACCES || errno == 0 && device == mount.Dev, nil
}

// mqueueDevice returns the device number of a POSIX queue of the thread's
// namespace, whose name is given without its slash.
func mqueueDevice(name string) (uint64, syscall.Errno) {
	fd, errno := sys.MqOpen(name, unix.O_RDONLY, 0, nil)
	if errno != 0 {
		return 0, errno
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, unix.EBADF
	}
	return st.Dev, 0
}

// noMqueues returns why an ordinary user may not see the POSIX queues.
func noMqueues() error {
	return fmt.Errorf("%w; it takes CAP_SYS_ADMIN, or this namespace's mqueue mount at /dev/mqueue", unix.EPERM)
}

// supervised returns the POSIX queues of a thread that a supervisor of ours
// serves. ENOENT: none does.
func supervised() (queues []ipc.MqueueStat, err error) {
	text, err := os.ReadFile(sys.MqueuesFile)
	if err != nil {
		return nil, err
	}
	return queues, json.Unmarshal(text, &queues)
}

// MqCount returns how many POSIX queues there are.
func (System) MqCount() (int, error) {
	if queues, err := supervised(); err == nil {
		return len(queues), nil
	}
	dir, err := mqueueDir()
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return len(names), err
}

// MqDevice returns the device number of the file system of the POSIX queues, which
// no other namespace's has; see stat(2). EPERM: this user may not see it.
func (System) MqDevice() (uint64, error) {
	dir, err := mqueueDir()
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	var st unix.Stat_t
	err = unix.Fstat(int(dir.Fd()), &st)
	return st.Dev, err
}

// MqList returns the POSIX queues by name. It opens and closes each, so a
// registration of this process by mq_notify ends (SEMANTICS A.7.14), and reads
// each, which changes its times of access and of change.
func (System) MqList() ([]ipc.MqueueStat, error) { return mqueues(readMqueue) }

// MqLook is MqList without Bytes and NotifyPID. It changes no times.
func (System) MqLook() ([]ipc.MqueueStat, error) {
	return mqueues(func(int, *ipc.MqueueStat) error { return nil })
}

// MqUsed returns when a message was last sent to the POSIX queue or received from it,
// or when it was made. ENOSYS: who serves this thread does not tell that.
func (System) MqUsed(name string) (used time.Time, err error) {
	err = withMqueueFile(name, func(dir int, file string) error {
		var st unix.Stat_t
		err := unix.Fstatat(dir, file, &st, unix.AT_SYMLINK_NOFOLLOW)
		used = time.Unix(st.Mtim.Unix())
		return err
	})
	return used, err
}

// MqChmod sets the nine permission bits of a POSIX queue. EPERM: that takes its owner
// or a privilege, and the namespace's mqueue mount at /dev/mqueue or CAP_SYS_ADMIN;
// ENOSYS: who serves this thread has no way to do that.
func (System) MqChmod(name string, mode uint32) error {
	return withMqueueFile(name, func(dir int, file string) error { return unix.Fchmodat(dir, file, mode, 0) })
}

// withMqueueFile calls f with the directory of the POSIX queues, and the name that a
// queue has there.
func withMqueueFile(name string, f func(dir int, file string) error) error {
	if _, err := supervised(); err == nil {
		return unix.ENOSYS
	}
	file, found := strings.CutPrefix(name, "/")
	if !found {
		return unix.EINVAL
	}
	if file == "" || file == "." || file == ".." || strings.Contains(file, "/") {
		return unix.ENOENT // no queue is called that
	}
	dir, err := mqueueDir()
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(int(dir.Fd()), file)
}

// mqueues returns the POSIX queues by name. For those that may be opened, more
// completes what is known without reading them.
func mqueues(more func(fd int, queue *ipc.MqueueStat) error) ([]ipc.MqueueStat, error) {
	if queues, err := supervised(); err == nil {
		return queues, nil
	}
	dir, err := mqueueDir()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	queues := make([]ipc.MqueueStat, 0, len(names))
	for _, name := range names {
		queue, err := mqueueStat(int(dir.Fd()), name, more)
		if err == unix.ENOENT {
			continue // unlinked since the names were read
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read POSIX message queue /%s: %w", name, err)
		}
		queues = append(queues, queue)
	}
	slices.SortFunc(queues, func(a, b ipc.MqueueStat) int { return cmp.Compare(a.Name, b.Name) })
	return queues, nil
}

func mqueueStat(dir int, name string, more func(fd int, queue *ipc.MqueueStat) error) (ipc.MqueueStat, error) {
	var st unix.Stat_t
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.EACCES {
		err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		queue := mqueueOf(name, &st)
		queue.Unreadable = true
		return queue, err
	}
	if err != nil {
		return ipc.MqueueStat{}, err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return ipc.MqueueStat{}, err
	}
	queue := mqueueOf(name, &st)
	var attr sys.MqAttr
	if errno := sys.MqGetattr(fd, &attr); errno != 0 {
		return ipc.MqueueStat{}, errno
	}
	queue.Attr = ipc.MqAttr{Maxmsg: attr.Maxmsg, Msgsize: attr.Msgsize, Curmsgs: attr.Curmsgs}
	return queue, more(fd, &queue)
}

// readMqueue reads what the file of a queue says; its format is that of
// mq_overview(7).
func readMqueue(fd int, queue *ipc.MqueueStat) error {
	var line [128]byte
	n, err := unix.Read(fd, line[:])
	if err != nil {
		return err
	}
	var notify, signo int
	_, err = fmt.Sscanf(string(line[:n]), "QSIZE:%d NOTIFY:%d SIGNO:%d NOTIFY_PID:%d", &queue.Bytes, &notify, &signo, &queue.NotifyPID)
	return err
}

func mqueueOf(name string, st *unix.Stat_t) ipc.MqueueStat {
	return ipc.MqueueStat{Name: "/" + name, UID: st.Uid, GID: st.Gid, Mode: st.Mode & 0o7777, Inode: st.Ino}
}
