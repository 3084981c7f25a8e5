package sys

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nsGetID is NS_GET_ID of the kernel's linux/nsfs.h: _IOR(0xb7, 0xd, __u64).
const nsGetID = 0x8008b70d

// NamespaceID returns the number that names the namespace behind an nsfs
// descriptor until the machine stops. ENOTTY: the kernel is too old to tell.
func NamespaceID(fd int) (uint64, error) {
	var id uint64
	if _, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), nsGetID, uintptr(unsafe.Pointer(&id))); errno != 0 {
		return 0, errno
	}
	return id, nil
}

// NamespaceOwner returns a descriptor of the user namespace that owns the
// namespace behind fd. EPERM: it is not the caller's own nor below it.
func NamespaceOwner(fd int) (int, error) {
	return unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
}

// UserNamespaceUID returns the user id that created the user namespace
// behind fd, as the caller's own user namespace shows it.
func UserNamespaceUID(fd int) (uint32, error) {
	return unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID)
}

// NamespaceType returns the CLONE_NEW* flag of the namespace behind fd; an
// error means that fd is no namespace.
func NamespaceType(fd int) (int, error) {
	return unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
}

// NsfsMagic is the magic number of nsfs, in statfs(2).
const NsfsMagic = 0x6e736673

// OpenNamespace opens a namespace by what names it until the machine stops, a
// type and an inode number. ESTALE: there is none, or it takes CAP_SYS_ADMIN in
// its user namespace.
func OpenNamespace(id uint64, kind, inode uint32) (int, error) {
	const root = -10003 // FD_NSFS_ROOT
	const handleType = 0xf1
	var bytes [16]byte
	binary.NativeEndian.PutUint64(bytes[:], id)
	binary.NativeEndian.PutUint32(bytes[8:], kind)
	binary.NativeEndian.PutUint32(bytes[12:], inode)
	return unix.OpenByHandleAt(root, unix.NewFileHandle(handleType, bytes[:]), unix.O_RDONLY|unix.O_CLOEXEC)
}
