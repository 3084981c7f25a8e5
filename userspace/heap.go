package userspace

// A heap has the item with the lowest key first. Its items know where they are,
// so that any can be taken out.
type heap[T heapItem] struct {
	items []T
}

type heapItem interface {
	comparable
	key() int64
	place() *int
}

// first returns the item with the lowest key, or none.
func (h *heap[T]) first() (item T) {
	if len(h.items) > 0 {
		item = h.items[0]
	}
	return item
}

func (h *heap[T]) push(item T) {
	*item.place() = len(h.items)
	h.items = append(h.items, item)
	h.up(len(h.items) - 1)
}

func (h *heap[T]) remove(item T) {
	i, last := *item.place(), len(h.items)-1
	h.swap(i, last)
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.items[i].place(), *h.items[j].place() = i, j
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h.items[parent].key() <= h.items[i].key() {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if right := child + 1; right < len(h.items) && h.items[right].key() < h.items[child].key() {
			child = right
		}
		if h.items[i].key() <= h.items[child].key() {
			return
		}
		h.swap(i, child)
		i = child
	}
}
