//go:build linux

// Package metrics writes what a survey has found as text for Prometheus.
package metrics

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipcns/ipcns/internal/survey"
)

// A Format is one of the text formats that Prometheus reads.
type Format int

// The formats.
const (
	Text        Format = iota // version 0.0.4, which node_exporter's textfile collector reads
	OpenMetrics               // version 1.0.0
)

// ContentType returns the format's type in HTTP.
func (f Format) ContentType() string {
	if f == OpenMetrics {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// A Look is a survey with its contents and processes, and how long it took.
type Look struct {
	Survey *survey.Survey
	Took   time.Duration
}

// A Family is the samples of one name.
type Family struct {
	Name string
	Unit string // bytes, seconds or ratio, which the name has in it; "" for a number
	Help string
}

// Families returns all that there are, in the order in which they are written.
func Families() []Family {
	var all []Family
	for _, m := range ofTheMachine {
		all = append(all, m.Family)
	}
	for _, m := range ofNamespaces {
		all = append(all, m.Family)
	}
	return all
}

// A sample is a value with its labels, names and values in turn.
type sample struct {
	labels []string
	value  float64
}

// Write writes a look. A family of which nothing is known is left out.
func Write(w io.Writer, look Look, format Format) error {
	var b strings.Builder
	for _, m := range ofTheMachine {
		m.write(&b, format, []sample{{value: m.of(look)}})
	}
	for _, m := range ofNamespaces {
		var samples []sample
		for _, ns := range look.Survey.Namespaces {
			for _, s := range m.of(ns) {
				s.labels = append([]string{"ns", reference(ns)}, s.labels...)
				samples = append(samples, s)
			}
		}
		m.write(&b, format, samples)
	}
	if format == OpenMetrics {
		b.WriteString("# EOF\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f Family) write(b *strings.Builder, format Format, samples []sample) {
	if len(samples) == 0 {
		return
	}
	name, kind := f.Name, "gauge"
	if base, info := strings.CutSuffix(name, "_info"); info && format == OpenMetrics {
		name, kind = base, "info"
	}
	line(b, "# HELP", name, f.Help)
	line(b, "# TYPE", name, kind)
	if f.Unit != "" && format == OpenMetrics {
		line(b, "# UNIT", name, f.Unit)
	}
	for _, s := range samples {
		b.WriteString(f.Name)
		separator := "{"
		for pair := range slices.Chunk(s.labels, 2) {
			b.WriteString(separator + pair[0] + `="` + labelEscapes.Replace(strings.ToValidUTF8(pair[1], "\uFFFD")) + `"`)
			separator = ","
		}
		if len(s.labels) > 0 {
			b.WriteString("}")
		}
		line(b, "", formatValue(s.value))
	}
}

// labelEscapes are those that both formats know.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func line(b *strings.Builder, words ...string) {
	b.WriteString(strings.Join(words, " ") + "\n")
}

// formatValue writes a number without an exponent, and infinity as +Inf.
func formatValue(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
