//go:build linux

package listing

import (
	"fmt"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
)

var semaphoreSets = objects[host.SemaphoreSet]{
	plural: "semaphore sets", singular: "semaphore set",
	read: func(system ipc.System) ([]host.SemaphoreSet, error) { return host.SemaphoreSets(system) },
	head: func(s *host.SemaphoreSet) (int, *ipc.Perm) { return s.ID, &s.Perm },
}

var semaphoreSetKind = kind{
	text: map[View]func(*page) error{
		Status: table("Semaphore Arrays",
			"key        semid      owner      perms      nsems     ",
			semaphoreSets.list, func(r *row, s *host.SemaphoreSet) {
				r.key(s.Perm.Key)
				r.int(10, int64(s.ID))
				r.owner(s.Perm.UID)
				r.mode(s.Perm.Mode & 0o777)
				r.uint(10, s.Nsems)
			}),
		Times: table("Semaphore Operation/Change Times",
			"semid    owner      last-op                    last-changed              ",
			semaphoreSets.list, func(r *row, s *host.SemaphoreSet) {
				r.int(8, int64(s.ID))
				r.owner(s.Perm.UID)
				r.string(0, "")
				r.time(26, time.ANSIC, s.Otime)
				r.time(26, time.ANSIC, s.Ctime)
			}),
		PIDs: func(p *page) error { return p.WriteByte('\n') },
		Creators: table("Semaphore Arrays Creators/Owners",
			"semid      perms      cuid       cgid       uid        gid       ",
			semaphoreSets.list, func(r *row, s *host.SemaphoreSet) { r.creators(s.ID, &s.Perm) }),
		Limits:  semaphoreLimits,
		Summary: semaphoreStatus,
	},
	list: func(to *document, from *source) error {
		return listFacts(&to.SemaphoreSets, from, semaphoreSets.list, semaphoreSetFactsOf)
	},
	sum: func(to *summary, from *source) error {
		info, err := semaphoreInfo(from.System)
		to.SemaphoreSets = (*semaphoreSummary)(&info)
		return err
	},
	describe: describeSemaphoreSet,
	facts: func(from *source, id int) (any, error) {
		set, sems, err := semaphoreSet(from, id)
		if err != nil {
			return nil, err
		}
		facts := semaphoreSetFactsOf(from, set)
		facts.Semaphores = semaphoreFactsOf(sems)
		return facts, nil
	},
}

// semaphoreSet returns a set and its semaphores.
func semaphoreSet(from *source, id int) (*host.SemaphoreSet, []host.Semaphore, error) {
	set, err := semaphoreSets.find(from, id)
	if err != nil {
		return nil, nil, err
	}
	sems, err := host.Semaphores(from, id, int(set.Nsems))
	if err != nil {
		return nil, nil, err
	}
	return set, sems, nil
}

func semaphoreLimits(p *page) error {
	p.heading("Semaphore Limits")
	fmt.Fprintf(p, "max number of arrays = %d\n", p.limits.Semmni)
	fmt.Fprintf(p, "max semaphores per array = %d\n", int64(p.limits.Semmsl))
	fmt.Fprintf(p, "max semaphores system wide = %d\n", int64(p.limits.Semmns))
	fmt.Fprintf(p, "max ops per semop call = %d\n", int64(p.limits.Semopm))
	fmt.Fprintf(p, "semaphore max value = 32767\n")
	return nil
}

func semaphoreInfo(system ipc.System) (ipc.SemInfo, error) {
	info, _, err := system.SemInfo()
	if err != nil {
		return info, fmt.Errorf("cannot count semaphore sets: %w", err)
	}
	return info, nil
}

func semaphoreStatus(p *page) error {
	info, err := semaphoreInfo(p.System)
	if err != nil {
		return err
	}
	p.heading("Semaphore Status")
	fmt.Fprintf(p, "used arrays = %d\nallocated semaphores = %d\n", info.Sets, info.Semaphores)
	return nil
}

func describeSemaphoreSet(p *page, id int) error {
	s, sems, err := semaphoreSet(&p.source, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(p, "\nSemaphore Array semid=%d\n", s.ID)
	fmt.Fprintf(p, "uid=%d\t gid=%d\t cuid=%d\t cgid=%d\n", s.Perm.UID, s.Perm.GID, s.Perm.CUID, s.Perm.CGID)
	fmt.Fprintf(p, "mode=%#o, access_perms=%#o\n", s.Perm.Mode, s.Perm.Mode&0o777)
	fmt.Fprintf(p, "nsems = %d\notime = %s\nctime = %s\n", s.Nsems, fullTime(s.Otime), fullTime(s.Ctime))
	fmt.Fprintln(p, "semnum     value      ncount     zcount     pid       ")
	var r row
	for num, sem := range sems {
		for _, cell := range [...]int{num, sem.Value, sem.Ncnt, sem.Zcnt, int(sem.PID)} {
			r.int(10, int64(cell))
		}
		r.end(p)
	}
	return p.WriteByte('\n')
}
