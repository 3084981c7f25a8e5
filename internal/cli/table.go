//go:build linux

package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A table is rows of columns that line up. The first row is the heading. A row of
// one cell, in a table of several columns, is a line across them.
type table struct {
	rightAligned []bool // by column
	rows         [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table, each row cut to width columns unless that is 0.
func (t *table) write(w io.Writer, width int) error {
	widths := make([]int, len(t.rightAligned))
	for _, row := range t.rows {
		if t.isAcross(row) {
			continue
		}
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		if t.isAcross(row) {
			fmt.Fprintln(&b, cut(row[0], width))
			continue
		}
		line := make([]string, len(row))
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if line[i] = cell + pad; t.rightAligned[i] {
				line[i] = pad + cell
			}
		}
		fmt.Fprintln(&b, cut(strings.TrimRight(strings.Join(line, "  "), " "), width))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) isAcross(row []string) bool { return len(row) == 1 && len(t.rightAligned) > 1 }

func cut(line string, width int) string {
	if runes := []rune(line); width > 0 && len(runes) > width {
		return string(runes[:width])
	}
	return line
}
