package userspace_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// TestSegmentLargerThanMemory asks for segments that no machine has. The kernel
// says ENOMEM too (SEMANTICS A.3). A terabyte may be promised, where the system
// promises memory that it does not have; it may not end the program.
func TestSegmentLargerThanMemory(t *testing.T) {
	root := userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
	for _, size := range []uint64{1 << 62, 1 << 41, 1 << 40} {
		_, err := root.Shmget(1, size, ipc.Creat|0o600)
		if err == nil && size == 1<<40 {
			continue
		}
		if !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("shmget of %d bytes: %v, want ENOMEM", size, err)
		}
	}
}

// TestLargeSegment is of more than Go's heap grows by.
func TestLargeSegment(t *testing.T) {
	root := userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
	id := must(root.Shmget(1, 100<<20, ipc.Creat|0o600))(t)
	if memory := must(root.Shmat(id, 0, 0))(t); len(memory) != 100<<20 {
		t.Errorf("it has %d bytes", len(memory))
	}
}
