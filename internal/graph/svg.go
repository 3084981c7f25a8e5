//go:build linux

package graph

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/ipcns/ipcns/internal/oneline"
)

// How many characters a line of a node has at most. What is cut off is in the
// text that a browser shows for the node.
const (
	mostTitle  = 34
	mostDetail = 42
	mostWait   = 54
)

// Heights of lines, in pixels.
const (
	titleHeight  = 18
	detailHeight = 15
	boxHeading   = 46
	legendHeight = 26
	fillHeight   = 10
)

// A word is a line of a node.
type word struct {
	class, text string
	height      float64
}

func newShape(n *Node) *shape {
	s := &shape{Node: n, words: []word{{"title", shortened(n.Title, mostTitle), titleHeight}}}
	for _, detail := range n.Details {
		s.words = append(s.words, word{"detail", shortened(detail, mostDetail), detailHeight})
	}
	for _, wait := range n.Waits {
		s.words = append(s.words, word{"wait", shortened(wait, mostWait), detailHeight})
	}
	for _, guess := range n.Guesses {
		s.words = append(s.words, word{"guess", shortened(guess, mostWait), detailHeight})
	}
	for _, w := range s.words {
		s.width = max(s.width, textWidth(w)+2*padding)
		s.height += w.height
	}
	s.height += 12
	if n.Kind == Queue || n.Kind == Mqueue {
		s.height += fillHeight
	}
	return s
}

// textWidth returns what a line takes in a wide typeface, such as DejaVu Sans:
// which one there will be is not known.
func textWidth(w word) float64 {
	const ems, large, small = 0.64, 13, 11
	width := 0.0
	for _, r := range w.text {
		switch {
		case r >= 0x1100 || unicode.IsUpper(r) || strings.ContainsRune("mwMW@%…×", r):
			width += 1
		default:
			width += ems
		}
	}
	if w.class == "title" {
		return width * large * 1.06 // bold
	}
	return width * small
}

// SVG writes the graph as a picture, without any program's help.
func (g *Graph) SVG(w io.Writer) error {
	p := picture{graph: g}
	for _, box := range g.Boxes {
		p.scenes = append(p.scenes, arrange(box))
	}
	p.measure()
	var b strings.Builder
	p.write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// A picture is a graph whose boxes are below each other, with columns in common.
type picture struct {
	graph  *Graph
	scenes []*scene
	x      [columns]float64
	widths [columns]float64
	width  float64
}

// measure gives the columns their places, and the nodes theirs in them.
func (p *picture) measure() {
	edges := 0
	for _, s := range p.scenes {
		edges = max(edges, len(s.curves))
		for i, column := range s.columns {
			for _, shape := range column {
				p.widths[i] = max(p.widths[i], math.Ceil(shape.width))
			}
		}
	}
	gap := min(mostWide, fewestWide+2*float64(edges))
	p.width = p.spread(gap)
	if wanted := p.headingsWidth() + 4*margin; wanted > p.width {
		gap += (wanted - p.width) / float64(columns-1)
		p.width = max(p.spread(math.Floor(gap)), wanted)
	}
	for _, s := range p.scenes {
		for i, column := range s.columns {
			for _, shape := range column {
				shape.x, shape.width = p.x[i], p.widths[i]
			}
		}
	}
}

// spread puts so much between the columns, and returns the width of all.
func (p *picture) spread(gap float64) float64 {
	x, right := 2.0*margin, 2.0*margin
	for i, width := range p.widths {
		p.x[i] = x
		if width > 0 {
			right = x + width
			x = right + gap
		}
	}
	return right + 2*margin
}

func (p *picture) headingsWidth() float64 {
	width := max(textWidth(word{"title", p.graph.Title, 0})*1.3, p.legendWidth())
	for _, note := range p.graph.Notes {
		width = max(width, textWidth(word{"detail", note, 0}))
	}
	for _, s := range p.scenes {
		width = max(width, textWidth(word{"title", s.Title, 0}), textWidth(word{"detail", notes(s.Notes), 0}))
	}
	return width
}

func notes(all []string) string { return strings.Join(all, "  ·  ") }

func (p *picture) write(b *strings.Builder) {
	heading := 54 + detailHeight*float64(len(p.graph.Notes))
	height := heading
	for _, s := range p.scenes {
		height += boxHeading + s.height + margin + rowGap
	}
	height += legendHeight + margin
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img">`+"\n", p.width, height, p.width, height)
	fmt.Fprintf(b, "<title>%s</title>\n%s", escaped(p.graph.Title), style())
	fmt.Fprintf(b, `<rect class="paper" width="%.0f" height="%.0f" rx="8"/>`+"\n", p.width, height)
	text(b, margin, 34, "heading", p.graph.Title)
	for i, note := range p.graph.Notes {
		text(b, margin, 54+detailHeight*float64(i), "detail", note)
	}
	y := heading
	for _, s := range p.scenes {
		s.write(b, y, p.width-2*margin)
		y += boxHeading + s.height + margin + rowGap
	}
	p.writeLegend(b, y+legendHeight/2)
	b.WriteString("</svg>\n")
}

func text(b *strings.Builder, x, y float64, class, words string) {
	fmt.Fprintf(b, `<text class="%s" x="%.0f" y="%.0f">%s</text>`+"\n", class, x, y, escaped(words))
}

func (s *scene) write(b *strings.Builder, y, width float64) {
	fmt.Fprintf(b, `<rect class="box" x="%d" y="%.0f" width="%.0f" height="%.0f" rx="8"/>`+"\n", margin, y, width, boxHeading+s.height+margin)
	text(b, 2*margin, y+21, "title", s.Title)
	text(b, 2*margin, y+36, "detail", notes(s.Notes))
	y += boxHeading
	// Those that wait are above the others.
	for _, waits := range []bool{false, true} {
		for _, c := range s.curves {
			if (uses[c.Use].class == "waits") == waits {
				c.write(b, y)
			}
		}
	}
	for _, column := range s.columns {
		for _, shape := range column {
			shape.write(b, y)
		}
	}
}

// write draws a curve from the process to the object, level at both ends.
func (c *curve) write(b *strings.Builder, top float64) {
	x1, x2 := c.process.x+c.process.width, c.object.x
	if c.process.column > c.object.column {
		x1, x2 = c.process.x, c.object.x+c.object.width
	}
	y1, y2 := top+c.y[0], top+c.y[1]
	bend := (x2 - x1) / 2
	use := uses[c.Use]
	class, markers := use.class, ""
	if c.Guess {
		class += " guessed"
	}
	if use.toObject {
		markers += fmt.Sprintf(` marker-end="url(#%s)"`, use.class)
	}
	if use.toProcess {
		markers += fmt.Sprintf(` marker-start="url(#%s)"`, use.class)
	}
	fmt.Fprintf(b, `<path class="edge %s" d="M%.0f %.1fC%.0f %.1f %.0f %.1f %.0f %.1f"%s><title>%s: %s, %s</title></path>`+"\n",
		class, x1, y1, x1+bend, y1, x2-bend, y2, x2, y2, markers, escaped(c.Process.Title), escaped(c.Object.Title), escaped(c.Label))
}

func (s *shape) write(b *strings.Builder, top float64) {
	class, round := classes[s.Kind], 4
	if s.Kind == Process {
		round = 12
	}
	if s.Faint {
		class += " faint"
	}
	fmt.Fprintf(b, `<g class="%s"><title>%s</title>`+"\n", class, escaped(strings.Join(slices.Concat(s.lines(), s.Waits, s.Guesses), "\n")))
	fmt.Fprintf(b, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="%d"/>`+"\n", s.x, top+s.y, s.width, s.height, round)
	y := top + s.y + 4
	for _, w := range s.words {
		y += w.height
		text(b, s.x+padding, y-3, w.class, w.text)
	}
	if s.Kind == Queue || s.Kind == Mqueue {
		s.writeFill(b, y+4)
	}
	b.WriteString("</g>\n")
}

// writeFill draws how full a queue is.
func (s *shape) writeFill(b *strings.Builder, y float64) {
	width := s.width - 2*padding
	fmt.Fprintf(b, `<rect class="empty" x="%.0f" y="%.0f" width="%.0f" height="5" rx="2"/>`, s.x+padding, y, width)
	if s.Fill > 0 {
		class := "full"
		if s.Fill >= 0.9 {
			class = "full nearly"
		}
		fmt.Fprintf(b, `<rect class="%s" x="%.0f" y="%.0f" width="%.1f" height="5" rx="2"/>`, class, s.x+padding, y, max(3, width*s.Fill))
	}
	b.WriteString("\n")
}

// A legendEntry is a line with what it means.
type legendEntry struct {
	class, text string
	head        bool
}

// legend lists the uses that there are, those that look the same once.
func (p *picture) legend() (all []legendEntry) {
	used, guessed := [len(uses)]bool{}, false
	for _, s := range p.scenes {
		for _, e := range s.Edges {
			used[e.Use] = true
			guessed = guessed || e.Guess
		}
	}
	for use, drawn := range uses {
		entry := legendEntry{drawn.class, drawn.legend, drawn.toObject || drawn.toProcess}
		if used[use] && !slices.Contains(all, entry) {
			all = append(all, entry)
		}
	}
	if guessed {
		all = append(all, legendEntry{"guesses guessed", "a guess", false})
	}
	return all
}

const legendLine, legendGap = 34, 22

func (l legendEntry) width() float64 {
	return legendLine + 6 + textWidth(word{"detail", l.text, 0}) + legendGap
}

func (p *picture) legendWidth() (width float64) {
	for _, entry := range p.legend() {
		width += entry.width()
	}
	return width
}

func (p *picture) writeLegend(b *strings.Builder, y float64) {
	x := 2.0 * margin
	for _, entry := range p.legend() {
		marker := ""
		if entry.head {
			marker = fmt.Sprintf(` marker-end="url(#%s)"`, entry.class)
		}
		fmt.Fprintf(b, `<path class="edge %s" d="M%.0f %.0fh%d"%s/>`+"\n", entry.class, x, y, legendLine, marker)
		text(b, x+legendLine+6, y+4, "detail", entry.text)
		x += entry.width()
	}
}

// escaped makes text fit for XML, and for a reader.
func escaped(words string) string {
	var b strings.Builder
	for i, line := range strings.Split(words, "\n") {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(xmlEscapes.Replace(oneline.Of(line)))
	}
	return b.String()
}

var xmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// style is for light and for dark pages. Programs that know nothing of media take
// the light one.
func style() string {
	light := map[string]string{"paper": "#ffffff", "box": "#f6f8fa", "line": "#d0d7de", "ink": "#1f2328", "soft": "#59636e",
		"process": "#ddf4ff", "queue": "#fff8c5", "set": "#dafbe1", "segment": "#fbefff", "mqueue": "#fff1e5",
		"message": "#0969da", "operated": "#1a7f37", "attached": "#8250df", "open": "#bc4c00", "waits": "#cf222e"}
	dark := map[string]string{"paper": "#0d1117", "box": "#151b23", "line": "#3d444d", "ink": "#f0f6fc", "soft": "#9198a1",
		"process": "#0c2d4f", "queue": "#3b2e0a", "set": "#0f3320", "segment": "#2d1b4e", "mqueue": "#42200b",
		"message": "#58a6ff", "operated": "#3fb950", "attached": "#bc8cff", "open": "#ffa657", "waits": "#ff7b72"}
	var b strings.Builder
	b.WriteString("<style>\n")
	b.WriteString("text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:11px}\n")
	b.WriteString(".title,.heading{font-size:13px;font-weight:600}.heading{font-size:17px}\n")
	b.WriteString(".edge{fill:none;stroke-width:1.5}.faint rect{stroke-dasharray:2 3}.guessed{stroke-dasharray:6 4}.waits{stroke-width:2.2}.guess{font-style:italic}.edge:hover{stroke-width:5}\n")
	b.WriteString(colours(light))
	b.WriteString("@media (prefers-color-scheme:dark){\n" + colours(dark) + "}\n</style>\n<defs>\n")
	for _, class := range []string{"message", "operated", "attached", "open", "waits"} {
		fmt.Fprintf(&b, `<marker id="%s" class="head %s" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z"/></marker>`+"\n", class, class)
	}
	b.WriteString("</defs>\n")
	return b.String()
}

func colours(of map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".paper{fill:%s}.box{fill:%s;stroke:%s}", of["paper"], of["box"], of["line"])
	fmt.Fprintf(&b, ".title,.heading{fill:%s}.detail{fill:%s}.wait{fill:%s}.guess{fill:%s}\n", of["ink"], of["soft"], of["waits"], of["operated"])
	for _, class := range classes {
		fmt.Fprintf(&b, ".%s rect{fill:%s;stroke:%s}", class, of[class], of["soft"])
	}
	fmt.Fprintf(&b, "\n.faint rect{fill:%s}", of["box"])
	fmt.Fprintf(&b, "g rect.empty{fill:%s;stroke:none}g rect.full{fill:%s;stroke:none}g rect.nearly{fill:%s}\n", of["line"], of["message"], of["waits"])
	for _, class := range []string{"message", "operated", "attached", "open", "waits"} {
		fmt.Fprintf(&b, ".edge.%s{stroke:%s}.head.%s path{fill:%s;stroke:none}", class, of[class], class, of[class])
	}
	fmt.Fprintf(&b, "\n.edge.guesses{stroke:%s}\n", of["soft"])
	return b.String()
}
