package userspace

import (
	"iter"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

const (
	indexBits  = 15
	maxObjects = 1 << indexBits        // the kernel's IPCMNI
	maxSeq     = maxInt32 >> indexBits // a seq is below it
	minCycle   = 64                    // indexes go at least so far before they begin anew
)

// A table holds the objects of one mechanism by index, and finds them by key.
// Indexes and seqs are given out as the kernel does (SEMANTICS A.1).
type table[O object] struct {
	at     []O // by index; its length is one above the highest that is used
	keys   map[ipc.Key]O
	inUse  int
	cursor int // the index to look from
	last   int // the index that was given last, -1 for none
	seq    int
	nextID int // msg_next_id and its kin, -1 for none
}

// An object is what tables hold.
type object interface {
	comparable
	permissions() *ipc.Perm
	index() *int
}

func (t *table[O]) init() {
	t.keys = map[ipc.Key]O{}
	t.last, t.nextID = -1, -1
}

// id returns the id of an object.
func id[O object](o O) int { return int(o.permissions().Seq)<<indexBits | *o.index() }

// find returns the object with that id, or none.
func (t *table[O]) find(id int) (o O) {
	if id < 0 || id > maxInt32 {
		return o
	}
	found := t.atIndex(id)
	var none O
	if found == none || int(found.permissions().Seq) != id>>indexBits {
		return none
	}
	return found
}

// atIndex returns the object at an index, of which the bits above do not count
// (SEMANTICS A.1.9), or none.
func (t *table[O]) atIndex(index int) (o O) {
	if !fits32(index) || index < 0 {
		return o
	}
	if index &= maxObjects - 1; index < len(t.at) {
		return t.at[index]
	}
	return o
}

// all returns the objects, by index.
func (t *table[O]) all() iter.Seq[O] {
	return func(yield func(O) bool) {
		var none O
		for _, o := range t.at {
			if o != none && !yield(o) {
				return
			}
		}
	}
}

// highest returns the highest used index, 0 if there is none.
func (t *table[O]) highest() int { return max(len(t.at)-1, 0) }

// add gives an object an id. ENOSPC: the limit is reached, or no index is
// free.
func (t *table[O]) add(o O, limit int) syscall.Errno {
	if t.inUse >= min(limit, maxObjects) {
		return syscall.ENOSPC
	}
	var index int
	if t.nextID >= 0 {
		wanted := t.nextID
		t.nextID = -1
		index = t.freeIndex(wanted&(maxObjects-1), maxObjects)
		if index < 0 {
			return syscall.ENOSPC
		}
		o.permissions().Seq = uint16(wanted >> indexBits)
	} else {
		index = t.nextIndex()
		o.permissions().Seq = uint16(t.seq)
	}
	*o.index() = index
	t.put(o)
	return 0
}

// put puts an object where its index says.
func (t *table[O]) put(o O) {
	index := *o.index()
	for len(t.at) <= index {
		var none O
		t.at = append(t.at, none)
	}
	t.at[index] = o
	t.inUse++
	if key := o.permissions().Key; key != ipc.Private {
		t.keys[key] = o
	}
}

// nextIndex is idr_alloc_cyclic of the kernel.
func (t *table[O]) nextIndex() int {
	end := min(max(t.inUse*3/2, minCycle), maxObjects)
	index := t.freeIndex(t.cursor, end)
	if index < 0 {
		index = t.freeIndex(0, end)
	}
	t.cursor = index + 1
	if index <= t.last {
		t.seq++
		if t.seq >= maxSeq {
			t.seq = 0
		}
	}
	t.last = index
	return index
}

// freeIndex returns the first index from begin and below end that is free, -1
// if there is none.
func (t *table[O]) freeIndex(begin, end int) int {
	var none O
	for index := begin; index < end; index++ {
		if index >= len(t.at) || t.at[index] == none {
			return index
		}
	}
	return -1
}

// remove takes an object out.
func (t *table[O]) remove(o O) {
	var none O
	t.forgetKey(o)
	t.at[*o.index()] = none
	for len(t.at) > 0 && t.at[len(t.at)-1] == none {
		t.at = t.at[:len(t.at)-1]
	}
	t.inUse--
}

// forgetKey frees the key of an object.
func (t *table[O]) forgetKey(o O) {
	if key := o.permissions().Key; key != ipc.Private {
		delete(t.keys, key)
	}
}

// get is the part of the get calls that is about keys: it returns the object,
// or none if one is to be made. Check is asked about one that exists, before
// permissions are (SEMANTICS A.1.7).
func get[O object](task *Task, t *table[O], key ipc.Key, flags int, check func(O) syscall.Errno) (O, syscall.Errno) {
	var none O
	if key == ipc.Private {
		return none, 0
	}
	found, there := t.keys[key]
	switch {
	case !there && flags&ipc.Creat == 0:
		return none, syscall.ENOENT
	case !there:
		return none, 0
	case flags&ipc.Creat != 0 && flags&ipc.Excl != 0:
		return none, syscall.EEXIST
	}
	if errno := check(found); errno != 0 {
		return none, errno
	}
	if !task.may(found.permissions(), asked(flags)) {
		return none, syscall.EACCES
	}
	return found, 0
}

// controlled returns the object with that id for IPC_SET and IPC_RMID.
func controlled[O object](task *Task, t *table[O], id int) (O, syscall.Errno) {
	o := t.find(id)
	var none O
	if o == none {
		return none, syscall.EINVAL
	}
	if !task.mayControl(o.permissions()) {
		return none, syscall.EPERM
	}
	return o, 0
}

// accessible returns the object with that id, if the task has permissions on
// it, and has not ended: a thread may be about to call when another ends all.
func accessible[O object](task *Task, t *table[O], id int, wanted uint32) (O, syscall.Errno) {
	if task.ended {
		var none O
		return none, syscall.ESRCH
	}
	o := t.find(id)
	return o, allowed(task, o, wanted)
}

func allowed[O object](task *Task, o O, wanted uint32) syscall.Errno {
	var none O
	if o == none {
		return syscall.EINVAL
	}
	if !task.may(o.permissions(), wanted) {
		return syscall.EACCES
	}
	return 0
}
