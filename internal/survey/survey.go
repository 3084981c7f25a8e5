//go:build linux

// Package survey is one look at the machine: its IPC namespaces with their names,
// what keeps them, what is in them, and what processes do with that.
package survey

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/internal/thread"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// Options are what a survey has besides which namespaces there are.
type Options struct {
	Contents  bool // the objects, and not only how many there are
	Values    bool // and those of semaphores
	Limits    bool // and those of the namespace
	Processes bool // what processes use, and wait for; and the System V objects
	// Inside looks into a namespace that this process may not enter, though its
	// owner is this user; nil for not at all. It takes longer than all else.
	Inside func(ns *os.File) (Inside, error)
}

// objects reports whether any are wanted.
func (o Options) objects() bool { return o.Contents || o.Processes }

// Inside is what a process tells that is in a namespace.
type Inside struct {
	Contents *host.Contents
	Device   uint64 // the device number of the POSIX queues, 0 if that is not known
}

// A Survey is what one look has found.
type Survey struct {
	Taken      time.Time
	Namespaces []*Namespace // those with a name first, the others by their lowest process
	// Unseen is how many processes this user may not look at. A namespace may be
	// missing for each.
	Unseen int
	// Elsewhere are processes that use objects of namespaces that are not among
	// these, or that could not be told; nothing else of what they use is here.
	Elsewhere []host.Process
	// Missing are what else could not all be looked at, see [host.Census].
	Missing []string
}

// A Namespace is what a survey tells of one; nil is what this user may not know.
type Namespace struct {
	Name    *string
	State   registry.State
	Engine  string // kernel or userspace
	ID      *uint64
	Inode   uint64 // 0 for one that is not the kernel's
	Server  int    // the process that serves it, 0 for one of the kernel's
	Owner   *uint32
	Members []int // processes in it, in ascending order
	Hidden  bool  // this user may look at none of them
	Holders []host.Holder
	Counts
	Sizes
	// Created is when it was given its name, nil for one that has none.
	Created *time.Time

	// Contents is nil if it was not asked for, or may not be seen.
	Contents *host.Contents
	// Processes are those in it, and those elsewhere that use its objects. What a
	// process does with other namespaces is left out.
	Processes []host.Process

	open   func() (*ipcns.Namespace, error)
	device uint64              // of its POSIX queues, 0 if it has not been told
	found  host.Namespace      // what the machine shows of it
	served *registry.Namespace // nil for one of the kernel's
}

// Counts are how many objects a namespace has.
type Counts struct {
	Queues   *int `json:"message_queues"`
	Sets     *int `json:"semaphore_sets"`
	Segments *int `json:"segments"`
	Mqueues  *int `json:"posix_message_queues"`
}

// Sizes are how much is in the objects of a namespace.
type Sizes struct {
	Messages     *int    `json:"messages"`      // in message queues
	MessageBytes *uint64 `json:"message_bytes"` // of those
	Semaphores   *int    `json:"semaphores"`    // in semaphore sets
	SegmentBytes *uint64 `json:"segment_bytes"` // in whole pages
}

// Take looks at all namespaces of the machine.
func Take(names *registry.Registry, options Options) (*Survey, error) {
	const proc = host.Proc("/proc")
	census, err := proc.Census()
	if err != nil {
		return nil, err
	}
	s := &Survey{Taken: time.Now(), Unseen: census.Unseen, Missing: census.Missing}
	members := map[uint64]host.Namespace{}
	for _, ns := range census.Namespaces {
		members[ns.Inode] = ns
	}
	all, err := names.List()
	if err != nil {
		return nil, err
	}
	for _, named := range all {
		s.Namespaces = append(s.Namespaces, ofName(names, named, members[named.Inode]))
		if named.State == registry.Alive {
			delete(members, named.Inode)
		}
	}
	s.Namespaces = append(s.Namespaces, unnamedServed(all)...)
	for _, ns := range census.Namespaces {
		if _, unnamed := members[ns.Inode]; unnamed {
			s.Namespaces = append(s.Namespaces, &Namespace{State: registry.Alive, Inode: ns.Inode, Engine: kernelEngine, Members: ns.PIDs, Holders: ns.Holders, open: ns.Open, found: ns})
		}
	}
	if err := s.fill(options); err != nil || !options.Processes {
		return s, err
	}
	return s, s.findProcesses(proc)
}

const kernelEngine, userspaceEngine = "kernel", string(registry.Userspace)

func ofName(names *registry.Registry, named *registry.Namespace, found host.Namespace) *Namespace {
	ns := &Namespace{Name: &named.Name, State: named.State, Inode: named.Inode, Engine: kernelEngine, found: found}
	if named.Version != 0 { // else its record could not be read
		ns.Created = &named.Created
	}
	if named.Engine == registry.Userspace {
		ns.Engine, ns.served = userspaceEngine, named
		if named.Holder != nil {
			ns.Server = named.Holder.PID
		}
		return ns
	}
	if named.State == registry.Alive {
		ns.Holders = found.Holders
	}
	ns.Members = registry.Membership{named.Inode: found.PIDs}.In(named)
	if ns.open = found.Open; found.ID == 0 || found.ID != named.ID {
		// By the name it takes longer.
		ns.open = func() (*ipcns.Namespace, error) { return names.OpenNamespace(named.Name) }
	}
	return ns
}

// unnamedServed returns the namespaces of servers that have no name.
func unnamedServed(names []*registry.Namespace) (all []*Namespace) {
	for _, pid := range server.All() {
		if slices.ContainsFunc(names, func(ns *registry.Namespace) bool { return ns.Holder != nil && ns.Holder.PID == pid }) {
			continue
		}
		served := &registry.Namespace{State: registry.Alive, Engine: registry.Userspace, Holder: &registry.Holder{PID: pid}}
		all = append(all, &Namespace{State: registry.Alive, Engine: userspaceEngine, Server: pid, served: served})
	}
	return all
}

// fill completes the namespaces, some at a time, and leaves out what has ended
// since.
func (s *Survey) fill(options Options) error {
	own, err := ipcns.Current()
	if err != nil {
		return err
	}
	defer own.Close()
	_, _, within := server.Within()
	l := looker{options, own.Inode(), within}
	errs := make([]error, len(s.Namespaces))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for int(next.Load()) < len(errs) {
				thread.Do(func() error {
					for i := next.Add(1); int(i) <= len(errs); i = next.Add(1) {
						errs[i-1] = l.fill(s.Namespaces[i-1])
						// Who waits for others in a namespace keeps it from being
						// removed. A thread that may not come back ends.
						if err := unix.Setns(int(own.File().Fd()), unix.CLONE_NEWIPC); err != nil {
							return err
						}
					}
					return nil
				})
			}
		})
	}
	workers.Wait()
	filled := []*Namespace{}
	for i, err := range errs {
		if ended(err) {
			continue
		}
		if err != nil {
			return err
		}
		filled = append(filled, s.Namespaces[i])
	}
	s.Namespaces = filled
	return nil
}

// ended reports whether a failure says that the namespace has ended.
func ended(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || registry.Missing(err) || registry.Ended(err)
}
