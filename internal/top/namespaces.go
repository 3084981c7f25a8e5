//go:build linux

package top

import (
	"fmt"
	"strconv"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
)

// keyOf returns what a namespace is called on the command line, outside of any
// name.
func keyOf(ns *survey.Namespace) string {
	switch {
	case ns.Name != nil:
		return *ns.Name
	case ns.Inode != 0:
		return fmt.Sprintf("ipc:[%d]", ns.Inode)
	}
	return fmt.Sprintf("pid:%d", ns.Server)
}

// shownKey is the key as the user has to write it.
func shownKey(current string, ns *survey.Namespace) string {
	if ns.Name != nil {
		return oneline.Of(registry.Shown(current, *ns.Name))
	}
	return keyOf(ns)
}

// namespacesSheet is the view of all namespaces.
func namespacesSheet(l *Look, h history, users *listing.Names) sheet {
	s := sheet{columns: []column{
		{title: "NAMESPACE"},
		{title: "PROCS", right: true, descending: true, spare: 2},
		{title: "MSG", right: true, descending: true, spare: 3},
		{title: "SEM", right: true, descending: true, spare: 4},
		{title: "SHM", right: true, descending: true, spare: 5},
		{title: "MQ", right: true, descending: true, spare: 6},
		{title: "QUEUED", right: true, descending: true},
		{title: "+/s", least: 5, right: true, descending: true, spare: 1},
		{title: "USED", right: true, descending: true},
		{title: "OWNER", spare: 7},
		{title: "COMMAND", least: 12},
	}}
	for i, ns := range l.Namespaces {
		name := shownKey(l.Current, ns)
		cells := []cell{{text: name, order: float64(i)}, members(ns), number(ns.Queues), number(ns.Sets), number(ns.Segments), number(ns.Mqueues), unknown, unknown, unknown, unknown, words(l.command(ns))}
		if p := h[keyOf(ns)]; p != nil {
			cells[6], cells[7], cells[8] = count(p.queued), perSecond(p.rate), number(p.used)
		}
		if ns.Owner != nil {
			cells[9] = words(userOf(users, *ns.Owner))
		}
		s.rows = append(s.rows, row{keyOf(ns), cells})
	}
	return s
}

// userOf returns the name of a user id that the kernel has told this process.
func userOf(users *listing.Names, uid uint32) string {
	user, _ := users.Owner(ipc.Perm{UID: uid})
	return oneline.Of(user)
}

func members(ns *survey.Namespace) cell {
	if ns.Hidden {
		return unknown
	}
	return count(len(ns.Members))
}

// command is that of the process with the lowest id, or in parentheses what else
// keeps the namespace, or why nothing does.
func (l *Look) command(ns *survey.Namespace) string {
	switch {
	case ns.State != registry.Alive:
		return "(" + string(ns.State) + ")"
	case len(ns.Members) == 0 && len(ns.Holders) > 0:
		return "(" + string(ns.Holders[0].Kind) + ")"
	case len(ns.Members) == 0 || l.Commands[ns.Members[0]] == "":
		return "-"
	}
	return oneline.Of(l.Commands[ns.Members[0]])
}

func count[N int | int64 | uint64](n N) cell {
	return cell{text: fmt.Sprint(n), order: float64(n)}
}

// number is a count that may not be known.
func number(n *int) cell {
	if n == nil {
		return unknown
	}
	return count(*n)
}

// perSecond is a change, which has a sign.
func perSecond(rate *float64) cell {
	if rate == nil {
		return unknown
	}
	text := strconv.FormatFloat(*rate, 'f', 1, 64)
	switch {
	case *rate > -0.05 && *rate < 0.05:
		text = "0"
	case *rate >= 1000 || *rate <= -1000:
		text = strconv.FormatFloat(*rate, 'f', 0, 64)
	}
	if *rate >= 0.05 {
		text = "+" + text
	}
	return cell{text: text, order: *rate}
}
