//go:build linux

package top

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/survey"
)

// A model is what is on the screen, and what the keys have made of it. It asks for
// looks, and is told what they have found.
type model struct {
	look     func(question) (*Look, error)
	interval time.Duration
	rest     time.Duration // what the last look takes at least until the next
	width    int
	height   int

	all     *Look // of the view of all namespaces
	one     *Look // of the views of one
	err     error // of the last look
	history history
	users   listing.Names

	places []*place // the way to what is on the screen
	sheet  sheet    // of the last place
	total  int      // rows of it before the filter

	asking bool // a look is under way
	again  bool // ask when it has ended, since it is for something else
	search bool // and look for namespaces, whatever that costs
	ticks  int  // of which only the last counts
	paused bool
	typing bool // the filter
	help   *int // the first line of the help on the screen, nil for none
}

// A place is a view with what the user has chosen there.
type place struct {
	view      view
	namespace string  // its key, "" in the view of all
	id        *uint64 // the kernel's, nil if it is not known yet
	object    string  // its key, if the processes are those that use it
	sort      int     // a column
	reversed  bool
	filter    string
	selected  string // the key of a row, "" for the first, whatever that is
	line      int    // on which that is
	first     int    // the first line on the screen
}

type view int

const (
	namespaces view = iota
	objects
	processes
)

// columnQueued is by which namespaces are sorted to begin with: where things
// pile up comes first.
const columnQueued = 6

// newModel returns a model that shows all namespaces, or the one with that key.
func newModel(look func(question) (*Look, error), users listing.Names, interval time.Duration, namespace string) *model {
	first := &place{sort: columnQueued}
	if namespace != "" {
		first = &place{view: objects, namespace: namespace}
	}
	return &model{look: look, users: users, interval: interval, history: history{}, places: []*place{first}}
}

func (m *model) place() *place { return m.places[len(m.places)-1] }

// Init asks for the first look.
func (m *model) Init() tea.Cmd { return m.ask() }

type (
	lookMsg struct {
		question question
		look     *Look
		err      error
	}
	tickMsg struct{ number int }
)

// Update takes in a key, a look, a size or that it is time for a look.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		cmd = m.press(msg)
	case tea.ResumeMsg:
		cmd = m.ask()
	case tickMsg:
		if msg.number == m.ticks && !m.paused {
			cmd = m.ask()
		}
	case lookMsg:
		cmd = m.looked(msg)
	default:
		return m, nil
	}
	m.arrange()
	return m, cmd
}

// ask asks for a look, once the one under way has ended.
func (m *model) ask() tea.Cmd {
	if m.asking {
		m.again = true
		return nil
	}
	q := question{namespace: m.place().namespace, objects: m.place().view == objects, processes: m.place().view == processes, screen: m.onScreen(), search: m.search}
	m.asking, m.search = true, false
	return func() tea.Msg {
		look, err := m.look(q)
		return lookMsg{q, look, err}
	}
}

// onScreen returns the keys of the rows that are on the screen.
func (m *model) onScreen() map[string]bool {
	keys := map[string]bool{}
	for _, r := range m.visible() {
		keys[r.key] = true
	}
	return keys
}

func (m *model) looked(msg lookMsg) tea.Cmd {
	m.asking, m.err = false, msg.err
	if msg.err == nil {
		m.history.add(msg.look.Survey)
		m.rest = lookShare * msg.look.Cost
		if msg.question.namespace == "" {
			m.all = msg.look
		} else {
			m.one = msg.look
			m.place().meet(msg.look)
		}
	}
	if m.again {
		m.again = false
		return m.ask()
	}
	return m.wait()
}

// wait lets the interval pass until the next look.
func (m *model) wait() tea.Cmd {
	m.ticks++
	if m.paused {
		return nil
	}
	number := m.ticks
	return tea.Tick(m.pause(), func(time.Time) tea.Msg { return tickMsg{number} })
}

// pause is how long there is no look.
func (m *model) pause() time.Duration { return max(m.interval, m.rest) }

// current returns the look that is on the screen, nil if there is none yet.
func (m *model) current() *Look {
	if m.place().view == namespaces {
		return m.all
	}
	return m.one
}

// meet takes down which namespace it is that has the key: later, another may.
func (p *place) meet(l *Look) {
	if ns := l.find(p.namespace); ns != nil && p.id == nil {
		p.id = ns.ID
	}
}

// namespace returns what is known of the one of the place, nil if that is nothing.
func (m *model) namespace() *survey.Namespace {
	if m.one == nil {
		return nil
	}
	ns := m.one.find(m.place().namespace)
	if ns == nil || differ(ns.ID, m.place().id) {
		return nil
	}
	return ns
}

// arrange makes the sheet anew, and finds the selected row in it.
func (m *model) arrange() {
	p := m.place()
	m.sheet = m.sheetOf(p)
	m.total = len(m.sheet.rows)
	if len(m.sheet.columns) > 0 {
		m.sheet.sort(p.sort, p.reversed)
	}
	m.sheet.filter(p.filter)
	m.show(m.lineOf(p))
}

// lineOf returns the line of the selected row. While nothing is selected, that is
// the first, whatever comes there. If the row is gone, it is the one in its place.
func (m *model) lineOf(p *place) int {
	if p.selected == "" {
		return 0
	}
	if i := slices.IndexFunc(m.sheet.rows, func(r row) bool { return r.key == p.selected }); i >= 0 {
		return i
	}
	return p.line
}

func (m *model) sheetOf(p *place) sheet {
	if m.current() == nil {
		return sheet{}
	}
	if p.view == namespaces {
		return namespacesSheet(m.all, m.history, &m.users)
	}
	ns := m.namespace()
	switch {
	case ns == nil:
		return sheet{}
	case p.view == objects:
		return objectsSheet(ns, m.history[keyOf(ns)], m.one.Taken, &m.users)
	}
	return processesSheet(m.one, ns, p.object, &m.users)
}

// selectLine selects the row on a line, or the nearest.
func (m *model) selectLine(line int) {
	p := m.place()
	m.show(line)
	p.selected = ""
	if p.line > 0 {
		p.selected = m.sheet.rows[p.line].key
	}
}

// show puts the mark on a line, or the nearest that there is, and brings it on the
// screen.
func (m *model) show(line int) {
	p, room := m.place(), m.room()
	p.line = max(0, min(line, len(m.sheet.rows)-1))
	p.first = max(0, min(p.first, len(m.sheet.rows)-room))
	p.first = max(min(p.first, p.line), p.line-room+1)
}

// visible returns the rows that are on the screen.
func (m *model) visible() []row {
	first := min(m.place().first, len(m.sheet.rows))
	return m.sheet.rows[first:min(first+m.room(), len(m.sheet.rows))]
}
