//go:build linux

package supervise

import (
	"math"
	"syscall"

	"github.com/ipcns/ipcns/internal/mqpipe"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// The supervisor has descriptors for each process, segment and open queue.
// Programs can make as many segments and open as many queues as to leave it
// none, and then it could serve no new process. As the lowest number that is
// free is always the next, the number of a descriptor tells how few are left.

// spareDescriptors returns the first number of those that are only for
// processes: of the last quarter.
func spareDescriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxInt
	}
	return int(min(limit.Cur, math.MaxInt32) / 4 * 3)
}

// endOf returns the first number that a further descriptor of a namespace may not
// have: none has more than it leaves to the others, however many it asks for.
func (s *Supervisor) endOf(in *namespace) int {
	segments, _ := in.ns.Segments()
	return s.spare - in.open - segments
}

// newPipe makes what a program gets as the descriptor of an open queue. ENFILE: the
// namespace has as many descriptors as it may have.
func (s *Supervisor) newPipe(in *namespace, nonblock bool) (*mqpipe.Pipe, int, error) {
	pipe, fd, err := mqpipe.New(nonblock)
	if err != nil || fd < s.endOf(in) {
		return pipe, fd, err
	}
	unix.Close(fd)
	pipe.Close()
	return nil, 0, syscall.ENFILE
}

// memory is that of segments, as long as there are descriptors for it: below end.
type memory struct{ end int }

// Allocate implements [userspace.Memory].
func (m *memory) Allocate(bytes uint64) (userspace.SegmentMemory, error) {
	allocated, err := userspace.Memfd{}.Allocate(bytes)
	if err != nil || allocated.(*userspace.MemfdSegment).FD() < m.end {
		return allocated, err
	}
	allocated.Free()
	return nil, syscall.ENFILE
}
