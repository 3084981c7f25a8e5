package userspace

import "golang.org/x/sys/unix"

// Memfd is memory that other processes can map too: a memfd for each segment;
// see memfd_create(2). Each mapping is one of its own, with its protection.
type Memfd struct{}

// Allocate implements [Memory].
func (Memfd) Allocate(bytes uint64) (SegmentMemory, error) {
	fd, err := unix.MemfdCreate("segment", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3, which has MFD_NOEXEC_SEAL
		fd, err = unix.MemfdCreate("segment", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Ftruncate(fd, int64(bytes)); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &memfd{fd, int(bytes)}, nil
}

type memfd struct{ fd, size int }

// Map implements [SegmentMemory].
func (m *memfd) Map(readOnly bool) ([]byte, error) {
	protection := unix.PROT_READ
	if !readOnly {
		protection |= unix.PROT_WRITE
	}
	return unix.Mmap(m.fd, 0, m.size, protection, unix.MAP_SHARED)
}

// Unmap implements [SegmentMemory].
func (m *memfd) Unmap(mapping []byte) error { return unix.Munmap(mapping) }

// Free implements [SegmentMemory].
func (m *memfd) Free() error { return unix.Close(m.fd) }
