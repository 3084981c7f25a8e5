//go:build linux

// Package listing prints the IPC objects of a namespace: as text, which for
// System V objects is byte for byte that of util-linux's ipcs(1), and as JSON.
package listing

import (
	"bufio"
	"cmp"
	"fmt"
	"io"

	"github.com/ipcns/ipcns/ipc"
)

// A View is what the text of a report tells of the objects.
type View int

// The views, by their options of ipcs(1). If several options are given,
// ipcs takes the last.
const (
	Status   View = iota // no option: key, id, owner, permissions and how much is in it
	Times                // -t; POSIX queues are left out, their times are not known
	PIDs                 // -p; ipcs prints an empty line for semaphore sets
	Creators             // -c
	Limits               // -l: no objects, but the limits of the namespace
	Summary              // -u: no objects, but how many there are
)

// A Selection says which tables a report has; the zero Selection is all of
// them. They come in the order of the fields, which is that of ipcs.
type Selection struct {
	MessageQueues bool
	Segments      bool
	SemaphoreSets bool
	Mqueues       bool // POSIX message queues, which ipcs does not know
}

// A Report prints the objects of one namespace.
type Report struct {
	Select Selection
	View   View
	Names  Names

	// Warn is told why the POSIX queues are missing, which an ordinary user
	// may be refused, when a report of everything goes on without them. A
	// report that selects them returns that error instead. Nil is told
	// nothing.
	Warn func(error)
}

// A kind is one of the four kinds of IPC objects.
type kind struct {
	text map[View]func(*page) error
	list func(*document, *source) error
	sum  func(*summary, *source) error

	// describe prints one object, and facts returns it for JSON. POSIX queues
	// have no ids, and neither of these.
	describe func(*page, int) error
	facts    func(*source, int) (any, error)
}

// kinds are in the order in which ipcs prints them.
var kinds = [...]*kind{&messageQueueKind, &segmentKind, &semaphoreSetKind, &mqueueKind}

// A source is where the objects and the names of their users come from.
type source struct {
	ipc.System
	names Names
}

// A page is text in the making.
type page struct {
	*bufio.Writer
	source
	limits ipc.Limits // in the view Limits only
}

func (r Report) page(w io.Writer, system ipc.System) *page {
	return &page{Writer: bufio.NewWriter(w), source: source{system, r.Names}}
}

// Text prints the report in the layout of ipcs. The tables before an error
// are printed.
func (r Report) Text(w io.Writer, system ipc.System) error {
	p := r.page(w, system)
	if r.View == Limits {
		var err error
		if p.limits, err = readLimits(system); err != nil {
			return err
		}
	}
	err := r.each(func(k *kind) error {
		if text := k.text[r.View]; text != nil {
			return text(p)
		}
		return nil
	})
	if err == nil {
		fmt.Fprintln(p)
	}
	return cmp.Or(err, p.Flush())
}

func readLimits(system ipc.System) (ipc.Limits, error) {
	limits, err := system.Limits()
	if err != nil {
		return limits, fmt.Errorf("cannot read the limits: %w", err)
	}
	return limits, nil
}

// each calls do for every selected kind.
func (r Report) each(do func(*kind) error) error {
	everything := r.Select == Selection{}
	for i, selected := range [len(kinds)]bool{r.Select.MessageQueues, r.Select.Segments, r.Select.SemaphoreSets, r.Select.Mqueues} {
		if !selected && !everything {
			continue
		}
		err := do(kinds[i])
		if err != nil && everything && kinds[i] == &mqueueKind {
			r.warn(err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r Report) warn(err error) {
	if r.Warn != nil {
		r.Warn(err)
	}
}

// heading starts a table or another section.
func (p *page) heading(title string) {
	fmt.Fprintf(p, "\n------ %s --------\n", title)
}

// table prints a line for each of the objects that read returns.
func table[Object any](title, columns string, read func(*source) ([]Object, error), line func(*row, *Object)) func(*page) error {
	return func(p *page) error {
		objects, err := read(&p.source)
		if err != nil {
			return err
		}
		p.heading(title)
		fmt.Fprintln(p, columns)
		cells := row{names: &p.names}
		for i := range objects {
			line(&cells, &objects[i])
			cells.end(p)
		}
		return nil
	}
}
