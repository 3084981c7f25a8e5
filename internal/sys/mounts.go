package sys

import (
	"bytes"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls 457 and 458 have these numbers on every architecture.
const (
	sysStatmount = 457
	sysListmount = 458
)

// ioctls of the kernel's linux/nsfs.h, on descriptors of mount namespaces.
const (
	nsMountID       = 0x8008b705 // NS_GET_MNTNS_ID
	nsMountPrevious = 0x8010b70c // NS_MNT_GET_PREV
	nsMountNext     = 0x8010b70b // NS_MNT_GET_NEXT
)

// mountNamespaceInfo is struct mnt_ns_info.
type mountNamespaceInfo struct {
	size, mounts uint32
	id           uint64
}

// MountNamespaceID returns the number by which listmount(2) knows a mount
// namespace.
func MountNamespaceID(fd int) (id uint64, err error) {
	if _, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), nsMountID, uintptr(unsafe.Pointer(&id))); errno != 0 {
		return 0, errno
	}
	return id, nil
}

// PreviousMountNamespace opens the mount namespace before that behind fd, and
// returns its number too. ENOENT: that is the first. EPERM: it takes
// CAP_SYS_ADMIN, in the machine's first PID namespace.
func PreviousMountNamespace(fd int) (previous int, id uint64, err error) {
	return besideMountNamespace(fd, nsMountPrevious)
}

// NextMountNamespace is [PreviousMountNamespace] in the other direction.
func NextMountNamespace(fd int) (next int, id uint64, err error) {
	return besideMountNamespace(fd, nsMountNext)
}

func besideMountNamespace(fd int, direction uintptr) (int, uint64, error) {
	info := mountNamespaceInfo{size: uint32(unsafe.Sizeof(mountNamespaceInfo{}))}
	beside, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), direction, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return 0, 0, errno
	}
	return int(beside), info.id, nil
}

// mountRequest is struct mnt_id_req.
type mountRequest struct {
	size, spare             uint32
	mount, param, namespace uint64
}

func newMountRequest(namespace, mount, param uint64) mountRequest {
	return mountRequest{size: uint32(unsafe.Sizeof(mountRequest{})), mount: mount, param: param, namespace: namespace}
}

// ListMounts returns the ids of all mounts in a mount namespace. ENOSYS: the
// kernel is older than Linux 6.8. EPERM: it takes CAP_SYS_ADMIN.
func ListMounts(namespace uint64) (ids []uint64, err error) {
	const root = ^uint64(0)
	request := newMountRequest(namespace, root, 0)
	var some [512]uint64
	for {
		n, _, errno := syscall.Syscall6(sysListmount, uintptr(unsafe.Pointer(&request)), uintptr(unsafe.Pointer(&some[0])), uintptr(len(some)), 0, 0, 0)
		if errno != 0 {
			return nil, errno
		}
		ids = append(ids, some[:n]...)
		if int(n) < len(some) {
			return ids, nil
		}
		request.param = some[n-1]
	}
}

// A Mount is what statmount(2) tells of one.
type Mount struct {
	Magic uint64 // of the file system
	Root  []byte // what of the file system is mounted
	Point []byte // where, below the root of the mount namespace
}

// statmount is what the kernel writes, as far as it is wanted, in front of the
// strings.
type statmount struct {
	_     [24]byte
	magic uint64
	_     [72]byte
	root  uint32
	point uint32
	_     [400]byte
}

// StatMount looks at a mount. Its strings are in the buffer.
func StatMount(namespace, mount uint64, buffer *[8192]byte) (Mount, error) {
	const basic, root, point = 1, 8, 16
	request := newMountRequest(namespace, mount, basic)
	// Most file systems are others, of which the strings are not wanted.
	if err := request.stat(buffer); err != nil {
		return Mount{}, err
	}
	ds := (*statmount)(unsafe.Pointer(buffer))
	if ds.magic != NsfsMagic {
		return Mount{Magic: ds.magic}, nil
	}
	request.param = basic | root | point
	if err := request.stat(buffer); err != nil {
		return Mount{}, err
	}
	text := buffer[unsafe.Sizeof(*ds):]
	return Mount{ds.magic, untilNUL(text, ds.root), untilNUL(text, ds.point)}, nil
}

func (r *mountRequest) stat(buffer *[8192]byte) error {
	_, _, errno := syscall.Syscall6(sysStatmount, uintptr(unsafe.Pointer(r)), uintptr(unsafe.Pointer(buffer)), unsafe.Sizeof(*buffer), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func untilNUL(text []byte, from uint32) []byte {
	text, _, _ = bytes.Cut(text[min(int(from), len(text)):], []byte{0})
	return text
}
