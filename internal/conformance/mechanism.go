package conformance

import (
	"testing"

	"github.com/ipcns/ipcns/ipc"
)

// A mechanism is what the three kinds of System V objects have in common.
type mechanism struct {
	kind string // as in msg_next_id
	// get makes an object, or finds one, of the smallest size.
	get  func(p Process, key ipc.Key, flags int) (int, error)
	rmid func(p Process, id int) error
	// stat is IPC_STAT.
	stat func(p Process, id int) (ipc.Perm, error)
	// set is IPC_SET.
	set func(p Process, id int, set ipc.PermSet) error
	// statIndex is MSG_STAT, SEM_STAT or SHM_STAT, and statAny MSG_STAT_ANY, ….
	statIndex, statAny func(p Process, index int) (id int, perm ipc.Perm, err error)
	// used is MSG_INFO, SEM_INFO or SHM_INFO.
	used func(p Process) (objects, highest int, err error)
	// info is IPC_INFO.
	info func(p Process) (highest int, err error)
	// ctime is the time of the last change.
	ctime func(p Process, id int) (int64, error)
}

var mechanisms = []mechanism{
	{
		kind: "msg",
		get:  func(p Process, key ipc.Key, flags int) (int, error) { return p.Msgget(key, flags) },
		rmid: Process.MsgctlRmid,
		stat: func(p Process, id int) (ipc.Perm, error) {
			ds, err := p.MsgctlStat(id)
			return ds.Perm, err
		},
		set: func(p Process, id int, set ipc.PermSet) error {
			return p.MsgctlSet(id, ipc.MsqidSet{PermSet: set, Qbytes: ipc.DefaultLimits().Msgmnb})
		},
		statIndex: func(p Process, index int) (int, ipc.Perm, error) {
			id, ds, err := p.MsgStat(index)
			return id, ds.Perm, err
		},
		statAny: func(p Process, index int) (int, ipc.Perm, error) {
			id, ds, err := p.MsgStatAny(index)
			return id, ds.Perm, err
		},
		used: func(p Process) (int, int, error) {
			info, highest, err := p.MsgInfo()
			return info.Queues, highest, err
		},
		info: func(p Process) (int, error) {
			_, highest, err := p.MsgctlInfo()
			return highest, err
		},
		ctime: func(p Process, id int) (int64, error) {
			ds, err := p.MsgctlStat(id)
			return ds.Ctime, err
		},
	},
	{
		kind: "sem",
		get:  func(p Process, key ipc.Key, flags int) (int, error) { return p.Semget(key, 1, flags) },
		rmid: Process.SemctlRmid,
		stat: func(p Process, id int) (ipc.Perm, error) {
			ds, err := p.SemctlStat(id)
			return ds.Perm, err
		},
		set: Process.SemctlSet,
		statIndex: func(p Process, index int) (int, ipc.Perm, error) {
			id, ds, err := p.SemStat(index)
			return id, ds.Perm, err
		},
		statAny: func(p Process, index int) (int, ipc.Perm, error) {
			id, ds, err := p.SemStatAny(index)
			return id, ds.Perm, err
		},
		used: func(p Process) (int, int, error) {
			info, highest, err := p.SemInfo()
			return info.Sets, highest, err
		},
		info: func(p Process) (int, error) {
			_, highest, err := p.SemctlInfo()
			return highest, err
		},
		ctime: func(p Process, id int) (int64, error) {
			ds, err := p.SemctlStat(id)
			return ds.Ctime, err
		},
	},
	{
		kind: "shm",
		get:  func(p Process, key ipc.Key, flags int) (int, error) { return p.Shmget(key, 1, flags) },
		rmid: Process.ShmctlRmid,
		stat: func(p Process, id int) (ipc.Perm, error) {
			ds, err := p.ShmctlStat(id)
			return ds.Perm, err
		},
		set: Process.ShmctlSet,
		statIndex: func(p Process, index int) (int, ipc.Perm, error) {
			id, ds, err := p.ShmStat(index)
			return id, ds.Perm, err
		},
		statAny: func(p Process, index int) (int, ipc.Perm, error) {
			id, ds, err := p.ShmStatAny(index)
			return id, ds.Perm, err
		},
		used: func(p Process) (int, int, error) {
			info, highest, err := p.ShmInfo()
			return info.Segments, highest, err
		},
		info: func(p Process) (int, error) {
			_, highest, err := p.ShmctlInfo()
			return highest, err
		},
		ctime: func(p Process, id int) (int64, error) {
			ds, err := p.ShmctlStat(id)
			return ds.Ctime, err
		},
	},
}

// each is a case for each of the mechanisms, whose objects have nothing to do
// with each other. It is skipped if it is for one of them.
func each(run func(t *testing.T, w World, m mechanism)) func(*testing.T, World) {
	return func(t *testing.T, w World) {
		skipped := false
		for _, m := range mechanisms {
			t.Run(m.kind, func(t *testing.T) {
				defer func() { skipped = skipped || t.Skipped() }()
				run(t, w, m)
			})
		}
		if skipped {
			t.SkipNow()
		}
	}
}

// make makes an object with a key.
func (m mechanism) make(t *testing.T, p Process, key ipc.Key, mode int) int {
	t.Helper()
	id, err := m.get(p, key, ipc.Creat|ipc.Excl|mode)
	must(t, err)
	return id
}

// remove ends an object.
func (m mechanism) remove(t *testing.T, p Process, ids ...int) {
	t.Helper()
	for _, id := range ids {
		must(t, m.rmid(p, id))
	}
}

// perm returns who owns an object.
func (m mechanism) perm(t *testing.T, p Process, id int) ipc.Perm {
	t.Helper()
	perm, err := m.stat(p, id)
	must(t, err)
	return perm
}
