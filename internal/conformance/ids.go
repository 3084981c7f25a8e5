package conformance

import (
	"context"
	"errors"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// indexBits are the bits of an id that are its index; those above are its seq.
const indexBits = 15

// idCases are of ids, keys and times, which are the same for all System V objects.
var idCases = []Case{
	{"A.1.1 the first object has id 0, which is an id like others", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		equal(t, "id", m.make(t, p, 1, 0o600), 0)
		equal(t, "key", m.perm(t, p, 0).Key, 1)
		m.remove(t, p, 0)
	})},
	{"A.1.1, A.1.3, A.1.4 an id is an index and above it a seq, which perm shows", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		for seq := range 3 {
			id := m.make(t, p, 1, 0o600)
			equal(t, "id", id, seq<<indexBits)
			equal(t, "seq", m.perm(t, p, id).Seq, uint16(seq))
			m.remove(t, p, id)
			cycle(t, p, m, 63)
		}
	})},
	{"A.1.2 a new object has the index after the last one's, free ones below or not", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		equal(t, "first id", m.make(t, p, 1, 0o600), 0)
		equal(t, "second id", m.make(t, p, 2, 0o600), 1)
		m.remove(t, p, 0, 1)
		equal(t, "third id", m.make(t, p, 3, 0o600), 2)
	})},
	{"A.1.2, A.1.3 after index 63 comes the lowest that is free, with the next seq", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		stays := m.make(t, p, 1, 0o600)
		cycle(t, p, m, 62)
		equal(t, "last id before", m.make(t, p, 2, 0o600), 63)
		id := m.make(t, p, 3, 0o600)
		equal(t, "id", id, 1<<indexBits|1)
		equal(t, "seq of an object that has stayed", m.perm(t, p, stays).Seq, 0)
	})},
	{"A.1.2 indexes go on to 3/2 of the objects that there are", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		for id := range 61 {
			equal(t, "id", m.make(t, p, ipc.Private, 0o600), id)
		}
		m.remove(t, p, 10)
		for want := 61; want < 60*3/2; want++ {
			id := m.make(t, p, ipc.Private, 0o600)
			equal(t, "id", id, want)
			m.remove(t, p, id)
		}
		equal(t, "id after them", m.make(t, p, ipc.Private, 0o600), 1<<indexBits|10)
	})},
	{"A.1.4 when many objects have gone, indexes begin at 0 again", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		var ids []int
		for range 200 {
			ids = append(ids, m.make(t, p, ipc.Private, 0o600))
		}
		equal(t, "last id", ids[199], 199)
		m.remove(t, p, ids...)
		equal(t, "next id", m.make(t, p, ipc.Private, 0o600), 1<<indexBits)
	})},

	{"A.1.5 IPC_PRIVATE always makes an object, whatever the flags", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		for want, flags := range []int{0, ipc.Creat, ipc.Excl, ipc.Creat | ipc.Excl} {
			id, err := m.get(p, ipc.Private, flags)
			must(t, err)
			equal(t, "id", id, want)
			equal(t, "key", m.perm(t, p, id).Key, ipc.Private)
			equal(t, "mode", m.perm(t, p, id).Mode, 0)
		}
	})},
	{"A.1.5 any other value is a key, and finds its object", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		for _, key := range []ipc.Key{1, -1, math.MaxInt32, math.MinInt32} {
			id := m.make(t, p, key, 0o600)
			for _, flags := range []int{0, 0o600, ipc.Creat, ipc.Excl} {
				found, err := m.get(p, key, flags)
				must(t, err)
				equal(t, "id", found, id)
			}
			equal(t, "key", m.perm(t, p, id).Key, key)
		}
	})},
	{"A.1.5 a key that is missing or taken", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		m.make(t, p, 1, 0o600)
		for _, try := range []struct {
			key   ipc.Key
			flags int
			want  syscall.Errno
		}{
			{2, 0, syscall.ENOENT},
			{2, ipc.Excl, syscall.ENOENT},
			{2, ipc.Excl | 0o600, syscall.ENOENT},
			{1, ipc.Creat | ipc.Excl, syscall.EEXIST},
			{1, ipc.Creat, 0},
			{1, ipc.Excl, 0},
		} {
			_, err := m.get(p, try.key, try.flags)
			wantErrno(t, err, try.want)
		}
	})},
	{"A.1.5 queues, sets and segments do not share keys", func(t *testing.T, w World) {
		for _, m := range mechanisms {
			_, err := m.get(w.Root(), 1, 0)
			wantErrno(t, err, syscall.ENOENT)
			m.make(t, w.Root(), 1, 0o600)
		}
	}},
	{"A.1.6 the mode is nine bits of the flags, and the umask not applied", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		for _, flags := range []int{0, 0o666, 0o777, 0o124, ipc.ShmNoReserve | 0o600} {
			id, err := m.get(p, ipc.Private, flags)
			must(t, err)
			equal(t, "mode", m.perm(t, p, id).Mode, uint32(flags&0o777))
		}
	})},

	{"A.1.7 of an object that is there, EEXIST comes before EINVAL, and that before EACCES", func(t *testing.T, w World) {
		root, stranger := w.Root(), w.Process(t, Credentials{UID: 1000, GID: 1000})
		msgget(t, root, 1, exclusive)
		semget(t, root, 1, 2, exclusive)
		shmget(t, root, 1, 4096, exclusive)
		for _, try := range []struct {
			what  string
			get   func(size, flags int) (int, error)
			size  int
			flags int
			want  syscall.Errno
		}{
			{"queue", anySize(stranger.Msgget), 0, ipc.Creat | ipc.Excl | 0o600, syscall.EEXIST},
			{"queue", anySize(stranger.Msgget), 0, 0o600, syscall.EACCES},
			{"queue", anySize(stranger.Msgget), 0, 0, 0},
			{"set", setOf(stranger), 3, ipc.Creat | ipc.Excl | 0o600, syscall.EEXIST},
			{"set", setOf(stranger), 3, 0o600, syscall.EINVAL},
			{"set", setOf(stranger), 2, 0o600, syscall.EACCES},
			{"set", setOf(stranger), 0, 0o600, syscall.EACCES},
			{"set", setOf(stranger), 0, 0, 0},
			{"segment", segmentOf(stranger), 4097, ipc.Creat | ipc.Excl | 0o600, syscall.EEXIST},
			{"segment", segmentOf(stranger), 4097, 0o600, syscall.EINVAL},
			{"segment", segmentOf(stranger), 4096, 0o600, syscall.EACCES},
			{"segment", segmentOf(stranger), 0, 0, 0},
		} {
			t.Logf("%s of size %d, flags %#o", try.what, try.size, try.flags)
			_, err := try.get(try.size, try.flags)
			wantErrno(t, err, try.want)
		}
	}},
	{"A.1.7 semget looks at semmsl before it looks for the key", func(t *testing.T, w World) {
		p := w.Root()
		semget(t, p, 1, 10, exclusive)
		must(t, w.SetLimit("semmsl", 5))
		for _, try := range []struct {
			nsems, flags int
			want         syscall.Errno
		}{
			{10, 0, syscall.EINVAL},
			{6, ipc.Creat | ipc.Excl, syscall.EINVAL},
			{-1, ipc.Creat | ipc.Excl, syscall.EINVAL},
			{5, ipc.Creat | ipc.Excl, syscall.EEXIST},
			{5, 0, 0},
		} {
			_, err := p.Semget(1, try.nsems, try.flags)
			wantErrno(t, err, try.want)
		}
	}},
	{"A.1.7 a new set: its size, then semmns, then semmni", func(t *testing.T, w World) {
		p := w.Root()
		_, err := p.Semget(1, 0, exclusive)
		wantErrno(t, err, syscall.EINVAL)
		must(t, w.SetLimit("semmni", 0))
		_, err = p.Semget(1, 0, exclusive)
		wantErrno(t, err, syscall.EINVAL)
		_, err = p.Semget(1, 1, exclusive)
		wantErrno(t, err, syscall.ENOSPC)
	}},
	{"A.1.7 a new segment: its size, then shmmni", func(t *testing.T, w World) {
		p := w.Root()
		must(t, w.SetLimit("shmmni", 0))
		_, err := p.Shmget(1, 0, exclusive)
		wantErrno(t, err, syscall.EINVAL)
		_, err = p.Shmget(1, 1, exclusive)
		wantErrno(t, err, syscall.ENOSPC)
	}},

	{"A.1.8 an id that no object has is EINVAL for every call", func(t *testing.T, w World) {
		p := w.Root()
		for _, m := range mechanisms {
			removed := m.make(t, p, 1, 0o600)
			m.remove(t, p, removed)
			cycle(t, p, m, 63)
			m.make(t, p, 1, 0o600) // at the index of the removed one
			for what, id := range map[string]int{
				"removed": removed, "never there": 17, "of another seq": 2 << indexBits, "-1": -1, "lowest": math.MinInt32,
			} {
				for call, do := range callsWithID[m.kind] {
					if err := do(p, id); !errors.Is(err, syscall.EINVAL) {
						t.Errorf("%s of id %d, %s: %v, want %v", call, id, what, err, syscall.EINVAL)
					}
				}
			}
		}
	}},

	{"A.1.9 MSG_STAT, SEM_STAT and SHM_STAT take an index and return the id", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		cycle(t, p, m, 64)
		id := m.make(t, p, 5, 0o600)
		equal(t, "id", id, 1<<indexBits)
		for _, try := range []struct {
			index int
			want  syscall.Errno
		}{
			{0, 0},
			{id, 0},
			{7 << indexBits, 0}, // bits above the index do not count
			{1, syscall.EINVAL},
			{-1, syscall.EINVAL},
		} {
			for _, stat := range []func(Process, int) (int, ipc.Perm, error){m.statIndex, m.statAny} {
				found, perm, err := stat(p, try.index)
				wantErrno(t, err, try.want)
				if try.want == 0 {
					equal(t, "id", found, id)
					equal(t, "key", perm.Key, 5)
				}
			}
		}
	})},
	{"A.1.9 IPC_INFO and its kin return the highest index that is used, 0 if there is none", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		wantUsed := func(objects, highest int) {
			t.Helper()
			n, got, err := m.used(p)
			must(t, err)
			equal(t, "objects", n, objects)
			equal(t, "highest index", got, highest)
			got, err = m.info(p)
			must(t, err)
			equal(t, "highest index of IPC_INFO", got, highest)
		}
		wantUsed(0, 0)
		ids := []int{m.make(t, p, 1, 0), m.make(t, p, 2, 0), m.make(t, p, 3, 0)}
		wantUsed(3, 2)
		m.remove(t, p, ids[1])
		wantUsed(2, 2)
		m.remove(t, p, ids[2])
		wantUsed(1, 0)
		m.remove(t, p, ids[0])
		wantUsed(0, 0)
	})},

	{"A.1.10 the id of the next object can be chosen, once", nextID(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		for _, id := range []int{0, 5, 7<<indexBits | 5 + 1, math.MaxInt32} {
			must(t, w.SetNextID(m.kind, id))
			wantNextID(t, w, m, id)
			equal(t, "id", m.make(t, p, ipc.Private, 0o600), id)
			equal(t, "seq", m.perm(t, p, id).Seq, uint16(id>>indexBits))
			wantNextID(t, w, m, -1)
		}
	})},
	{"A.1.10 an id that is chosen changes nothing about those that are not", nextID(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		equal(t, "id before", m.make(t, p, ipc.Private, 0o600), 0)
		must(t, w.SetNextID(m.kind, 3<<indexBits|40))
		m.make(t, p, ipc.Private, 0o600)
		equal(t, "id after", m.make(t, p, ipc.Private, 0o600), 1)
	})},
	{"A.1.10 if the index that was chosen is taken, it is the next free one, with the chosen seq", nextID(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		m.make(t, p, ipc.Private, 0o600)
		m.make(t, p, ipc.Private, 0o600)
		must(t, w.SetNextID(m.kind, 9<<indexBits))
		equal(t, "id", m.make(t, p, ipc.Private, 0o600), 9<<indexBits|2)
	})},
	{"A.1.10 a creation that fails uses the chosen id up, a search does not", nextID(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		must(t, w.SetNextID(m.kind, math.MaxInt32))
		m.make(t, p, 1, 0o600)
		must(t, w.SetNextID(m.kind, 32767))
		_, err := m.get(p, 1, ipc.Creat|ipc.Excl)
		wantErrno(t, err, syscall.EEXIST)
		_, err = m.get(p, 2, 0)
		wantErrno(t, err, syscall.ENOENT)
		_, err = m.get(p, 1, 0)
		must(t, err)
		wantNextID(t, w, m, 32767)
		_, err = m.get(p, 2, ipc.Creat) // no index is free from 32767
		wantErrno(t, err, syscall.ENOSPC)
		wantNextID(t, w, m, -1)
	})},
	{"A.1.10 an id to choose is 0 to 2147483647", nextID(func(t *testing.T, w World, m mechanism) {
		wantNextID(t, w, m, -1)
		for _, id := range []int{-1, -2, math.MinInt32, math.MaxInt32 + 1} {
			wantErrno(t, w.SetNextID(m.kind, id), syscall.EINVAL)
			wantNextID(t, w, m, -1)
		}
	})},

	{"A.1.12 the key of a removed object is free at once", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		id := m.make(t, p, 1, 0o600)
		m.remove(t, p, id)
		_, err := m.get(p, 1, 0)
		wantErrno(t, err, syscall.ENOENT)
		equal(t, "next id", m.make(t, p, 1, 0o600), id+1)
	})},
	{"A.1.12 the key of a removed segment is free at once even if it is attached", func(t *testing.T, w World) {
		p := w.Root()
		old := shmget(t, p, 1, 4096, exclusive)
		memory := shmat(t, p, old, 0)
		must(t, p.ShmctlRmid(old))
		equal(t, "key of the removed one", shmStat(t, p, old).Perm.Key, ipc.Private)
		equal(t, "id of the new one", shmget(t, p, 1, 4096, exclusive), old+1)
		must(t, p.Shmdt(memory))
	}},
	{"A.1.13 ctime is the time of creation, in seconds of the real clock", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		before := time.Now().Unix()
		id := m.make(t, p, 1, 0o600)
		after := time.Now().Unix()
		ctime, err := m.ctime(p, id)
		must(t, err)
		// The kernel's second may begin a tick late.
		if ctime < before-1 || ctime > after {
			t.Errorf("ctime is %d, want %d to %d", ctime, before, after)
		}
	})},
}

// cycle makes and removes objects.
func cycle(t *testing.T, p Process, m mechanism, n int) {
	t.Helper()
	for range n {
		m.remove(t, p, m.make(t, p, ipc.Private, 0o600))
	}
}

// nextID is a case for each of the mechanisms that chooses ids.
func nextID(run func(t *testing.T, w World, m mechanism)) func(*testing.T, World) {
	return func(t *testing.T, w World) {
		need(t, w, NextID)
		each(run)(t, w)
	}
}

func wantNextID(t *testing.T, w World, m mechanism, want int) {
	t.Helper()
	id, err := w.NextID(m.kind)
	must(t, err)
	equal(t, m.kind+"_next_id", id, want)
}

func anySize(get func(ipc.Key, int) (int, error)) func(size, flags int) (int, error) {
	return func(_, flags int) (int, error) { return get(1, flags) }
}

func setOf(p Process) func(size, flags int) (int, error) {
	return func(size, flags int) (int, error) { return p.Semget(1, size, flags) }
}

func segmentOf(p Process) func(size, flags int) (int, error) {
	return func(size, flags int) (int, error) { return p.Shmget(1, uint64(size), flags) }
}

// callsWithID are the calls that take an id, by mechanism.
var callsWithID = map[string]map[string]func(p Process, id int) error{
	"msg": {
		"msgsnd": func(p Process, id int) error { return p.Msgsnd(ctx, id, 1, nil, ipc.NoWait) },
		"msgrcv": func(p Process, id int) error {
			_, _, err := p.Msgrcv(ctx, id, 0, nil, ipc.NoWait)
			return err
		},
		"msgrcv asleep": func(p Process, id int) error {
			// A call that sleeps here shall not do so for ever.
			short, cancel := context.WithTimeout(ctx, hang)
			defer cancel()
			_, _, err := p.Msgrcv(short, id, 0, nil, 0)
			return err
		},
		"IPC_STAT": func(p Process, id int) error { return errorOf(p.MsgctlStat(id)) },
		"IPC_SET":  func(p Process, id int) error { return p.MsgctlSet(id, ipc.MsqidSet{}) },
		"IPC_RMID": Process.MsgctlRmid,
	},
	"sem": {
		"semop":      func(p Process, id int) error { return p.Semop(ctx, id, []ipc.Sembuf{{Op: 1}}) },
		"semtimedop": func(p Process, id int) error { return p.Semtimedop(ctx, id, []ipc.Sembuf{{Op: 1}}, time.Second) },
		"GETVAL":     func(p Process, id int) error { return errorOf(p.SemctlGetval(id, 0)) },
		"SETVAL":     func(p Process, id int) error { return p.SemctlSetval(id, 0, 1) },
		"GETALL":     func(p Process, id int) error { return errorOf(p.SemctlGetall(id)) },
		"SETALL":     func(p Process, id int) error { return p.SemctlSetall(id, []uint16{1}) },
		"GETPID":     func(p Process, id int) error { return errorOf(p.SemctlGetpid(id, 0)) },
		"GETNCNT":    func(p Process, id int) error { return errorOf(p.SemctlGetncnt(id, 0)) },
		"GETZCNT":    func(p Process, id int) error { return errorOf(p.SemctlGetzcnt(id, 0)) },
		"IPC_STAT":   func(p Process, id int) error { return errorOf(p.SemctlStat(id)) },
		"IPC_SET":    func(p Process, id int) error { return p.SemctlSet(id, ipc.PermSet{}) },
		"IPC_RMID":   Process.SemctlRmid,
	},
	"shm": {
		"shmat":      func(p Process, id int) error { return errorOf(p.Shmat(id, 0, 0)) },
		"IPC_STAT":   func(p Process, id int) error { return errorOf(p.ShmctlStat(id)) },
		"IPC_SET":    func(p Process, id int) error { return p.ShmctlSet(id, ipc.PermSet{}) },
		"IPC_RMID":   Process.ShmctlRmid,
		"SHM_LOCK":   Process.ShmctlLock,
		"SHM_UNLOCK": Process.ShmctlUnlock,
	},
}
