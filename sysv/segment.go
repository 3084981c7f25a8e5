package sysv

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/ipc"
)

// A Segment is a System V shared memory segment. Its size never changes.
type Segment struct {
	object
	system ipc.Segments
}

const segmentKind = "segment"

// OpenSegment opens the segment that has the key, whatever its size. ENOENT:
// none has.
func OpenSegment(system ipc.Segments, key ipc.Key) (*Segment, error) {
	return getSegment(system, key, 0, 0)
}

// CreateSegment opens the segment that has the key, or makes one of that many
// bytes, all zeros. Flags are permission bits, which hold for a new segment and
// are asked of one that exists (EACCES), [ipc.Excl], with which it must be new
// (EEXIST), [ipc.ShmHugetlb] and [ipc.ShmNoReserve]. The key [ipc.Private] always
// makes one. EINVAL: the segment that exists is smaller, or size is 0 or above
// the limit shmmax. Stat tells the size of one that exists.
func CreateSegment(system ipc.Segments, key ipc.Key, size uint64, flags int) (*Segment, error) {
	return getSegment(system, key, size, flags|ipc.Creat)
}

func getSegment(system ipc.Segments, key ipc.Key, size uint64, flags int) (*Segment, error) {
	id, err := system.Shmget(key, size, flags)
	if errors.Is(err, syscall.EINVAL) {
		return nil, getFailed("shmget", segmentKind, key, fmt.Sprintf("%d bytes are more than it has, none, or above the limit shmmax", size), err)
	}
	if err != nil {
		return nil, getFailed("shmget", segmentKind, key, limitCause(err, "shmmni or shmall"), err)
	}
	return &Segment{object{kind: segmentKind, id: id, key: key}, system}, nil
}

// SegmentByID returns the segment of that id. Whether there is one, the first
// call on it tells.
func SegmentByID(system ipc.Segments, id int) *Segment {
	return &Segment{object{kind: segmentKind, id: id, byID: true}, system}
}

// Attach maps the segment into the process, for reading and writing, or with
// flags [ipc.ShmRdonly] for reading only. EACCES: its permissions do not allow
// that; EINVAL: there is no such segment.
func (s *Segment) Attach(flags int) (*Attachment, error) {
	memory, err := s.system.Shmat(s.id, 0, flags)
	if err != nil {
		return nil, s.failed("shmat", causeOf(err), err)
	}
	ds, err := s.system.ShmctlStat(s.id)
	if err != nil {
		return nil, errors.Join(s.failed("shmctl(IPC_STAT)", causeOf(err), err), s.system.Shmdt(memory))
	}
	return &Attachment{segment: s, memory: memory, size: int(ds.Segsz), readOnly: flags&ipc.ShmRdonly != 0}, nil
}

// Stat returns the segment's state. EACCES: it may not be read.
func (s *Segment) Stat() (ipc.ShmidDS, error) {
	ds, err := s.system.ShmctlStat(s.id)
	return ds, s.failed("shmctl(IPC_STAT)", causeOf(err), err)
}

// Chown gives the segment to a user and a group. The creator keeps the
// owner's rights. EPERM: the caller is neither owner, creator nor privileged.
func (s *Segment) Chown(uid, gid uint32) error {
	return s.set(func(set *ipc.PermSet) { set.UID, set.GID = uid, gid })
}

// Chmod sets the nine permission bits; for errors see Chown.
func (s *Segment) Chmod(mode uint32) error {
	return s.set(func(set *ipc.PermSet) { set.Mode = mode })
}

func (s *Segment) set(change func(*ipc.PermSet)) error {
	ds, err := s.Stat()
	if err != nil {
		return err
	}
	set := unchanged(ds.Perm)
	change(&set)
	err = s.system.ShmctlSet(s.id, set)
	return s.failed("shmctl(IPC_SET)", causeOf(err), err)
}

// Lock keeps the segment from being swapped out. EPERM, ENOMEM: that takes
// CAP_IPC_LOCK, or the owner within RLIMIT_MEMLOCK.
func (s *Segment) Lock() error {
	err := s.system.ShmctlLock(s.id)
	return s.failed("shmctl(SHM_LOCK)", causeOf(err), err)
}

// Unlock undoes Lock.
func (s *Segment) Unlock() error {
	err := s.system.ShmctlUnlock(s.id)
	return s.failed("shmctl(SHM_UNLOCK)", causeOf(err), err)
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

	mu     sync.RWMutex // held for reading while the memory is in use
	memory []byte       // whole pages; nil when detached
}

// ErrDetached is why an attachment cannot be used any more.
var ErrDetached = errors.New("the segment is detached")

// Size returns the segment's size in bytes, as it was made. The mapping is
// whole pages; what is behind the size is not given out.
func (a *Attachment) Size() int { return a.size }

// Use calls f with the memory, which f must not keep: after Detach, which
// waits for f, it is gone. Other processes may change it at any time; what
// they agree on, package sync/atomic can do in it. A fault in f, such as
// writing to a segment that is attached for reading only, ends f and is
// EFAULT.
func (a *Attachment) Use(f func(memory []byte) error) (err error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.memory == nil {
		return a.segment.failed("use", "", ErrDetached)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			if !a.faulted(cause) {
				panic(cause)
			}
			err = a.segment.failed("use", "it is attached for reading only, or its memory is missing", syscall.EFAULT)
		}
	}()
	return f(a.memory[:a.size:a.size])
}

// ReadAt is that of [io.ReaderAt].
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

// Detach takes the memory out of the process, once nobody uses it.
func (a *Attachment) Detach() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.memory == nil {
		return a.segment.failed("shmdt", "", ErrDetached)
	}
	err := a.segment.system.Shmdt(a.memory)
	a.memory = nil
	return a.segment.failed("shmdt", "", err)
}

// faulted reports whether a panic is a fault in the memory.
func (a *Attachment) faulted(cause any) bool {
	fault, ok := cause.(interface{ Addr() uintptr })
	start := uintptr(unsafe.Pointer(unsafe.SliceData(a.memory)))
	return ok && fault.Addr()-start < uintptr(len(a.memory))
}
