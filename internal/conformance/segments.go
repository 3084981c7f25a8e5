package conformance

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
)

var segments = []Case{
	{"A.6.1 segsz is what was asked for, the memory is whole pages", func(t *testing.T, w World) {
		p := w.Root()
		for _, c := range []struct{ size, pages int }{
			{1, 1}, {page - 1, 1}, {page, 1}, {page + 1, 2}, {3*page - 5, 3},
		} {
			id := shmget(t, p, ipc.Private, uint64(c.size), create)
			equal(t, "segsz", shmStat(t, p, id).Segsz, uint64(c.size))
			memory := shmat(t, p, id, 0)
			equal(t, "the memory's size", len(memory), c.pages*page)
			must(t, p.Poke(memory, len(memory)-1, []byte{1}))
		}
	}},
	{"A.6.1 a new segment has a creator and has not been used", func(t *testing.T, w World) {
		p := w.Root()
		ds := shmStat(t, p, shmget(t, p, ipc.Private, 1, create))
		equal(t, "cpid", int(ds.Cpid), p.PID())
		equal(t, "lpid", ds.Lpid, 0)
		equal(t, "atime", ds.Atime, 0)
		equal(t, "dtime", ds.Dtime, 0)
		equal(t, "nattch", ds.Nattch, 0)
		if ds.Ctime == 0 {
			t.Error("ctime is 0")
		}
	}},
	{"A.6.1 an attach sets atime and lpid, a detach dtime and lpid", func(t *testing.T, w World) {
		p, q, r := w.Root(), w.Process(t, Credentials{}), w.Process(t, Credentials{})
		id := shmget(t, p, ipc.Private, 1, create)
		memory := shmat(t, q, id, 0)
		shmat(t, r, id, 0)
		attached := shmStat(t, p, id)
		equal(t, "lpid", int(attached.Lpid), r.PID())
		equal(t, "dtime", attached.Dtime, 0)
		if attached.Atime == 0 {
			t.Error("atime is 0")
		}
		must(t, q.Shmdt(memory))
		detached := shmStat(t, p, id)
		equal(t, "lpid", int(detached.Lpid), q.PID())
		if detached.Dtime == 0 {
			t.Error("dtime is 0")
		}
		equal(t, "cpid", int(detached.Cpid), p.PID())
	}},
	{"A.6.1 ctime is set by IPC_SET, not by an attach or a detach", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, ipc.Private, 1, create)
		ctime := shmStat(t, p, id).Ctime
		eventually(t, "a second passes", func() bool {
			must(t, p.Shmdt(shmat(t, p, id, 0)))
			return shmStat(t, p, id).Dtime > ctime
		})
		equal(t, "ctime after a detach", shmStat(t, p, id).Ctime, ctime)
		must(t, p.ShmctlSet(id, ipc.PermSet{Mode: 0o600}))
		if now := shmStat(t, p, id).Ctime; now <= ctime {
			t.Errorf("ctime after IPC_SET is %d, want it later than %d", now, ctime)
		}
	}},

	{"A.6.2 nattch counts mappings, not processes", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := shmget(t, p, ipc.Private, 1, create)
		first, second := shmat(t, p, id, 0), shmat(t, p, id, ipc.ShmRdonly)
		attached(t, p, id, 2)
		shmat(t, q, id, 0)
		attached(t, p, id, 3)
		must(t, p.Shmdt(first))
		attached(t, p, id, 2)
		must(t, p.Shmdt(second))
		attached(t, p, id, 1)
	}},
	{"A.6.2 the end of a process detaches all that it has attached", func(t *testing.T, w World) {
		for _, c := range ends {
			t.Log(c.name)
			p, q := w.Root(), w.Process(t, Credentials{})
			id := shmget(t, p, ipc.Private, 1, create)
			shmat(t, q, id, 0)
			shmat(t, q, id, 0)
			shmat(t, p, id, 0)
			pid := q.PID()
			c.end(q)
			attached(t, p, id, 1)
			equal(t, "lpid", int(shmStat(t, p, id).Lpid), pid)
			if shmStat(t, p, id).Dtime == 0 {
				t.Error("dtime is 0")
			}
		}
	}},

	{"A.6.2, A.6.3 a mapping that is cut in two counts twice, and one detach takes both", func(t *testing.T, w World) {
		need(t, w, Addresses)
		p := w.Root()
		id, other := shmget(t, p, ipc.Private, uint64(3*page), create), shmget(t, p, ipc.Private, 1, create)
		memory := shmatAt(t, p, id, freePage(0), 0)
		shmatAt(t, p, other, freePage(1), ipc.ShmRemap)
		attached(t, p, id, 2)
		must(t, p.Shmdt(memory))
		attached(t, p, id, 0)
		attached(t, p, other, 1)
	}},
	{"A.6.3 a detach takes what is left, also without the first page", func(t *testing.T, w World) {
		need(t, w, Addresses)
		p := w.Root()
		id, other := shmget(t, p, ipc.Private, uint64(2*page), create), shmget(t, p, ipc.Private, 1, create)
		memory := shmatAt(t, p, id, freePage(0), 0)
		must(t, p.Shmdt(shmatAt(t, p, other, freePage(0), ipc.ShmRemap)))
		attached(t, p, id, 1)
		must(t, p.Shmdt(memory))
		attached(t, p, id, 0)
	}},
	{"A.6.3 a detach takes the address the address of the segment's first page", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, ipc.Private, uint64(2*page), create)
		memory := shmat(t, p, id, 0)
		wantErrno(t, p.Shmdt(memory[1:]), syscall.EINVAL)
		wantErrno(t, p.Shmdt(memory[page:]), syscall.EINVAL)
		attached(t, p, id, 1)
		must(t, p.Shmdt(memory[:1]))
		attached(t, p, id, 0)
	}},
	{"A.6.3 a second detach is EINVAL", func(t *testing.T, w World) {
		p := w.Root()
		memory := shmat(t, p, shmget(t, p, ipc.Private, 1, create), 0)
		must(t, p.Shmdt(memory))
		wantErrno(t, p.Shmdt(memory), syscall.EINVAL)
	}},
	{"A.6.3 what is detached cannot be used, what else is attached can", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, ipc.Private, 1, create)
		gone, stays := shmat(t, p, id, 0), shmat(t, p, id, 0)
		must(t, p.Shmdt(gone))
		_, err := p.Peek(gone, 0, 1)
		wantErrno(t, err, syscall.EFAULT)
		wantErrno(t, p.Poke(gone, 0, []byte{1}), syscall.EFAULT)
		must(t, p.Poke(stays, 0, []byte{1}))
	}},

	{"A.6.4 the memory is at the address asked for", func(t *testing.T, w World) {
		need(t, w, Addresses)
		p := w.Root()
		id := shmget(t, p, ipc.Private, uint64(2*page), create)
		memory := shmatAt(t, p, id, freePage(0), 0)
		for n, want := range map[int]bool{-1: false, 0: true, 1: true, 2: false} {
			occupied(t, p, freePage(n), want)
		}
		must(t, p.Shmdt(memory))
		occupied(t, p, freePage(0), false)
	}},
	{"A.6.4 an address within a page is EINVAL, and rounded down with SHM_RND", func(t *testing.T, w World) {
		need(t, w, Addresses)
		p := w.Root()
		id := shmget(t, p, ipc.Private, 1, create)
		for _, addr := range []uintptr{freePage(0) + 1, freePage(0) + 8, freePage(1) - 1} {
			_, err := p.Shmat(id, addr, 0)
			wantErrno(t, err, syscall.EINVAL)
			memory := shmatAt(t, p, id, addr, ipc.ShmRnd)
			occupied(t, p, freePage(0), true)
			occupied(t, p, freePage(1), false)
			must(t, p.Shmdt(memory))
		}
	}},
	{"A.6.4 an address where something is takes SHM_REMAP", func(t *testing.T, w World) {
		need(t, w, Addresses)
		p := w.Root()
		old, id := shmget(t, p, ipc.Private, 1, create), shmget(t, p, ipc.Private, 1, create)
		must(t, p.Poke(shmatAt(t, p, old, freePage(0), 0), 0, []byte("old")))
		_, err := p.Shmat(id, freePage(0), 0)
		wantErrno(t, err, syscall.EINVAL)
		attached(t, p, id, 0)
		must(t, p.Poke(shmatAt(t, p, id, freePage(0), ipc.ShmRemap), 0, []byte("new")))
		attached(t, p, old, 0)
		attached(t, p, id, 1)
		equal(t, "the old contents", contents(t, p, shmat(t, p, old, 0), 3), "old")
		equal(t, "the new contents", contents(t, p, shmat(t, p, id, 0), 3), "new")
	}},
	{"A.6.4 SHM_REMAP takes an address", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, ipc.Private, 1, create)
		_, err := p.Shmat(id, 0, ipc.ShmRemap)
		wantErrno(t, err, syscall.EINVAL)
		_, err = p.Shmat(id, 1, ipc.ShmRemap|ipc.ShmRnd)
		wantErrno(t, err, syscall.EINVAL)
	}},
	{"A.6.4 an address beyond all addresses is ENOMEM", func(t *testing.T, w World) {
		need(t, w, Addresses)
		p := w.Root()
		id := shmget(t, p, ipc.Private, 1, create)
		_, err := p.Shmat(id, ^uintptr(0)>>1&^(1<<20-1), 0)
		wantErrno(t, err, syscall.ENOMEM)
		attached(t, p, id, 0)
	}},
	{"A.6.4 shmat names its first reason to fail", func(t *testing.T, w World) {
		need(t, w, Addresses)
		p, stranger := w.Root(), w.Process(t, Credentials{UID: 1000, GID: 1000})
		id := shmget(t, p, ipc.Private, 1, create)
		theirs, err := stranger.Shmget(ipc.Private, 1, create)
		must(t, err)
		shmatAt(t, stranger, theirs, freePage(0), 0)
		for _, c := range []struct {
			what  string
			id    int
			addr  uintptr
			errno syscall.Errno
		}{
			{"an id below 0", -1, 0, syscall.EINVAL},
			{"no such segment", id + 100, 0, syscall.EINVAL},
			{"within a page, no permission", id, freePage(1) + 1, syscall.EINVAL},
			{"no permission, something is there", id, freePage(0), syscall.EACCES},
			{"no permission", id, 0, syscall.EACCES},
		} {
			t.Log(c.what)
			_, err := stranger.Shmat(c.id, c.addr, 0)
			wantErrno(t, err, c.errno)
		}
		attached(t, p, id, 0)
	}},

	{"A.6.5 IPC_RMID destroys a segment that nobody has attached", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, 42, 1, create)
		must(t, p.Shmdt(shmat(t, p, id, 0)))
		must(t, p.ShmctlRmid(id))
		_, err := p.ShmctlStat(id)
		wantErrno(t, err, syscall.EINVAL)
		_, err = p.Shmat(id, 0, 0)
		wantErrno(t, err, syscall.EINVAL)
	}},
	{"A.6.5 a segment that is attached only loses its key, and gets the mode bit SHM_DEST", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, 42, uint64(page), create)
		memory := shmat(t, p, id, 0)
		must(t, p.Poke(memory, 0, []byte("stays")))
		must(t, p.ShmctlRmid(id))

		ds := shmStat(t, p, id)
		equal(t, "key", ds.Perm.Key, ipc.Private)
		equal(t, "mode", ds.Perm.Mode, ipc.ShmDest|0o600)
		if other := shmget(t, p, 42, 1, exclusive); other == id {
			t.Error("the key still has the segment")
		}
		equal(t, "the contents", contents(t, p, memory, 5), "stays")
	}},
	{"A.6.5 a segment with SHM_DEST can be attached, changed and removed again", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := shmget(t, p, 42, 1, create)
		memory := shmat(t, p, id, 0)
		must(t, p.Poke(memory, 0, []byte("stays")))
		must(t, p.ShmctlRmid(id))

		again := shmat(t, q, id, 0)
		equal(t, "the contents", contents(t, q, again, 5), "stays")
		must(t, p.ShmctlSet(id, ipc.PermSet{Mode: 0o640}))
		equal(t, "mode", shmStat(t, p, id).Perm.Mode, ipc.ShmDest|0o640)
		must(t, p.ShmctlRmid(id))
		attached(t, p, id, 2)
	}},
	{"A.6.5 a segment with SHM_DEST is destroyed by its last detach", func(t *testing.T, w World) {
		for _, c := range ends {
			t.Log(c.name)
			p, q := w.Root(), w.Process(t, Credentials{})
			id := shmget(t, p, ipc.Private, 1, create)
			memory := shmat(t, p, id, 0)
			shmat(t, q, id, 0)
			must(t, p.ShmctlRmid(id))
			must(t, p.Shmdt(memory))
			attached(t, p, id, 1)
			c.end(q)
			_, err := p.ShmctlStat(id)
			wantErrno(t, err, syscall.EINVAL)
		}
	}},

	{"A.6.6 with shm_rmid_forced the last detach destroys", func(t *testing.T, w World) {
		p := w.Root()
		must(t, w.SetLimit("shm_rmid_forced", 1))
		id := shmget(t, p, 42, 1, create)
		memory, other := shmat(t, p, id, 0), shmat(t, p, id, 0)
		must(t, p.Shmdt(memory))
		equal(t, "mode", shmStat(t, p, id).Perm.Mode, 0o600)
		must(t, p.Shmdt(other))
		_, err := p.ShmctlStat(id)
		wantErrno(t, err, syscall.EINVAL)
		_, err = p.Shmget(42, 1, 0)
		wantErrno(t, err, syscall.ENOENT)
	}},
	{"A.6.6 with shm_rmid_forced the creator's end destroys, but for what is attached", func(t *testing.T, w World) {
		for _, c := range ends {
			t.Log(c.name)
			p, creator := w.Root(), w.Process(t, Credentials{})
			must(t, w.SetLimit("shm_rmid_forced", 1))
			id := shmget(t, creator, ipc.Private, 1, create)
			used := shmget(t, creator, ipc.Private, 1, create)
			own := shmget(t, p, ipc.Private, 1, create)
			memory := shmat(t, p, used, 0)
			attached(t, p, id, 0)
			c.end(creator)
			_, err := p.ShmctlStat(id)
			wantErrno(t, err, syscall.EINVAL)
			attached(t, p, used, 1)
			attached(t, p, own, 0)
			must(t, p.Shmdt(memory))
			_, err = p.ShmctlStat(used)
			wantErrno(t, err, syscall.EINVAL)
		}
	}},
	{"A.6.6 without shm_rmid_forced a segment outlives detaches and its creator", func(t *testing.T, w World) {
		p, creator := w.Root(), w.Process(t, Credentials{})
		id := shmget(t, creator, ipc.Private, 1, create)
		must(t, p.Poke(shmat(t, p, id, 0), 0, []byte("stays")))
		creator.Exit()
		attached(t, p, id, 1)
		must(t, p.Shmdt(shmat(t, p, id, 0)))
		equal(t, "the contents", contents(t, p, shmat(t, p, id, 0), 5), "stays")
	}},
	{"A.6.6 setting shm_rmid_forced destroys what has neither creator nor mapping", func(t *testing.T, w World) {
		p, creator := w.Root(), w.Process(t, Credentials{})
		orphan := shmget(t, creator, ipc.Private, 1, create)
		used := shmget(t, creator, ipc.Private, 1, create)
		own := shmget(t, p, ipc.Private, 1, create)
		shmat(t, p, used, 0)
		creator.Exit()
		must(t, w.SetLimit("shm_rmid_forced", 1))
		_, err := p.ShmctlStat(orphan)
		wantErrno(t, err, syscall.EINVAL)
		attached(t, p, used, 1)
		attached(t, p, own, 0)
	}},

	{"A.6.7 SHM_HUGETLB without huge pages is ENOMEM", func(t *testing.T, w World) {
		if w.Lacks(HugePages) == "" {
			t.Skip("needs a machine without huge pages")
		}
		p := w.Root()
		hugePages(t, p)
		_, err := p.Shmget(ipc.Private, 1, create|ipc.ShmHugetlb)
		wantErrno(t, err, syscall.ENOMEM)
	}},
	{"A.6.7 SHM_HUGETLB of a size that there is not is EINVAL", func(t *testing.T, w World) {
		p := w.Root()
		hugePages(t, p)
		const huge8K = 13 << 26 // as SHM_HUGE_2MB is 21 << 26
		_, err := p.Shmget(ipc.Private, 1, create|ipc.ShmHugetlb|huge8K)
		wantErrno(t, err, syscall.EINVAL)
	}},
	{"A.6.7 SHM_HUGETLB with SHM_NORESERVE takes no page until it is used", func(t *testing.T, w World) {
		p := w.Root()
		id := hugePages(t, p)
		equal(t, "segsz", shmStat(t, p, id).Segsz, 1)
		shmat(t, p, id, 0)
		attached(t, p, id, 1)
	}},
	{"A.6.7 SHM_HUGETLB without CAP_IPC_LOCK is EPERM", func(t *testing.T, w World) {
		hugePages(t, w.Root())
		stranger := w.Process(t, Credentials{UID: 1000, GID: 1000})
		_, err := stranger.Shmget(ipc.Private, 1, create|ipc.ShmHugetlb|ipc.ShmNoReserve)
		wantErrno(t, err, syscall.EPERM)
	}},

	{"A.6.10 a new segment is all zeros", func(t *testing.T, w World) {
		p := w.Root()
		for range 2 {
			id := shmget(t, p, ipc.Private, uint64(3*page), create)
			memory := shmat(t, p, id, 0)
			data, err := p.Peek(memory, 0, len(memory))
			must(t, err)
			if !bytes.Equal(data, make([]byte, 3*page)) {
				t.Error("there is something in it")
			}
			must(t, p.Poke(memory, 0, bytes.Repeat([]byte{0xff}, 3*page)))
			must(t, p.Shmdt(memory))
			must(t, p.ShmctlRmid(id))
		}
	}},
	{"A.6.10 everybody sees what anybody writes", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := shmget(t, p, ipc.Private, uint64(2*page), create)
		mine, again, theirs := shmat(t, p, id, 0), shmat(t, p, id, ipc.ShmRdonly), shmat(t, q, id, 0)
		must(t, p.Poke(mine, page-2, []byte("ping")))
		equal(t, "what q reads", contents(t, q, theirs[page-2:], 4), "ping")
		must(t, q.Poke(theirs, page-2, []byte("pong")))
		equal(t, "what p reads", contents(t, p, mine[page-2:], 4), "pong")
		equal(t, "what p reads elsewhere", contents(t, p, again[page-2:], 4), "pong")
	}},
	{"A.6.10 memory attached with SHM_RDONLY cannot be written", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, ipc.Private, 1, create)
		memory := shmat(t, p, id, ipc.ShmRdonly)
		wantErrno(t, p.Poke(memory, 0, []byte{1}), syscall.EFAULT)
		equal(t, "the contents", contents(t, p, memory, 1), "\x00")
	}},
	{"A.6.10 what is in a segment stays while nobody has it attached", func(t *testing.T, w World) {
		p, q := w.Root(), w.Process(t, Credentials{})
		id := shmget(t, p, ipc.Private, uint64(page), create)
		must(t, q.Poke(shmat(t, q, id, 0), page-5, []byte("stays")))
		q.Kill()
		attached(t, p, id, 0)
		equal(t, "the contents", contents(t, p, shmat(t, p, id, 0)[page-5:], 5), "stays")
	}},

	{"A.1.8 no number of more than 32 bits is the id that its lower bits are", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, ipc.Private, 1, create)
		beyond := id + 1<<32
		_, err := p.Shmat(beyond, 0, 0)
		wantErrno(t, err, syscall.EINVAL)
		_, err = p.ShmctlStat(beyond)
		wantErrno(t, err, syscall.EINVAL)
		for _, call := range []func(int) error{p.ShmctlLock, p.ShmctlUnlock, p.ShmctlRmid} {
			wantErrno(t, call(beyond), syscall.EINVAL)
		}
		wantErrno(t, p.ShmctlSet(beyond, ipc.PermSet{}), syscall.EINVAL)
		equal(t, "mode", shmStat(t, p, id).Perm.Mode, 0o600)
	}},
	{"A.3.shmget the size of a new segment is above 0, and at most that of one that exists", func(t *testing.T, w World) {
		p := w.Root()
		_, err := p.Shmget(42, 0, create)
		wantErrno(t, err, syscall.EINVAL)
		id := shmget(t, p, 42, 100, create)
		for _, size := range []uint64{0, 1, 99, 100} {
			equal(t, "id", shmget(t, p, 42, size, 0), id)
		}
		for _, size := range []uint64{101, uint64(page), 1 << 40} {
			_, err := p.Shmget(42, size, 0)
			wantErrno(t, err, syscall.EINVAL)
		}
		equal(t, "segsz", shmStat(t, p, id).Segsz, 100)
	}},
}

// page is the size of a page of memory.
var page = os.Getpagesize()

// freePage returns the address of a page where no process has anything, nor
// close by: 0, those after it, and those before it.
func freePage(n int) uintptr { return uintptr(0x20_0000_0000 + n*page) }

func shmatAt(t *testing.T, p Process, id int, addr uintptr, flags int) []byte {
	t.Helper()
	memory, err := p.Shmat(id, addr, flags)
	must(t, err)
	return memory
}

// occupied checks whether p has something in the page at an address.
func occupied(t *testing.T, p Process, addr uintptr, want bool) {
	t.Helper()
	id := shmget(t, p, ipc.Private, 1, create)
	memory, err := p.Shmat(id, addr, 0)
	if want {
		wantErrno(t, err, syscall.EINVAL)
	} else {
		must(t, err)
		must(t, p.Shmdt(memory))
	}
	must(t, p.ShmctlRmid(id))
}

// attached checks a segment's nattch.
func attached(t *testing.T, p Process, id int, want uint64) {
	t.Helper()
	equal(t, "nattch", shmStat(t, p, id).Nattch, want)
}

// contents returns the first n bytes of memory.
func contents(t *testing.T, p Process, memory []byte, n int) string {
	t.Helper()
	data, err := p.Peek(memory, 0, n)
	must(t, err)
	return string(data)
}

// hugePages skips a case if p may not use huge pages, and returns a segment
// that is to be of such pages but has none yet.
func hugePages(t *testing.T, p Process) int {
	t.Helper()
	id, err := p.Shmget(ipc.Private, 1, create|ipc.ShmHugetlb|ipc.ShmNoReserve)
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skip("needs CAP_IPC_LOCK in the machine's first user namespace")
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS):
		t.Skip("needs a kernel with huge pages: ", err)
	}
	must(t, err)
	return id
}
