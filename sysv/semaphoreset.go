package sysv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// A SemaphoreSet is a System V semaphore set: semaphores that one operation
// can change together, with values from 0 to 32767.
type SemaphoreSet struct {
	object
	system ipc.SemaphoreSets
}

const setKind = "set"

// OpenSemaphoreSet opens the set that has the key. ENOENT: none has.
//
// A new set has the value 0 until its maker has set others, and who opens it
// in between would take those for the values (semget(2), BUGS). So the set is
// waited for, until it has seen its first operation or ctx ends: making an
// operation is what [CreateSemaphoreSet] does last. A maker that has died
// before leaves a set that nobody will initialise, and one that is not written
// with this package may do no operation at all: [SemaphoreSetByID], with the id
// that Semget returns, waits for nobody.
func OpenSemaphoreSet(ctx context.Context, system ipc.SemaphoreSets, key ipc.Key) (*SemaphoreSet, error) {
	if key == ipc.Private {
		return nil, privateFound("semget", setKind)
	}
	for {
		s, err := findSemaphoreSet(ctx, system, key, 0, 0)
		if !errors.Is(err, syscall.EIDRM) {
			return s, err
		}
	}
}

// CreateSemaphoreSet makes a set with these values, at least one, or opens the
// one that has the key, as [OpenSemaphoreSet] does. Flags are permission bits,
// which hold for a new set and are asked of one that exists (EACCES), and
// [ipc.Excl], with which it must be new (EEXIST). The key [ipc.Private] always
// makes one. EINVAL: the set that exists has fewer semaphores, or there are more
// than the limit semmsl; ERANGE: a value is above 32767; EACCES: the permission
// bits do not let its maker set values; ENOSPC: the limit semmni or semmns.
func CreateSemaphoreSet(ctx context.Context, system ipc.SemaphoreSets, key ipc.Key, values []uint16, flags int) (*SemaphoreSet, error) {
	for {
		id, err := system.Semget(key, len(values), flags|ipc.Creat|ipc.Excl)
		if err == nil {
			return initialise(&SemaphoreSet{object{kind: setKind, id: id, key: key}, system}, values)
		}
		if !errors.Is(err, syscall.EEXIST) || flags&ipc.Excl != 0 {
			return nil, getFailed("semget", setKind, key, getSetCause(system, len(values), err), err)
		}
		s, err := findSemaphoreSet(ctx, system, key, len(values), flags)
		if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EIDRM) {
			return s, err
		}
	}
}

// findSemaphoreSet opens the set that has the key and waits until it is
// initialised. EIDRM: it was removed meanwhile.
func findSemaphoreSet(ctx context.Context, system ipc.SemaphoreSets, key ipc.Key, nsems, flags int) (*SemaphoreSet, error) {
	id, err := system.Semget(key, nsems, flags)
	if err != nil {
		return nil, getFailed("semget", setKind, key, getSetCause(system, nsems, err), err)
	}
	s := &SemaphoreSet{object{kind: setKind, id: id, key: key}, system}
	if err := s.initialised(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func getSetCause(system ipc.SemaphoreSets, nsems int, err error) string {
	if !errors.Is(err, syscall.EINVAL) {
		return limitCause(err, "semmni or semmns")
	}
	info, _, err := system.SemctlInfo()
	switch {
	case nsems == 0:
		return "a new one takes at least one semaphore"
	case err == nil && nsems > info.Semmsl:
		return fmt.Sprintf("%d semaphores exceed semmsl %d", nsems, info.Semmsl)
	}
	return fmt.Sprintf("it has fewer than %d semaphores", nsems)
}

// initialise gives a new set its values, or removes it. Only semop sets
// sem_otime, by which others know that the values are there.
func initialise(s *SemaphoreSet, values []uint16) (*SemaphoreSet, error) {
	err := s.SetValues(values)
	if err == nil {
		err = s.Op(context.Background(), touch(values[0]))
	}
	// Somebody who did not wait may already have used it.
	if err == nil || errors.Is(err, syscall.EAGAIN) {
		return s, nil
	}
	s.Remove()
	return nil, err
}

// touch returns operations that leave semaphore 0, which has that value, as
// it is.
func touch(value uint16) []ipc.Sembuf {
	if value == 0 {
		return []ipc.Sembuf{{Flg: ipc.NoWait}}
	}
	return []ipc.Sembuf{{Op: -1, Flg: ipc.NoWait}, {Op: 1, Flg: ipc.NoWait}}
}

// initialised waits until the set has seen its first operation or ctx ends.
// EIDRM: it was removed.
func (s *SemaphoreSet) initialised(ctx context.Context) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		found, ds, err := s.system.SemStatAny(s.id)
		err = same(found, s.id, err)
		if errors.Is(err, syscall.EINVAL) {
			err = syscall.EIDRM
		}
		if err != nil {
			return s.failed("semctl(SEM_STAT_ANY)", causeOf(err), err)
		}
		if ds.Otime != 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return s.failed("semget", "its maker has not initialised it", ctx.Err())
		case <-time.After(pause):
		}
	}
}

// SemaphoreSetByID returns the set of that id. Whether there is one, the
// first call on it tells.
func SemaphoreSetByID(system ipc.SemaphoreSets, id int) *SemaphoreSet {
	return &SemaphoreSet{object{kind: setKind, id: id, byID: true}, system}
}

// Op does all of the operations at once; see semop(2). While it cannot, it
// waits until it can or ctx ends; an operation with [ipc.NoWait] that cannot be done makes it
// fail with EAGAIN. An operation with [ipc.SemUndo] is given back when the
// process ends; inside ipcns.Namespace.Do that is soon after Do has returned.
// ERANGE: a value would pass 32767; EFBIG: there is no such semaphore; E2BIG: more
// operations than the limit semopm; EINVAL: none.
func (s *SemaphoreSet) Op(ctx context.Context, ops []ipc.Sembuf) error {
	if err := s.system.Semop(ctx, s.id, ops); err != nil {
		return s.failed("semop", opCause(len(ops), err), err)
	}
	return nil
}

func opCause(n int, err error) string {
	switch {
	case n == 0 && errors.Is(err, syscall.EINVAL):
		return "no operation"
	case errors.Is(err, syscall.EAGAIN):
		return "an operation would have to wait"
	case errors.Is(err, syscall.EFBIG):
		return "it has fewer semaphores"
	case errors.Is(err, syscall.ERANGE):
		return "a value or an adjustment would be out of range"
	case errors.Is(err, syscall.E2BIG):
		return "more operations than the limit semopm"
	}
	return causeOf(err)
}

// singles are operations on one of the first semaphores, without and with
// IPC_NOWAIT, by operation and number: an array of one that is there already
// need not be made.
var singles = func() (all [2][3][64][1]ipc.Sembuf) {
	for wait, flags := range [...]int16{0, ipc.NoWait} {
		for op := range all[wait] {
			for num := range all[wait][op] {
				all[wait][op][num][0] = ipc.Sembuf{Num: uint16(num), Op: int16(op - 1), Flg: flags}
			}
		}
	}
	return all
}()

// The first index of singles.
const (
	waiting = iota
	notWaiting
)

// one does the operation -1, 0 or 1 on a semaphore.
func (s *SemaphoreSet) one(ctx context.Context, wait, num int, op int16) error {
	if num < 0 || num > 0xffff {
		return s.failed("semop", opCause(1, syscall.EFBIG), syscall.EFBIG)
	}
	if num < len(singles[wait][0]) {
		return s.Op(ctx, singles[wait][op+1][num][:])
	}
	single := singles[wait][op+1][0]
	single[0].Num = uint16(num)
	return s.Op(ctx, single[:])
}

// Acquire takes 1 away from a semaphore. While its value is 0 it waits, until
// it is not or ctx ends.
func (s *SemaphoreSet) Acquire(ctx context.Context, num int) error {
	return s.one(ctx, waiting, num, -1)
}

// TryAcquire is Acquire that fails with EAGAIN instead of waiting.
func (s *SemaphoreSet) TryAcquire(num int) error {
	return s.one(context.Background(), notWaiting, num, -1)
}

// Release adds 1 to a semaphore. ERANGE: it is 32767.
func (s *SemaphoreSet) Release(num int) error { return s.one(context.Background(), waiting, num, 1) }

// WaitZero waits until a semaphore is 0 or ctx ends.
func (s *SemaphoreSet) WaitZero(ctx context.Context, num int) error {
	return s.one(ctx, waiting, num, 0)
}

// Values returns the values of all semaphores at one moment.
func (s *SemaphoreSet) Values() ([]uint16, error) {
	values, err := s.system.SemctlGetall(s.id)
	return values, s.failed("semctl(GETALL)", causeOf(err), err)
}

// SetValues sets the values of all semaphores, whose number must be right
// (EINVAL). Every process forgets its adjustments (SEM_UNDO) of them. ERANGE: a
// value is above 32767.
func (s *SemaphoreSet) SetValues(values []uint16) error {
	if err := s.system.SemctlSetall(s.id, values); err != nil {
		return s.failed("semctl(SETALL)", valueCause(highest(values), err), err)
	}
	return nil
}

// SetValue sets the value of one semaphore; see SetValues.
func (s *SemaphoreSet) SetValue(num int, value uint16) error {
	err := s.system.SemctlSetval(s.id, num, int(value))
	return s.failed("semctl(SETVAL)", valueCause(value, err), err)
}

func valueCause(value uint16, err error) string {
	switch {
	case errors.Is(err, syscall.ERANGE):
		return fmt.Sprintf("value %d is above %d", value, ipc.SemMaxValue)
	case errors.Is(err, syscall.EINVAL):
		return "there is none of that id, or it has another number of semaphores"
	}
	return causeOf(err)
}

func highest(values []uint16) uint16 {
	if len(values) == 0 {
		return 0
	}
	return slices.Max(values)
}

// Waiters are how many processes and threads wait for a semaphore.
type Waiters struct {
	ForMore int // for its value to grow: semncnt
	ForZero int // for its value to be 0: semzcnt
}

// Waiters returns how many wait for a semaphore. Who waits for several counts
// for the first that holds it up.
func (s *SemaphoreSet) Waiters(num int) (Waiters, error) {
	more, err := s.system.SemctlGetncnt(s.id, num)
	if err != nil {
		return Waiters{}, s.failed("semctl(GETNCNT)", valueCause(0, err), err)
	}
	zero, err := s.system.SemctlGetzcnt(s.id, num)
	if err != nil {
		return Waiters{}, s.failed("semctl(GETZCNT)", valueCause(0, err), err)
	}
	return Waiters{more, zero}, nil
}

// Stat returns the set's state. EACCES: it may not be read.
func (s *SemaphoreSet) Stat() (ipc.SemidDS, error) {
	ds, err := s.system.SemctlStat(s.id)
	return ds, s.failed("semctl(IPC_STAT)", causeOf(err), err)
}

// Chown gives the set to a user and a group. The creator keeps the owner's
// rights. It writes back the mode, and Chmod the owner: of both at the same
// time, one may be lost. EPERM: the caller is neither owner, creator nor
// privileged; EINVAL: the user namespace has no such user or group.
func (s *SemaphoreSet) Chown(uid, gid uint32) error {
	return s.set(func(set *ipc.PermSet) { set.UID, set.GID = uid, gid })
}

// Chmod sets the nine permission bits; for errors see Chown.
func (s *SemaphoreSet) Chmod(mode uint32) error {
	return s.set(func(set *ipc.PermSet) { set.Mode = mode })
}

func (s *SemaphoreSet) set(change func(*ipc.PermSet)) error {
	// The owner may lack the permission to read that IPC_STAT takes.
	found, ds, err := s.system.SemStatAny(s.id)
	if err := same(found, s.id, err); err != nil {
		return s.failed("semctl(SEM_STAT_ANY)", causeOf(err), err)
	}
	set := ds.Perm.Set()
	change(&set)
	err = s.system.SemctlSet(s.id, set)
	return s.failed("semctl(IPC_SET)", setCause(err), err)
}

// Remove removes the set. Whoever waits in Op gets EIDRM. For permissions see
// Chown.
func (s *SemaphoreSet) Remove() error {
	err := s.system.SemctlRmid(s.id)
	return s.failed("semctl(IPC_RMID)", causeOf(err), err)
}
