//go:build linux

// Package ipcns holds IPC namespaces in hand: it makes them, opens those of
// other processes, runs functions and programs in them. See
// ipc_namespaces(7).
//
// A Go process may have its threads in different IPC namespaces. [Namespace.Do]
// runs a function on a thread in a namespace, and everything that package
// kernel does there is done to that namespace; the rest of the process stays
// where it is.
package ipcns

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/internal/thread"
	"golang.org/x/sys/unix"
)

// A Namespace is an IPC namespace, kept alive until [Namespace.Close]. Its
// methods may be called from any goroutine, several at a time.
type Namespace struct {
	file  *os.File // of nsfs
	inode uint64
}

// New makes an IPC namespace: empty, with the default limits. No thread of
// the caller enters it. It takes CAP_SYS_ADMIN (EPERM) and one of the
// namespaces that user.max_ipc_namespaces allows (ENOSPC).
func New() (*Namespace, error) {
	var ns *Namespace
	err := thread.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil {
			return newFailure(err)
		}
		var err error
		ns, err = Current()
		return err
	})
	return ns, err
}

// A failure is an error in words of its own, with the errno behind it.
type failure struct {
	text  string
	errno error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.errno }

func fail(errno error, format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errno}
}

func newFailure(err error) error {
	switch err {
	case unix.EPERM:
		return fail(err, "cannot make an IPC namespace: it takes CAP_SYS_ADMIN")
	case unix.ENOSPC:
		return fail(err, "cannot make an IPC namespace: there are as many as sysctl user.max_ipc_namespaces allows")
	}
	return fmt.Errorf("cannot make an IPC namespace: %w", err)
}

// Current opens the IPC namespace of the calling thread: the process's own,
// but for a goroutine that runs inside [Namespace.Do].
func Current() (*Namespace, error) { return OpenPath("/proc/thread-self/ns/ipc") }

// OpenPID opens the IPC namespace of a process: that of its main thread. It
// takes permission to trace the process (EACCES), see ptrace(2).
func OpenPID(pid int) (*Namespace, error) {
	ns, err := OpenPath("/proc/" + strconv.Itoa(pid) + "/ns/ipc")
	switch {
	case err == nil:
		return ns, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return nil, fail(unix.ESRCH, "cannot open the IPC namespace of process %d: there is no such process", pid)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, fail(unix.EACCES, "cannot open the IPC namespace of process %d: it is not yours to trace", pid)
	}
	return nil, err
}

// OpenPath opens the IPC namespace at a path: a file under /proc/PID/ns, or
// one that such a file is bind-mounted on. EINVAL: the file is something else.
func OpenPath(path string) (*Namespace, error) {
	// A file that is no namespace could be a fifo, which would block.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open IPC namespace %s: %w", path, err.(*os.PathError).Err)
	}
	return fromFile(file, path)
}

// OpenFD opens the IPC namespace behind a descriptor. The descriptor stays
// the caller's.
func OpenFD(fd int) (*Namespace, error) {
	name := "behind descriptor " + strconv.Itoa(fd)
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open IPC namespace %s: %w", name, err)
	}
	return fromFile(os.NewFile(uintptr(own), name), name)
}

// fromFile takes the file over.
func fromFile(file *os.File, name string) (*Namespace, error) {
	kind, err := sys.NamespaceType(int(file.Fd()))
	if err != nil || kind != unix.CLONE_NEWIPC {
		file.Close()
		return nil, fail(unix.EINVAL, "cannot open IPC namespace %s: it is something else", name)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot open IPC namespace %s: %w", name, err)
	}
	return &Namespace{file: file, inode: st.Ino}, nil
}

// Close lets go of the namespace. The kernel ends it when no process, mount
// or descriptor holds it any more.
func (ns *Namespace) Close() error { return ns.file.Close() }

// control calls f with the descriptor, which Close does not close meanwhile: a
// number that is used again would be another namespace. EBADF: it is closed.
func (ns *Namespace) control(f func(fd int) error) error {
	conn, err := ns.file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := conn.Control(func(fd uintptr) { failure = f(int(fd)) }); err != nil {
		return unix.EBADF
	}
	return failure
}

// File returns the nsfs file of the namespace, which is valid until
// [Namespace.Close]; setns(2) takes its descriptor.
func (ns *Namespace) File() *os.File { return ns.file }

// ID returns the number that the kernel gives no other namespace until the
// machine stops. It takes a kernel that can tell (ENOTTY): Linux 6.18.
func (ns *Namespace) ID() (uint64, error) {
	var id uint64
	err := ns.control(func(fd int) (err error) {
		id, err = sys.NamespaceID(fd)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot read the kernel's id of %s: %w", ns, err)
	}
	return id, nil
}

// Inode returns the inode number of the namespace. Two namespaces that exist
// at the same time have different ones, but a new one may get that of one
// that has ended.
func (ns *Namespace) Inode() uint64 { return ns.inode }

// String returns the namespace as the kernel prints it: ipc:[4026531839].
func (ns *Namespace) String() string { return "ipc:[" + strconv.FormatUint(ns.inode, 10) + "]" }

// InitialInode is the inode number of the machine's first IPC namespace:
// PROC_IPC_INIT_INO of the kernel's linux/proc_ns.h.
const InitialInode = 0xEFFFFFFF

// Initial reports whether this is the namespace that the machine started with.
func (ns *Namespace) Initial() bool { return ns.inode == InitialInode }

// Owner opens the user namespace that the namespace belongs to. The file is
// the caller's to close. EPERM: it is neither the caller's own user namespace
// nor below it.
func (ns *Namespace) Owner() (*os.File, error) {
	var owner int
	err := ns.control(func(fd int) (err error) {
		owner, err = sys.NamespaceOwner(fd)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open the owner of %s: %w", ns, err)
	}
	return os.NewFile(uintptr(owner), ns.String()+"'s user namespace"), nil
}

// OwnerUID returns the user who made the user namespace that the namespace
// belongs to, as a user id of the caller's user namespace. For errors see
// [Namespace.Owner].
func (ns *Namespace) OwnerUID() (uint32, error) {
	owner, err := ns.Owner()
	if err != nil {
		return 0, err
	}
	defer owner.Close()
	uid, err := sys.UserNamespaceUID(int(owner.Fd()))
	if err != nil {
		return 0, fmt.Errorf("cannot read the owner of %s: %w", ns, err)
	}
	return uid, nil
}
