//go:build linux

// Package graph draws who talks to whom over what: the namespaces of a survey
// with their processes and objects, as SVG, as DOT and as Mermaid.
package graph

// A Graph is what is drawn.
type Graph struct {
	Title string
	Notes []string
	Boxes []*Box
}

// A Box is a namespace.
type Box struct {
	Title     string
	Notes     []string
	Processes []*Node
	Objects   []*Node
	Edges     []*Edge
}

// A Node is an object, a process, or several processes that do the same.
type Node struct {
	Kind    Kind
	Title   string
	Details []string
	Waits   []string // what a process waits for, in words
	Guesses []string // of what a process may have
	Fill    float64  // how full a queue is: 1 is full
	Faint   bool     // a process that is not in the namespace, or has ended
}

// A Kind is what a node is.
type Kind int

// The kinds of nodes.
const (
	Process Kind = iota
	Queue
	Set
	Segment
	Mqueue
)

// An Edge is what a process does with an object.
type Edge struct {
	Process, Object *Node
	Use             Use
	Label           string
	Guess           bool // the kernel does not tell it
}

// A Use is what a process does, or has done last, with an object.
type Use int

// The uses.
const (
	Attached Use = iota
	AttachedReadOnly
	Open
	OpenToSend
	OpenToReceive
	Sent     // the last msgsnd
	Received // the last msgrcv
	Operated // the last operation on a semaphore
	WaitsToSend
	WaitsToReceive // a message, or what a semaphore counts
)

// uses are how a use is drawn, and what the legend calls it. Arrows point the way
// that messages and memory go, and from who gives to a semaphore to who waits.
var uses = [...]struct {
	class, legend string
	toObject      bool // there is an arrow head at the object
	toProcess     bool
}{
	Attached:         {"attached", "attached", false, false},
	AttachedReadOnly: {"attached", "attached read only", false, true},
	Open:             {"open", "open", false, false},
	OpenToSend:       {"open", "open to send or to receive", true, false},
	OpenToReceive:    {"open", "open to send or to receive", false, true},
	Sent:             {"message", "sent or received last", true, false},
	Received:         {"message", "sent or received last", false, true},
	Operated:         {"operated", "operated last", true, false},
	WaitsToSend:      {"waits", "waits", true, false},
	WaitsToReceive:   {"waits", "waits", false, true},
}

// classes are those of the kinds of nodes, in each format.
var classes = [...]string{Process: "process", Queue: "queue", Set: "set", Segment: "segment", Mqueue: "mqueue"}

// lines are the words of a node that all formats have.
func (n *Node) lines() []string { return append([]string{n.Title}, n.Details...) }
