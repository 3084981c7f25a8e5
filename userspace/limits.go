package userspace

import (
	"math"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// Limits returns the limits of the namespace.
func (t *Task) Limits() (ipc.Limits, error) {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	return t.ns.limits, nil
}

// unchecked are the limits that are an int in the kernel, any int
// (SEMANTICS A.3).
var unchecked = map[string]bool{"semmsl": true, "semmns": true, "semopm": true, "queues_max": true}

// SetLimit writes a limit as root does: to the files of /proc/sys, if there
// were any. A negative value is kept as its two's complement. EINVAL, for
// semmni ERANGE: the value is out of range; ENOENT: there is no such limit.
func (ns *Namespace) SetLimit(name string, value int64) error {
	if name == "auto_msgmni" { // which does nothing
		if value != 0 && value != 1 {
			return failed("sysctl "+name, syscall.EINVAL)
		}
		return nil
	}
	limit, err := ipc.LimitByName(name)
	if err != nil {
		return failed("sysctl "+name, syscall.ENOENT)
	}
	inRange := value >= 0 && uint64(value) >= limit.Min && uint64(value) <= limit.Max
	if unchecked[name] {
		inRange = value >= math.MinInt32 && value <= math.MaxInt32
	}
	if !inRange {
		if name == "semmni" && value >= math.MinInt32 && value <= math.MaxInt32 {
			return failed("sysctl "+name, syscall.ERANGE)
		}
		return failed("sysctl "+name, syscall.EINVAL)
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	*limit.Of(&ns.limits) = uint64(value)
	if ns.limits.ShmRmidForced != 0 {
		ns.destroyOrphans()
	}
	return nil
}

// destroyOrphans destroys the segments that have neither creator nor
// attachment (SEMANTICS A.6.6).
func (ns *Namespace) destroyOrphans() {
	for index := range ns.segments.at {
		if s := ns.segments.atIndex(index); s != nil && s.made.in == nil {
			s.destroyIfUnattached()
		}
	}
}

// NextID returns msg_next_id, sem_next_id or shm_next_id, for kind msg, sem or
// shm: the id that the next object is to have, -1 if it is not chosen.
func (ns *Namespace) NextID(kind string) (int, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	next := ns.nextID(kind)
	if next == nil {
		return 0, failed(kind+"_next_id", syscall.ENOENT)
	}
	return *next, nil
}

// SetNextID chooses the id of the next object (SEMANTICS A.1.10). EINVAL: it is
// not 0 to 2147483647.
func (ns *Namespace) SetNextID(kind string, id int) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	next := ns.nextID(kind)
	if next == nil {
		return failed(kind+"_next_id", syscall.ENOENT)
	}
	if id < 0 || id > maxInt32 {
		return failed(kind+"_next_id", syscall.EINVAL)
	}
	*next = id
	return nil
}

func (ns *Namespace) nextID(kind string) *int {
	switch kind {
	case "msg":
		return &ns.queues.nextID
	case "sem":
		return &ns.sets.nextID
	case "shm":
		return &ns.segments.nextID
	}
	return nil
}
