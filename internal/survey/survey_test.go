//go:build linux

package survey_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// take looks at all namespaces, and returns one of them.
func take(t *testing.T, inode uint64, options survey.Options) *survey.Namespace {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // where an ordinary user has no name
	s, err := survey.Take(registry.Open(), options)
	ipctest.Must(t, err)
	i := slices.IndexFunc(s.Namespaces, func(ns *survey.Namespace) bool { return ns.Inode == inode })
	if i < 0 {
		t.Fatalf("%d is not among %d namespaces; not looked at: %d processes, %q", inode, len(s.Namespaces), s.Unseen, s.Missing)
	}
	return s.Namespaces[i]
}

// furnish makes objects of each kind in the namespace that the thread is in: with
// two messages of five bytes, three semaphores, and a byte more than a page. The
// descriptor is of the POSIX queue.
func furnish() (fd int, err error) {
	var system kernel.System
	queue, err := system.Msgget(ipc.Private, 0o600)
	if err != nil {
		return -1, err
	}
	for range 2 {
		if err := system.Msgsnd(context.Background(), queue, 1, []byte("hello"), 0); err != nil {
			return -1, err
		}
	}
	if _, err := system.Semget(ipc.Private, 3, 0o600); err != nil {
		return -1, err
	}
	if _, err := system.Shmget(ipc.Private, uint64(os.Getpagesize())+1, 0o600); err != nil {
		return -1, err
	}
	return ipctest.MqOpen("jobs", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600, nil)
}

// furnished returns a new namespace with objects, and a descriptor of its POSIX
// queue.
func furnished(t *testing.T) (ns *ipcns.Namespace, fd int) {
	t.Helper()
	ns = ipctest.New(t)
	ipctest.Do(t, ns, func() (err error) {
		fd, err = furnish()
		return err
	})
	t.Cleanup(func() { unix.Close(fd) })
	return ns, fd
}

// TestTakeOfWhatADescriptorHolds looks at a namespace that no process is in.
func TestTakeOfWhatADescriptorHolds(t *testing.T) {
	ns, _ := furnished(t)
	found := take(t, ns.Inode(), survey.Options{})
	holder := host.Holder{Kind: host.HeldByDescriptor, PID: os.Getpid(), FD: int(ns.File().Fd())}
	if len(found.Members) != 0 || !slices.Contains(found.Holders, holder) {
		t.Errorf("members %v, holders %+v, want none, and among others %+v", found.Members, found.Holders, holder)
	}
	if found.Name != nil || found.State != registry.Alive || found.Hidden || found.Contents != nil {
		t.Errorf("got %+v", found)
	}
	id, err := ns.ID()
	ipctest.Must(t, err)
	want := fmt.Sprint(id, os.Geteuid(), 1, 1, 1, 1, 2, 10, 3, 2*os.Getpagesize())
	if found.ID == nil || found.Owner == nil || found.Mqueues == nil || found.SegmentBytes == nil {
		t.Fatalf("not all is told: %+v", found)
	}
	if got := fmt.Sprint(*found.ID, *found.Owner, *found.Queues, *found.Sets, *found.Segments, *found.Mqueues,
		*found.Messages, *found.MessageBytes, *found.Semaphores, *found.SegmentBytes); got != want {
		t.Errorf("id, owner, queues, sets, segments, POSIX queues, messages, bytes, semaphores, bytes:\ngot  %s\nwant %s", got, want)
	}
}

// observed returns all that a program in the namespace could see of its objects.
func observed(t *testing.T, ns *ipcns.Namespace, fd int) (text string) {
	t.Helper()
	ipctest.Do(t, ns, func() error {
		var system kernel.System
		_, queue, err := system.MsgStat(0)
		if err != nil {
			return err
		}
		_, set, err := system.SemStat(0)
		if err != nil {
			return err
		}
		_, segment, err := system.ShmStat(0)
		if err != nil {
			return err
		}
		var file unix.Stat_t
		err = unix.Fstat(fd, &file)
		text = fmt.Sprintf("%+v\n%+v\n%+v\n%+v", queue, set, segment, file)
		return err
	})
	return text
}

// TestTakeChangesNothing looks at all that there is to look at.
func TestTakeChangesNothing(t *testing.T) {
	ns, fd := furnished(t)
	// A change within a tick of the clock would not show.
	ipctest.Must(t, unix.Futimes(fd, []unix.Timeval{{Sec: 1}, {Sec: 1}}))
	before := observed(t, ns, fd)
	found := take(t, ns.Inode(), survey.Options{Contents: true, Values: true, Processes: true})
	if found.Contents == nil || len(found.Contents.Queues) != 1 || len(found.Contents.Values) != 1 {
		t.Fatalf("found %+v", found.Contents)
	}
	if after := observed(t, ns, fd); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}
