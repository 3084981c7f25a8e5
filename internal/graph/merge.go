//go:build linux

package graph

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// How many processes that do the same become one node: if they have one command
// line, and if they have only their program in common.
const (
	fewestOfCommand = 3
	fewestOfProgram = 8
)

// merged returns the processes, those together that become one node, in the
// order of the lowest id of each.
func merged(actors []*actor) [][]*actor {
	for _, a := range actors {
		slices.SortStableFunc(a.acts, func(x, y act) int {
			return cmp.Or(cmp.Compare(x.object.Title, y.object.Title), cmp.Compare(x.use, y.use), cmp.Compare(x.what, y.what), cmp.Compare(x.held, y.held))
		})
	}
	slices.SortFunc(actors, func(a, b *actor) int { return cmp.Compare(a.pid, b.pid) })
	groups, rest := grouped(actors, fewestOfProgram, func(a *actor) string { return program(a.command) })
	more, rest := grouped(rest, fewestOfCommand, func(a *actor) string { return a.command })
	groups = append(groups, more...)
	for _, a := range rest {
		groups = append(groups, []*actor{a})
	}
	slices.SortFunc(groups, func(a, b []*actor) int { return cmp.Compare(a[0].pid, b[0].pid) })
	return groups
}

// grouped returns the groups of at least so many who do the same and have the
// same key, and all others.
func grouped(actors []*actor, fewest int, key func(*actor) string) (groups [][]*actor, rest []*actor) {
	same := map[string][]*actor{}
	for _, a := range actors {
		k := key(a) + "\x00" + a.does()
		same[k] = append(same[k], a)
	}
	for _, a := range actors {
		group := same[key(a)+"\x00"+a.does()]
		switch {
		case len(group) < fewest:
			rest = append(rest, a)
		case group[0] == a:
			groups = append(groups, group)
		}
	}
	return groups, rest
}

// does is the same for those who do the same with the same objects.
func (a *actor) does() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%t %s", a.faint, a.detail)
	for _, act := range a.acts {
		fmt.Fprintf(&b, "\x00%p %d %s %d %s %t", act.object, act.use, act.what, act.threads, act.held, act.earlier)
	}
	return b.String()
}

// program returns the program of a command line, as far as that tells it:
// servers write "postgres: checkpointer" there.
func program(command string) string {
	word, _, _ := strings.Cut(command, " ")
	return path.Base(strings.TrimRight(word, ":"))
}
