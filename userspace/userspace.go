// Package userspace is [ipc.System] in Go: an IPC namespace without a kernel
// that has one, on every operating system. It makes no system call, but for the
// memory of segments where that is to be shared with other processes.
//
// It is a state machine. An operation never blocks: one that cannot finish is
// parked, and offered its outcome exactly once, by whoever makes that possible:
// a sender, a removal, a timeout. The methods of [ipc.System] that sleep are a
// thin use of that: a goroutine that waits for the offer, and declines it when
// its context has ended.
//
//	ns := userspace.New(userspace.Options{})
//	system := ns.Start(userspace.User(1000, 1000))
//	id, err := system.Msgget(0x2a, ipc.Creat|0o600)
package userspace

import (
	"sync"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// Options are what a namespace is made of. The zero value is of use.
type Options struct {
	Clock    Clock       // the machine's, if nil
	Memory   Memory      // of segments; [Anonymous], if nil
	Limits   *ipc.Limits // [ipc.DefaultLimits], if nil
	Observer Observer    // sees every operation; none, if nil

	// RestoreLimit is how many bytes the segments of a snapshot may have
	// together, whose zeros take no room in it; [DefaultRestoreLimit], if 0.
	RestoreLimit uint64
}

// DefaultRestoreLimit is a gigabyte.
const DefaultRestoreLimit = 1 << 30

// A Clock tells the time, and when some has passed.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f on a goroutine of its own when d has passed, unless
	// stop is called before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

type machineClock struct{}

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}

// A Namespace is an IPC namespace. It shares nothing with another but what its
// [Options] share: what the kernel counts of a user in all namespaces, such as
// the bytes of POSIX queues, is counted in each. Its methods, and those of its tasks, may be called from any
// goroutine.
type Namespace struct {
	clock    Clock
	memory   Memory
	observer Observer

	mu       sync.Mutex // of all that follows, and of its processes
	limits   ipc.Limits
	second   int64 // of the clock, while ticking
	ticking  bool
	arrivals uint64 // of calls that have been parked
	nextPID  int

	processes list[*process] // by pid
	restored  map[int]*Task  // that nobody has taken up again

	queues   table[*queue]
	sets     table[*set]
	segments table[*segment]
	mqueues  mqueues

	semaphores int               // in all sets
	pages      uint64            // of all segments
	locked     map[uint32]uint64 // pages of segments that a user has locked

	freeMessages  *message
	kept          int // of them
	freeReceivers *receiver
}

// New makes a namespace: empty, with limits as those of the kernel.
func New(options Options) *Namespace {
	ns := &Namespace{clock: options.Clock, memory: options.Memory, observer: options.Observer, limits: ipc.DefaultLimits(), locked: map[uint32]uint64{}, nextPID: 1, restored: map[int]*Task{}}
	if ns.clock == nil {
		ns.clock = machineClock{}
	}
	if ns.memory == nil {
		ns.memory = Anonymous{}
	}
	if options.Limits != nil {
		ns.limits = *options.Limits
	}
	ns.queues.init()
	ns.sets.init()
	ns.segments.init()
	ns.mqueues.init()
	return ns
}

// seconds is the time that objects remember. As the kernel's, it may be late
// by a tick, since a look at the clock takes a third of the time of an
// operation.
func (ns *Namespace) seconds() int64 {
	if !ns.ticking {
		ns.second, ns.ticking = ns.clock.Now().Unix(), true
		ns.clock.AfterFunc(tick, ns.stopTicking)
	}
	return ns.second
}

const tick = 4 * time.Millisecond

func (ns *Namespace) stopTicking() {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.ticking = false
}

// maxInt32 is the highest id, index, size and value: a call with a number of
// more than 32 bits means none that there is.
const maxInt32 = 1<<31 - 1

func fits32(n int) bool { return n >= -maxInt32-1 && n <= maxInt32 }
