//go:build linux

package listing

import (
	"fmt"
	"math"
	"os"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
)

var segments = objects[host.Segment]{
	plural: "shared memory segments", singular: "shared memory segment",
	read: func(system ipc.System) ([]host.Segment, error) { return host.Segments(system) },
	head: func(s *host.Segment) (int, *ipc.Perm) { return s.ID, &s.Perm },
}

var segmentKind = kind{
	text: map[View]func(*page) error{
		Status: table("Shared Memory Segments",
			"key        shmid      owner      perms      bytes      nattch     status      ",
			segments.list, func(r *row, s *host.Segment) {
				r.key(s.Perm.Key)
				r.int(10, int64(s.ID))
				r.owner(s.Perm.UID)
				r.mode(s.Perm.Mode & 0o777)
				r.uint(10, s.Segsz)
				r.uint(10, s.Nattch)
				for _, status := range segmentStatus {
					r.string(6, status.of(s))
				}
			}),
		Times: table("Shared Memory Attach/Detach/Change Times",
			"shmid      owner      attached             detached             changed             ",
			segments.list, func(r *row, s *host.Segment) {
				r.int(10, int64(s.ID))
				r.owner(s.Perm.UID)
				r.time(20, time.Stamp, s.Atime)
				r.time(20, time.Stamp, s.Dtime)
				r.time(20, time.Stamp, s.Ctime)
			}),
		PIDs: table("Shared Memory Creator/Last-op PIDs",
			"shmid      owner      cpid       lpid      ",
			segments.list, func(r *row, s *host.Segment) {
				r.int(10, int64(s.ID))
				r.owner(s.Perm.UID)
				r.int(10, int64(s.Cpid))
				r.int(10, int64(s.Lpid))
			}),
		Creators: table("Shared Memory Segment Creators/Owners",
			"shmid      perms      cuid       cgid       uid        gid       ",
			segments.list, func(r *row, s *host.Segment) { r.creators(s.ID, &s.Perm) }),
		Limits:  segmentLimits,
		Summary: segmentsStatus,
	},
	list: func(to *document, from *source) error {
		return listFacts(&to.Segments, from, segments.list, segmentFactsOf)
	},
	sum: func(to *summary, from *source) error {
		info, err := segmentInfo(from.System)
		to.Segments = (*segmentSummary)(&info)
		return err
	},
	describe: describeSegment,
	facts:    factsOfOne(segments.find, segmentFactsOf),
}

// A statusBit is a bit of a segment's mode and its name.
type statusBit struct {
	bit  uint32
	name string
}

var segmentStatus = [...]statusBit{{ipc.ShmDest, "dest"}, {ipc.ShmLocked, "locked"}}

// of returns the name if the segment has the bit.
func (b statusBit) of(s *host.Segment) string {
	if s.Perm.Mode&b.bit == 0 {
		return ""
	}
	return b.name
}

func segmentLimits(p *page) error {
	// Of more pages than have a number of kilobytes in 64 bits, ipcs shows
	// the highest number of whole pages that does.
	pageKB := uint64(os.Getpagesize()) / 1024
	total := min(p.limits.Shmall, math.MaxUint64/pageKB) * pageKB
	p.heading("Shared Memory Limits")
	fmt.Fprintf(p, "max number of segments = %d\n", p.limits.Shmmni)
	fmt.Fprintf(p, "max seg size (kbytes) = %d\n", p.limits.Shmmax/1024)
	fmt.Fprintf(p, "max total shared memory (kbytes) = %d\n", total)
	fmt.Fprintf(p, "min seg size (bytes) = 1\n")
	return nil
}

func segmentInfo(system ipc.System) (ipc.ShmInfo, error) {
	info, _, err := system.ShmInfo()
	if err != nil {
		return info, fmt.Errorf("cannot count shared memory segments: %w", err)
	}
	return info, nil
}

func segmentsStatus(p *page) error {
	info, err := segmentInfo(p.System)
	if err != nil {
		return err
	}
	p.heading("Shared Memory Status")
	fmt.Fprintf(p, "segments allocated %d\n", info.Segments)
	fmt.Fprintf(p, "pages allocated %d\npages resident  %d\npages swapped   %d\n", info.Pages, info.Resident, info.Swapped)
	fmt.Fprintf(p, "Swap performance: %d attempts\t %d successes\n", info.SwapAttempts, info.SwapSuccesses)
	return nil
}

func describeSegment(p *page, id int) error {
	s, err := segments.find(&p.source, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(p, "\nShared memory Segment shmid=%d\n", s.ID)
	fmt.Fprintf(p, "uid=%d\tgid=%d\tcuid=%d\tcgid=%d\n", s.Perm.UID, s.Perm.GID, s.Perm.CUID, s.Perm.CGID)
	fmt.Fprintf(p, "mode=%#o\taccess_perms=%#o\n", s.Perm.Mode, s.Perm.Mode&0o777)
	fmt.Fprintf(p, "bytes=%d\tlpid=%d\tcpid=%d\tnattch=%d\n", s.Segsz, s.Lpid, s.Cpid, s.Nattch)
	fmt.Fprintf(p, "att_time=%s\ndet_time=%s\nchange_time=%s\n\n", fullTime(s.Atime), fullTime(s.Dtime), fullTime(s.Ctime))
	return nil
}
