package userspace

import (
	"os"
	"syscall"
)

// Memory makes the memory of segments.
type Memory interface {
	// Allocate returns memory of whole pages, all zeros.
	Allocate(bytes uint64) (SegmentMemory, error)
}

// SegmentMemory is the memory of one segment.
type SegmentMemory interface {
	// Map returns the memory, all of it. What is written through one mapping
	// is seen in all. It may be the same one each time.
	Map(readOnly bool) ([]byte, error)
	// Unmap ends a mapping, which is not used any more.
	Unmap(mapping []byte) error
	// Free lets go of the memory, which has no mapping any more.
	Free() error
}

// Anonymous is memory of this process's heap. It can be written to also if it
// was attached to be read only, and used also after it was detached: it is for
// programs that do neither.
type Anonymous struct{}

// Allocate implements [Memory].
func (Anonymous) Allocate(bytes uint64) (SegmentMemory, error) {
	if bytes > maxAnonymous || bytes > heapUnit && !available(bytes+heapUnit) {
		return nil, syscall.ENOMEM
	}
	return anonymous(make([]byte, bytes)), nil
}

// maxAnonymous is more than a machine has, and less than make refuses.
const maxAnonymous = 1 << 40

// heapUnit is what Go's heap grows by.
const heapUnit = 64 << 20

type anonymous []byte

func (a anonymous) Map(bool) ([]byte, error) { return a, nil }

func (a anonymous) Unmap([]byte) error { return nil }

func (a anonymous) Free() error { return nil }

var page = uint64(os.Getpagesize())

func pagesOf(bytes uint64) uint64 { return bytes/page + min(bytes%page, 1) }
