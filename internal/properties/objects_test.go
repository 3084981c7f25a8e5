package properties

import (
	"maps"
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"pgregory.net/rapid"
)

// A mechanism is what the three mechanisms of System V have in common.
type mechanism struct {
	sized   bool // the size of an object counts
	get     func(s ipc.System, key ipc.Key, size, flags int) (int, error)
	remove  func(s ipc.System, id int) error
	perm    func(s ipc.System, id int) (ipc.Perm, error)
	at      func(s ipc.System, index int) (int, ipc.Perm, error)
	highest func(s ipc.System) (int, error)
}

var mechanisms = map[string]mechanism{
	"message queues": {
		get:    func(s ipc.System, key ipc.Key, _, flags int) (int, error) { return s.Msgget(key, flags) },
		remove: ipc.System.MsgctlRmid,
		perm: func(s ipc.System, id int) (ipc.Perm, error) {
			ds, err := s.MsgctlStat(id)
			return ds.Perm, err
		},
		at: func(s ipc.System, index int) (int, ipc.Perm, error) {
			id, ds, err := s.MsgStat(index)
			return id, ds.Perm, err
		},
		highest: func(s ipc.System) (int, error) {
			_, highest, err := s.MsgctlInfo()
			return highest, err
		},
	},
	"semaphore sets": {
		sized:  true,
		get:    ipc.System.Semget,
		remove: ipc.System.SemctlRmid,
		perm: func(s ipc.System, id int) (ipc.Perm, error) {
			ds, err := s.SemctlStat(id)
			return ds.Perm, err
		},
		at: func(s ipc.System, index int) (int, ipc.Perm, error) {
			id, ds, err := s.SemStat(index)
			return id, ds.Perm, err
		},
		highest: func(s ipc.System) (int, error) {
			_, highest, err := s.SemctlInfo()
			return highest, err
		},
	},
	"segments": {
		sized: true,
		get: func(s ipc.System, key ipc.Key, size, flags int) (int, error) {
			return s.Shmget(key, uint64(size), flags)
		},
		remove: ipc.System.ShmctlRmid,
		perm: func(s ipc.System, id int) (ipc.Perm, error) {
			ds, err := s.ShmctlStat(id)
			return ds.Perm, err
		},
		at: func(s ipc.System, index int) (int, ipc.Perm, error) {
			id, ds, err := s.ShmStat(index)
			return id, ds.Perm, err
		},
		highest: func(s ipc.System) (int, error) {
			_, highest, err := s.ShmctlInfo()
			return highest, err
		},
	},
}

// objects is the model of the keys and ids of one mechanism (SEMANTICS A.1).
type objects struct {
	sized   bool
	byIndex map[int]object
	gone    []int // ids
	next    int   // where the search for a free index begins
	last    int   // the last index given away
	seq     int
}

type object struct {
	perm ipc.Perm
	size int
}

const indexes = 32768

func (o object) id(index int) int { return int(o.perm.Seq)*indexes + index }

// get returns the id that a get call does, and makes the object.
func (m *objects) get(key ipc.Key, size, flags int) (id int, errno syscall.Errno) {
	for index, o := range m.byIndex {
		if key == ipc.Private || o.perm.Key != key {
			continue
		}
		switch {
		case flags&ipc.Creat != 0 && flags&ipc.Excl != 0:
			return 0, syscall.EEXIST
		case m.sized && size > o.size:
			return 0, syscall.EINVAL
		}
		return o.id(index), 0
	}
	switch {
	case key != ipc.Private && flags&ipc.Creat == 0:
		return 0, syscall.ENOENT
	case m.sized && size == 0:
		return 0, syscall.EINVAL
	}
	index := m.freeIndex()
	o := object{ipc.Perm{Key: key, Mode: uint32(flags & 0o777), Seq: uint16(m.seq)}, size}
	m.byIndex[index] = o
	return o.id(index), 0
}

// freeIndex takes the next free index in a window, from its beginning when
// its end is reached: then the sequence number goes up.
func (m *objects) freeIndex() int {
	window := max(len(m.byIndex)*3/2, 64)
	free := func(index int) bool {
		_, used := m.byIndex[index]
		return !used
	}
	index := m.next
	for index < window && !free(index) {
		index++
	}
	if index >= window {
		for index = 0; !free(index); {
			index++
		}
	}
	if index <= m.last {
		m.seq++
	}
	m.next, m.last = index+1, index
	return index
}

func (m *objects) remove(index int) {
	m.gone = append(m.gone, m.byIndex[index].id(index))
	delete(m.byIndex, index)
}

func (m *objects) indexes() []int { return slices.Sorted(maps.Keys(m.byIndex)) }

func TestObjects(t *testing.T) {
	for name, mechanism := range mechanisms {
		t.Run(name, func(t *testing.T) {
			check(t, func(t *rapid.T, p process) { objectsActions(t, p, mechanism) })
		})
	}
}

func objectsActions(t *rapid.T, s ipc.System, mechanism mechanism) {
	model := objects{sized: mechanism.sized, byIndex: map[int]object{}, last: -1}
	get := func(t *rapid.T, key ipc.Key, size, flags int) {
		want, errno := model.get(key, size, flags)
		id, err := mechanism.get(s, key, size, flags)
		wantErrno(t, err, errno)
		if err == nil {
			equal(t, "the id", id, want)
		}
	}
	remove := func(t *rapid.T, index int) {
		must(t, mechanism.remove(s, model.byIndex[index].id(index)))
		model.remove(index)
	}
	t.Repeat(map[string]func(*rapid.T){
		"get": func(t *rapid.T) {
			key := rapid.SampledFrom([]ipc.Key{ipc.Private, 1, 2, -1}).Draw(t, "key")
			flags := rapid.SampledFrom([]int{0, ipc.Creat, ipc.Excl, ipc.Creat | ipc.Excl}).Draw(t, "flags")
			mode := rapid.SampledFrom([]int{0, 0o600, 0o777}).Draw(t, "mode")
			get(t, key, rapid.IntRange(0, 3).Draw(t, "size"), flags|mode)
		},
		"make many": func(t *rapid.T) {
			for range rapid.IntRange(1, 80).Draw(t, "how many") {
				get(t, ipc.Private, 1, 0o600)
			}
		},
		"remove": func(t *rapid.T) {
			if len(model.byIndex) == 0 {
				t.Skip("there is none")
			}
			remove(t, rapid.SampledFrom(model.indexes()).Draw(t, "index"))
		},
		"remove a range": func(t *rapid.T) {
			first, last := rapid.IntRange(0, 100).Draw(t, "first"), rapid.IntRange(0, 500).Draw(t, "last")
			for _, index := range model.indexes() {
				if index >= first && index <= last {
					remove(t, index)
				}
			}
		},
		"use what is gone": func(t *rapid.T) {
			if len(model.gone) == 0 {
				t.Skip("nothing is")
			}
			id := rapid.SampledFrom(model.gone).Draw(t, "id")
			_, err := mechanism.perm(s, id)
			wantErrno(t, err, syscall.EINVAL)
			wantErrno(t, mechanism.remove(s, id), syscall.EINVAL)
		},
		"": func(t *rapid.T) {
			highest, err := mechanism.highest(s)
			must(t, err)
			used := model.indexes()
			if len(used) > 0 {
				equal(t, "the highest index", highest, used[len(used)-1])
			}
			for index := range highest + 2 {
				o, used := model.byIndex[index]
				id, perm, err := mechanism.at(s, index)
				if !used {
					wantErrno(t, err, syscall.EINVAL)
					continue
				}
				must(t, err)
				equal(t, "the id at an index", id, o.id(index))
				equal(t, "the perm at an index", perm, o.perm)
				perm, err = mechanism.perm(s, id)
				must(t, err)
				equal(t, "the perm of an id", perm, o.perm)
			}
		},
	})
}
