//go:build linux

package top

import (
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/registry"
	"golang.org/x/sys/unix"
)

// A Look is what one look has found.
type Look struct {
	*survey.Survey
	Searched time.Time      // when it was last searched for namespaces and processes
	Commands map[int]string // of the processes with the lowest ids, and all in a namespace of interest
	Current  string         // the name that this process is in
}

// find returns the namespace with that key, nil if it is not there.
func (l *Look) find(key string) *survey.Namespace {
	for _, ns := range l.Namespaces {
		if keyOf(ns) == key {
			return ns
		}
	}
	return nil
}

// A question is what a look is for.
type question struct {
	namespace string          // the key of the only one of interest, "" for all
	processes bool            // of that namespace, and not its objects
	screen    map[string]bool // the keys of those on the screen, of all
	search    bool            // even if the last search was a moment ago
}

// share is how many times longer than its processor time a search for namespaces
// and processes is not repeated: it takes one part in so many of a core.
const share = 100

// A looker answers questions, one at a time. A search costs the more the more
// processes there are. Between searches it looks only into what is on the screen.
type looker struct {
	names     *registry.Registry
	last      *Look
	processes bool      // the last search was for what processes do, too
	resume    time.Time // when it may search again
}

// look answers a question.
func (l *looker) look(q question) (*Look, error) {
	if l.mustSearch(q) {
		if err := l.search(q); err != nil || q.namespace == "" {
			return l.last, err
		}
	}
	if q.processes {
		return l.last, nil
	}
	s, err := l.last.Again(survey.Options{Contents: true, Values: q.namespace != ""}, func(ns *survey.Namespace) bool {
		return keyOf(ns) == q.namespace || q.namespace == "" && q.screen[keyOf(ns)]
	})
	if err != nil {
		return nil, err
	}
	l.last = &Look{s, l.last.Searched, commandsIn(s, l.last.Commands, q), l.last.Current}
	return l.last, nil
}

// mustSearch reports whether what is known from the last search does not do.
func (l *looker) mustSearch(q question) bool {
	switch {
	case l.last == nil || q.search || q.processes && !l.processes:
		return true
	case q.namespace != "" && l.last.find(q.namespace) == nil:
		return true // it may be there again
	}
	objects := q.namespace != "" && !q.processes
	return !objects && time.Now().After(l.resume)
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
	var commands map[int]string
	if l.last != nil {
		commands = l.last.Commands
	}
	l.last, l.processes = &Look{s, s.Taken, commandsIn(s, commands, q), current}, q.processes
	l.resume = time.Now().Add(share * (processorTime() - began))
	return nil
}

// commandsIn returns the command lines of the processes with the lowest ids, and
// of all in the namespace of interest. Those on the screen are read again, since a
// process may run another program.
func commandsIn(s *survey.Survey, known map[int]string, q question) map[int]string {
	commands := map[int]string{}
	for _, ns := range s.Namespaces {
		for _, pid := range ns.Members {
			command, is := known[pid]
			if !is || q.screen[keyOf(ns)] {
				command = host.Proc("/proc").Command(pid)
			}
			commands[pid] = command
			if keyOf(ns) != q.namespace {
				break
			}
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
