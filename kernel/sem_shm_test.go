//go:build linux

package kernel_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// makeOneOfEach makes a message queue, a set of three semaphores and a segment
// of a page and a byte, with those permissions.
func makeOneOfEach(mode int) error {
	_, err1 := system.Msgget(0x1234, ipc.Creat|mode)
	_, err2 := ipctest.Semget(0x1234, 3, ipc.Creat|mode)
	_, err3 := unix.SysvShmGet(0x1234, 4097, ipc.Creat|mode)
	return errors.Join(err1, err2, err3)
}

// ownPerm is what the objects of makeOneOfEach have.
func ownPerm(mode uint32) ipc.Perm {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	return ipc.Perm{Key: 0x1234, UID: uid, GID: gid, CUID: uid, CGID: gid, Mode: mode}
}

func TestSemStatAny(t *testing.T) {
	ipctest.InNew(t, func() error {
		if info, highest, err := system.SemInfo(); info != (ipc.SemInfo{}) || highest != 0 || err != nil {
			t.Errorf("empty: %+v, highest index %d, error %v", info, highest, err)
		}
		if err := makeOneOfEach(0o623); err != nil {
			return err
		}
		_, fresh, err := system.SemStatAny(0)
		if want := (ipc.SemidDS{Perm: ownPerm(0o623), Ctime: fresh.Ctime, Nsems: 3}); fresh != want || fresh.Ctime == 0 || err != nil {
			t.Errorf("new: error %v\n got %+v\nwant %+v", err, fresh, want)
		}
		if err := ipctest.Semop(0, ipctest.Sembuf{Num: 1, Op: 1}); err != nil {
			return err
		}
		_, used, err := system.SemStatAny(0)
		if want := (ipc.SemidDS{Perm: ownPerm(0o623), Otime: used.Otime, Ctime: fresh.Ctime, Nsems: 3}); used != want || used.Otime == 0 || err != nil {
			t.Errorf("used: error %v\n got %+v\nwant %+v", err, used, want)
		}
		if _, err := ipctest.Semget(0x5678, 4, ipc.Creat); err != nil {
			return err
		}
		if info, highest, err := system.SemInfo(); info != (ipc.SemInfo{Sets: 2, Semaphores: 7}) || highest != 1 || err != nil {
			t.Errorf("two sets: %+v, highest index %d, error %v", info, highest, err)
		}
		if _, _, err := system.SemStatAny(2); !errors.Is(err, syscall.EINVAL) || err.Error() != "semctl(SEM_STAT_ANY): invalid argument" {
			t.Errorf("a free index: error %v", err)
		}
		return nil
	})
}

// TestSemctlGets looks at a set with two sleepers who want a semaphore to grow
// and one who wants it to be 0 (SEMANTICS A.5).
func TestSemctlGets(t *testing.T) {
	ns := ipctest.New(t)
	tids := make(chan int, 1)
	sleep := func(operation ipctest.Sembuf) <-chan error {
		done := start(ns, func() error {
			tids <- unix.Gettid()
			return ipctest.Semop(0, operation)
		})
		waitAsleep(t, <-tids, unix.SYS_SEMTIMEDOP)
		return done
	}
	ipctest.Do(t, ns, func() error {
		if err := makeOneOfEach(0o600); err != nil {
			return err
		}
		return ipctest.Semop(0, ipctest.Sembuf{Num: 1, Op: 7})
	})
	grow := sleep(ipctest.Sembuf{Num: 1, Op: -8})
	more := sleep(ipctest.Sembuf{Num: 1, Op: -9})
	zero := sleep(ipctest.Sembuf{Num: 1, Op: 0})
	ipctest.Do(t, ns, func() error {
		for _, get := range []struct {
			call string
			of   func(id, num int) (int, error)
			want [3]int
		}{
			{"GETVAL", system.SemctlGetval, [3]int{0, 7, 0}},
			{"GETNCNT", system.SemctlGetncnt, [3]int{0, 2, 0}},
			{"GETZCNT", system.SemctlGetzcnt, [3]int{0, 1, 0}},
			{"GETPID", system.SemctlGetpid, [3]int{0, os.Getpid(), 0}},
		} {
			for num, want := range get.want {
				if got, err := get.of(0, num); got != want || err != nil {
					t.Errorf("%s of semaphore %d: got %d, error %v, want %d", get.call, num, got, err, want)
				}
			}
			for num, id := range map[int]int{3: 0, -1: 0, 0: 1} {
				if _, err := get.of(id, num); !errors.Is(err, syscall.EINVAL) || err.Error() != "semctl("+get.call+"): invalid argument" {
					t.Errorf("%s of semaphore %d of set %d: error %v", get.call, num, id, err)
				}
			}
		}
		// The last sleeper is woken by the others.
		return errors.Join(
			ipctest.Semop(0, ipctest.Sembuf{Num: 1, Op: 1}),
			ipctest.Semop(0, ipctest.Sembuf{Num: 1, Op: 9}))
	})
	if err := errors.Join(<-grow, <-more, <-zero); err != nil {
		t.Error(err)
	}
}

func TestShmStatAny(t *testing.T) {
	page := uint64(os.Getpagesize())
	ipctest.InNew(t, func() error {
		if info, highest, err := system.ShmInfo(); info != (ipc.ShmInfo{}) || highest != 0 || err != nil {
			t.Errorf("empty: %+v, highest index %d, error %v", info, highest, err)
		}
		if err := makeOneOfEach(0o645); err != nil {
			return err
		}
		pid := int32(os.Getpid())
		_, fresh, err := system.ShmStatAny(0)
		want := ipc.ShmidDS{Perm: ownPerm(0o645), Segsz: 4097, Ctime: fresh.Ctime, Cpid: pid}
		if fresh != want || fresh.Ctime == 0 || err != nil {
			t.Errorf("new: error %v\n got %+v\nwant %+v", err, fresh, want)
		}
		memory, err := unix.SysvShmAttach(0, 0, 0)
		if err != nil {
			return err
		}
		memory[0] = 1
		_, attached, err := system.ShmStatAny(0)
		want.Atime, want.Lpid, want.Nattch = attached.Atime, pid, 1
		if attached != want || attached.Atime == 0 || err != nil {
			t.Errorf("attached: error %v\n got %+v\nwant %+v", err, attached, want)
		}
		wantInfo := ipc.ShmInfo{Segments: 1, Pages: (4097 + page - 1) / page, Resident: 1}
		if info, highest, err := system.ShmInfo(); info != wantInfo || highest != 0 || err != nil {
			t.Errorf("attached: %+v, highest index %d, error %v, want %+v", info, highest, err, wantInfo)
		}
		if err := ipctest.ShmctlRmid(0); err != nil {
			return err
		}
		_, removed, err := system.ShmStatAny(0)
		want.Perm.Mode |= ipc.ShmDest
		want.Perm.Key = ipc.Private
		if removed != want || err != nil {
			t.Errorf("removed: error %v\n got %+v\nwant %+v", err, removed, want)
		}
		if err := unix.SysvShmDetach(memory); err != nil {
			return err
		}
		if _, _, err := system.ShmStatAny(0); !errors.Is(err, syscall.EINVAL) || err.Error() != "shmctl(SHM_STAT_ANY): invalid argument" {
			t.Errorf("detached: error %v", err)
		}
		return nil
	})
}
