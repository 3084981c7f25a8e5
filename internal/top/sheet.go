//go:build linux

package top

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A sheet is the table of a view: what is sorted, filtered, and laid out for a
// width.
type sheet struct {
	columns []column
	rows    []row
}

// A column is one of a sheet.
type column struct {
	title string
	right bool // aligned
	// least is how wide it is at least, though what is in it now may be shorter. If
	// the last column is cut, it is this wide.
	least int
	// descending says that the largest are of interest, and come first.
	descending bool
	// spare is when the column is left out where the width does not suffice: the
	// highest first, 0 never.
	spare int
}

// A row is that of one thing, by which it is found again in the next look.
type row struct {
	key   string
	cells []cell
}

// A cell is what is shown and what is sorted by: the order, and where that is the
// same, the text.
type cell struct {
	text    string
	order   float64
	unknown bool // and so the last, whatever the direction
}

func words(text string) cell { return cell{text: text} }

var unknown = cell{text: "-", unknown: true}

// sort puts the rows in the order of a column. Those that are alike stay as they
// are.
func (s *sheet) sort(by int, reversed bool) {
	descending := s.columns[by].descending != reversed
	slices.SortStableFunc(s.rows, func(a, b row) int {
		x, y := a.cells[by], b.cells[by]
		switch {
		case x.unknown || y.unknown:
			return compareBools(x.unknown, y.unknown)
		case descending:
			x, y = y, x
		}
		return cmp.Or(cmp.Compare(x.order, y.order), strings.Compare(x.text, y.text))
	})
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// filter leaves the rows that have the text in a cell, in capitals or not.
func (s *sheet) filter(text string) {
	if text == "" {
		return
	}
	text = strings.ToLower(text)
	s.rows = slices.DeleteFunc(s.rows, func(r row) bool {
		return !slices.ContainsFunc(r.cells, func(c cell) bool { return strings.Contains(strings.ToLower(c.text), text) })
	})
}

// A layout is which columns fit, and how wide they are.
type layout struct {
	shown  []int
	widths []int // by the column's number in the sheet
}

// gap is what is between two columns.
const gap = "  "

// fit lays the sheet out for a width; 0 is as wide as it takes. The last column is
// text, which may be cut. What is in it does not matter, or other columns would come
// and go with it.
func (s *sheet) fit(width int) layout {
	l := layout{widths: make([]int, len(s.columns))}
	total := -len(gap)
	for i, c := range s.columns {
		l.shown = append(l.shown, i)
		l.widths[i] = s.widest(i)
		if i == len(s.columns)-1 && width > 0 {
			l.widths[i] = min(c.least, width/3)
		}
		total += l.widths[i] + len(gap)
	}
	for width > 0 && total > width {
		i := s.mostSpare(l.shown)
		if i < 0 {
			break
		}
		total -= l.widths[l.shown[i]] + len(gap)
		l.shown = slices.Delete(l.shown, i, i+1)
	}
	return l
}

func (s *sheet) widest(column int) int {
	width := max(s.columns[column].least, len(s.columns[column].title))
	for _, r := range s.rows {
		width = max(width, utf8.RuneCountInString(r.cells[column].text))
	}
	return width
}

// mostSpare returns which of the columns can be done without most easily, -1 if
// none can.
func (s *sheet) mostSpare(shown []int) int {
	most := -1
	for i, column := range shown {
		if spare := s.columns[column].spare; spare > 0 && (most < 0 || spare >= s.columns[shown[most]].spare) {
			most = i
		}
	}
	return most
}

// line lines up the texts of a row, or the titles.
func (s *sheet) line(l layout, text func(column int) string) string {
	parts := make([]string, len(l.shown))
	for i, column := range l.shown {
		pad := strings.Repeat(" ", max(0, l.widths[column]-utf8.RuneCountInString(text(column))))
		if parts[i] = text(column) + pad; s.columns[column].right {
			parts[i] = pad + text(column)
		}
	}
	return strings.TrimRight(strings.Join(parts, gap), " ")
}

func (s *sheet) heading(l layout) string {
	return s.line(l, func(column int) string { return s.columns[column].title })
}

func (s *sheet) text(l layout, r row) string {
	return s.line(l, func(column int) string { return r.cells[column].text })
}
