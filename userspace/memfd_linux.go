package userspace

import "golang.org/x/sys/unix"

// Memfd is memory that other processes can map too: a memfd for each segment;
// see memfd_create(2). Each mapping is one of its own, with its protection.
type Memfd struct{}

// MemfdName is the name of all of them; see memfd_create(2).
const MemfdName = "SYSV"

// Allocate implements [Memory].
func (Memfd) Allocate(bytes uint64) (SegmentMemory, error) {
	fd, err := unix.MemfdCreate(MemfdName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3, which has MFD_NOEXEC_SEAL
		fd, err = unix.MemfdCreate(MemfdName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	if err := prepare(fd, bytes); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &MemfdSegment{fd, int(bytes)}, nil
}

// prepare gives a memfd its size for good: a process that cut it would end
// others with SIGBUS. Who has it to read may not open it to write.
func prepare(fd int, bytes uint64) error {
	if err := unix.Ftruncate(fd, int64(bytes)); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return err
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return err
}

// MemfdSegment is the memory of a segment of [Memfd].
type MemfdSegment struct{ fd, size int }

// FD returns the memfd, which is closed when the segment ends.
func (m *MemfdSegment) FD() int { return m.fd }

// Resident returns how many bytes of the segment are in memory.
func (m *MemfdSegment) Resident() uint64 {
	var st unix.Stat_t
	if err := unix.Fstat(m.fd, &st); err != nil {
		return 0
	}
	const block = 512 // of st_blocks, whatever the file system's is
	return uint64(st.Blocks) * block
}

// Map implements [SegmentMemory].
func (m *MemfdSegment) Map(readOnly bool) ([]byte, error) {
	protection := unix.PROT_READ
	if !readOnly {
		protection |= unix.PROT_WRITE
	}
	return unix.Mmap(m.fd, 0, m.size, protection, unix.MAP_SHARED)
}

// Unmap implements [SegmentMemory].
func (m *MemfdSegment) Unmap(mapping []byte) error { return unix.Munmap(mapping) }

// Free implements [SegmentMemory].
func (m *MemfdSegment) Free() error { return unix.Close(m.fd) }
