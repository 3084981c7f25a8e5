//go:build linux

package top

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/survey"
)

// processesSheet is the view of the processes of one namespace, or of those that
// use the object with that key.
func processesSheet(l *Look, ns *survey.Namespace, object string, users *listing.Names) sheet {
	s := sheet{columns: []column{
		{title: "PID", right: true},
		{title: "USER", spare: 2},
		{title: "SHM", right: true, descending: true, spare: 3},
		{title: "MQ", right: true, descending: true, spare: 4},
		{title: "WAITS FOR", least: 20},
		{title: "SINCE", right: true, descending: true, spare: 1},
		{title: "COMMAND", least: 12},
	}}
	if ns.Processes == nil && object == "" {
		for _, pid := range ns.Members { // of which no more is known
			s.rows = append(s.rows, row{fmt.Sprint(pid), []cell{count(pid), unknown, unknown, unknown, unknown, unknown, words(oneline.Of(l.Commands[pid]))}})
		}
	}
	for _, p := range ns.Processes {
		if object != "" && !uses(p, ns.Inode, object) {
			continue
		}
		cells := []cell{count(p.PID), words(userOf(users, p.UID)), count(len(p.Attached)), count(len(p.Open)), unknown, unknown, words(oneline.Of(p.Command))}
		if p.Unseen {
			cells[2], cells[3] = unknown, unknown
		}
		if len(p.Waiting) > 0 {
			cells[4], cells[5] = waits(p.Waiting, object)
		}
		s.rows = append(s.rows, row{fmt.Sprint(p.PID), cells})
	}
	return s
}

// uses reports whether a process has the object attached or open, or waits for it.
func uses(p host.Process, inode uint64, object string) bool {
	return slices.ContainsFunc(p.Attached, func(a host.Attachment) bool { return a.Namespace == inode && segmentKey(a.ID) == object }) ||
		slices.ContainsFunc(p.Open, func(q host.OpenQueue) bool { return q.Namespace == inode && !q.Unlinked && mqueueKey(q.Name) == object }) ||
		slices.ContainsFunc(p.Waiting, func(w host.Wait) bool { return w.Namespace == inode && waitsFor(w) == object })
}

// waitsFor returns the key of the object that a call sleeps on.
func waitsFor(w host.Wait) string {
	switch {
	case w.Name != "":
		return mqueueKey(w.Name)
	case strings.HasPrefix(w.Call, "msg"):
		return queueKey(w.ID)
	case strings.HasPrefix(w.Call, "sem"):
		return setKey(w.ID)
	}
	return fmt.Sprintf("descriptor %d", w.ID)
}

// waits says what the threads of a process wait for, those that wait for the
// object first, and how long the first of them has.
func waits(all []host.Wait, object string) (what, lasted cell) {
	first := max(0, slices.IndexFunc(all, func(w host.Wait) bool { return waitsFor(w) == object }))
	w := all[first]
	text := w.Call + " " + waitsFor(w)
	switch {
	case w.Call == "msgrcv":
		text += fmt.Sprintf(" type %d", w.Type)
	case len(w.Operations) > 0:
		text += " " + w.Semops()
	}
	if more := len(all) - 1; more > 0 {
		text += fmt.Sprintf(", %d more", more)
	}
	what, lasted = words(oneline.Of(text)), unknown
	if w.Since > 0 {
		lasted = cell{text: age.Of(w.Since), order: w.Since.Seconds()}
	}
	return what, lasted
}
