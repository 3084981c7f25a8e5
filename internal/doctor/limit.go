//go:build linux

package doctor

import (
	"fmt"
	"math"
	"os"

	"github.com/ipcns/ipcns/ipc"
)

// near reports whether nine tenths of a limit are used.
func near(used, limit uint64) bool { return used > 0 && float64(used) >= 0.9*float64(limit) }

// limits finds limits of the namespace that are reached, or nearly.
func (ns patient) limits() (findings []Finding) {
	c := ns.Contents
	if c.Limits == (ipc.Limits{}) {
		return nil // they are not known
	}
	var semaphores, pages uint64
	for _, set := range c.Sets {
		semaphores += set.Nsems
	}
	page := uint64(os.Getpagesize())
	for _, s := range c.Segments {
		pages += s.Segsz/page + min(s.Segsz%page, 1)
	}
	used := map[string]uint64{
		"msgmni": uint64(len(c.Queues)), "semmni": uint64(len(c.Sets)), "semmns": semaphores,
		"shmmni": uint64(len(c.Segments)), "shmall": pages, "queues_max": uint64(len(c.Mqueues)),
	}
	for _, limit := range ipc.AllLimits {
		n, most := used[limit.Name], *limit.Of(&c.Limits)
		if !near(n, most) {
			continue
		}
		severity := Warning
		if n >= most {
			severity = Error
		}
		findings = append(findings, Finding{NearLimit, severity, ns.reference, "",
			fmt.Sprintf("%d of %d are used of the limit %s, %s", n, most, limit.Name, limit.Bounds),
			fmt.Sprintf("ipcns limits %s %s=%d", Quoted(ns.reference), limit.Name, min(limit.Max, twice(n)))})
	}
	return findings
}

func twice(n uint64) uint64 {
	if n > math.MaxUint64/2 {
		return math.MaxUint64
	}
	return 2 * n
}
