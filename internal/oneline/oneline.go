// Package oneline makes text fit on one line of a terminal.
package oneline

import (
	"strings"
	"unicode"
)

// Of replaces what would not print.
func Of(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
