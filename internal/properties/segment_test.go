package properties

import (
	"bytes"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"pgregory.net/rapid"
)

// A segment is the model of a segment, and what there is of it.
type segment struct {
	id          int
	key         ipc.Key
	size        int
	mode        uint32
	contents    []byte // whole pages
	attachments []attachment
	attaches    int
	detaches    int
}

type attachment struct {
	memory   []byte
	readOnly bool
}

// segments is the model of all segments of a namespace.
type segments struct {
	list []*segment
}

func (m *segments) remove(s *segment) {
	m.list = slices.DeleteFunc(m.list, func(other *segment) bool { return other == s })
}

func (m *segments) pages() (n int) {
	for _, s := range m.list {
		n += len(s.contents) / page
	}
	return n
}

// draw returns one of the segments for which a condition is true.
func (m *segments) draw(t *rapid.T, condition func(*segment) bool) *segment {
	var fit []*segment
	for _, s := range m.list {
		if condition(s) {
			fit = append(fit, s)
		}
	}
	if len(fit) == 0 {
		t.Skip("there is no such segment")
	}
	return fit[rapid.IntRange(0, len(fit)-1).Draw(t, "segment")]
}

var page = os.Getpagesize()

func TestSegment(t *testing.T) { check(t, segmentActions) }

func segmentActions(t *rapid.T, s process) {
	var model segments
	var key ipc.Key
	any := func(*segment) bool { return true }
	attached := func(s *segment) bool { return len(s.attachments) > 0 }
	defer func() {
		for _, segment := range model.list {
			for _, a := range segment.attachments {
				s.Shmdt(a.memory)
			}
		}
	}()
	t.Repeat(map[string]func(*rapid.T){
		// Its name is the first: rapid prefers it, and without a segment the
		// others have to be drawn again.
		"add": func(t *rapid.T) {
			size := rapid.IntRange(1, 3*page).Draw(t, "size")
			key++
			id, err := s.Shmget(key, uint64(size), ipc.Creat|0o600)
			must(t, err)
			contents := make([]byte, (size+page-1)/page*page)
			model.list = append(model.list, &segment{id: id, key: key, size: size, mode: 0o600, contents: contents})
		},
		"attach": func(t *rapid.T) {
			segment := model.draw(t, any)
			readOnly := rapid.Bool().Draw(t, "read-only")
			flags := 0
			if readOnly {
				flags = ipc.ShmRdonly
			}
			memory, err := s.Shmat(segment.id, 0, flags)
			must(t, err)
			segment.attachments = append(segment.attachments, attachment{memory, readOnly})
			segment.attaches++
		},
		"detach": func(t *rapid.T) {
			segment := model.draw(t, attached)
			i := rapid.IntRange(0, len(segment.attachments)-1).Draw(t, "attachment")
			must(t, s.Shmdt(segment.attachments[i].memory))
			wantErrno(t, s.Shmdt(segment.attachments[i].memory), syscall.EINVAL)
			segment.attachments = slices.Delete(segment.attachments, i, i+1)
			if segment.detaches++; segment.mode&ipc.ShmDest != 0 && !attached(segment) {
				model.remove(segment)
				_, err := s.ShmctlStat(segment.id)
				wantErrno(t, err, syscall.EINVAL)
			}
		},
		"write": func(t *rapid.T) {
			segment := model.draw(t, func(s *segment) bool {
				return slices.ContainsFunc(s.attachments, func(a attachment) bool { return !a.readOnly })
			})
			data := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "data")
			at := rapid.IntRange(0, len(segment.contents)-len(data)).Draw(t, "at")
			copy(segment.contents[at:], data)
			for _, a := range segment.attachments {
				if !a.readOnly {
					copy(a.memory[at:], data)
					break
				}
			}
		},
		"remove": func(t *rapid.T) {
			segment := model.draw(t, any)
			must(t, s.ShmctlRmid(segment.id))
			if !attached(segment) {
				model.remove(segment)
				_, err := s.ShmctlStat(segment.id)
				wantErrno(t, err, syscall.EINVAL)
				return
			}
			segment.key = ipc.Private
			segment.mode |= ipc.ShmDest
		},
		"change": func(t *rapid.T) {
			segment := model.draw(t, any)
			bits := rapid.Uint32Range(0, 0o777).Draw(t, "mode")
			must(t, s.ShmctlSet(segment.id, ipc.PermSet{Mode: bits}))
			segment.mode = segment.mode&^0o777 | bits
		},
		"lock": func(t *rapid.T) {
			segment := model.draw(t, any)
			must(t, s.ShmctlLock(segment.id))
			segment.mode |= ipc.ShmLocked
		},
		"unlock": func(t *rapid.T) {
			segment := model.draw(t, any)
			must(t, s.ShmctlUnlock(segment.id))
			segment.mode &^= ipc.ShmLocked
		},
		"": func(t *rapid.T) {
			for _, segment := range model.list {
				equalSegment(t, s, segment)
			}
			info, _, err := s.ShmInfo()
			must(t, err)
			equal(t, "the number of segments", info.Segments, len(model.list))
			equal(t, "the number of pages", int(info.Pages), model.pages())
		},
	})
}

// equalSegment checks what can be seen of a segment, also in the memory.
func equalSegment(t *rapid.T, s ipc.System, want *segment) {
	t.Helper()
	ds, err := s.ShmctlStat(want.id)
	must(t, err)
	equal(t, "segsz", int(ds.Segsz), want.size)
	equal(t, "nattch", int(ds.Nattch), len(want.attachments))
	equal(t, "key", ds.Perm.Key, want.key)
	equal(t, "mode", ds.Perm.Mode, want.mode)
	equal(t, "whether atime is set", ds.Atime != 0, want.attaches > 0)
	equal(t, "whether dtime is set", ds.Dtime != 0, want.detaches > 0)
	equal(t, "whether lpid is set", ds.Lpid != 0, want.attaches > 0)
	equal(t, "whether cpid is set", ds.Cpid != 0, true)
	for _, a := range want.attachments {
		if !bytes.Equal(a.memory, want.contents) {
			t.Fatalf("the memory of segment %d differs from what was written", want.id)
		}
	}
}
