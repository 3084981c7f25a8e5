//go:build linux

package host

import (
	"cmp"
	"os"
	"slices"

	"github.com/ipcns/ipcns/ipc"
)

// The kernel tells which processes have attached the same segment, and nowhere in
// /proc of which namespace that is. All that is known of it is compared with what
// is known of the segments that have its id there, and the likeliest is taken:
// but not if there are two of them.

// A placing is a segment that processes have attached, of a namespace that is to
// be found.
type placing struct {
	file       segmentFile
	by         []*used
	attached   []*Attachment // its entry in each of those
	mappings   int
	placed     bool // or of no namespace that could be told
	namespaces []uint64
}

// A site is a segment of a namespace, of which attachments may be.
type site struct {
	namespace uint64
	segment   *Segment
	taken     bool
}

// placeSegments fills in the namespaces of what processes have attached.
func placeSegments(all []*used, within []Within) {
	placings := placingsOf(all)
	if len(placings) == 0 {
		return
	}
	sites := newSites(within)
	place(placings, sites.near)
	place(placings, sites.all)
}

func placingsOf(all []*used) []*placing {
	byFile := map[segmentFile]*placing{}
	var placings []*placing
	for _, p := range all {
		for i, file := range p.files {
			s := byFile[file]
			if s == nil {
				s = &placing{file: file}
				byFile[file] = s
				placings = append(placings, s)
			}
			s.by = append(s.by, p)
			s.attached = append(s.attached, &p.Attached[i])
			s.mappings += p.Attached[i].Mappings
			for _, inode := range p.Namespaces {
				if !slices.Contains(s.namespaces, inode) {
					s.namespaces = append(s.namespaces, inode)
				}
			}
		}
	}
	return placings
}

// A siteMap is the sites by their ids, and by what leads to one.
type siteMap struct {
	byID map[int][]*site
	in   map[siteKey]*site
	by   map[siteUser][]*site
}

type siteKey struct {
	namespace uint64
	id        int
}

type siteUser struct{ pid, id int }

// newSites returns the segments that somebody has attached.
func newSites(within []Within) siteMap {
	m := siteMap{map[int][]*site{}, map[siteKey]*site{}, map[siteUser][]*site{}}
	for _, w := range within {
		if w.Contents == nil {
			continue
		}
		for i := range w.Contents.Segments {
			segment := &w.Contents.Segments[i]
			if segment.Nattch == 0 {
				continue
			}
			s := &site{namespace: w.Namespace, segment: segment}
			m.byID[segment.ID] = append(m.byID[segment.ID], s)
			m.in[siteKey{w.Namespace, segment.ID}] = s
			user := siteUser{int(segment.Lpid), segment.ID}
			m.by[user] = append(m.by[user], s)
		}
	}
	return m
}

// near returns the sites in the namespaces that the processes are in, and those
// that one of them was the last to attach or detach.
func (m siteMap) near(s *placing) (sites []*site) {
	for _, inode := range s.namespaces {
		if at := m.in[siteKey{inode, s.file.id}]; at != nil {
			sites = append(sites, at)
		}
	}
	for _, p := range s.by {
		for _, at := range m.by[siteUser{p.PID, s.file.id}] {
			if !slices.Contains(sites, at) {
				sites = append(sites, at)
			}
		}
	}
	return sites
}

// all returns the sites in all namespaces.
func (m siteMap) all(s *placing) []*site { return m.byID[s.file.id] }

// A match is a segment that may be that of a site, the likelier the more speaks
// for it.
type match struct {
	segment *placing
	at      *site
	weight  int
}

// place finds the namespaces of those segments for which there is one likeliest
// site, which is not as likely for another segment.
func place(placings []*placing, sites func(*placing) []*site) {
	var matches []match
	for _, s := range placings {
		if s.placed {
			continue
		}
		for _, at := range sites(s) {
			if weight := s.weight(at); !at.taken && weight >= s.enough() {
				matches = append(matches, match{s, at, weight})
			}
		}
	}
	slices.SortStableFunc(matches, func(a, b match) int { return cmp.Compare(b.weight, a.weight) })
	for len(matches) > 0 {
		n := 1
		for n < len(matches) && matches[n].weight == matches[0].weight {
			n++
		}
		placeEqual(matches[:n])
		matches = slices.DeleteFunc(matches[n:], func(m match) bool { return m.segment.placed || m.at.taken })
	}
}

// placeEqual places the segments of equally likely matches that there is one of.
// Nothing less likely is taken for the others.
func placeEqual(matches []match) {
	segments, sites := map[*placing]int{}, map[*site]int{}
	for _, m := range matches {
		segments[m.segment]++
		sites[m.at]++
	}
	for _, m := range matches {
		if segments[m.segment] == 1 && sites[m.at] == 1 {
			for _, a := range m.segment.attached {
				a.Namespace = m.at.namespace
			}
		}
		m.segment.placed, m.at.taken = true, true
	}
}

// enough is what speaks for a site that is good enough. A file says so much that
// more than one thing has to.
func (s *placing) enough() int {
	if s.file.handle == "" {
		return isInside
	}
	return isInside + 1
}

// What speaks for a site.
const (
	isInside = 3 // a process that has attached it is in the namespace
	isLast   = 3 // or was the last to attach or detach
	isTime   = 3 // it was made when it was last changed, which IPC_SET does
	isCount  = 2 // it is attached as often
	isMaker  = 1 // a process that has attached it has made it
)

// weight returns how likely the segment is that of the site, 0 if it is not.
func (s *placing) weight(at *site) (weight int) {
	segment := at.segment
	if !s.mayBe(segment) {
		return 0
	}
	if slices.Contains(s.namespaces, at.namespace) {
		weight += isInside
	}
	if segment.Nattch == uint64(s.mappings) {
		weight += isCount
	}
	if s.file.handle != "" && segment.Ctime-s.file.born <= 1 {
		weight += isTime
	}
	if s.isBy(segment.Lpid) {
		weight += isLast
	}
	if s.isBy(segment.Cpid) {
		weight += isMaker
	}
	return weight
}

// mayBe reports whether nothing speaks against the site. The file of a segment has
// its first key, which it loses when it is marked for removal, and a size that
// never changes.
func (s *placing) mayBe(segment *Segment) bool {
	if segment.Perm.Key != s.file.key && segment.Perm.Key != ipc.Private {
		return false
	}
	if s.file.handle == "" {
		page := uint64(os.Getpagesize())
		most := (segment.Segsz + page - 1) / page * page // of one mapping
		return !slices.ContainsFunc(s.attached, func(a *Attachment) bool { return a.Bytes > uint64(a.Mappings)*most })
	}
	return segment.Segsz == s.file.bytes && segment.Ctime >= s.file.born
}

func (s *placing) isBy(pid int32) bool {
	return slices.ContainsFunc(s.by, func(p *used) bool { return p.PID == int(pid) })
}
