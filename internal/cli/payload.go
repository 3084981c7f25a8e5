//go:build linux

package cli

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// writePayload prints bytes as they are, but for those that would not print
// on a terminal.
func writePayload(w io.Writer, payload []byte) error {
	if terminalWidth() == 0 {
		_, err := w.Write(payload)
		return err
	}
	if !printable(payload) {
		_, err := io.WriteString(w, hex.Dump(payload))
		return err
	}
	_, err := fmt.Fprintln(w, strings.TrimSuffix(string(payload), "\n"))
	return err
}

func printable(payload []byte) bool {
	for _, r := range string(payload) {
		if r == utf8.RuneError || !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}

// A jsonMessage is a message in JSON, on a line of its own: text if it is
// UTF-8, base64 otherwise.
type jsonMessage struct {
	Position *int    `json:"position,omitempty"`
	Type     *int64  `json:"type,omitempty"`
	Priority *uint   `json:"priority,omitempty"`
	Bytes    int     `json:"bytes"`
	Text     *string `json:"text,omitempty"`
	Base64   []byte  `json:"base64,omitempty"`
}

func (m jsonMessage) write(w io.Writer, payload []byte) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(m.of(payload))
}

// of returns the message with its payload.
func (m jsonMessage) of(payload []byte) jsonMessage {
	m.Bytes = len(payload)
	if text := string(payload); utf8.ValidString(text) {
		m.Text = &text
	} else {
		m.Base64 = payload
	}
	return m
}
