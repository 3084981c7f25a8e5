//go:build linux

package graph

import (
	"fmt"
	"io"
	"strings"

	"github.com/ipcns/ipcns/internal/oneline"
)

// Mermaid writes the graph as a flowchart for Mermaid, which GitHub and others
// draw in a block marked mermaid.
func (g *Graph) Mermaid(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%%%% %s\n", oneline.Of(strings.Join(append([]string{g.Title}, g.Notes...), ", ")))
	b.WriteString("flowchart LR\n")
	var edges []*Edge
	for i, box := range g.Boxes {
		edges = append(edges, box.writeMermaid(&b, i)...)
	}
	writeStyles(&b, edges)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeMermaid writes a box, and returns its edges in the order in which they
// are numbered.
func (box *Box) writeMermaid(b *strings.Builder, number int) []*Edge {
	fmt.Fprintf(b, "  subgraph ns%d[%s]\n    direction LR\n", number, entities(append([]string{box.Title}, box.Notes...)...))
	names := box.names(number)
	for _, n := range box.nodes() {
		class := classes[n.Kind]
		if n.Faint {
			class = "faint"
		}
		begin, end := "[", "]"
		if n.Kind == Process {
			begin, end = "(", ")"
		}
		fmt.Fprintf(b, "    %s%s%s%s:::%s\n", names[n], begin, entities(n.lines()...), end, class)
	}
	for _, e := range box.Edges {
		from, to := e.ends()
		fmt.Fprintf(b, "    %s %s|%s| %s\n", names[from], e.arrow(), entities(e.Label), names[to])
	}
	b.WriteString("  end\n")
	return box.Edges
}

// arrow is how Mermaid writes an edge.
func (e *Edge) arrow() string {
	use := uses[e.Use]
	switch {
	case e.Guess:
		return "-.->"
	case use.class == "waits":
		return "==>"
	case use.toObject || use.toProcess:
		return "-->"
	}
	return "---"
}

func writeStyles(b *strings.Builder, edges []*Edge) {
	for _, style := range [...][2]string{
		{"process", "fill:#ddf4ff,stroke:#59636e,color:#1f2328"},
		{"queue", "fill:#fff8c5,stroke:#59636e,color:#1f2328"},
		{"set", "fill:#dafbe1,stroke:#59636e,color:#1f2328"},
		{"segment", "fill:#fbefff,stroke:#59636e,color:#1f2328"},
		{"mqueue", "fill:#fff1e5,stroke:#59636e,color:#1f2328"},
		{"faint", "fill:#f6f8fa,stroke:#59636e,color:#59636e,stroke-dasharray:4"},
	} {
		fmt.Fprintf(b, "  classDef %s %s\n", style[0], style[1])
	}
	for _, use := range [...]struct{ class, colour string }{
		{"attached", "#8250df"}, {"open", "#bc4c00"}, {"message", "#0969da"}, {"operated", "#1a7f37"}, {"waits", "#cf222e"},
	} {
		var numbers []string
		for i, e := range edges {
			if uses[e.Use].class == use.class {
				numbers = append(numbers, fmt.Sprint(i))
			}
		}
		if len(numbers) > 0 {
			fmt.Fprintf(b, "  linkStyle %s stroke:%s\n", strings.Join(numbers, ","), use.colour)
		}
	}
}

// entities writes lines as a string of Mermaid, in which no character of theirs
// means anything.
func entities(lines ...string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteString("<br/>")
		}
		for _, r := range oneline.Of(line) {
			if strings.ContainsRune("\"#&;<>`\\%*_~|[](){}", r) {
				fmt.Fprintf(&b, "#%d;", r)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return `"` + b.String() + `"`
}
