//go:build linux

package ipclist_test

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/ipclist"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { leak.Main(m) }

// open skips the test where this is not allowed, or not known of the kernel.
func open(t *testing.T) *ipclist.Kernel {
	t.Helper()
	kernel, err := ipclist.Open()
	if err != nil {
		t.Skip(err)
	}
	if _, err := kernel.Namespaces(); err != nil {
		t.Skip(err)
	}
	return kernel
}

// TestNamespaces makes namespaces that only descriptors hold.
func TestNamespaces(t *testing.T) {
	kernel := open(t)
	var made []*ipcns.Namespace
	for range 3 {
		made = append(made, ipctest.New(t))
	}
	ipctest.Do(t, made[1], func() error {
		fd, err := unix.Fsopen("mqueue", unix.FSOPEN_CLOEXEC)
		return errors.Join(err, unix.Close(fd))
	})
	all, err := kernel.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range made {
		id, err := ns.ID()
		if want := (ipclist.Namespace{id, uint32(ns.Inode()), 0}); err != nil || !slices.Contains(all, want) {
			t.Errorf("%+v is not among %+v, %v", want, all, err)
		}
	}
}

// TestNamespacesThatAreMoreThanExpected has room for one.
func TestNamespacesThatAreMoreThanExpected(t *testing.T) {
	kernel := open(t)
	ipctest.New(t)
	all, count, err := kernel.List(1)
	if len(all) != 1 || count < 2 || err != nil {
		t.Errorf("got %d of %d, %v", len(all), count, err)
	}
}

// TestDescriptors has one in a table of its own process.
func TestDescriptors(t *testing.T) {
	kernel := open(t)
	ns := ipctest.New(t)
	holders, err := kernel.Descriptors()
	want := ipclist.Holder{Kind: ipclist.Descriptor, PID: os.Getpid(), FD: int(ns.File().Fd()), Inode: uint32(ns.Inode())}
	if err != nil || !slices.Contains(holders, want) {
		t.Errorf("%+v is not among %+v, %v", want, holders, err)
	}
}

// TestAttachments has what the process has attached before it was elsewhere, and
// not what it has attached where it is.
func TestAttachments(t *testing.T) {
	kernel := open(t)
	ns := ipctest.New(t)
	var segment []byte
	ipctest.Do(t, ns, func() error {
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1, 0o600)
		if err == nil {
			segment, err = unix.SysvShmAttach(id, 0, 0)
		}
		return errors.Join(err, ipctest.ShmctlRmid(id))
	})
	want := ipclist.Holder{Kind: ipclist.Attachment, PID: os.Getpid(), FD: -1, Inode: uint32(ns.Inode())}
	if holders, err := kernel.Attachments(); err != nil || !slices.Contains(holders, want) {
		t.Errorf("%+v is not among %+v, %v", want, holders, err)
	}
	unix.SysvShmDetach(segment)
	if holders, err := kernel.Attachments(); err != nil || slices.Contains(holders, want) {
		t.Errorf("%+v is still among %+v, %v", want, holders, err)
	}
}

func TestMembersAreNotMade(t *testing.T) {
	kernel := open(t)
	for _, path := range []string{"ns_common.x", "x", "pid.level.x"} {
		if _, err := kernel.Offset("pid", path); err == nil {
			t.Errorf("there is a member %s", path)
		}
	}
	if _, err := kernel.Offset("no_such_structure", "x"); err == nil {
		t.Error("there is such a structure")
	}
	kernel.Lack()
	if _, err := kernel.Descriptors(); err == nil {
		t.Error("a program was made without a member that it needs")
	}
}

// TestOffsets has types of each kind that the kernel puts members into.
func TestOffsets(t *testing.T) {
	types := exampleTypes()
	for path, want := range map[string]int16{"first": 0, "second": 8, "within": 16, "second.first": 8} {
		if got, err := ipclist.OffsetIn(types, "outer", path); got != want || err != nil {
			t.Errorf("%s is at %d, %v, want %d", path, got, err, want)
		}
	}
	for length := range types {
		if _, err := ipclist.OffsetIn(types[:length], "outer", "within"); err == nil {
			t.Errorf("no error for %d bytes of %d", length, len(types))
		}
	}
}

// exampleTypes are
//
//	struct inner { u64 first; };
//	struct outer { u64 first; const struct inner second; union { u64 within; }; };
//
// as pahole(1) writes them.
func exampleTypes() []byte {
	names := []byte("\x00u64\x00inner\x00first\x00outer\x00second\x00within\x00")
	name := func(s string) uint32 {
		for i := range names {
			if string(names[i:min(i+len(s)+1, len(names))]) == s+"\x00" {
				return uint32(i)
			}
		}
		return 0
	}
	const number, inner, constant, union = 1, 2, 3, 4
	var data []byte
	add := func(words ...uint32) {
		for _, word := range words {
			data = binary.NativeEndian.AppendUint32(data, word)
		}
	}
	const kindInt, kindStruct, kindUnion, kindConst = 1, 4, 5, 10
	add(name("u64"), kindInt<<24, 8, 64)
	add(name("inner"), kindStruct<<24|1, 8, name("first"), number, 0)
	add(0, kindConst<<24, inner)
	add(0, kindUnion<<24|1, 8, name("within"), number, 0)
	add(name("outer"), kindStruct<<24|3, 24, name("first"), number, 0, name("second"), constant, 64, 0, union, 128)
	header := binary.NativeEndian.AppendUint16(nil, 0xeb9f)
	header = append(header, 1, 0)
	for _, word := range []uint32{24, 0, uint32(len(data)), uint32(len(data)), uint32(len(names))} {
		header = binary.NativeEndian.AppendUint32(header, word)
	}
	return slices.Concat(header, data, names)
}

func TestWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read the list")
	}
	kernel, err := ipclist.Open()
	if err != nil {
		t.Skip(err)
	}
	if _, err := kernel.Namespaces(); !errors.Is(err, unix.EPERM) {
		t.Errorf("got %v", err)
	}
}
