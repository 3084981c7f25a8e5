package ipc

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"syscall"
)

// Limits are the limits of one namespace, as the files of
// /proc/sys/kernel and /proc/sys/fs/mqueue hold them; see
// sysvipc(7) and mq_overview(7).
type Limits struct {
	Msgmax uint64 // bytes in one message
	Msgmnb uint64 // bytes that a new queue takes
	Msgmni uint64 // queues

	Semmsl uint64 // semaphores in one set
	Semmns uint64 // semaphores in all sets
	Semopm uint64 // operations in one semop
	Semmni uint64 // semaphore sets

	Shmmax        uint64 // bytes in one segment
	Shmall        uint64 // pages in all segments
	Shmmni        uint64 // segments
	ShmRmidForced uint64 // 1: a segment without a mapping is destroyed

	QueuesMax      uint64 // POSIX queues
	MsgMax         uint64 // messages that an unprivileged user's POSIX queue takes
	MsgsizeMax     uint64 // bytes in one message of an unprivileged user's POSIX queue
	MsgDefault     uint64 // messages that a POSIX queue without attributes takes
	MsgsizeDefault uint64 // bytes in one message of a POSIX queue without attributes
}

// DefaultLimits returns the limits of a fresh namespace. They are compiled
// into the kernel and never inherited (SEMANTICS A.3).
func DefaultLimits() Limits {
	const unlimited = math.MaxUint64 - 1<<24
	return Limits{
		Msgmax: 8192, Msgmnb: 16384, Msgmni: 32000,
		Semmsl: 32000, Semmns: 1024000000, Semopm: 500, Semmni: 32000,
		Shmmax: unlimited, Shmall: unlimited, Shmmni: 4096,
		QueuesMax: 256, MsgMax: 10, MsgsizeMax: 8192, MsgDefault: 10, MsgsizeDefault: 8192,
	}
}

// A Limit describes one limit of a namespace: its name, what it bounds and
// the values that the kernel takes.
type Limit struct {
	Name     string
	Bounds   string
	Min, Max uint64
	of       func(*Limits) *uint64
}

// Of returns where l holds the limit.
func (limit Limit) Of(l *Limits) *uint64 { return limit.of(l) }

// AllLimits describes every limit, in the order of [Limits]. The ranges are
// those of SEMANTICS A.3; the kernel would take any int for semmsl, semmns,
// semopm and queues_max, but nothing works with a negative one.
var AllLimits = [...]Limit{
	{"msgmax", "bytes in one message", 0, math.MaxInt32, func(l *Limits) *uint64 { return &l.Msgmax }},
	{"msgmnb", "bytes that a new message queue takes", 0, math.MaxInt32, func(l *Limits) *uint64 { return &l.Msgmnb }},
	{"msgmni", "message queues", 0, 32768, func(l *Limits) *uint64 { return &l.Msgmni }},
	{"semmsl", "semaphores in one set", 0, math.MaxInt32, func(l *Limits) *uint64 { return &l.Semmsl }},
	{"semmns", "semaphores in all sets", 0, math.MaxInt32, func(l *Limits) *uint64 { return &l.Semmns }},
	{"semopm", "operations in one semop", 0, math.MaxInt32, func(l *Limits) *uint64 { return &l.Semopm }},
	{"semmni", "semaphore sets", 0, 32768, func(l *Limits) *uint64 { return &l.Semmni }},
	{"shmmax", "bytes in one segment", 0, math.MaxUint64, func(l *Limits) *uint64 { return &l.Shmmax }},
	{"shmall", "pages in all segments", 0, math.MaxUint64, func(l *Limits) *uint64 { return &l.Shmall }},
	{"shmmni", "segments", 0, 32768, func(l *Limits) *uint64 { return &l.Shmmni }},
	{"shm_rmid_forced", "1 destroys segments that nobody has attached", 0, 1, func(l *Limits) *uint64 { return &l.ShmRmidForced }},
	{"queues_max", "POSIX message queues", 0, math.MaxInt32, func(l *Limits) *uint64 { return &l.QueuesMax }},
	{"msg_max", "messages that a POSIX queue takes", 1, 65536, func(l *Limits) *uint64 { return &l.MsgMax }},
	{"msgsize_max", "bytes in one message of a POSIX queue", 128, 16777216, func(l *Limits) *uint64 { return &l.MsgsizeMax }},
	{"msg_default", "messages, for a POSIX queue without attributes", 1, 65536, func(l *Limits) *uint64 { return &l.MsgDefault }},
	{"msgsize_default", "bytes in one message of a POSIX queue without attributes", 128, 16777216, func(l *Limits) *uint64 { return &l.MsgsizeDefault }},
}

// LimitByName returns the limit of that name; the error lists the names.
func LimitByName(name string) (Limit, error) {
	var names []string
	for _, limit := range AllLimits {
		if limit.Name == name {
			return limit, nil
		}
		names = append(names, limit.Name)
	}
	return Limit{}, fmt.Errorf("unknown limit %q; the limits are %s", name, strings.Join(names, ", "))
}

// A LimitSetting is a limit and the value that it is to have.
type LimitSetting struct {
	Limit
	Value uint64
}

// Failure returns what it means that the kernel has refused the setting.
func (s LimitSetting) Failure(err error) error {
	switch {
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ERANGE):
		return fmt.Errorf("cannot set %s to %d: it takes %d to %d (%s)", s.Name, s.Value, s.Min, s.Max, s.Bounds)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("cannot set %s: this kernel has no such limit; leave it out", s.Name)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("cannot set %s to %d: it takes uid 0 of the user namespace that owns the IPC namespace; do it as who made that", s.Name, s.Value)
	}
	return fmt.Errorf("cannot set %s to %d: %w", s.Name, s.Value, err)
}

// ParseLimits reads settings such as "msgmnb=65536,shmmax=1g". A value may
// end in k, m or g for units of 2^10, 2^20 and 2^30. Whether the value is in
// the limit's range is left to the kernel, which knows.
func ParseLimits(text string) ([]LimitSetting, error) {
	var settings []LimitSetting
	for item := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(item, "=")
		limit, err := LimitByName(name)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("limit %s has no value; write %s=NUMBER", name, name)
		}
		n, err := ParseSize(value)
		if err != nil {
			return nil, fmt.Errorf("limit %s: %w", name, err)
		}
		settings = append(settings, LimitSetting{limit, n})
	}
	return settings, nil
}

// ParseSize reads a number that may end in k, m or g for units of 2^10, 2^20
// and 2^30.
func ParseSize(text string) (uint64, error) {
	digits := strings.TrimRight(text, "kKmMgG")
	unit := uint64(1)
	switch strings.ToLower(text[len(digits):]) {
	case "":
	case "k":
		unit = 1 << 10
	case "m":
		unit = 1 << 20
	case "g":
		unit = 1 << 30
	default:
		return 0, fmt.Errorf("%q is not a number; sizes end in k, m or g", text)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is more than 64 bits hold", text)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a number; sizes end in k, m or g", text)
	}
	high, size := bits.Mul64(n, unit)
	if high != 0 {
		return 0, fmt.Errorf("%s is more than 64 bits hold", text)
	}
	return size, nil
}
