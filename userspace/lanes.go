package userspace

// Lanes hold the messages of a queue by rank: the type of a System V message, and
// the priority of a POSIX one below 0, so that the lowest rank is the first. They
// are a heap.
type lanes struct {
	byRank map[int64]*lane
	heap   []*lane
	spare  *lane // one that is used again
}

// A lane holds the messages of one rank, in the order of their arrival.
type lane struct {
	rank     int64
	messages list[*message]
	position int // in the heap
}

func newLanes() lanes { return lanes{byRank: map[int64]*lane{}} }

// put appends a message to its lane.
func (ls *lanes) put(rank int64, m *message) {
	l := ls.byRank[rank]
	if l == nil {
		l = ls.open(rank)
	}
	l.messages.push(&m.inLane)
	m.lane = l
}

// drop takes a message out.
func (ls *lanes) drop(m *message) {
	m.inLane.remove()
	if m.lane.messages.n == 0 {
		ls.close(m.lane)
	}
	m.lane = nil
}

// first returns the lane of the lowest rank, nil for none.
func (ls *lanes) first() *lane {
	if len(ls.heap) == 0 {
		return nil
	}
	return ls.heap[0]
}

func (ls *lanes) open(rank int64) *lane {
	l := ls.spare
	if l == nil {
		l = &lane{}
	}
	ls.spare = nil
	l.rank, l.position = rank, len(ls.heap)
	ls.byRank[rank] = l
	ls.heap = append(ls.heap, l)
	ls.up(l.position)
	return l
}

func (ls *lanes) close(l *lane) {
	delete(ls.byRank, l.rank)
	i, last := l.position, len(ls.heap)-1
	ls.swap(i, last)
	ls.heap[last] = nil
	ls.heap = ls.heap[:last]
	if i < last {
		ls.down(i)
		ls.up(i)
	}
	ls.spare = l
}

func (ls *lanes) swap(i, j int) {
	ls.heap[i], ls.heap[j] = ls.heap[j], ls.heap[i]
	ls.heap[i].position, ls.heap[j].position = i, j
}

func (ls *lanes) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if ls.heap[parent].rank <= ls.heap[i].rank {
			return
		}
		ls.swap(i, parent)
		i = parent
	}
}

func (ls *lanes) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(ls.heap) {
			return
		}
		if right := child + 1; right < len(ls.heap) && ls.heap[right].rank < ls.heap[child].rank {
			child = right
		}
		if ls.heap[i].rank <= ls.heap[child].rank {
			return
		}
		ls.swap(i, child)
		i = child
	}
}
