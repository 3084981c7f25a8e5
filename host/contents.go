//go:build linux

package host

import (
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
)

// Contents is what is in a namespace, with its limits if those were asked for.
type Contents struct {
	Queues   []MessageQueue      `json:"message_queues"`
	Sets     []SemaphoreSet      `json:"semaphore_sets"`
	Segments []Segment           `json:"segments"`
	Mqueues  []ipc.MqueueStat    `json:"posix_message_queues"` // nil if they cannot be listed; Bytes and NotifyPID of the kernel's are not known
	Values   map[int][]Semaphore `json:"semaphores"`           // of the sets that may be read, by their ids
	Limits   ipc.Limits          `json:"limits"`
}

// ContentsOf reads what is in a namespace, and its limits. Values are read if that
// is asked for, which takes a call for each fact of each semaphore.
func ContentsOf(system ipc.System, values bool) (*Contents, error) {
	c, err := ObjectsOf(system, values)
	if err != nil {
		return nil, err
	}
	c.Limits, err = system.Limits()
	return c, err
}

// ObjectsOf is ContentsOf without the limits. The kernel finds their files the more
// slowly the more namespaces there are, which all have such files in one place: of a
// thousand, that takes longer than all else.
func ObjectsOf(system ipc.System, values bool) (*Contents, error) {
	c, err := SystemVObjectsOf(system)
	if err != nil {
		return nil, err
	}
	if mqueues, err := lookAtMqueues(system); err == nil { // else they may not be seen
		c.Mqueues = mqueues
	}
	if values {
		c.readValues(system)
	}
	return c, nil
}

// SystemVObjectsOf is ObjectsOf without semaphores and POSIX queues, to list which
// takes as long as the rest.
func SystemVObjectsOf(system ipc.System) (*Contents, error) {
	var c Contents
	var err error
	if c.Queues, err = MessageQueues(system); err != nil {
		return nil, err
	}
	if c.Sets, err = SemaphoreSets(system); err != nil {
		return nil, err
	}
	c.Segments, err = Segments(system)
	return &c, err
}

// lookAtMqueues lists the POSIX queues, and changes none of their times.
func lookAtMqueues(system ipc.System) ([]ipc.MqueueStat, error) {
	if system, ok := system.(kernel.System); ok {
		return system.MqLook()
	}
	return system.MqList()
}

// readValues reads the semaphores of the sets that may be read and are still
// there.
func (c *Contents) readValues(system ipc.SemaphoreSets) {
	c.Values = map[int][]Semaphore{}
	for _, set := range c.Sets {
		if sems, err := Semaphores(system, set.ID, int(set.Nsems)); err == nil {
			c.Values[set.ID] = sems
		}
	}
}
