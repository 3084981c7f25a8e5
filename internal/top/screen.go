//go:build linux

package top

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/registry"
)

// What the terminal shows differently, without colours.
const (
	bold    = "\x1b[1m"
	reverse = "\x1b[7m"
	normal  = "\x1b[m"
)

// aroundRows is how many lines are above and below the rows.
const aroundRows = 4

// room is how many rows fit on the screen.
func (m *model) room() int { return max(1, m.height-aroundRows) }

// layout is that of the sheet on the screen, behind the mark of the selection.
func (m *model) layout() layout { return m.sheet.fit(max(1, m.width-len(mark))) }

const mark = "> "

// View draws the screen.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	v.DisableBracketedPasteMode = true
	return v
}

// lines are those of the screen, none wider than that.
func (m *model) lines() []string {
	if m.width == 0 || m.height == 0 {
		return nil
	}
	if m.help != nil {
		return m.helpScreen()
	}
	p, l := m.place(), m.layout()
	lines := []string{
		bold + m.apart(m.title(), m.pace()) + normal,
		m.cut(m.order()),
		bold + m.cut("  "+m.sheet.heading(l)) + normal,
	}
	for i, r := range m.visible() {
		text := m.sheet.text(l, r)
		if p.first+i == p.line {
			lines = append(lines, reverse+m.fill(mark+text)+normal)
			continue
		}
		lines = append(lines, m.cut("  "+text))
	}
	if len(m.sheet.rows) == 0 {
		lines = append(lines, m.cut("  "+m.nothing()))
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	return append(lines[:max(0, min(len(lines), m.height-1))], m.cut(m.foot()))
}

func (m *model) cut(line string) string { return cut(line, m.width) }

// cut cuts a line to a width, unless that is 0.
func cut(line string, width int) string {
	if runes := []rune(line); width > 0 && len(runes) > width {
		return string(runes[:width])
	}
	return line
}

// fill cuts a line, or makes it as wide as the screen.
func (m *model) fill(line string) string {
	line = m.cut(line)
	return line + strings.Repeat(" ", m.width-utf8.RuneCountInString(line))
}

// apart puts one text at the left and one at the right, if there is room.
func (m *model) apart(left, right string) string {
	space := m.width - utf8.RuneCountInString(left) - utf8.RuneCountInString(right)
	if space < len(gap) && left != "" {
		return m.cut(left)
	}
	return left + strings.Repeat(" ", max(0, space)) + right
}

// title says where this is, and how much there is.
func (m *model) title() string {
	p := m.place()
	var what string
	title := "ipcns top"
	switch p.view {
	case namespaces:
		what = "namespace"
	case objects:
		what = "object"
	case processes:
		what = "process"
	}
	if p.namespace != "" {
		title += " > " + m.nameOfNamespace()
	}
	if p.object != "" {
		title += " > " + oneline.Of(p.object)
	}
	if m.current() == nil || p.view != namespaces && m.namespace() == nil {
		return title
	}
	if p.filter != "" {
		return fmt.Sprintf("%s: %d of %s", title, len(m.sheet.rows), plural(m.total, what))
	}
	return title + ": " + plural(m.total, what)
}

// nameOfNamespace is what the user has to write for the namespace of the place.
func (m *model) nameOfNamespace() string {
	if ns := m.namespace(); ns != nil {
		return shownKey(m.one.Current, ns)
	}
	return oneline.Of(m.place().namespace)
}

// pace says how often a look is taken, and what that leaves out.
func (m *model) pace() string {
	if m.paused {
		return "paused"
	}
	pace := fmt.Sprintf("every %gs", m.interval.Seconds())
	if m.rest > 2*m.interval {
		pace = "every " + age.Of(m.rest) + ", busy"
	}
	if l := m.current(); l != nil && m.place().view != objects {
		if old := time.Duration(l.Taken.Unix()-l.Searched.Unix()) * time.Second; old > 2*m.pause() {
			pace += ", search " + age.Of(old) + " ago"
		}
	}
	return pace
}

// order says what the rows are sorted and filtered by.
func (m *model) order() string {
	p := m.place()
	if m.typing {
		return "filter: " + p.filter + "_"
	}
	if len(m.sheet.columns) == 0 {
		return ""
	}
	by := m.sheet.columns[p.sort]
	direction := ""
	switch {
	case by.descending && p.reversed:
		direction = ", smallest first"
	case by.descending:
		direction = ", largest first"
	case p.reversed:
		direction = ", backwards"
	}
	text := "sorted by " + by.title + direction
	if p.filter != "" {
		text = "filter: " + p.filter + "   " + text
	}
	if unseen := m.current().unseen(); unseen != "" && p.view == namespaces {
		text += "   not seen: " + unseen
	}
	return text
}

// unseen says what could not be looked at, for which something may be missing.
func (l *Look) unseen() string {
	var what []string
	if l.Unseen > 0 {
		what = append(what, plural(l.Unseen, "process"))
	}
	return strings.Join(append(what, l.Missing...), ", ")
}

// nothing says why there is no row.
func (m *model) nothing() string {
	p := m.place()
	switch ns := m.namespace(); {
	case m.current() == nil:
		return "looking..."
	case p.view != namespaces && ns == nil && len(m.places) == 1:
		return "this namespace is gone; q quits"
	case p.view != namespaces && ns == nil:
		return "this namespace is gone; Esc goes back"
	case m.total > 0:
		return "nothing has this text; Esc shows all"
	case p.view == namespaces:
		return "no namespace that you may see"
	case p.view == processes && ns.Processes == nil && m.asking:
		return "looking..."
	case p.object != "":
		return "no process that you may see has it attached or open, or waits for it"
	case p.view == processes:
		return "no process"
	case ns.State != registry.Alive:
		return "the namespace of this name has ended; to remove the name: ipcns prune"
	case ns.Contents == nil:
		return "its objects cannot be seen from here; try: ipcns top " + m.nameOfNamespace()
	}
	return "no objects"
}

// foot says which keys do what here, those for the next step first, or what went
// wrong.
func (m *model) foot() string {
	if m.err != nil {
		return "cannot look: " + oneline.Of(m.err.Error())
	}
	if m.typing {
		return "type text that a row has; Enter keeps the filter, Esc ends it"
	}
	keys := map[view]string{
		namespaces: "Enter objects",
		objects:    "Enter who uses it  Tab processes",
		processes:  "Tab objects",
	}[m.place().view]
	if len(m.places) > 1 {
		keys += "  Esc back"
	}
	keys += "  / filter  < > sort  p pause  + - pace"
	const always = "? keys  q quit"
	for len(keys) > 0 && len(keys)+len(gap)+len(always) > m.width {
		keys = keys[:max(0, strings.LastIndex(keys, gap))]
	}
	return m.apart(keys, always)
}
