package sysv

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/ipc"
)

// A Segment is a System V shared memory segment. Its size never changes.
type Segment struct {
	object
	system ipc.Segments
	size   atomic.Uint64 // 0 when not known yet
}

const segmentKind = "segment"

// OpenSegment opens the segment that has the key, whatever its size. ENOENT:
// none has.
func OpenSegment(system ipc.Segments, key ipc.Key) (*Segment, error) {
	if key == ipc.Private {
		return nil, privateFound("shmget", segmentKind)
	}
	return getSegment(system, key, 0, 0)
}

// CreateSegment opens the segment that has the key, or makes one of that many
// bytes, all zeros. Flags are permission bits, which hold for a new segment and
// are asked of one that exists (EACCES), [ipc.Excl], with which it must be new
// (EEXIST), [ipc.ShmHugetlb] and [ipc.ShmNoReserve]. The key [ipc.Private] always
// makes one. EINVAL: the segment that exists is smaller, or size is 0 or above
// the limit shmmax; ENOSPC: the limit shmmni or shmall; ENOMEM: no memory. Stat
// tells the size of one that exists.
func CreateSegment(system ipc.Segments, key ipc.Key, size uint64, flags int) (*Segment, error) {
	return getSegment(system, key, size, flags|ipc.Creat)
}

func getSegment(system ipc.Segments, key ipc.Key, size uint64, flags int) (*Segment, error) {
	id, err := system.Shmget(key, size, flags)
	if err != nil {
		return nil, getFailed("shmget", segmentKind, key, getSegmentCause(system, size, flags, err), err)
	}
	return &Segment{object: object{kind: segmentKind, id: id, key: key}, system: system}, nil
}

func getSegmentCause(system ipc.Segments, size uint64, flags int, err error) string {
	if !errors.Is(err, syscall.EINVAL) {
		return limitCause(err, "shmmni or shmall")
	}
	info, _, err := system.ShmctlInfo()
	switch {
	case size == 0:
		return "a new one takes a size above 0"
	case err == nil && size > info.Shmmax:
		return fmt.Sprintf("%d bytes exceed shmmax %d", size, info.Shmmax)
	case flags&ipc.ShmHugetlb != 0:
		return "it is smaller, or there are no huge pages of that size"
	}
	return fmt.Sprintf("it has fewer than %d bytes", size)
}

// SegmentByID returns the segment of that id. Whether there is one, the first
// call on it tells.
func SegmentByID(system ipc.Segments, id int) *Segment {
	return &Segment{object: object{kind: segmentKind, id: id, byID: true}, system: system}
}

// Attach maps the segment into the process, for reading and writing, or with
// flags [ipc.ShmRdonly] for reading only; see shmat(2). It stays mapped until
// Detach or the end of the process. EACCES: its permissions do not allow that;
// EINVAL: there is no such segment; ENOMEM: no room in the address space.
func (s *Segment) Attach(flags int) (*Attachment, error) {
	memory, err := s.system.Shmat(s.id, 0, flags)
	if err != nil {
		return nil, s.failed("shmat", causeOf(err), err)
	}
	size, err := s.fixedSize()
	if err != nil {
		s.system.Shmdt(memory)
		return nil, s.failed("shmctl(IPC_STAT)", causeOf(err), err)
	}
	return &Attachment{segment: s, memory: memory, size: size, readOnly: flags&ipc.ShmRdonly != 0}, nil
}

// fixedSize returns the size that the segment was made with. It asks once.
func (s *Segment) fixedSize() (int, error) {
	if size := s.size.Load(); size > 0 {
		return int(size), nil
	}
	ds, err := s.system.ShmctlStat(s.id)
	s.size.Store(ds.Segsz)
	return int(ds.Segsz), err
}

// Stat returns the segment's state. EACCES: it may not be read.
func (s *Segment) Stat() (ipc.ShmidDS, error) {
	ds, err := s.system.ShmctlStat(s.id)
	return ds, s.failed("shmctl(IPC_STAT)", causeOf(err), err)
}

// Chown gives the segment to a user and a group. The creator keeps the
// owner's rights. It writes back the mode, and Chmod the owner: of both at the
// same time, one may be lost. EPERM: the caller is neither owner, creator nor
// privileged; EINVAL: the user namespace has no such user or group.
func (s *Segment) Chown(uid, gid uint32) error {
	return s.set(func(set *ipc.PermSet) { set.UID, set.GID = uid, gid })
}

// Chmod sets the nine permission bits; for errors see Chown.
func (s *Segment) Chmod(mode uint32) error {
	return s.set(func(set *ipc.PermSet) { set.Mode = mode })
}

func (s *Segment) set(change func(*ipc.PermSet)) error {
	// The owner may lack the permission to read that IPC_STAT takes.
	found, ds, err := s.system.ShmStatAny(s.id)
	if err := same(found, s.id, err); err != nil {
		return s.failed("shmctl(SHM_STAT_ANY)", causeOf(err), err)
	}
	set := ds.Perm.Set()
	change(&set)
	err = s.system.ShmctlSet(s.id, set)
	return s.failed("shmctl(IPC_SET)", setCause(err), err)
}

// Remove removes the segment: its key is free at once, and its memory when
// the last process has detached it. For permissions see Chown.
func (s *Segment) Remove() error {
	err := s.system.ShmctlRmid(s.id)
	return s.failed("shmctl(IPC_RMID)", causeOf(err), err)
}

// An Attachment is a segment's memory in this process, until Detach. It is an
// [io.ReaderAt] and an [io.WriterAt]; Use gives the memory itself.
type Attachment struct {
	segment  *Segment
	size     int
	readOnly bool

	memory []byte // whole pages

	mu       sync.Mutex
	detached bool           // nobody begins to use the memory any more
	users    sync.WaitGroup // who uses it; grows under mu, while not detached
}

// ErrDetached is why an attachment cannot be used any more. It is no
// [syscall.Errno].
var ErrDetached = errors.New("the segment is detached")

// Size returns the segment's size in bytes, as it was made. The mapping is
// whole pages; what is behind the size is not given out.
func (a *Attachment) Size() int { return a.size }

// Use calls f with the memory and returns its error. F must not keep the
// memory, as it is gone after Detach, which waits for f; f must not call Detach
// itself. Others, in this process too, may change the memory meanwhile; it
// begins at a page, so package sync/atomic works in it. A fault of f in the
// memory ends f and is EFAULT: it wrote to what is attached for reading only.
func (a *Attachment) Use(f func(memory []byte) error) (err error) {
	if !a.begin() {
		return a.segment.failed("use", "", ErrDetached)
	}
	defer a.users.Done()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			if !a.faulted(cause) {
				panic(cause)
			}
			err = a.segment.failed("use", a.faultCause(), syscall.EFAULT)
		}
	}()
	return f(a.memory[:a.size:a.size])
}

// begin adds a user, unless the memory is detached.
func (a *Attachment) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.detached {
		a.users.Add(1)
	}
	return !a.detached
}

// ReadAt is that of [io.ReaderAt]: with [io.EOF] behind the end of the segment.
func (a *Attachment) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, a.segment.failed("read", "negative offset", syscall.EINVAL)
	}
	err = a.Use(func(memory []byte) error {
		if offset >= int64(len(memory)) {
			return io.EOF
		}
		if n = copy(p, memory[offset:]); n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

// WriteAt is that of [io.WriterAt]. Nothing is written behind the end of the
// segment (ENOSPC), nor to one that is attached for reading only (EACCES).
func (a *Attachment) WriteAt(p []byte, offset int64) (n int, err error) {
	if a.readOnly {
		return 0, a.segment.failed("write", "it is attached for reading only", syscall.EACCES)
	}
	if offset < 0 {
		return 0, a.segment.failed("write", "negative offset", syscall.EINVAL)
	}
	err = a.Use(func(memory []byte) error {
		if offset < int64(len(memory)) {
			n = copy(memory[offset:], p)
		}
		if n < len(p) {
			return a.segment.failed("write", fmt.Sprintf("it has %d bytes", len(memory)), syscall.ENOSPC)
		}
		return nil
	})
	return n, err
}

// Detach takes the memory out of the process: nobody can begin to use it, and
// those who do are waited for.
func (a *Attachment) Detach() error {
	if !a.end() {
		return a.segment.failed("shmdt", "", ErrDetached)
	}
	a.users.Wait()
	return a.segment.failed("shmdt", "", a.segment.system.Shmdt(a.memory))
}

// end makes begin fail, the first time.
func (a *Attachment) end() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := !a.detached
	a.detached = true
	return first
}

func (a *Attachment) faultCause() string {
	if a.readOnly {
		return "it is attached for reading only"
	}
	return "no memory is left for it"
}

// faulted reports whether a panic is a fault in the memory.
func (a *Attachment) faulted(cause any) bool {
	fault, ok := cause.(interface{ Addr() uintptr })
	start := uintptr(unsafe.Pointer(unsafe.SliceData(a.memory)))
	return ok && fault.Addr()-start < uintptr(len(a.memory))
}
