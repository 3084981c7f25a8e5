//go:build linux

// Package host tells what is on this machine: its IPC namespaces, who is in
// them and what they hold. It changes nothing.
package host

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// A MessageQueue is a System V message queue and its id.
type MessageQueue struct {
	ID int
	ipc.MsqidDS
}

// A SemaphoreSet is a System V semaphore set and its id.
type SemaphoreSet struct {
	ID int
	ipc.SemidDS
}

// A Segment is a System V shared memory segment and its id.
type Segment struct {
	ID int
	ipc.ShmidDS
}

// MessageQueues returns the message queues of a namespace in the order of
// their indexes, whatever their permissions.
func MessageQueues(system ipc.MessageQueues) ([]MessageQueue, error) {
	info, highest, err := system.MsgInfo()
	if err != nil {
		return nil, err
	}
	return list(info.Queues, highest, func(index int) (MessageQueue, error) {
		id, ds, err := system.MsgStatAny(index)
		return MessageQueue{id, ds}, err
	})
}

// SemaphoreSets returns the semaphore sets of a namespace in the order of
// their indexes, whatever their permissions.
func SemaphoreSets(system ipc.SemaphoreSets) ([]SemaphoreSet, error) {
	info, highest, err := system.SemInfo()
	if err != nil {
		return nil, err
	}
	return list(info.Sets, highest, func(index int) (SemaphoreSet, error) {
		id, ds, err := system.SemStatAny(index)
		return SemaphoreSet{id, ds}, err
	})
}

// Segments returns the shared memory segments of a namespace in the order of
// their indexes, whatever their permissions.
func Segments(system ipc.Segments) ([]Segment, error) {
	info, highest, err := system.ShmInfo()
	if err != nil {
		return nil, err
	}
	return list(info.Segments, highest, func(index int) (Segment, error) {
		id, ds, err := system.ShmStatAny(index)
		return Segment{id, ds}, err
	})
}

// A Semaphore is one semaphore of a set, as semctl(2) shows it.
type Semaphore struct {
	Value int // semval
	Ncnt  int // how many wait for the value to grow
	Zcnt  int // how many wait for the value to be 0
	PID   int // process of the last operation, 0 for none
}

// Semaphores returns the first nsems semaphores of a set. Their facts are
// read one after the other. EACCES: the set may not be read.
func Semaphores(system ipc.SemaphoreSets, id, nsems int) ([]Semaphore, error) {
	sems := make([]Semaphore, nsems)
	for num := range sems {
		sem := &sems[num]
		for _, fact := range [...]struct {
			get func(id, num int) (int, error)
			to  *int
		}{
			{system.SemctlGetval, &sem.Value},
			{system.SemctlGetncnt, &sem.Ncnt},
			{system.SemctlGetzcnt, &sem.Zcnt},
			{system.SemctlGetpid, &sem.PID},
		} {
			value, err := fact.get(id, num)
			if err != nil {
				return nil, fmt.Errorf("cannot read semaphore %d of set %d: %w", num, id, err)
			}
			*fact.to = value
		}
	}
	return sems, nil
}

// list reads the objects at the indexes up to highest. An index without one
// is a gap, or an object removed since; count is how many there were.
func list[Object any](count, highest int, at func(index int) (Object, error)) ([]Object, error) {
	if count == 0 {
		return nil, nil
	}
	objects := make([]Object, 0, count)
	for index := 0; index <= highest; index++ {
		object, err := at(index)
		if errors.Is(err, syscall.EINVAL) {
			continue
		}
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}
