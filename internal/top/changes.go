//go:build linux

package top

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/survey"
)

// The kernel counts neither messages nor operations. What it tells of an object
// is compared with what it told before: how much there is, and when something was
// last done, in whole seconds.

// apart is how long two looks are apart at least, to be compared: a message between
// two that follow a key would be many a second.
const apart = 400 * time.Millisecond

// looksKept is for how many looks it is remembered whether an object was used.
const looksKept = 10

// A history is what successive looks have seen of the namespaces, by their keys.
type history map[string]*past

// A past is what was seen of one namespace.
type past struct {
	id       *uint64        // the kernel's, since another may come to its key
	contents *host.Contents // of the last look at it that was compared
	taken    time.Time
	queued   int64
	rate     *float64 // messages a second, nil before the second look
	used     *int     // objects that were used between the last two looks
	objects  map[string]*track
}

// A track is what was seen of one object.
type track struct {
	trace trace
	rate  *float64 // of its level, nil before the second look
	used  uint16   // a bit for each comparison, the last is the lowest
	looks int      // comparisons, up to looksKept
}

// A trace is what changes when an object is used.
type trace struct {
	level  *int64   // messages in a queue, or the sum of a set's values; nil if it is not known
	facts  [5]int64 // times, sizes and processes
	values string   // of semaphores, and who waits, if they were read
}

// differs reports whether the object was used between two traces.
func (t trace) differs(before trace) bool {
	change := t.change(before)
	return change != nil && *change != 0 || t.facts != before.facts || t.values != "" && before.values != "" && t.values != before.values
}

// change is that of the level, nil if it is not known.
func (t trace) change(before trace) *int64 {
	if t.level == nil || before.level == nil {
		return nil
	}
	change := *t.level - *before.level
	return &change
}

// add takes a look into the history. Namespaces that are gone are forgotten; one
// that was not looked into stays as it was.
func (h history) add(s *survey.Survey) {
	there := map[string]bool{}
	for _, ns := range s.Namespaces {
		key := keyOf(ns)
		there[key] = true
		if ns.Contents == nil {
			continue
		}
		before := h[key]
		if before == nil || differ(before.id, ns.ID) {
			h[key] = firstLook(ns, s.Taken)
		} else if before.contents != ns.Contents && s.Taken.Sub(before.taken) >= apart {
			h[key] = before.next(ns.Contents, s.Taken)
		}
	}
	for key := range h {
		if !there[key] {
			delete(h, key)
		}
	}
}

// differ reports whether two of the kernel's ids, as far as they are known, are of
// different namespaces.
func differ(a, b *uint64) bool { return a != nil && b != nil && *a != *b }

func firstLook(ns *survey.Namespace, taken time.Time) *past {
	c := ns.Contents
	p := &past{id: ns.ID, contents: c, taken: taken, queued: queuedIn(c), objects: map[string]*track{}}
	for key, t := range tracesOf(c) {
		p.objects[key] = &track{trace: t}
	}
	return p
}

// next compares a look with the one before.
func (p *past) next(c *host.Contents, taken time.Time) *past {
	seconds := taken.Sub(p.taken).Seconds()
	now := &past{id: p.id, contents: c, taken: taken, queued: queuedIn(c), objects: map[string]*track{}, used: new(int)}
	queued := now.queued - p.queued
	now.rate = rate(&queued, seconds)
	for key, t := range tracesOf(c) {
		before := p.objects[key]
		if before == nil {
			now.objects[key] = &track{trace: t}
			continue
		}
		used := before.used << 1
		if t.differs(before.trace) {
			used |= 1
			*now.used++
		}
		now.objects[key] = &track{t, rate(t.change(before.trace), seconds), used & (1<<looksKept - 1), min(before.looks+1, looksKept)}
	}
	return now
}

func rate(change *int64, seconds float64) *float64 {
	if change == nil {
		return nil
	}
	r := float64(*change) / seconds
	return &r
}

// activity says in how many of the last looks the object had been used.
func (t *track) activity() cell {
	if t.looks == 0 {
		return unknown
	}
	n := bits.OnesCount16(t.used)
	return cell{text: fmt.Sprintf("%d/%d", n, t.looks), order: float64(n) / float64(t.looks)}
}

// queuedIn is the number of messages in all queues, of both kinds.
func queuedIn(c *host.Contents) (messages int64) {
	for _, q := range c.Queues {
		messages += int64(q.Qnum)
	}
	for _, q := range c.Mqueues {
		messages += q.Attr.Curmsgs
	}
	return messages
}

// tracesOf returns the traces of all objects by their keys.
func tracesOf(c *host.Contents) map[string]trace {
	traces := make(map[string]trace, len(c.Queues)+len(c.Sets)+len(c.Segments)+len(c.Mqueues))
	for _, q := range c.Queues {
		messages := int64(q.Qnum)
		traces[queueKey(q.ID)] = trace{level: &messages, facts: [...]int64{q.Stime, q.Rtime, int64(q.Cbytes), int64(q.Lspid), int64(q.Lrpid)}}
	}
	for _, s := range c.Sets {
		t := trace{facts: [...]int64{s.Otime, s.Ctime, 0, 0, 0}}
		if values, read := c.Values[s.ID]; read {
			t.level, t.values = sumOf(values), fmt.Sprint(values)
		}
		traces[setKey(s.ID)] = t
	}
	for _, s := range c.Segments {
		traces[segmentKey(s.ID)] = trace{facts: [...]int64{s.Atime, s.Dtime, int64(s.Lpid), int64(s.Nattch), 0}}
	}
	for _, q := range c.Mqueues {
		t := trace{}
		if !q.Unreadable {
			t.level = &q.Attr.Curmsgs
		}
		traces[mqueueKey(q.Name)] = t
	}
	return traces
}

func sumOf(values []host.Semaphore) *int64 {
	var sum int64
	for _, semaphore := range values {
		sum += int64(semaphore.Value)
	}
	return &sum
}

// The keys of objects are what they are called elsewhere on the command line.
func queueKey(id int) string       { return fmt.Sprintf("queue:%d", id) }
func setKey(id int) string         { return fmt.Sprintf("sem:%d", id) }
func segmentKey(id int) string     { return fmt.Sprintf("shm:%d", id) }
func mqueueKey(name string) string { return "mq:" + name }
