//go:build linux

package top

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// press does what a key is for.
func (m *model) press(key tea.KeyPressMsg) tea.Cmd {
	switch name := key.String(); {
	case name == "ctrl+c":
		return tea.Quit
	case name == "ctrl+z":
		return tea.Suspend
	case name == "ctrl+l":
		return tea.ClearScreen
	case m.help != nil:
		return m.pressInHelp(name)
	case m.typing:
		m.typeFilter(name, key.Text)
		return nil
	case m.move(name) || m.arrangeBy(name):
		return nil
	default:
		return m.command(name)
	}
}

// pressInHelp scrolls the help. Whatever else is pressed closes it.
func (m *model) pressInHelp(name string) tea.Cmd {
	switch name {
	case "up", "k":
		*m.help--
	case "down", "j":
		*m.help++
	case "pgup":
		*m.help -= m.height
	case "pgdown", "space":
		*m.help += m.height
	case "q":
		return tea.Quit
	default:
		m.help = nil
		return nil
	}
	*m.help = max(0, min(*m.help, len(m.helpLines())-m.helpRoom()))
	return nil
}

func (m *model) typeFilter(name, text string) {
	p := m.place()
	switch {
	case name == "enter":
		m.typing = false
	case name == "esc":
		m.typing, p.filter = false, ""
	case name == "backspace":
		_, size := utf8.DecodeLastRuneInString(p.filter)
		p.filter = p.filter[:len(p.filter)-size]
	case name == "ctrl+u":
		p.filter = ""
	default:
		p.filter += text
	}
}

// move moves the selection, if that is what the key is for.
func (m *model) move(name string) bool {
	line := m.place().line
	switch name {
	case "up", "k":
		line--
	case "down", "j":
		line++
	case "pgup":
		line -= m.room()
	case "pgdown":
		line += m.room()
	case "home", "g":
		line = 0
	case "end", "G":
		line = len(m.sheet.rows) - 1
	default:
		return false
	}
	m.selectLine(line)
	return true
}

// arrangeBy chooses the order, or begins a filter, if that is what the key is for.
func (m *model) arrangeBy(name string) bool {
	p := m.place()
	switch name {
	case "s", ">":
		m.sortNext(1)
	case "<":
		m.sortNext(-1)
	case "r":
		p.reversed = !p.reversed
	case "/":
		m.typing = true
	default:
		number, err := strconv.Atoi(name)
		shown := m.layout().shown
		if err != nil || number < 1 || number > len(shown) {
			return false
		}
		p.sort, p.reversed = shown[number-1], p.sort == shown[number-1] && !p.reversed
	}
	return true
}

// sortNext sorts by a column further right, or left, of those on the screen.
func (m *model) sortNext(by int) {
	p, shown := m.place(), m.layout().shown
	if len(shown) == 0 {
		return
	}
	now := slices.Index(shown, p.sort)
	if now < 0 && by < 0 {
		now = 0
	}
	p.sort, p.reversed = shown[(now+by+len(shown))%len(shown)], false
}

// intervals are those that + and - go through.
var intervals = []time.Duration{time.Second / 2, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}

// command does what the other keys are for.
func (m *model) command(name string) tea.Cmd {
	switch name {
	case "q":
		return tea.Quit
	case "?", "h", "f1":
		m.help = new(int)
	case "enter", "right", "l":
		return m.open()
	case "esc", "backspace", "left":
		return m.back()
	case "tab":
		return m.turn()
	case "p":
		if m.paused = !m.paused; !m.paused {
			return m.ask()
		}
	case "space":
		m.search = true
		return m.ask()
	case "+", "=":
		return m.setInterval(slices.IndexFunc(intervals, func(d time.Duration) bool { return d > m.interval }))
	case "-":
		return m.setInterval(lastIndex(intervals, func(d time.Duration) bool { return d < m.interval }))
	}
	return nil
}

func lastIndex[E any](s []E, is func(E) bool) int {
	for i := len(s) - 1; i >= 0; i-- {
		if is(s[i]) {
			return i
		}
	}
	return -1
}

func (m *model) setInterval(i int) tea.Cmd {
	if i < 0 {
		return nil
	}
	m.interval = intervals[i]
	if m.asking {
		return nil // the next wait is as long
	}
	return m.wait()
}

// open goes to what is inside the selected row.
func (m *model) open() tea.Cmd {
	p := m.place()
	if len(m.sheet.rows) == 0 || p.view == processes {
		return nil
	}
	inside := &place{view: processes, namespace: p.namespace, id: p.id, object: m.sheet.rows[p.line].key}
	if p.view == namespaces {
		inside = &place{view: objects, namespace: m.sheet.rows[p.line].key}
		m.one = m.all // what is known of it already
		inside.meet(m.one)
	}
	m.places = append(m.places, inside)
	return m.arrived()
}

// arrived shows what is known of another place, and asks for more.
func (m *model) arrived() tea.Cmd {
	m.arrange()
	return m.ask()
}

// back takes the filter away, or goes back.
func (m *model) back() tea.Cmd {
	switch {
	case m.place().filter != "":
		m.place().filter = ""
	case len(m.places) > 1:
		m.places = m.places[:len(m.places)-1]
		return m.arrived()
	}
	return nil
}

// turn goes from the objects of a namespace to its processes, and back.
func (m *model) turn() tea.Cmd {
	p := m.place()
	switch {
	case p.view == namespaces:
		return nil
	case p.object != "":
		return m.back()
	}
	turned := &place{view: objects, namespace: p.namespace, id: p.id}
	if p.view == objects {
		turned.view = processes
	}
	m.places[len(m.places)-1] = turned
	return m.arrived()
}
