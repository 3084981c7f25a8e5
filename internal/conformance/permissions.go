package conformance

import (
	"context"
	"errors"
	"math"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
)

// Capabilities, by their numbers in capabilities(7).
const (
	capIPCLock  = 14
	capIPCOwner = 15
	capSysAdmin = 21
)

// rlimitMemlock is RLIMIT_MEMLOCK.
const rlimitMemlock = 8

// The users of the cases. The objects that they ask for have an owner and a
// creator who are not the same.
const (
	ownerUID, ownerGID     = 1000, 1001
	creatorUID, creatorGID = 2000, 2001
)

var (
	owner    = Credentials{UID: ownerUID, GID: 1}
	creator  = Credentials{UID: creatorUID, GID: creatorGID}
	stranger = Credentials{UID: 3000, GID: 3001}
)

// givenAway makes an object by the creator, and gives it to the owner.
func givenAway(t *testing.T, w World, m mechanism, mode uint32) int {
	t.Helper()
	p := w.Process(t, creator)
	id := m.make(t, p, ipc.Private, 0o600)
	must(t, m.set(p, id, ipc.PermSet{UID: ownerUID, GID: ownerGID, Mode: mode}))
	p.Exit()
	return id
}

// permissions are who may do what with System V objects.
var permissions = []Case{
	{"A.2.1 owner and creator are one class, their groups the next, all others the last", func(t *testing.T, w World) {
		const (
			ofOwner = 0o400
			ofGroup = 0o040
			ofOther = 0o004
		)
		ids := map[string]int{}
		for _, m := range mechanisms {
			ids[m.kind] = givenAway(t, w, m, 0)
		}
		for _, try := range []struct {
			what  string
			who   Credentials
			class uint32
		}{
			{"owner", owner, ofOwner},
			{"owner in the owner's group", Credentials{UID: ownerUID, GID: ownerGID}, ofOwner},
			{"creator", Credentials{UID: creatorUID, GID: 1}, ofOwner},
			{"owner's group", Credentials{UID: 3000, GID: ownerGID}, ofGroup},
			{"creator's group", Credentials{UID: 3000, GID: creatorGID}, ofGroup},
			{"owner's group as a supplementary one", Credentials{UID: 3000, GID: 1, Groups: []uint32{7, ownerGID}}, ofGroup},
			{"creator's group as a supplementary one", Credentials{UID: 3000, GID: 1, Groups: []uint32{creatorGID}}, ofGroup},
			{"stranger", Credentials{UID: 3000, GID: 1, Groups: []uint32{7}}, ofOther},
		} {
			p := w.Process(t, try.who)
			for _, m := range mechanisms {
				for _, mode := range []uint32{ofOwner, ofGroup, ofOther, 0o777 &^ ofOwner, 0o777 &^ ofGroup, 0o777 &^ ofOther} {
					id := ids[m.kind]
					must(t, m.set(w.Root(), id, ipc.PermSet{UID: ownerUID, GID: ownerGID, Mode: mode}))
					_, err := m.stat(p, id)
					if allowed := mode&try.class != 0; allowed != (err == nil) || !allowed && !errors.Is(err, syscall.EACCES) {
						t.Errorf("IPC_STAT of %s by %s, mode %#o: %v", m.kind, try.what, mode, err)
					}
				}
			}
			p.Exit()
		}
	}},

	{"A.2.2 a get asks for the permissions in any of the three digits", each(func(t *testing.T, w World, m mechanism) {
		p := w.Process(t, stranger)
		for _, try := range []struct {
			mode  int
			flags int
			want  syscall.Errno
		}{
			{0o000, 0, 0},
			{0o000, 0o400, syscall.EACCES},
			{0o000, 0o001, syscall.EACCES},
			{0o004, 0o400, 0},
			{0o004, 0o040, 0},
			{0o004, 0o004, 0},
			{0o004, 0o444, 0},
			{0o004, 0o600, syscall.EACCES},
			{0o004, 0o020, syscall.EACCES},
			{0o004, 0o002, syscall.EACCES},
			{0o004, 0o402, syscall.EACCES},
			{0o002, 0o200, 0},
			{0o002, 0o202 | ipc.Creat, 0},
			{0o006, 0o666, 0},
			{0o006, 0o700, syscall.EACCES},
			{0o007, 0o777, 0},
			{0o770, 0o040, syscall.EACCES},
		} {
			id := m.make(t, w.Root(), 1, try.mode)
			t.Logf("mode %#o, flags %#o", try.mode, try.flags)
			found, err := m.get(p, 1, try.flags)
			wantErrno(t, err, try.want)
			if err == nil {
				equal(t, "id", found, id)
			}
			m.remove(t, w.Root(), id)
		}
	})},

	{"A.2.3 what each call needs", func(t *testing.T, w World) {
		p := w.Process(t, owner)
		ids := map[string]int{}
		for _, m := range mechanisms {
			ids[m.kind] = givenAway(t, w, m, 0)
		}
		for mode := range uint32(8) {
			for _, m := range mechanisms {
				must(t, m.set(w.Root(), ids[m.kind], ipc.PermSet{UID: ownerUID, GID: ownerGID, Mode: mode << 6}))
			}
			for _, need := range needs {
				err := need.do(p, ids[need.kind])
				// A call that is allowed may fail with another error.
				if allowed := mode&need.bits == need.bits; allowed == errors.Is(err, syscall.EACCES) {
					t.Errorf("%s with mode %#o: %v", need.call, mode<<6, err)
				}
			}
		}
	}},
	{"A.2.3 MSG_COPY needs what msgrcv needs", func(t *testing.T, w World) {
		need(t, w, MsgCopy)
		p, copyOne := w.Process(t, stranger), receiveOne(ipc.MsgCopy)
		for mode, want := range map[int]syscall.Errno{0o600: syscall.EACCES, 0o602: syscall.EACCES, 0o604: syscall.ENOMSG} {
			wantErrno(t, copyOne(p, msgget(t, w.Root(), ipc.Private, mode)), want)
		}
	}},
	{"A.2.3 MSG_STAT_ANY and its kin need nothing, MSG_STAT and its kin to read", each(func(t *testing.T, w World, m mechanism) {
		id := m.make(t, w.Root(), 5, 0)
		p := w.Process(t, stranger)
		_, _, err := m.statIndex(p, id)
		wantErrno(t, err, syscall.EACCES)
		found, perm, err := m.statAny(p, id)
		must(t, err)
		equal(t, "id", found, id)
		equal(t, "key", perm.Key, 5)
		objects, _, err := m.used(p)
		must(t, err)
		equal(t, "objects", objects, 1)
		_, err = m.info(p)
		must(t, err)
	})},

	{"A.2.4 CAP_IPC_OWNER does for every permission, but not for IPC_SET and IPC_RMID", func(t *testing.T, w World) {
		p := w.Process(t, Credentials{UID: 3000, GID: 3001, Capabilities: []int{capIPCOwner}})
		ids := map[string]int{}
		for _, m := range mechanisms {
			ids[m.kind] = m.make(t, w.Root(), 1, 0)
			_, err := m.get(p, 1, 0o777)
			wantErrno(t, err, 0)
		}
		for _, need := range needs {
			if err := need.do(p, ids[need.kind]); errors.Is(err, syscall.EACCES) {
				t.Errorf("%s: %v", need.call, err)
			}
		}
		for _, m := range mechanisms {
			wantErrno(t, m.set(p, ids[m.kind], ipc.PermSet{}), syscall.EPERM)
			wantErrno(t, m.rmid(p, ids[m.kind]), syscall.EPERM)
		}
	}},

	{"A.2.5 IPC_SET and IPC_RMID are for owner and creator, whatever the mode", each(func(t *testing.T, w World, m mechanism) {
		for _, try := range []struct {
			what string
			who  Credentials
			want syscall.Errno
		}{
			{"owner", owner, 0},
			{"creator", creator, 0},
			{"owner's group", Credentials{UID: 3000, GID: ownerGID}, syscall.EPERM},
			{"stranger", stranger, syscall.EPERM},
		} {
			t.Log(try.what)
			id := givenAway(t, w, m, 0)
			p := w.Process(t, try.who)
			wantErrno(t, m.set(p, id, ipc.PermSet{UID: ownerUID, GID: ownerGID, Mode: 0o077}), try.want)
			wantErrno(t, m.rmid(p, id), try.want)
		}
	})},
	{"A.2.5 CAP_SYS_ADMIN does for IPC_SET and IPC_RMID, but not for permissions", each(func(t *testing.T, w World, m mechanism) {
		p := w.Process(t, Credentials{UID: 3000, GID: 3001, Capabilities: []int{capSysAdmin}})
		id := m.make(t, w.Root(), 1, 0o700)
		_, err := m.get(p, 1, 0o400)
		wantErrno(t, err, syscall.EACCES)
		_, err = m.stat(p, id)
		wantErrno(t, err, syscall.EACCES)
		must(t, m.set(p, id, ipc.PermSet{UID: 3000, GID: 3001, Mode: 0o600}))
		_, err = m.stat(p, id)
		wantErrno(t, err, 0)
		wantErrno(t, m.rmid(p, id), 0)
	})},
	{"A.2.5 who has given an object away may still take it back", each(func(t *testing.T, w World, m mechanism) {
		id := givenAway(t, w, m, 0o600)
		p := w.Process(t, creator)
		_, err := m.stat(p, id)
		wantErrno(t, err, 0)
		wantErrno(t, m.set(p, id, ipc.PermSet{UID: creatorUID, GID: creatorGID}), 0)
		wantErrno(t, m.rmid(p, id), 0)
	})},

	{"A.2.6 IPC_SET changes owner, group and nine bits of the mode, and nothing else", each(func(t *testing.T, w World, m mechanism) {
		id := m.make(t, w.Process(t, creator), 5, 0o600)
		before := m.perm(t, w.Root(), id)
		must(t, m.set(w.Root(), id, ipc.PermSet{UID: ownerUID, GID: ownerGID, Mode: math.MaxUint32 &^ 0o024}))
		want := before
		want.UID, want.GID, want.Mode = ownerUID, ownerGID, 0o753
		equal(t, "perm", m.perm(t, w.Root(), id), want)
		equal(t, "creator", want.CUID, creatorUID)
		equal(t, "creator's group", want.CGID, creatorGID)
		equal(t, "key", want.Key, 5)
	})},
	{"A.2.6 IPC_SET leaves the other bits of a segment's mode", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, 1, 4096, create)
		memory := shmat(t, p, id, 0)
		must(t, p.ShmctlLock(id))
		must(t, p.ShmctlRmid(id))
		equal(t, "mode", shmStat(t, p, id).Perm.Mode, ipc.ShmDest|ipc.ShmLocked|0o600)
		must(t, p.ShmctlSet(id, ipc.PermSet{Mode: 0o640}))
		equal(t, "mode", shmStat(t, p, id).Perm.Mode, ipc.ShmDest|ipc.ShmLocked|0o640)
		must(t, p.Shmdt(memory))
	}},
	{"A.2.6 an owner or a group of -1 is EINVAL, and changes nothing", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		id := m.make(t, p, 1, 0o600)
		before := m.perm(t, p, id)
		wantErrno(t, m.set(p, id, ipc.PermSet{UID: math.MaxUint32, Mode: 0o666}), syscall.EINVAL)
		wantErrno(t, m.set(p, id, ipc.PermSet{GID: math.MaxUint32, Mode: 0o666}), syscall.EINVAL)
		equal(t, "perm", m.perm(t, p, id), before)
	})},

	{"A.2.7, A.2.6 msg_qbytes is lowered at will, also below what is in the queue", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		msgsnd(t, p, id, 1, "12345678")
		must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 5}))
		ds := msgStat(t, p, id)
		equal(t, "qbytes", ds.Qbytes, 5)
		equal(t, "cbytes", ds.Cbytes, 8)
		wantErrno(t, p.Msgsnd(ctx, id, 1, nil, ipc.NoWait), syscall.EAGAIN)
		msgrcv(t, p, id, 0, 0)
		msgsnd(t, p, id, 1, "12345")
	}},
	{"A.2.7 with msg_qbytes 0 nothing can be sent", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}}))
		wantErrno(t, p.Msgsnd(ctx, id, 1, nil, ipc.NoWait), syscall.EAGAIN)
		wantErrno(t, p.Msgsnd(ctx, id, 1, []byte("1"), ipc.NoWait), syscall.EAGAIN)
	}},
	{"A.2.7 msg_qbytes has 32 bits", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 7<<32 | 100}))
		equal(t, "qbytes", msgStat(t, p, id).Qbytes, 100)
	}},
	{"A.2.7, A.3.msgmnb msg_qbytes above msgmnb is EPERM, and changes nothing", func(t *testing.T, w World) {
		p := w.Process(t, owner)
		id := msgget(t, p, 1, create)
		must(t, w.SetLimit("msgmnb", 1000))
		before := msgStat(t, p, id)
		set := ipc.PermSet{UID: ownerUID, GID: 1, Mode: 0o666}
		wantErrno(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: set, Qbytes: 1001}), syscall.EPERM)
		equal(t, "queue", msgStat(t, p, id), before)
		wantErrno(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: set, Qbytes: 1000}), 0)
	}},
	{"A.2.7, A.3.msgmnb with CAP_SYS_RESOURCE msg_qbytes can be above msgmnb", func(t *testing.T, w World) {
		need(t, w, CapSysResource)
		p := w.Root()
		id := msgget(t, p, 1, create)
		must(t, p.MsgctlSet(id, ipc.MsqidSet{Qbytes: 16385}))
		equal(t, "qbytes", msgStat(t, p, id).Qbytes, 16385)
	}},

	{"A.2.8 SHM_LOCK and SHM_UNLOCK are for owner, creator and CAP_IPC_LOCK", func(t *testing.T, w World) {
		id := givenAway(t, w, mechanisms[2], 0)
		for _, try := range []struct {
			what string
			who  Credentials
			want syscall.Errno
		}{
			{"owner", owner, 0},
			{"creator", creator, 0},
			{"CAP_IPC_LOCK", Credentials{UID: 3000, GID: 3001, Capabilities: []int{capIPCLock}}, 0},
			{"CAP_SYS_ADMIN", Credentials{UID: 3000, GID: 3001, Capabilities: []int{capSysAdmin, capIPCOwner}}, syscall.EPERM},
			{"owner's group", Credentials{UID: 3000, GID: ownerGID}, syscall.EPERM},
			{"stranger", stranger, syscall.EPERM},
		} {
			t.Log(try.what)
			p := w.Process(t, try.who)
			wantErrno(t, p.ShmctlLock(id), try.want)
			wantErrno(t, p.ShmctlUnlock(id), try.want)
		}
	}},
	{"A.2.8 SHM_LOCK sets a bit of the mode, SHM_UNLOCK clears it, both as often as one likes", func(t *testing.T, w World) {
		p := w.Root()
		id := shmget(t, p, 1, 4096, create)
		for range 2 {
			must(t, p.ShmctlLock(id))
			equal(t, "mode", shmStat(t, p, id).Perm.Mode, ipc.ShmLocked|0o600)
		}
		for range 2 {
			must(t, p.ShmctlUnlock(id))
			equal(t, "mode", shmStat(t, p, id).Perm.Mode, 0o600)
		}
	}},
	{"A.2.8 an owner locks within RLIMIT_MEMLOCK, which 0 forbids", func(t *testing.T, w World) {
		for _, try := range []struct {
			limit uint64
			size  uint64
			want  syscall.Errno
		}{
			{0, 4096, syscall.EPERM},
			{4096, 4096, 0},
			{4096, 4097, syscall.ENOMEM},
		} {
			// Another user each: what is locked counts against all of a user's processes.
			p := w.Process(t, Credentials{UID: 5000 + uint32(try.limit+try.size), GID: 1, Rlimits: map[int]uint64{rlimitMemlock: try.limit}})
			id := shmget(t, p, ipc.Private, try.size, create)
			wantErrno(t, p.ShmctlLock(id), try.want)
			wantErrno(t, p.ShmctlUnlock(id), 0)
		}
	}},
	{"A.2.8 CAP_IPC_LOCK locks without a limit", func(t *testing.T, w World) {
		p := w.Process(t, Credentials{UID: 5000, GID: 1, Capabilities: []int{capIPCLock}, Rlimits: map[int]uint64{rlimitMemlock: 0}})
		wantErrno(t, p.ShmctlLock(shmget(t, p, ipc.Private, 4096, create)), 0)
	}},

	{"A.2.10 IPC_SET wakes a receiver that has lost its permission, with EACCES, and no other", func(t *testing.T, w World) {
		loser, keeper := w.Process(t, stranger), w.Process(t, owner)
		id := givenAway(t, w, mechanisms[0], 0o666)
		receive := func(p Process) func() error {
			return func() error {
				_, _, err := p.Msgrcv(ctx, id, 0, make([]byte, 8), 0)
				return err
			}
		}
		lost := asleep(t, loser, receive(loser))
		kept := asleep(t, keeper, receive(keeper))
		must(t, w.Root().MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{UID: ownerUID, GID: ownerGID, Mode: 0o600}, Qbytes: 100}))
		wantErrno(t, outcome(t, lost), syscall.EACCES)
		stillAsleep(t, kept)
		msgsnd(t, w.Root(), id, 1, "1")
		wantErrno(t, outcome(t, kept), 0)
	}},
	{"A.2.10 a sender asks for its permission again when there is room", func(t *testing.T, w World) {
		loser, keeper := w.Process(t, stranger), w.Process(t, owner)
		id := givenAway(t, w, mechanisms[0], 0o666)
		fill := ipc.MsqidSet{PermSet: ipc.PermSet{UID: ownerUID, GID: ownerGID, Mode: 0o666}, Qbytes: 8}
		must(t, w.Root().MsgctlSet(id, fill))
		msgsnd(t, w.Root(), id, 1, "12345678")
		send := func(p Process) func() error {
			return func() error { return p.Msgsnd(ctx, id, 1, []byte("1"), 0) }
		}
		lost := asleep(t, loser, send(loser))
		kept := asleep(t, keeper, send(keeper))
		fill.Mode = 0o600
		must(t, w.Root().MsgctlSet(id, fill))
		// A sender that fits is woken, and asks for permission again.
		msgrcv(t, w.Root(), id, 0, 0)
		wantErrno(t, outcome(t, lost), syscall.EACCES)
		wantErrno(t, outcome(t, kept), 0)
	}},
	{"A.2.10 a receiver gets the message that was sent for it, permission or not", func(t *testing.T, w World) {
		p := w.Process(t, stranger)
		id := msgget(t, w.Root(), 1, ipc.Creat|0o666)
		short, cancel := context.WithTimeout(ctx, hang)
		defer cancel()
		over := asleep(t, p, func() error {
			_, _, err := p.Msgrcv(short, id, 0, make([]byte, 8), 0)
			return err
		})
		msgsnd(t, w.Root(), id, 1, "1")
		must(t, w.Root().MsgctlSet(id, ipc.MsqidSet{Qbytes: 100}))
		wantErrno(t, outcome(t, over), 0)
	}},
	{"A.2.10 a semop that sleeps is not asked again", func(t *testing.T, w World) {
		p := w.Process(t, stranger)
		id := semget(t, w.Root(), 1, 1, ipc.Creat|0o666)
		over := asleep(t, p, func() error { return p.Semop(ctx, id, []ipc.Sembuf{{Op: -1}}) })
		must(t, w.Root().SemctlSet(id, ipc.PermSet{}))
		must(t, w.Root().SemctlSetval(id, 0, 1))
		wantErrno(t, outcome(t, over), 0)
		wantErrno(t, p.Semop(ctx, id, []ipc.Sembuf{{Op: -1}}), syscall.EACCES)
	}},
}

// Permission bits, as in one digit of a mode.
const (
	mayExecute = 1 << iota
	mayWrite
	mayRead
)

// needs are the permissions that calls need, in the order of A.2.3.
var needs = []struct {
	kind string
	call string
	bits uint32
	do   func(p Process, id int) error
}{
	{"msg", "msgsnd", mayWrite, func(p Process, id int) error { return p.Msgsnd(ctx, id, 1, []byte("1"), ipc.NoWait) }},
	{"msg", "msgrcv", mayRead, receiveOne(0)},
	{"msg", "IPC_STAT", mayRead, func(p Process, id int) error { return errorOf(p.MsgctlStat(id)) }},
	{"msg", "MSG_STAT", mayRead, func(p Process, id int) error { return errorOf2(p.MsgStat(id)) }},
	{"msg", "MSG_STAT_ANY", 0, func(p Process, id int) error { return errorOf2(p.MsgStatAny(id)) }},

	{"sem", "IPC_STAT", mayRead, func(p Process, id int) error { return errorOf(p.SemctlStat(id)) }},
	{"sem", "SEM_STAT", mayRead, func(p Process, id int) error { return errorOf2(p.SemStat(id)) }},
	{"sem", "SEM_STAT_ANY", 0, func(p Process, id int) error { return errorOf2(p.SemStatAny(id)) }},
	{"sem", "GETVAL", mayRead, func(p Process, id int) error { return errorOf(p.SemctlGetval(id, 0)) }},
	{"sem", "GETALL", mayRead, func(p Process, id int) error { return errorOf(p.SemctlGetall(id)) }},
	{"sem", "GETPID", mayRead, func(p Process, id int) error { return errorOf(p.SemctlGetpid(id, 0)) }},
	{"sem", "GETNCNT", mayRead, func(p Process, id int) error { return errorOf(p.SemctlGetncnt(id, 0)) }},
	{"sem", "GETZCNT", mayRead, func(p Process, id int) error { return errorOf(p.SemctlGetzcnt(id, 0)) }},
	{"sem", "SETVAL", mayWrite, func(p Process, id int) error { return p.SemctlSetval(id, 0, 1) }},
	{"sem", "SETALL", mayWrite, func(p Process, id int) error { return p.SemctlSetall(id, []uint16{1}) }},
	{"sem", "semop that waits for 0", mayRead, operate(0)},
	{"sem", "semop that adds", mayWrite, operate(1)},
	{"sem", "semop that takes away", mayWrite, operate(-1)},
	{"sem", "semop that waits for 0 and adds", mayWrite, operate(0, 1)},

	{"shm", "IPC_STAT", mayRead, func(p Process, id int) error { return errorOf(p.ShmctlStat(id)) }},
	{"shm", "SHM_STAT", mayRead, func(p Process, id int) error { return errorOf2(p.ShmStat(id)) }},
	{"shm", "SHM_STAT_ANY", 0, func(p Process, id int) error { return errorOf2(p.ShmStatAny(id)) }},
	{"shm", "shmat", mayRead | mayWrite, attach(0)},
	{"shm", "shmat with SHM_RDONLY", mayRead, attach(ipc.ShmRdonly)},
	{"shm", "shmat with SHM_EXEC", mayRead | mayWrite | mayExecute, attach(ipc.ShmExec)},
	{"shm", "shmat with SHM_RDONLY and SHM_EXEC", mayRead | mayExecute, attach(ipc.ShmRdonly | ipc.ShmExec)},
}

func receiveOne(flags int) func(p Process, id int) error {
	return func(p Process, id int) error {
		return errorOf2(p.Msgrcv(ctx, id, 0, make([]byte, 8), flags|ipc.NoWait))
	}
}

func operate(ops ...int16) func(p Process, id int) error {
	return func(p Process, id int) error {
		var bufs []ipc.Sembuf
		for _, op := range ops {
			bufs = append(bufs, ipc.Sembuf{Op: op, Flg: ipc.NoWait})
		}
		return p.Semop(ctx, id, bufs)
	}
}

func attach(flags int) func(p Process, id int) error {
	return func(p Process, id int) error {
		memory, err := p.Shmat(id, 0, flags)
		if err == nil {
			err = p.Shmdt(memory)
		}
		return err
	}
}
