//go:build linux

package graph

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/internal/oneline"
)

// DOT writes the graph for graphviz.
func (g *Graph) DOT(w io.Writer) error {
	var b strings.Builder
	b.WriteString("digraph ipcns {\n")
	fmt.Fprintf(&b, "\tgraph [rankdir=LR, fontname=\"sans-serif\", labelloc=t, label=%s]\n", quoted(append([]string{g.Title}, g.Notes...)...))
	b.WriteString("\tnode [fontname=\"sans-serif\", fontsize=11, shape=box, style=filled]\n")
	b.WriteString("\tedge [fontname=\"sans-serif\", fontsize=9, dir=none]\n")
	for i, box := range g.Boxes {
		box.writeDOT(&b, i)
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// attributesOfKinds and attributesOfUses are those of nodes and edges in DOT.
var (
	attributesOfKinds = [...]string{
		Process: `fillcolor="#ddf4ff", style="filled,rounded"`,
		Queue:   `fillcolor="#fff8c5"`, Set: `fillcolor="#dafbe1"`, Segment: `fillcolor="#fbefff"`, Mqueue: `fillcolor="#fff1e5"`,
	}
	attributesOfUses = [...]string{
		Attached: `color="#8250df"`, AttachedReadOnly: `color="#8250df", dir=forward`,
		Open: `color="#bc4c00"`, OpenToSend: `color="#bc4c00", dir=forward`, OpenToReceive: `color="#bc4c00", dir=forward`,
		Sent: `color="#0969da", dir=forward`, Received: `color="#0969da", dir=forward`, Operated: `color="#1a7f37", dir=forward`,
		WaitsToSend: `color="#cf222e", penwidth=2, dir=forward`, WaitsToReceive: `color="#cf222e", penwidth=2, dir=forward`,
	}
)

func (box *Box) writeDOT(b *strings.Builder, number int) {
	fmt.Fprintf(b, "\tsubgraph cluster_%d {\n\t\tlabel=%s\n", number, quoted(append([]string{box.Title}, box.Notes...)...))
	names := box.names(number)
	for _, n := range box.nodes() {
		attributes := attributesOfKinds[n.Kind]
		if n.Faint {
			attributes = `fillcolor=white, style="filled,rounded,dashed"`
		}
		fmt.Fprintf(b, "\t\t%s [%s, label=%s]\n", names[n], attributes, quoted(n.lines()...))
	}
	for _, e := range box.Edges {
		from, to := e.ends()
		attributes := attributesOfUses[e.Use]
		if e.Guess {
			attributes += ", style=dashed"
		}
		fmt.Fprintf(b, "\t\t%s -> %s [%s, label=%s]\n", names[from], names[to], attributes, quoted(e.Label))
	}
	b.WriteString("\t}\n")
}

func (box *Box) nodes() []*Node { return slices.Concat(box.Processes, box.Objects) }

// names gives each node a name that needs no quotes: p0_1, o0_1.
func (box *Box) names(number int) map[*Node]string {
	names := map[*Node]string{}
	for i, n := range box.Processes {
		names[n] = fmt.Sprintf("p%d_%d", number, i)
	}
	for i, n := range box.Objects {
		names[n] = fmt.Sprintf("o%d_%d", number, i)
	}
	return names
}

// ends are in the order of the arrow, and from the left to the right.
func (e *Edge) ends() (from, to *Node) {
	if uses[e.Use].toProcess {
		return e.Object, e.Process
	}
	return e.Process, e.Object
}

// quoted writes lines as a string of DOT, where a backslash begins an escape.
func quoted(lines ...string) string {
	var escaped []string
	for _, line := range lines {
		escaped = append(escaped, dotEscapes.Replace(oneline.Of(line)))
	}
	return `"` + strings.Join(escaped, `\n`) + `"`
}

var dotEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
