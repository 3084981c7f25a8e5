//go:build linux

package graph_test

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/graph"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
)

func TestMain(m *testing.M) { leak.Main(m) }

var update = flag.Bool("update", false, "make testdata what has been seen")

var formats = map[string]func(*graph.Graph, io.Writer) error{"svg": (*graph.Graph).SVG, "dot": (*graph.Graph).DOT, "mmd": (*graph.Graph).Mermaid}

func drawn(t *testing.T, g *graph.Graph, format string) string {
	t.Helper()
	var b bytes.Buffer
	ipctest.Must(t, formats[format](g, &b))
	return b.String()
}

// TestFiles compares with pictures that somebody has looked at.
func TestFiles(t *testing.T) {
	for _, name := range []string{"three", "pool", "namespaces"} {
		for format := range formats {
			t.Run(name+"."+format, func(t *testing.T) {
				got := drawn(t, examples[name](), format)
				path := filepath.Join("testdata", name+"."+format)
				if path == "testdata/three.svg" {
					path = "../../docs/graph.svg" // which docs/observing.md shows
				}
				if *update {
					ipctest.Must(t, os.WriteFile(path, []byte(got), 0o644))
				}
				want, err := os.ReadFile(path)
				ipctest.Must(t, err)
				if got != string(want) {
					t.Errorf("it is not %s, which -update writes:\n%s", path, got)
				}
			})
		}
	}
}

func TestTheSameTwice(t *testing.T) {
	for name, example := range examples {
		for format := range formats {
			if first, second := drawn(t, example(), format), drawn(t, example(), format); first != second {
				t.Errorf("%s.%s differs", name, format)
			}
		}
	}
}

// A rectangle of a picture.
type rectangle struct {
	X      float64 `xml:"x,attr"`
	Y      float64 `xml:"y,attr"`
	Width  float64 `xml:"width,attr"`
	Height float64 `xml:"height,attr"`
}

func (r rectangle) contains(s rectangle) bool {
	return r.X <= s.X && r.Y <= s.Y && s.X+s.Width <= r.X+r.Width && s.Y+s.Height <= r.Y+r.Height
}

func (r rectangle) overlaps(s rectangle) bool {
	return r.X < s.X+s.Width && s.X < r.X+r.Width && r.Y < s.Y+s.Height && s.Y < r.Y+r.Height
}

// A node of a picture. The first of its rectangles is its own.
type node struct {
	Title string      `xml:"title"`
	Rects []rectangle `xml:"rect"`
	Words []struct {
		X    float64 `xml:"x,attr"`
		Y    float64 `xml:"y,attr"`
		Text string  `xml:",chardata"`
	} `xml:"text"`
}

// A picture is what an SVG file holds.
type picture struct {
	Boxes []rectangle `xml:"rect"`
	Nodes []node      `xml:"g"`
	Edges []struct {
		Path  string `xml:"d,attr"`
		Title string `xml:"title"`
	} `xml:"path"`
}

func pictureOf(t *testing.T, g *graph.Graph) (p picture) {
	t.Helper()
	ipctest.Must(t, xml.Unmarshal([]byte(drawn(t, g, "svg")), &p))
	return p
}

// TestNothingOverlaps looks at where nodes and edges are. Edges are between the
// columns, where no node is.
func TestNothingOverlaps(t *testing.T) {
	for name, example := range examples {
		t.Run(name, func(t *testing.T) {
			p := pictureOf(t, example())
			paper, boxes := p.Boxes[0], p.Boxes[1:]
			for i, n := range p.Nodes {
				r := n.Rects[0]
				if !slices.ContainsFunc(boxes, func(box rectangle) bool { return box.contains(r) && paper.contains(box) }) {
					t.Errorf("%q is in no box", n.Title)
				}
				for _, other := range p.Nodes[:i] {
					if r.overlaps(other.Rects[0]) {
						t.Errorf("%q overlaps %q", n.Title, other.Title)
					}
				}
				for _, w := range n.Words {
					if w.X <= r.X || w.Y <= r.Y || w.Y >= r.Y+r.Height {
						t.Errorf("%q is not in its node", w.Text)
					}
				}
			}
			for _, e := range p.Edges {
				if e.Title == "" {
					continue // of the legend
				}
				var x1, y1, x, x2, y2 float64
				_, err := fmt.Sscanf(e.Path, "M%f %fC%f %f %f %f %f %f", &x1, &y1, &x, &y1, &x, &y2, &x2, &y2)
				ipctest.Must(t, err)
				within := rectangle{X: min(x1, x2), Y: min(y1, y2), Width: max(x1, x2) - min(x1, x2), Height: max(y1, y2) - min(y1, y2)}
				for _, n := range p.Nodes {
					if n.Rects[0].overlaps(within) {
						t.Errorf("%q may cross %q", e.Title, n.Title)
					}
				}
			}
		})
	}
}

func TestAllSixtyAreThere(t *testing.T) {
	p := pictureOf(t, sixty())
	for i := range 60 {
		if !slices.ContainsFunc(p.Nodes, func(n node) bool { return strings.HasPrefix(n.Title, fmt.Sprintf("step-%d ", i)) }) {
			t.Errorf("there is no process %d", i)
		}
	}
	if len(p.Nodes) != 60+16+4 {
		t.Errorf("there are %d nodes", len(p.Nodes))
	}
}

// TestTextOfOthers writes names that mean something in one of the formats. In SVG
// they are read back.
func TestTextOfOthers(t *testing.T) {
	p := pictureOf(t, nasty())
	for _, text := range nastyTexts {
		want := oneline.Of("/" + text)
		if !slices.ContainsFunc(p.Nodes, func(n node) bool { return strings.HasPrefix(n.Title, want+"\n") }) {
			t.Errorf("there is no %q", want)
		}
	}
	for format := range formats {
		if text := drawn(t, nasty(), format); strings.ContainsAny(text, "\x1b\u202e\x00") || format != "dot" && strings.Contains(text, "<script") {
			t.Errorf("%s has text of others as it is:\n%s", format, text)
		}
	}
}

// TestGraphviz has graphviz read what is written, and say what it has read.
func TestGraphviz(t *testing.T) {
	if _, err := exec.LookPath("dot"); err != nil {
		t.Skip(err)
	}
	for name, example := range examples {
		cmd := exec.Command("dot", "-Tdot_json", "-Gnslimit=1")
		cmd.Stdin = strings.NewReader(drawn(t, example(), "dot"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || stderr.Len() > 0 {
			t.Errorf("%s: %v: %s", name, err, stderr.String())
		}
		if name == "three" && !strings.Contains(string(out), `shopd --listen 8080\\npid 4201`) {
			t.Errorf("no process is read:\n%s", out)
		}
	}
}

// TestEdges has each use of an object, and what is a guess. An arrow is written
// as in Mermaid.
func TestEdges(t *testing.T) {
	const inode = 4026532101
	wait := func(call string, id int) host.Process {
		return host.Process{PID: 10, Command: "it", Namespaces: []uint64{inode}, Waiting: []host.Wait{{TID: 10, Namespace: inode, Call: call, ID: id, Type: -5, Bytes: 7}}}
	}
	opened := func(p host.Process, sends, receives bool) host.Process {
		p.PID, p.Command = 10, "it"
		p.Open = []host.OpenQueue{{Namespace: inode, Name: "/q", Inode: 3, FD: 4, Sends: sends, Receives: receives}}
		return p
	}
	twice := func(p host.Process) host.Process {
		p.Open = append(p.Open, host.OpenQueue{Namespace: inode, Name: "/r", Inode: 5, FD: 6})
		return p
	}
	attached := func(readOnly bool) host.Process {
		return host.Process{PID: 10, Command: "it", Attached: []host.Attachment{{Namespace: inode, ID: 2, ReadOnly: readOnly}, {Namespace: 5, ID: 2}}}
	}
	queues := func(sender, receiver int32, when int64) host.Contents {
		q := queue(1, 0x2a, 0, 0, sender, receiver)
		q.Stime, q.Rtime = when, when
		return host.Contents{Queues: []host.MessageQueue{q}}
	}
	set := func(sems ...host.Semaphore) host.Contents {
		return host.Contents{Sets: []host.SemaphoreSet{{ID: 7, SemidDS: ipc.SemidDS{Otime: taken, Nsems: 2}}}, Values: map[int][]host.Semaphore{7: sems}}
	}
	mine := host.Process{PID: 10, Command: "it"}
	for name, test := range map[string]struct {
		contents host.Contents
		process  host.Process
		want     []string
	}{
		"attached":               {host.Contents{}, attached(false), []string{"it --- segment id 2: attached"}},
		"read only":              {host.Contents{}, attached(true), []string{"segment id 2 --> it: attached read only"}},
		"open":                   {host.Contents{}, opened(mine, true, true), []string{"it --- /q: open"}},
		"open for what":          {host.Contents{}, opened(mine, false, false), []string{"it --- /q: open"}},
		"open to send":           {host.Contents{}, opened(mine, true, false), []string{"it --> /q: open to send"}},
		"open to receive":        {host.Contents{}, opened(mine, false, true), []string{"/q --> it: open to receive"}},
		"sent":                   {queues(10, 0, taken), mine, []string{"it --> queue 0x0000002a: sent last"}},
		"received":               {queues(0, 10, taken), mine, []string{"queue 0x0000002a --> it: received last"}},
		"sent to itself":         {queues(10, 10, taken), mine, []string{"it --> queue 0x0000002a: sent last", "queue 0x0000002a --> it: received last"}},
		"sent and gone":          {queues(99, 0, taken), mine, []string{"gone --> queue 0x0000002a: sent last"}},
		"sent before it started": {queues(10, 0, started-1), mine, []string{"it -.-> queue 0x0000002a: sent last, or an earlier process of its id has"}},
		"sent as it started":     {queues(10, 0, started), mine, []string{"it --> queue 0x0000002a: sent last"}},
		"operated":               {set(host.Semaphore{PID: 10}, host.Semaphore{PID: 10}), mine, []string{"it --> set id 7: operated last"}},
		"operated, and wanted":   {set(host.Semaphore{PID: 10, Ncnt: 1}, host.Semaphore{PID: 10, Ncnt: 2}), mine, []string{"it -.-> set id 7: operated last, may hold semaphore 0, 1"}},
		"operated, zero wanted":  {set(host.Semaphore{PID: 10, Zcnt: 1}), mine, []string{"it --> set id 7: operated last"}},
		"msgrcv":                 {queues(0, 0, 0), wait("msgrcv", 1), []string{"queue 0x0000002a ==> it: msgrcv type -5"}},
		"msgsnd":                 {queues(0, 0, 0), wait("msgsnd", 1), []string{"it ==> queue 0x0000002a: msgsnd 7 bytes"}},
		"msgrcv somewhere":       {queues(0, 0, 0), wait("msgrcv", -1), []string{"queue that may not be known ==> it: msgrcv type -5"}},
		"semop":                  {set(), wait("semop", 7), []string{"set id 7 ==> it: semop"}},
		"mq_send":                {host.Contents{}, opened(wait("mq_timedsend", 4), true, true), []string{"it --- /q: open", "it ==> /q: mq_send"}},
		"mq_receive":             {host.Contents{}, opened(wait("mq_timedreceive", 4), true, true), []string{"it --- /q: open", "/q ==> it: mq_receive"}},
		"either, to send":        {host.Contents{}, opened(wait("mq", -1), true, false), []string{"it --> /q: open to send", "it ==> /q: mq_send"}},
		"either, to receive":     {host.Contents{}, opened(wait("mq", -1), false, true), []string{"/q --> it: open to receive", "/q ==> it: mq_receive"}},
		"either, of two":         {host.Contents{}, twice(opened(wait("mq", -1), true, true)), []string{"it --- /q: open", "it --- /r: open", "POSIX queue that may not be known ==> it: mq_receive"}},
		"of a closed descriptor": {host.Contents{}, wait("mq_timedsend", 5), []string{"it ==> POSIX queue that may not be known: mq_send"}},
	} {
		t.Run(name, func(t *testing.T) {
			ns := namespace("web", inode)
			ns.Contents, ns.Processes = &test.contents, []host.Process{test.process}
			var got []string
			for _, e := range graphOf(ns).Boxes[0].Edges {
				got = append(got, arrowOf(e))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// arrowOf writes an edge as the line of a Mermaid chart has it.
func arrowOf(e *graph.Edge) string {
	g := &graph.Graph{Boxes: []*graph.Box{{Processes: []*graph.Node{e.Process}, Objects: []*graph.Node{e.Object}, Edges: []*graph.Edge{e}}}}
	var b strings.Builder
	g.Mermaid(&b)
	for line := range strings.Lines(b.String()) {
		if words := strings.Fields(line); len(words) > 2 && strings.Contains(words[1], "|") {
			arrow, _, _ := strings.Cut(words[1], "|")
			names := map[string]string{"p0_0": e.Process.Title, "o0_0": e.Object.Title}
			return fmt.Sprintf("%s %s %s: %s", names[words[0]], arrow, names[words[len(words)-1]], e.Label)
		}
	}
	return ""
}

// TestUnusedObjectsAreLast looks at a picture where somebody uses the last object.
func TestUnusedObjectsAreLast(t *testing.T) {
	ns := namespace("web", 4026532101)
	ns.Contents.Segments = []host.Segment{segment(1, 0, 1, 0), segment(2, 0, 1, 1)}
	ns.Processes = []host.Process{{PID: 10, Command: "it", Attached: []host.Attachment{{Namespace: 4026532101, ID: 2}}}}
	heights := map[string]float64{}
	for _, n := range pictureOf(t, graphOf(ns)).Nodes {
		title, _, _ := strings.Cut(n.Title, "\n")
		heights[title] = n.Rects[0].Y
	}
	if heights["segment id 1"] <= heights["segment id 2"] || heights["segment id 2"] == 0 {
		t.Errorf("got %v", heights)
	}
}

func TestNotes(t *testing.T) {
	other := namespace("other", 4026532102)
	other.Contents.Segments = []host.Segment{segment(1, 0, 1, 0)}
	s := &survey.Survey{Taken: time.Unix(taken, 0), Unseen: 2, Namespaces: []*survey.Namespace{namespace("web", 4026532101), other}, Elsewhere: make([]host.Process, 1)}
	nobody := func(int) (graph.Someone, bool) { return graph.Someone{}, false }
	want := []string{
		"2023-11-14 22:13:20 UTC",
		"not drawn: 2 processes that may not be looked at",
		"not drawn: what 1 process has of namespaces that may not be looked into",
		"not drawn: 1 namespace without objects that may be seen",
	}
	if got := graph.Of(s, nobody).Notes; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Namespaces = s.Namespaces[:1] // which is drawn though it is empty
	if g := graph.Of(s, nobody); len(g.Boxes) != 1 || !slices.Equal(g.Notes, want[:2]) {
		t.Errorf("%d namespaces, notes %q", len(g.Boxes), g.Notes)
	}
}
