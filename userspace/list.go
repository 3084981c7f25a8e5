package userspace

// A list holds nodes in order. A node is in at most one list, and part of what
// it stands for, so that adding one takes no memory.
type list[T any] struct {
	first, last *node[T]
	n           int
}

type node[T any] struct {
	value      T
	prev, next *node[T]
	in         *list[T]
}

// push adds a node at the end.
func (l *list[T]) push(n *node[T]) { l.insertAfter(l.last, n) }

// insertAfter adds a node after another, at the beginning if that is nil.
func (l *list[T]) insertAfter(at, n *node[T]) {
	n.in, n.prev = l, at
	if at == nil {
		n.next = l.first
		l.first = n
	} else {
		n.next = at.next
		at.next = n
	}
	if n.next == nil {
		l.last = n
	} else {
		n.next.prev = n
	}
	l.n++
}

// remove takes the node out of the list that it is in, if it is in one.
func (n *node[T]) remove() {
	l := n.in
	if l == nil {
		return
	}
	if n.prev == nil {
		l.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.last = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.prev, n.next, n.in = nil, nil, nil
	l.n--
}
