//go:build linux

package supervise

import (
	"fmt"
	"strings"

	"github.com/ipcns/ipcns/userspace"
)

// Entries tells what the supervisor knows of programs; "" for nothing.
func (s *Supervisor) Entries() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reap()
	s.releaseDescriptions()
	s.countAll()
	var all []string
	for _, of := range []struct {
		what string
		n    int
	}{
		{"namespaces", len(s.namespaces)}, {"processes", len(s.processes)}, {"threads", len(s.threads)},
		{"sleepers", len(s.waiting)}, {"descriptions", len(s.descriptions)}, {"registrations", len(s.registrations)},
		{"segments", len(s.segments)}, {"queues that are open", len(s.outermost.queues)},
	} {
		if of.n != 0 {
			all = append(all, fmt.Sprintf("%d %s", of.n, of.what))
		}
	}
	return strings.Join(all, ", ")
}

// RemoveAll removes all objects of the outermost namespace.
func (s *Supervisor) RemoveAll() error {
	return s.Namespace(func(ns *userspace.Namespace) error { return removeAll(ns.Looker()) })
}

func removeAll(root *userspace.Task) error {
	for i := range 1 << 15 {
		if id, _, err := root.MsgStatAny(i); err == nil {
			root.MsgctlRmid(id)
		}
		if id, _, err := root.SemStatAny(i); err == nil {
			root.SemctlRmid(id)
		}
		if id, _, err := root.ShmStatAny(i); err == nil {
			root.ShmctlRmid(id)
		}
	}
	queues, err := root.MqList()
	for _, queue := range queues {
		if err := root.MqUnlink(queue.Name); err != nil {
			return err
		}
	}
	return err
}
