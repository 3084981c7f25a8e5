//go:build linux

package top

import (
	"os"
	"slices"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// A Look is what one look has found.
type Look struct {
	*survey.Survey
	Searched time.Time         // when it was last searched for namespaces and processes
	Commands map[int]string    // of the processes with the lowest ids, and all in a namespace of interest
	Current  string            // the name that this process is in
	Here     *survey.Namespace // the namespace that this process is in, if that is of interest
	Cost     time.Duration     // of processor time since the look before, but for a search
}

// Self is the key of the namespace that this process is in.
const Self = "self"

// find returns the namespace with that key, nil if it is not there.
func (l *Look) find(key string) *survey.Namespace {
	if key == Self {
		return l.Here
	}
	return l.first(func(ns *survey.Namespace) bool { return keyOf(ns) == key })
}

func (l *Look) first(is func(*survey.Namespace) bool) *survey.Namespace {
	if i := slices.IndexFunc(l.Namespaces, is); i >= 0 {
		return l.Namespaces[i]
	}
	return nil
}

// A question is what a look is for.
type question struct {
	namespace string          // the key of the only one of interest, "" for all
	objects   bool            // of that namespace, with the values of semaphores
	processes bool            // of that namespace
	screen    map[string]bool // the keys of those on the screen, of all
	search    bool            // even if the last search was a moment ago
}

// How many times longer than its processor time a search for namespaces and
// processes is not repeated, and so for any other look: they take one part in so
// many of a core.
const (
	searchShare = 200
	lookShare   = 80
)

// A looker answers questions, one at a time. A search costs the more the more
// processes there are. Between searches it looks only into what is on the screen.
type looker struct {
	names     *registry.Registry
	last      *Look
	processes bool      // the last search was for what processes do, too
	resume    time.Time // when it may search again

	searching time.Duration // processor time of all searches
	spent     time.Duration // and of all else, until the last look
}

// look answers a question.
func (l *looker) look(q question) (*Look, error) {
	if err := l.answer(q); err != nil {
		return nil, err
	}
	look, before := *l.last, l.spent
	l.spent = processorTime() - l.searching
	if before > 0 { // else most is that of the start
		look.Cost = l.spent - before
	}
	return &look, nil
}

// answer makes the last look one that answers the question.
func (l *looker) answer(q question) error {
	if l.mustSearch(q) {
		if err := l.search(q); err != nil || q.namespace == "" {
			return err
		}
	}
	if q.namespace != "" && !q.objects {
		return nil
	}
	s, err := l.last.Again(survey.Options{Contents: true, Values: q.objects}, func(ns *survey.Namespace) bool {
		return q.objects && ns == l.last.find(q.namespace) || q.namespace == "" && q.screen[keyOf(ns)]
	})
	if err != nil {
		return err
	}
	return l.found(q, &Look{Survey: s, Searched: l.last.Searched, Current: l.last.Current})
}

// mustSearch reports whether what is known from the last search does not do.
func (l *looker) mustSearch(q question) bool {
	switch {
	case l.last == nil || q.search || q.processes && !l.processes:
		return true
	case q.objects && !q.processes && l.last.find(q.namespace) != nil:
		return false // its objects are looked at each time
	}
	return time.Now().After(l.resume)
}

// search looks for namespaces and what is in them, and for what processes do with
// that if this is of interest.
func (l *looker) search(q question) error {
	began := processorTime()
	s, err := survey.Take(l.names, survey.Options{Contents: true, Processes: q.processes})
	if err != nil {
		return err
	}
	current, err := l.names.Current()
	if err != nil {
		return err
	}
	l.processes = q.processes
	err = l.found(q, &Look{Survey: s, Searched: s.Taken, Current: current})
	took := processorTime() - began
	l.searching += took
	l.resume = time.Now().Add(searchShare * took)
	return err
}

// found completes a look, which is the last then.
func (l *looker) found(q question, look *Look) (err error) {
	if q.namespace == Self {
		if look.Here, err = here(look, q); err != nil {
			return err
		}
	}
	known := map[int]string{}
	if l.last != nil {
		known = l.last.Commands
	}
	look.Commands = commandsIn(look, known, q)
	l.last = look
	return nil
}

// here returns the namespace that this process is in, nil if it is not known. One
// that has a server is looked into as a program in it does.
func here(look *Look, q question) (*survey.Namespace, error) {
	pid, number, within := server.Within()
	if !within {
		inode, err := host.Proc("/proc").Inode(os.Getpid())
		return look.first(func(ns *survey.Namespace) bool { return ns.Inode == inode }), err
	}
	here := look.first(func(ns *survey.Namespace) bool { return number == 0 && ns.Server == pid })
	if here == nil { // within another, which tells nothing of it
		here = &survey.Namespace{State: registry.Alive, Members: []int{os.Getpid()}}
	}
	var err error
	here.Contents, err = host.ObjectsOf(kernel.System{}, q.objects)
	return here, err
}

// commandsIn returns the command lines of the processes with the lowest ids, and
// of all in the namespace of interest. Those on the screen are read again, since a
// process may run another program.
func commandsIn(look *Look, known map[int]string, q question) map[int]string {
	commands := map[int]string{}
	read := func(pid int, again bool) {
		command, is := known[pid]
		if !is || again {
			command = host.Proc("/proc").Command(pid)
		}
		commands[pid] = command
	}
	for _, ns := range look.Namespaces {
		if len(ns.Members) > 0 {
			read(ns.Members[0], q.screen[keyOf(ns)])
		}
	}
	if ns := look.find(q.namespace); ns != nil {
		for _, pid := range ns.Members {
			read(pid, false)
		}
	}
	return commands
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
