package properties

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"pgregory.net/rapid"
)

// A semaphoreSet is the model of a semaphore set that one process works with.
// Its methods return the set as it is afterwards, and do not change it.
type semaphoreSet struct {
	values      []int
	adjustments []int // of the process
	touched     []bool
	operated    bool
	undoes      bool // the process has an undo list for the set
}

func (s semaphoreSet) clone() semaphoreSet {
	s.values, s.adjustments, s.touched = slices.Clone(s.values), slices.Clone(s.adjustments), slices.Clone(s.touched)
	return s
}

// do is semop. When the call would sleep, it returns EAGAIN and the operation
// at which it would.
func (s semaphoreSet) do(ops []ipc.Sembuf) (after semaphoreSet, errno syscall.Errno, sleepsAt int) {
	if len(ops) == 0 {
		return s, syscall.EINVAL, -1
	}
	s.undoes = s.undoes || slices.ContainsFunc(ops, func(op ipc.Sembuf) bool { return op.Flg&ipc.SemUndo != 0 })
	for _, op := range ops {
		if int(op.Num) >= len(s.values) {
			return s, syscall.EFBIG, -1
		}
	}
	after = s.clone()
	for i, op := range ops {
		value := after.values[op.Num] + int(op.Op)
		switch {
		case op.Op == 0 && value != 0, value < 0:
			return s, syscall.EAGAIN, i
		case value > ipc.SemMaxValue:
			return s, syscall.ERANGE, -1
		}
		if op.Flg&ipc.SemUndo != 0 {
			after.adjustments[op.Num] -= int(op.Op)
			if a := after.adjustments[op.Num]; a < -ipc.SemMaxValue-1 || a > ipc.SemMaxValue {
				return s, syscall.ERANGE, -1
			}
		}
		after.values[op.Num] = value
		after.touched[op.Num] = true
	}
	after.operated = true
	return after, 0, -1
}

// setval is SETVAL.
func (s semaphoreSet) setval(num, value int) (semaphoreSet, syscall.Errno) {
	switch {
	case value < 0 || value > ipc.SemMaxValue:
		return s, syscall.ERANGE
	case num < 0 || num >= len(s.values):
		return s, syscall.EINVAL
	}
	s = s.clone()
	s.values[num], s.adjustments[num], s.touched[num] = value, 0, true
	return s, 0
}

// setall is SETALL.
func (s semaphoreSet) setall(values []uint16) (semaphoreSet, syscall.Errno) {
	if len(values) != len(s.values) {
		return s, syscall.EINVAL
	}
	after := s
	for num, value := range values {
		var errno syscall.Errno
		if after, errno = after.setval(num, int(value)); errno != 0 {
			return s, errno
		}
	}
	return after, 0
}

// end is the end of the process.
func (s semaphoreSet) end() semaphoreSet {
	s = s.clone()
	// Even if there is nothing to undo.
	s.operated = s.operated || s.undoes
	s.undoes = false
	for num, adjustment := range s.adjustments {
		if adjustment != 0 {
			s.values[num] = min(max(0, s.values[num]+adjustment), ipc.SemMaxValue)
			s.adjustments[num], s.touched[num] = 0, true
		}
	}
	return s
}

func TestSemaphoreSet(t *testing.T) { check(t, semaphoreSetActions) }

func semaphoreSetActions(t *rapid.T, s process) {
	id, model := newSemaphoreSet(t, s)
	t.Repeat(map[string]func(*rapid.T){
		"semop": func(t *rapid.T) {
			ops := rapid.SliceOfN(drawSembuf, 0, 5).Draw(t, "operations")
			next, errno, sleepsAt := model.do(ops)
			if sleepsAt >= 0 && ops[sleepsAt].Flg&ipc.NoWait == 0 {
				t.Skip("it would sleep")
			}
			model = next
			wantErrno(t, s.Semop(ctx, id, ops), errno)
		},
		"semtimedop": func(t *rapid.T) {
			ops := rapid.SliceOfN(drawSembuf, 0, 5).Draw(t, "operations")
			next, errno, _ := model.do(ops)
			model = next
			wantErrno(t, s.Semtimedop(ctx, id, ops, 0), errno)
		},
		"SETVAL": func(t *rapid.T) {
			num := rapid.IntRange(-1, len(model.values)).Draw(t, "number")
			value := drawValue.Draw(t, "value")
			next, errno := model.setval(num, value)
			model = next
			wantErrno(t, s.SemctlSetval(id, num, value), errno)
		},
		"SETALL": func(t *rapid.T) {
			n := rapid.OneOf(rapid.Just(len(model.values)), rapid.IntRange(0, 5)).Draw(t, "length")
			values := make([]uint16, n)
			for num := range values {
				values[num] = uint16(max(0, drawValue.Draw(t, "value")))
			}
			next, errno := model.setall(values)
			model = next
			wantErrno(t, s.SemctlSetall(id, values), errno)
		},
		"replace": func(t *rapid.T) {
			must(t, s.SemctlRmid(id))
			_, err := s.SemctlGetall(id)
			wantErrno(t, err, syscall.EINVAL)
			id, model = newSemaphoreSet(t, s)
		},
		"end": func(t *rapid.T) {
			model = model.end()
			s.end()
		},
		"": func(t *rapid.T) {
			values, err := s.SemctlGetall(id)
			must(t, err)
			equal(t, "GETALL", fmt.Sprint(values), fmt.Sprint(model.values))
			for num, want := range model.values {
				got, err := s.SemctlGetval(id, num)
				must(t, err)
				equal(t, "GETVAL", got, want)
				pid, err := s.SemctlGetpid(id, num)
				must(t, err)
				equal(t, "whether sempid is set", pid != 0, model.touched[num])
			}
			ds, err := s.SemctlStat(id)
			must(t, err)
			equal(t, "nsems", int(ds.Nsems), len(model.values))
			equal(t, "whether otime is set", ds.Otime != 0, model.operated)
			info, highest, err := s.SemInfo()
			must(t, err)
			equal(t, "SEM_INFO", info, ipc.SemInfo{Sets: 1, Semaphores: len(model.values)})
			equal(t, "the highest index", highest, id%32768)
		},
	})
}

var drawValue = rapid.OneOf(
	rapid.IntRange(0, 5),
	rapid.IntRange(ipc.SemMaxValue-2, ipc.SemMaxValue),
	rapid.SampledFrom([]int{-1, ipc.SemMaxValue + 1}),
)

var drawSembuf = rapid.Custom(func(t *rapid.T) ipc.Sembuf {
	return ipc.Sembuf{
		Num: rapid.OneOf(rapid.Uint16Range(0, 1), rapid.Uint16Range(0, 4)).Draw(t, "number"),
		Op: rapid.OneOf(
			rapid.Int16Range(-3, 3),
			rapid.SampledFrom([]int16{-32768, -32767, -32766, 32765, 32767}),
		).Draw(t, "operation"),
		Flg: rapid.SampledFrom([]int16{0, ipc.NoWait, ipc.SemUndo, ipc.SemUndo | ipc.NoWait}).Draw(t, "flags"),
	}
})

func newSemaphoreSet(t *rapid.T, s ipc.System) (id int, model semaphoreSet) {
	n := rapid.IntRange(1, 4).Draw(t, "semaphores")
	id, err := s.Semget(ipc.Private, n, ipc.Creat|0o600)
	must(t, err)
	return id, semaphoreSet{values: make([]int, n), adjustments: make([]int, n), touched: make([]bool, n)}
}
