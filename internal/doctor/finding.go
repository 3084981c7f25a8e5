//go:build linux

// Package doctor finds what is wrong in IPC namespaces. It judges one look at
// the machine, and makes no call. docs/doctor.md tells what each finding means.
package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/registry"
)

// A Severity is how bad a finding is.
type Severity string

// The severities, the worst first.
const (
	Error   Severity = "error"   // a program cannot go on
	Warning Severity = "warning" // something will fail, or is in danger
	Note    Severity = "note"    // worth knowing, and perhaps as it should be
)

// A Code is what is wrong, in a word that stays the same.
type Code string

// The codes. Each has a section in docs/doctor.md.
const (
	Deadlock       Code = "deadlock"
	QueueFull      Code = "queue-full"
	QueueNeverRead Code = "queue-never-read"
	BlockedLong    Code = "blocked-long"
	OrphanSegment  Code = "orphan-segment"
	OrphanQueue    Code = "orphan-queue"
	OrphanSet      Code = "orphan-set"
	UnusedQueue    Code = "unused-queue"
	UnusedSet      Code = "unused-set"
	RemovedButHeld Code = "removed-but-held"
	NearLimit      Code = "near-limit"
	WorldWritable  Code = "world-writable"
	KeyCollision   Code = "key-collision"
	StaleName      Code = "stale-name"
)

// A Finding is something wrong.
type Finding struct {
	Code      Code     `json:"code"`
	Severity  Severity `json:"severity"`
	Namespace string   `json:"namespace"`        // as the commands take it
	Object    string   `json:"object,omitempty"` // as "ipcns inspect" takes it
	Evidence  string   `json:"evidence"`         // a sentence
	Fix       string   `json:"fix"`              // a command
}

// A Look is what findings come from.
type Look struct {
	*survey.Survey
	// Reference returns a namespace as the commands take it, self for that of
	// whoever asks.
	Reference func(*survey.Namespace) string
	There     func(pid int) bool         // whether a process or thread is still there
	Threads   func(pid int) int          // how many a process has, 0 if that is not known
	ProcessOf func(tid int) (int, error) // the process that a thread is of
}

// Findings returns what is wrong, the worst first.
func (l Look) Findings() []Finding {
	deadlocks, stuck := l.deadlocks()
	findings := append([]Finding{}, deadlocks...)
	for _, ns := range l.Namespaces {
		if ns.State == registry.Stale {
			findings = append(findings, l.staleName(ns))
		}
		if ns.Contents == nil {
			continue
		}
		in := patient{Look: l, Namespace: ns, reference: l.Reference(ns), stuck: stuck}
		for _, check := range []func(patient) []Finding{
			patient.orphans, patient.unused, patient.queues, patient.sleepers,
			patient.limits, patient.writable, patient.removed, patient.sharedKeys,
		} {
			findings = append(findings, check(in)...)
		}
	}
	findings = append(findings, l.keysElsewhere()...)
	severities := []Severity{Error, Warning, Note}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity))
	})
	return findings
}

// A patient is a namespace whose contents are known.
type patient struct {
	Look
	*survey.Namespace
	reference string
	stuck     map[int]bool // processes in a deadlock
}

// find returns a finding about an object, "" for the namespace itself. The fix
// is a command of ipcns, to which the namespace is added.
func (p patient) find(code Code, severity Severity, object, fix, evidence string, args ...any) Finding {
	return Finding{code, severity, p.reference, object, fmt.Sprintf(evidence, args...), "ipcns " + fix + p.option()}
}

// option is what a command takes to work on the namespace.
func (p patient) option() string {
	if p.reference == "self" {
		return ""
	}
	return " -n " + Quoted(p.reference)
}

// plain are what a shell takes as it is.
const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-"

// Quoted returns a word as a shell takes it.
func Quoted(word string) string {
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// A waiter is a thread that sleeps in a call.
type waiter struct {
	*host.Process
	*host.Wait
}

// waiters returns those who sleep in one of the calls.
func (ns patient) waiters(calls ...string) (waiters []waiter) {
	for i := range ns.Processes {
		process := &ns.Processes[i]
		for j := range process.Waiting {
			wait := &process.Waiting[j]
			if wait.Namespace == ns.Inode && slices.Contains(calls, wait.Call) {
				waiters = append(waiters, waiter{process, wait})
			}
		}
	}
	return waiters
}

// since returns how long ago a time of the kernel's was, in seconds since 1970.
func (l Look) since(seconds int64) time.Duration {
	return max(l.Taken.Sub(time.Unix(seconds, 0)), 0)
}

func (l Look) staleName(ns *survey.Namespace) Finding {
	return Finding{StaleName, Warning, l.Reference(ns), "", "the namespace of this name has ended, and the name is left", "ipcns prune"}
}
