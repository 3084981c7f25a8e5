//go:build linux

package sysv_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
	"golang.org/x/sys/unix"
)

// newSegment makes a segment that is removed with the test.
func newSegment(t *testing.T, size uint64) *sysv.Segment {
	t.Helper()
	s, err := sysv.CreateSegment(system, key, size, 0o600|ipc.Excl)
	must(t, err)
	removed(t, s)
	return s
}

// attach attaches a segment until the test is over, if it is not detached
// before.
func attach(t *testing.T, s *sysv.Segment, flags int) *sysv.Attachment {
	t.Helper()
	a, err := s.Attach(flags)
	must(t, err)
	t.Cleanup(func() {
		if err := ipctest.Received(t, begun(a.Detach)); err != nil && !errors.Is(err, sysv.ErrDetached) {
			t.Error(err)
		}
	})
	return a
}

// fill writes to all of the memory.
func fill(memory []byte) error {
	for i := range memory {
		memory[i] = 1
	}
	return nil
}

func TestSegmentByKeyAndID(t *testing.T) {
	_, err := sysv.OpenSegment(system, key)
	wantError(t, err, syscall.ENOENT, "shmget segment key 0x0000002a: the key has none: no such file or directory")

	s, err := sysv.CreateSegment(system, key, 5000, 0o640)
	must(t, err)
	removed(t, s)
	if want := fmt.Sprintf("segment id %d (key 0x0000002a)", s.ID()); s.String() != want || s.Key() != key {
		t.Errorf("got %q with key %v, want %q", s, s.Key(), want)
	}
	same, err := sysv.OpenSegment(system, key)
	must(t, err)
	again, err := sysv.CreateSegment(system, key, 10, 0o600)
	must(t, err)
	byID := sysv.SegmentByID(system, s.ID())
	if want := fmt.Sprintf("segment id %d", s.ID()); byID.String() != want || byID.Key() != ipc.Private {
		t.Errorf("got %q with key %v, want %q", byID, byID.Key(), want)
	}
	for _, other := range []*sysv.Segment{same, again, byID} {
		ds, err := other.Stat()
		if err != nil || other.ID() != s.ID() || ds.Perm.Key != key || ds.Perm.Mode != 0o640 || ds.Segsz != 5000 {
			t.Errorf("%v: got %+v, error %v", other, ds, err)
		}
	}
}

func TestPrivateSegment(t *testing.T) {
	first, err := sysv.CreateSegment(system, ipc.Private, 1, 0o600)
	must(t, err)
	removed(t, first)
	second, err := sysv.CreateSegment(system, ipc.Private, 1, 0o600)
	must(t, err)
	removed(t, second)
	if first.ID() == second.ID() {
		t.Errorf("made %v and %v", first, second)
	}
	_, err = sysv.OpenSegment(system, ipc.Private)
	wantError(t, err, syscall.ENOENT, "shmget segment key 0x00000000: the key IPC_PRIVATE finds none: no such file or directory")
}

func TestCreateSegmentErrors(t *testing.T) {
	create := func(size uint64, flags int) error {
		_, err := sysv.CreateSegment(system, key, size, 0o600|flags)
		return err
	}
	wantError(t, create(0, 0), syscall.EINVAL, "shmget segment key 0x0000002a: a new one takes a size above 0: invalid argument")
	wantError(t, create(1, ipc.ShmHugetlb|1<<26), syscall.EINVAL, "shmget segment key 0x0000002a: it is smaller, or there are no huge pages of that size: invalid argument")
	newSegment(t, 100)
	wantError(t, create(101, 0), syscall.EINVAL, "shmget segment key 0x0000002a: it has fewer than 101 bytes: invalid argument")
	wantError(t, create(100, ipc.Excl), syscall.EEXIST, "shmget segment key 0x0000002a: the key has one already: file exists")
}

func TestSegmentLimits(t *testing.T) {
	setLimit(t, "shmmax", "4096")
	_, err := sysv.CreateSegment(system, key, 8192, 0o600)
	wantError(t, err, syscall.EINVAL, "shmget segment key 0x0000002a: 8192 bytes exceed shmmax 4096: invalid argument")
	setLimit(t, "shmmni", "0")
	_, err = sysv.CreateSegment(system, key, 1, 0o600)
	wantError(t, err, syscall.ENOSPC, "shmget segment key 0x0000002a: the limit shmmni or shmall is reached: no space left on device")
}

func TestAttachmentsShareTheMemory(t *testing.T) {
	s := newSegment(t, 100)
	first, second := attach(t, s, 0), attach(t, s, ipc.ShmRdonly)
	must(t, first.Use(func(memory []byte) error {
		if len(memory) != 100 || cap(memory) != 100 || !bytes.Equal(memory, make([]byte, 100)) {
			t.Errorf("a new segment of 100 bytes: len %d, cap %d, %v", len(memory), cap(memory), memory)
		}
		copy(memory[90:], "0123456789")
		return nil
	}))
	must(t, second.Use(func(memory []byte) error {
		if got := string(memory[89:]); got != "\x000123456789" {
			t.Errorf("got %q", got)
		}
		return nil
	}))
	if second.Size() != 100 {
		t.Errorf("size %d", second.Size())
	}
	if ds, err := s.Stat(); err != nil || ds.Nattch != 2 {
		t.Errorf("%d attachments, error %v", ds.Nattch, err)
	}
}

func TestReadAtAndWriteAt(t *testing.T) {
	s := newSegment(t, 10)
	a := attach(t, s, 0)
	for _, test := range []struct {
		offset int64
		text   string
		n      int
		want   string // "" for no error
	}{
		{0, "0123456789", 10, ""},
		{8, "ab", 2, ""},
		{10, "", 0, ""},
		{9, "xy", 1, "it has 10 bytes: no space left on device"},
		{10, "x", 0, "it has 10 bytes: no space left on device"},
		{1 << 62, "x", 0, "it has 10 bytes: no space left on device"},
	} {
		n, err := a.WriteAt([]byte(test.text), test.offset)
		if n != test.n {
			t.Errorf("WriteAt(%q, %d): wrote %d bytes, want %d", test.text, test.offset, n, test.n)
		}
		if test.want == "" {
			must(t, err)
		} else {
			wantError(t, err, syscall.ENOSPC, "write segment id %d (key 0x0000002a): %s", s.ID(), test.want)
		}
	}
	_, err := a.WriteAt([]byte("x"), -1)
	wantError(t, err, syscall.EINVAL, "write segment id %d (key 0x0000002a): negative offset: invalid argument", s.ID())

	for _, test := range []struct {
		offset int64
		n      int
		want   string
		err    error
	}{
		{0, 10, "01234567ax", nil},
		{7, 2, "7a", nil},
		{7, 4, "7ax", io.EOF},
		{10, 1, "", io.EOF},
		{1 << 62, 1, "", io.EOF},
	} {
		p := make([]byte, test.n)
		n, err := a.ReadAt(p, test.offset)
		if string(p[:n]) != test.want || err != test.err {
			t.Errorf("ReadAt(%d, %d): got %q, error %v, want %q, error %v", test.n, test.offset, p[:n], err, test.want, test.err)
		}
	}
	_, err = a.ReadAt(nil, -1)
	wantError(t, err, syscall.EINVAL, "read segment id %d (key 0x0000002a): negative offset: invalid argument", s.ID())
}

func TestReadOnlyAttachment(t *testing.T) {
	s := newSegment(t, 100)
	a := attach(t, s, ipc.ShmRdonly)
	writes := map[string]func([]byte){
		"a byte": func(memory []byte) { memory[99] = 1 },
		"a copy": func(memory []byte) { copy(memory, "hello") },
	}
	if !ipctest.Racing() { // its atomic operations are in C, where a fault is fatal
		writes["an atomic operation"] = func(memory []byte) { atomic.AddInt64((*int64)(unsafe.Pointer(&memory[0])), 1) }
	}
	for name, write := range writes {
		err := a.Use(func(memory []byte) error {
			write(memory)
			t.Errorf("%s was written", name)
			return nil
		})
		wantError(t, err, syscall.EFAULT, "use segment id %d (key 0x0000002a): it is attached for reading only: bad address", s.ID())
	}
	_, err := a.WriteAt(nil, 0)
	wantError(t, err, syscall.EACCES, "write segment id %d (key 0x0000002a): it is attached for reading only: permission denied", s.ID())
	if n, err := a.ReadAt(make([]byte, 100), 0); n != 100 || err != nil {
		t.Errorf("read %d bytes, error %v", n, err)
	}
}

// A vanishing is a system with a segment of one page whose memory is gone.
type vanishing struct {
	ipc.System
	memory   []byte
	detached bool
	statErr  error
}

func (v *vanishing) Shmat(id int, addr uintptr, flags int) ([]byte, error) { return v.memory, nil }

func (v *vanishing) Shmdt(memory []byte) error {
	v.detached = unsafe.SliceData(memory) == unsafe.SliceData(v.memory)
	return nil
}

func (v *vanishing) ShmctlStat(id int) (ipc.ShmidDS, error) {
	return ipc.ShmidDS{Segsz: uint64(len(v.memory))}, v.statErr
}

// newVanishing maps a file and cuts it off: using the memory is SIGBUS.
func newVanishing(t *testing.T) *vanishing {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "memory"))
	must(t, err)
	defer file.Close()
	must(t, file.Truncate(4096))
	memory, err := unix.Mmap(int(file.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Munmap(memory)) })
	must(t, file.Truncate(0))
	return &vanishing{memory: memory}
}

func TestMemoryThatIsMissing(t *testing.T) {
	a, err := sysv.SegmentByID(newVanishing(t), 7).Attach(0)
	must(t, err)
	const want = "use segment id 7: no memory is left for it: bad address"
	wantError(t, a.Use(fill), syscall.EFAULT, want)
	_, err = a.ReadAt(make([]byte, 1), 0)
	wantError(t, err, syscall.EFAULT, want)
	_, err = a.WriteAt(make([]byte, 1), 0)
	wantError(t, err, syscall.EFAULT, want)
}

func TestAttachThatCannotLearnTheSize(t *testing.T) {
	v := newVanishing(t)
	v.statErr = syscall.EACCES
	_, err := sysv.SegmentByID(v, 7).Attach(0)
	wantError(t, err, syscall.EACCES, "shmctl(IPC_STAT) segment id 7: its permissions do not allow that: permission denied")
	if !v.detached {
		t.Error("the segment stays attached")
	}
}

// TestUsePassesOn ends uses in every way but a fault in the memory.
func TestUsePassesOn(t *testing.T) {
	a := attach(t, newSegment(t, 1), 0)
	if err := a.Use(func([]byte) error { return io.ErrNoProgress }); err != io.ErrNoProgress {
		t.Errorf("got the error %v", err)
	}

	panicOf := func(f func([]byte) error) (cause any) {
		defer func() { cause = recover() }()
		return a.Use(f)
	}
	if cause := panicOf(func([]byte) error { panic("boom") }); cause != "boom" {
		t.Errorf("got %v", cause)
	}
	elsewhere := newVanishing(t).memory
	if cause, ok := panicOf(func([]byte) error { return fill(elsewhere) }).(runtime.Error); !ok {
		t.Errorf("a fault elsewhere: got %v", cause)
	}
	var none *int
	if cause, ok := panicOf(func([]byte) error { *none = 1; return nil }).(runtime.Error); !ok {
		t.Errorf("a nil pointer: got %v", cause)
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.Use(func([]byte) error { runtime.Goexit(); return nil }) })
	wg.Wait()

	if debug.SetPanicOnFault(false) {
		t.Error("faults elsewhere still panic")
	}
	must(t, ipctest.Received(t, begun(a.Detach))) // waits for no use that is over
}

func TestDetach(t *testing.T) {
	s := newSegment(t, 1)
	a := attach(t, s, 0)
	must(t, a.Detach())
	if ds, err := s.Stat(); err != nil || ds.Nattch != 0 {
		t.Errorf("%d attachments, error %v", ds.Nattch, err)
	}
	_, readError := a.ReadAt(make([]byte, 1), 0)
	_, writeError := a.WriteAt(make([]byte, 1), 0)
	const detached = "segment id %d (key 0x0000002a): the segment is detached"
	wantError(t, a.Use(fill), sysv.ErrDetached, "use "+detached, s.ID())
	wantError(t, readError, sysv.ErrDetached, "use "+detached, s.ID())
	wantError(t, writeError, sysv.ErrDetached, "use "+detached, s.ID())
	wantError(t, a.Detach(), sysv.ErrDetached, "shmdt "+detached, s.ID())
}

func TestDetachWaitsForUse(t *testing.T) {
	s := newSegment(t, 1)
	a := attach(t, s, 0)
	using, goOn := make(chan struct{}), make(chan struct{})
	used, detached := make(chan error, 1), make(chan error, 1)
	go func() {
		used <- a.Use(func(memory []byte) error {
			close(using)
			<-goOn
			if err := a.Use(fill); !errors.Is(err, sysv.ErrDetached) {
				t.Errorf("a use inside another: %v", err)
			}
			return fill(memory)
		})
	}()
	ipctest.Received(t, using)
	go func() { detached <- a.Detach() }()
	// It begins by turning others away.
	ipctest.Eventually(t, "the segment is detached", func() bool { return a.Use(fill) != nil })
	select {
	case err := <-detached:
		t.Errorf("Detach did not wait, error %v", err)
	case <-time.After(tick):
	}
	close(goOn)
	must(t, ipctest.Received(t, used))
	must(t, ipctest.Received(t, detached))
}

func TestUseWhileOthersDetach(t *testing.T) {
	s := newSegment(t, 4096)
	for range 20 {
		a := attach(t, s, 0)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					err := a.Use(func(memory []byte) error {
						atomic.AddInt64((*int64)(unsafe.Pointer(&memory[0])), 1)
						return nil
					})
					if errors.Is(err, sysv.ErrDetached) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		time.Sleep(100 * time.Microsecond)
		must(t, a.Detach())
		wg.Wait()
	}
}

func TestRemovedSegment(t *testing.T) {
	s := newSegment(t, 1)
	a := attach(t, s, 0)
	must(t, s.Remove())
	_, err := sysv.OpenSegment(system, key)
	wantError(t, err, syscall.ENOENT, "shmget segment key 0x0000002a: the key has none: no such file or directory")
	must(t, a.Use(fill))
	must(t, attach(t, s, 0).Detach())
	must(t, a.Detach())

	_, attachError := s.Attach(0)
	_, statError := s.Stat()
	for call, err := range map[string]error{
		"shmat":                attachError,
		"shmctl(IPC_STAT)":     statError,
		"shmctl(SHM_STAT_ANY)": s.Chmod(0o600),
		"shmctl(IPC_RMID)":     s.Remove(),
	} {
		wantError(t, err, syscall.EINVAL, "%s segment id %d (key 0x0000002a): there is none of that id: invalid argument", call, s.ID())
	}
}

func TestSegmentSettings(t *testing.T) {
	s := newSegment(t, 1)
	before, err := s.Stat()
	must(t, err)
	if before.Perm.Mode != 0o600 {
		t.Errorf("a new segment: %+v", before)
	}
	must(t, s.Chmod(0o640))
	after, err := s.Stat()
	must(t, err)
	want := before
	want.Perm.Mode, want.Ctime = 0o640, after.Ctime
	if after != want {
		t.Errorf("got  %+v\nwant %+v", after, want)
	}
	wantError(t, s.Chown(^uint32(0), 0), syscall.EINVAL,
		"shmctl(IPC_SET) segment id %d (key 0x0000002a): there is none of that id, or no such user or group in the user namespace: invalid argument", s.ID())
}

func TestSegmentOwner(t *testing.T) {
	s := newSegment(t, 1)
	testOwner(t, s.Chown, func() (ipc.Perm, error) {
		ds, err := s.Stat()
		return ds.Perm, err
	})
}
