//go:build linux

package graph

import (
	"cmp"
	"math"
	"slices"
)

// Distances in the picture, in pixels.
const (
	margin     = 20
	padding    = 10 // around the words of a node
	rowGap     = 14 // between nodes
	fewestWide = 110
	mostWide   = 240 // between columns
)

// A shape is a node in its place. x and y are those of its upper left corner.
type shape struct {
	*Node
	words               []word
	x, y, width, height float64
	column              int
	rank                float64 // from 0 to 1 in its column
	edges               []*curve
}

func (s *shape) middle() float64 { return s.y + s.height/2 }

// A curve is an edge in its place, from the process to the object.
type curve struct {
	*Edge
	process, object *shape
	y               [2]float64 // where it meets them
}

// The columns. Who sends is left of the objects, and who receives right.
const (
	left = iota
	middle
	right
	columns
)

// A scene is a box in its place.
type scene struct {
	*Box
	columns [columns][]*shape
	curves  []*curve
	height  float64 // of what is in it
}

// arrange gives each node of a box its column and its height. Those in a column
// are in an order that makes few edges cross.
func arrange(box *Box) *scene {
	s := &scene{Box: box}
	shapes := map[*Node]*shape{}
	for _, n := range slices.Concat(box.Processes, box.Objects) {
		shapes[n] = newShape(n)
	}
	for _, e := range box.Edges {
		c := &curve{Edge: e, process: shapes[e.Process], object: shapes[e.Object]}
		c.process.edges, c.object.edges = append(c.process.edges, c), append(c.object.edges, c)
		s.curves = append(s.curves, c)
	}
	if len(box.Edges) == 0 {
		for i, o := range box.Objects {
			s.put(shapes[o], i%columns)
		}
	} else {
		for _, o := range box.Objects {
			s.put(shapes[o], middle)
		}
	}
	s.putProcesses(shapes)
	s.order()
	s.place()
	for _, column := range s.columns {
		for _, shape := range column {
			shape.spread()
		}
	}
	return s
}

func (s *scene) put(shape *shape, column int) {
	shape.column = column
	s.columns[column] = append(s.columns[column], shape)
}

// sides are how much a use makes its process belong to the right.
var sides = [...]int{Sent: -2, WaitsToSend: -2, Operated: -1, OpenToSend: -1, AttachedReadOnly: 1, OpenToReceive: 1, Received: 2, WaitsToReceive: 2, Attached: 0, Open: 0}

// putProcesses puts each process on its side, and who has none where there is
// more room.
func (s *scene) putProcesses(shapes map[*Node]*shape) {
	var neither []*shape
	var heights [columns]float64
	put := func(shape *shape, column int) {
		s.put(shape, column)
		heights[column] += shape.height + rowGap
	}
	for _, p := range s.Processes {
		shape, side := shapes[p], 0
		for _, c := range shape.edges {
			side += sides[c.Use]
		}
		switch {
		case side < 0:
			put(shape, left)
		case side > 0:
			put(shape, right)
		default:
			neither = append(neither, shape)
		}
	}
	for _, shape := range neither {
		if heights[left] <= heights[right] {
			put(shape, left)
		} else {
			put(shape, right)
		}
	}
}

// order sorts the columns by the means of what their nodes have edges to, again
// and again, and keeps the order with the fewest crossings: the last one, if there
// are too many edges to count them.
func (s *scene) order() {
	const rounds, mostCounted = 12, 2000
	fewest, best := math.MaxInt, s.columns
	for range rounds {
		for _, column := range []int{left, right, middle} {
			s.sortByNeighbours(column)
		}
		if len(s.curves) > mostCounted {
			best = s.columns
		} else if n := s.crossings(); n < fewest {
			fewest, best = n, s.copied()
		}
	}
	s.columns = best
}

func (s *scene) copied() (all [columns][]*shape) {
	for i, column := range s.columns {
		all[i] = slices.Clone(column)
	}
	return all
}

// rank gives each node its place in its column, from 0 to 1.
func (s *scene) rank() {
	for _, column := range s.columns {
		for i, shape := range column {
			shape.rank = (float64(i) + 0.5) / float64(len(column))
		}
	}
}

func (s *scene) sortByNeighbours(column int) {
	s.rank()
	wanted := map[*shape]float64{}
	for _, shape := range s.columns[column] {
		wanted[shape] = shape.rank
		if len(shape.edges) > 0 {
			wanted[shape] = mean(shape.edges, func(c *curve) float64 { return c.other(shape).rank })
		} else if column == middle {
			wanted[shape] = 2 // objects that nobody uses are last
		}
	}
	slices.SortStableFunc(s.columns[column], func(a, b *shape) int { return cmp.Compare(wanted[a], wanted[b]) })
}

func (c *curve) other(s *shape) *shape {
	if c.process == s {
		return c.object
	}
	return c.process
}

func mean(curves []*curve, of func(*curve) float64) float64 {
	total := 0.0
	for _, c := range curves {
		total += of(c)
	}
	return total / float64(len(curves))
}

// crossings counts the pairs of edges that cross, on each side of the objects.
func (s *scene) crossings() (n int) {
	s.rank()
	for i, a := range s.curves {
		for _, b := range s.curves[:i] {
			if a.process.column != b.process.column {
				continue
			}
			if (a.process.rank-b.process.rank)*(a.object.rank-b.object.rank) < 0 {
				n++
			}
		}
	}
	return n
}

// place gives each node a height near to those of what it has edges to. No two
// overlap.
func (s *scene) place() {
	for _, column := range s.columns {
		y := 0.0
		for _, shape := range column {
			shape.y = y
			y += shape.height + rowGap
		}
	}
	for range 8 {
		for _, column := range []int{middle, left, right} {
			settle(s.columns[column])
		}
	}
	top, bottom := math.Inf(1), 0.0
	for _, column := range s.columns {
		for _, shape := range column {
			top = min(top, shape.y)
		}
	}
	for _, column := range s.columns {
		for _, shape := range column {
			shape.y = math.Round(shape.y - top)
			bottom = max(bottom, shape.y+shape.height)
		}
	}
	s.height = bottom
}

// settle moves the nodes of a column to where they want to be, as near as the
// others let them: those that would overlap are moved as one block, to the mean
// of what they want.
func settle(column []*shape) {
	type block struct {
		first  int
		wanted float64 // the mean of where its members want its first to be
		n      float64
	}
	offsets := make([]float64, len(column)) // from the first of the column, if all touch
	var blocks []block
	offset := 0.0
	for i, s := range column {
		offsets[i] = offset
		offset += s.height + rowGap
		wanted := s.y
		if len(s.edges) > 0 {
			wanted = mean(s.edges, func(c *curve) float64 { return c.other(s).middle() }) - s.height/2
		} else if i > 0 {
			wanted = math.Inf(-1)
		}
		if math.IsInf(wanted, -1) && len(blocks) > 0 {
			continue // it follows the one before
		}
		blocks = append(blocks, block{i, wanted - offsets[i], 1})
		for len(blocks) > 1 && blocks[len(blocks)-2].wanted > blocks[len(blocks)-1].wanted {
			last, before := blocks[len(blocks)-1], &blocks[len(blocks)-2]
			before.wanted = (before.wanted*before.n + last.wanted*last.n) / (before.n + last.n)
			before.n += last.n
			blocks = blocks[:len(blocks)-1]
		}
	}
	for b, block := range blocks {
		end := len(column)
		if b+1 < len(blocks) {
			end = blocks[b+1].first
		}
		for i := block.first; i < end; i++ {
			column[i].y = block.wanted + offsets[i]
		}
	}
}

// spread gives each edge a place of its own where it meets the node, in the order
// of the other ends.
func (s *shape) spread() {
	for _, column := range []int{left, middle, right} {
		var there []*curve
		for _, c := range s.edges {
			if c.other(s).column == column {
				there = append(there, c)
			}
		}
		slices.SortStableFunc(there, func(a, b *curve) int { return cmp.Compare(a.other(s).middle(), b.other(s).middle()) })
		step := min(14, (s.height-8)/float64(max(1, len(there))))
		for i, c := range there {
			y := s.middle() + (float64(i)-float64(len(there)-1)/2)*step
			if c.process == s {
				c.y[0] = y
			} else {
				c.y[1] = y
			}
		}
	}
}
