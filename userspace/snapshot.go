package userspace

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"sync"
)

// castagnoli is made when it is first of use: that takes longer than the rest
// of what a program that has this package does at its start.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// Snapshot writes the namespace with all that is in it, so that [Restore] can
// make it again: limits, objects with ids, contents and times, and what its
// processes hold. The same state is always written as the same bytes, which
// docs/snapshot-format.md describes.
//
// Not in it are calls that sleep, which have done nothing yet, and who is to be
// notified by mq_notify, which is a function: a process that is taken up again
// makes such a call again. The namespace does nothing else meanwhile, for which
// w should be fast and may not call it; but who has attached a segment can write
// to that at any time, also while it is copied.
func (ns *Namespace) Snapshot(w io.Writer) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	s := &snapshotWriter{w: bufio.NewWriterSize(w, 1<<16)}
	s.write(headerLine())
	s.record(tagNamespace, "the namespace", func(f *fields) { f.namespace(ns) })
	s.queues(ns)
	s.sets(ns)
	s.segments(ns)
	s.mqueues(ns)
	s.processes(ns)
	s.end()
	if s.err != nil {
		return fmt.Errorf("cannot take a snapshot: %w", s.err)
	}
	return nil
}

// A snapshotWriter writes records until one fails.
type snapshotWriter struct {
	w        *bufio.Writer
	f        fields // of the record that is written
	checksum uint32
	records  uint64
	err      error
}

func (s *snapshotWriter) write(p []byte) {
	if s.err == nil {
		s.checksum = crc32.Update(s.checksum, castagnoli(), p)
		_, s.err = s.w.Write(p)
	}
}

// record writes a record with the fields that list lists.
func (s *snapshotWriter) record(tag byte, what string, list func(*fields)) {
	s.f.body, s.f.err = append(s.f.body[:0], tag, 0, 0, 0, 0), nil
	list(&s.f)
	size := uint64(len(s.f.body) - frameSize)
	switch {
	case s.err != nil:
	case s.f.err != nil:
		s.err = fmt.Errorf("%s: %w", what, s.f.err)
	case size > math.MaxUint32:
		s.err = fmt.Errorf("%s takes %d bytes, more than a record does", what, size)
	}
	binary.LittleEndian.PutUint32(s.f.body[1:], uint32(size))
	s.write(s.f.body)
	s.records++
}

func (s *snapshotWriter) queues(ns *Namespace) {
	for q := range ns.queues.all() {
		s.record(tagQueue, "a queue", func(f *fields) { f.queue(q) })
		for n := q.messages.first; n != nil; n = n.next {
			m := n.value
			s.record(tagMessage, "a message", func(f *fields) { f.message(&m.typ, &m.text) })
		}
	}
}

func (s *snapshotWriter) sets(ns *Namespace) {
	for set := range ns.sets.all() {
		s.record(tagSet, "a set", func(f *fields) { f.set(set) })
		for i := range set.sems {
			s.record(tagSemaphore, "a semaphore", func(f *fields) { f.semaphore(&set.sems[i]) })
		}
	}
}

func (s *snapshotWriter) segments(ns *Namespace) {
	for segment := range ns.segments.all() {
		s.record(tagSegment, "a segment", func(f *fields) { f.segment(segment) })
		s.contents(segment)
	}
}

// contents writes the memory of a segment: all that is not zero.
func (s *snapshotWriter) contents(segment *segment) {
	if s.err != nil {
		return
	}
	memory, err := segment.memory.Map(true)
	if err != nil {
		s.err = fmt.Errorf("segment %d: cannot read its memory: %w", id(segment), err)
		return
	}
	for begin := 0; begin < len(memory); {
		end := begin
		for end < len(memory) && end-begin < maxRun && !isZero(memory[end:end+blockSize]) {
			end += blockSize
		}
		if end == begin {
			begin += blockSize
			continue
		}
		offset, contents := uint64(begin), memory[begin:end]
		s.record(tagBlocks, "memory", func(f *fields) { f.blocks(&offset, &contents) })
		begin = end
	}
	if err := segment.memory.Unmap(memory); err != nil && s.err == nil {
		s.err = fmt.Errorf("segment %d: %w", id(segment), err)
	}
}

var zeros [blockSize]byte

func isZero(block []byte) bool { return bytes.Equal(block, zeros[:]) }

func (s *snapshotWriter) mqueues(ns *Namespace) {
	for _, q := range ns.allMqueues() {
		name := []byte(q.name)
		s.record(tagMqueue, "a POSIX queue", func(f *fields) { f.mqueue(q, &name) })
		lanes := slices.SortedFunc(slices.Values(q.messages.heap), func(a, b *lane) int { return cmp.Compare(a.rank, b.rank) })
		for _, lane := range lanes {
			priority := uint(-lane.rank)
			for n := lane.messages.first; n != nil; n = n.next {
				s.record(tagMqMessage, "a message", func(f *fields) { f.mqMessage(&priority, &n.value.text) })
			}
		}
	}
}

// allMqueues returns the POSIX queues, in the order in which they were made:
// those with a name, and those that are still open.
func (ns *Namespace) allMqueues() []*mqueue {
	queues := make([]*mqueue, 0, ns.mqueues.count)
	for _, q := range ns.mqueues.byName {
		queues = append(queues, q)
	}
	for p := ns.processes.first; p != nil; p = p.next {
		for d := p.value.open.first; d != nil; d = d.next {
			if !d.value.queue.linked {
				queues = append(queues, d.value.queue)
			}
		}
	}
	slices.SortFunc(queues, func(a, b *mqueue) int { return cmp.Compare(a.inode, b.inode) })
	return slices.Compact(queues)
}

func (s *snapshotWriter) processes(ns *Namespace) {
	for n := ns.processes.first; n != nil; n = n.next {
		p := n.value
		s.record(tagProcess, "a process", func(f *fields) { f.process(&p.pid) })
		s.undos(p)
		for n := p.made.first; n != nil; n = n.next {
			id := id(n.value)
			s.record(tagCreated, "a segment of a process", func(f *fields) { f.created(&id) })
		}
		for _, a := range p.attached() {
			s.record(tagAttachment, "an attachment", func(f *fields) { f.attachment(&a) })
		}
		for n := p.open.first; n != nil; n = n.next {
			s.record(tagDescriptor, "a descriptor", func(f *fields) { f.descriptor(&n.value.queue.inode, n.value) })
		}
	}
}

func (s *snapshotWriter) undos(p *process) {
	var adjustments []byte
	for n := p.undos.first; n != nil; n = n.next {
		id := id(n.value.set)
		adjustments = adjustments[:0]
		for _, adjustment := range n.value.adjustments {
			adjustments = binary.LittleEndian.AppendUint16(adjustments, uint16(adjustment))
		}
		s.record(tagUndo, "an undo", func(f *fields) { f.undo(&id, &adjustments) })
	}
}

// An attachment is of one process, at no address in particular.
type attachment struct {
	id       int
	readOnly bool
}

func (a attachment) compare(b attachment) int {
	if a.id == b.id && a.readOnly != b.readOnly {
		if a.readOnly {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.id, b.id)
}

// attached returns the attachments of a process in an order that does not
// depend on addresses.
func (p *process) attached() []attachment {
	var attachments []attachment
	for _, a := range p.mapped {
		for i := range a.count {
			attachments = append(attachments, attachment{id(a.segment), i < a.readOnly})
		}
	}
	slices.SortFunc(attachments, attachment.compare)
	return attachments
}

// end writes the last record, and what is still in the buffer.
func (s *snapshotWriter) end() {
	frame := []byte{tagEnd, 2 * wordSize, 0, 0, 0}
	s.write(binary.LittleEndian.AppendUint64(frame, s.records))
	s.write(binary.LittleEndian.AppendUint64(nil, uint64(s.checksum)))
	if s.err == nil {
		s.err = s.w.Flush()
	}
}
