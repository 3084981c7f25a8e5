//go:build linux

package metrics

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
)

// QueuesTold is of how many queues of each kind a namespace's fullness is told:
// the fullest. What anybody may make without end is no label.
const QueuesTold = 20

// ofTheMachine are the families that have one sample.
var ofTheMachine = []struct {
	Family
	of func(Look) float64
}{
	{Family{"ipcns_look_duration_seconds", "seconds", "Time that looking at the machine took."},
		func(l Look) float64 { return l.Took.Seconds() }},
	{Family{"ipcns_look_timestamp_seconds", "seconds", "When that was, in seconds since 1970."},
		func(l Look) float64 { return float64(l.Survey.Taken.UnixMilli()) / 1000 }},
	{Family{"ipcns_namespaces", "", "IPC namespaces that were found."},
		func(l Look) float64 { return float64(len(l.Survey.Namespaces)) }},
	{Family{"ipcns_unseen_processes", "", "Processes that this user may not look at; a namespace may be missing for each."},
		func(l Look) float64 { return float64(l.Survey.Unseen) }},
}

// ofNamespaces are the families that have samples for each namespace, with the
// label ns. What is not known of one has none.
var ofNamespaces = []struct {
	Family
	of func(*survey.Namespace) []sample
}{
	{Family{"ipcns_namespace_info", "", "What a namespace is."}, info},
	{Family{"ipcns_processes", "", "Processes in the namespace."}, members},
	{Family{"ipcns_holders", "", "What keeps the namespace besides its processes, by kind."}, holders},

	{Family{"ipcns_message_queues", "", "System V message queues."},
		counted(func(ns *survey.Namespace) *int { return ns.Queues })},
	{Family{"ipcns_message_queues_limit", "", "System V message queues that there may be: msgmni."},
		limited(func(l ipc.Limits) float64 { return float64(l.Msgmni) })},
	{Family{"ipcns_messages", "", "Messages in System V message queues."},
		summed(func(c *host.Contents) float64 {
			return sum(c.Queues, func(q host.MessageQueue) float64 { return float64(q.Qnum) })
		})},
	{Family{"ipcns_message_queue_bytes", "bytes", "Bytes of the messages in System V message queues."},
		summed(func(c *host.Contents) float64 {
			return sum(c.Queues, func(q host.MessageQueue) float64 { return float64(q.Cbytes) })
		})},
	{Family{"ipcns_message_queue_limit_bytes", "bytes", "Bytes that a new System V message queue takes: msgmnb."},
		limited(func(l ipc.Limits) float64 { return float64(l.Msgmnb) })},
	{Family{"ipcns_message_queue_fullness_ratio", "ratio", "How full a System V message queue is, where 1 is full, of the fullest of the namespace."}, fullness},

	{Family{"ipcns_semaphore_sets", "", "System V semaphore sets."},
		counted(func(ns *survey.Namespace) *int { return ns.Sets })},
	{Family{"ipcns_semaphore_sets_limit", "", "System V semaphore sets that there may be: semmni."},
		limited(func(l ipc.Limits) float64 { return float64(l.Semmni) })},
	{Family{"ipcns_semaphores", "", "Semaphores in all System V semaphore sets."},
		summed(func(c *host.Contents) float64 {
			return sum(c.Sets, func(s host.SemaphoreSet) float64 { return float64(s.Nsems) })
		})},
	{Family{"ipcns_semaphores_limit", "", "Semaphores that there may be in all sets: semmns."},
		limited(func(l ipc.Limits) float64 { return float64(l.Semmns) })},

	{Family{"ipcns_segments", "", "System V shared memory segments."},
		counted(func(ns *survey.Namespace) *int { return ns.Segments })},
	{Family{"ipcns_segments_limit", "", "System V shared memory segments that there may be: shmmni."},
		limited(func(l ipc.Limits) float64 { return float64(l.Shmmni) })},
	{Family{"ipcns_segment_bytes", "bytes", "Bytes of all System V shared memory segments, in whole pages, as the limit counts them."},
		summed(func(c *host.Contents) float64 { return sum(c.Segments, pagesOf) })},
	{Family{"ipcns_segment_limit_bytes", "bytes", "Bytes that there may be in all segments: shmall; infinite if there is no limit."},
		limited(func(l ipc.Limits) float64 { return shmall(l) })},
	{Family{"ipcns_segment_mappings", "", "Mappings of all System V shared memory segments: nattch."},
		summed(func(c *host.Contents) float64 {
			return sum(c.Segments, func(s host.Segment) float64 { return float64(s.Nattch) })
		})},
	{Family{"ipcns_removed_segments", "", "System V shared memory segments that are removed, and end with their last mapping."},
		summed(func(c *host.Contents) float64 {
			return sum(c.Segments, func(s host.Segment) float64 { return truth(s.Perm.Mode&ipc.ShmDest != 0) })
		})},

	{Family{"ipcns_posix_message_queues", "", "POSIX message queues."},
		counted(func(ns *survey.Namespace) *int { return ns.Mqueues })},
	{Family{"ipcns_posix_message_queues_limit", "", "POSIX message queues that there may be: queues_max."},
		limited(func(l ipc.Limits) float64 { return float64(l.QueuesMax) })},
	{Family{"ipcns_posix_messages", "", "Messages in the POSIX message queues that this user may read."}, posixMessages},
	{Family{"ipcns_posix_message_queue_fullness_ratio", "ratio", "How full a POSIX message queue is, where 1 is full, of the fullest of the namespace."}, posixFullness},

	{Family{"ipcns_attached_processes", "", "Processes that have attached a segment of the namespace."},
		using(func(p host.Process, inode uint64) float64 {
			return truth(slices.ContainsFunc(p.Attached, func(a host.Attachment) bool { return a.Namespace == inode }))
		})},
	{Family{"ipcns_posix_message_queue_descriptors", "", "Descriptors of POSIX message queues of the namespace."},
		using(func(p host.Process, inode uint64) float64 {
			return sum(p.Open, func(o host.OpenQueue) float64 { return truth(o.Namespace == inode) })
		})},
	{Family{"ipcns_waiting_threads", "", "Threads that sleep in a call on an object of the namespace, by call."},
		waiting(func(waits []host.Wait) float64 { return float64(len(waits)) })},
	{Family{"ipcns_longest_wait_seconds", "seconds", "How long the one of them has slept, at least, that has slept longest."},
		waiting(longest)},
}

// reference is how commands name the namespace. No two have the same.
func reference(ns *survey.Namespace) string {
	switch {
	case ns.Name != nil:
		return *ns.Name
	case ns.Inode == 0:
		return fmt.Sprintf("pid:%d", ns.Server)
	}
	return fmt.Sprintf("ipc:[%d]", ns.Inode)
}

func info(ns *survey.Namespace) []sample {
	labels := []string{"engine", ns.Engine, "state", string(ns.State), "inode", "", "id", "", "owner_uid", ""}
	if ns.Inode != 0 {
		labels[5] = strconv.FormatUint(ns.Inode, 10)
	}
	if ns.ID != nil {
		labels[7] = strconv.FormatUint(*ns.ID, 10)
	}
	if ns.Owner != nil {
		labels[9] = strconv.FormatUint(uint64(*ns.Owner), 10)
	}
	return []sample{{labels, 1}}
}

func members(ns *survey.Namespace) []sample {
	if ns.Hidden || ns.State != registry.Alive {
		return nil
	}
	return []sample{{value: float64(len(ns.Members))}}
}

// kindsOfHolders are told even if there is none: a series that comes and goes
// is hard to ask for.
var kindsOfHolders = []host.HolderKind{host.HeldByDescriptor, host.HeldByMount, host.HeldByAttachment, host.HeldByTable, host.HeldByContext, host.HeldUnseen}

func holders(ns *survey.Namespace) (samples []sample) {
	if ns.Inode == 0 || ns.State != registry.Alive {
		return nil
	}
	for _, kind := range kindsOfHolders {
		value := sum(ns.Holders, func(h host.Holder) float64 { return truth(h.Kind == kind) })
		samples = append(samples, sample{[]string{"kind", string(kind)}, value})
	}
	return samples
}

func counted(count func(*survey.Namespace) *int) func(*survey.Namespace) []sample {
	return func(ns *survey.Namespace) []sample {
		if n := count(ns); n != nil {
			return []sample{{value: float64(*n)}}
		}
		return nil
	}
}

func limited(limit func(ipc.Limits) float64) func(*survey.Namespace) []sample {
	return summed(func(c *host.Contents) float64 { return limit(c.Limits) })
}

func summed(of func(*host.Contents) float64) func(*survey.Namespace) []sample {
	return func(ns *survey.Namespace) []sample {
		if ns.Contents == nil {
			return nil
		}
		return []sample{{value: of(ns.Contents)}}
	}
}

// usesKnown reports whether the survey has looked for who uses the namespace. A
// server tells of its own with the contents.
func usesKnown(ns *survey.Namespace) bool {
	return ns.State == registry.Alive && (ns.Inode != 0 || ns.Contents != nil)
}

// using adds up what each process does with the namespace's objects.
func using(of func(p host.Process, inode uint64) float64) func(*survey.Namespace) []sample {
	return func(ns *survey.Namespace) []sample {
		if !usesKnown(ns) {
			return nil
		}
		return []sample{{value: sum(ns.Processes, func(p host.Process) float64 { return of(p, ns.Inode) })}}
	}
}

// callsThatWait are told even if nobody waits, as the kinds of holders are.
var callsThatWait = []string{"msgrcv", "msgsnd", "semop", "mq_timedreceive", "mq_timedsend", "mq"}

func waiting(of func([]host.Wait) float64) func(*survey.Namespace) []sample {
	return func(ns *survey.Namespace) (samples []sample) {
		if !usesKnown(ns) {
			return nil
		}
		for _, call := range callsThatWait {
			var waits []host.Wait
			for _, p := range ns.Processes {
				for _, w := range p.Waiting {
					if w.Call == call && w.Namespace == ns.Inode {
						waits = append(waits, w)
					}
				}
			}
			samples = append(samples, sample{[]string{"call", call}, of(waits)})
		}
		return samples
	}
}

func longest(waits []host.Wait) float64 {
	seconds := 0.0
	for _, w := range waits {
		seconds = max(seconds, w.Since.Seconds())
	}
	return seconds
}

// fullness tells of the fullest queues. One is full of bytes, or of as many
// messages as it takes bytes; see msgsnd(2).
func fullness(ns *survey.Namespace) (samples []sample) {
	if ns.Contents == nil {
		return nil
	}
	for _, q := range ns.Contents.Queues {
		samples = append(samples, sample{[]string{"id", strconv.Itoa(q.ID), "key", q.Perm.Key.String()}, ratio(max(q.Cbytes, q.Qnum), q.Qbytes)})
	}
	return fullest(samples)
}

func posixMessages(ns *survey.Namespace) []sample {
	if ns.Contents == nil || ns.Contents.Mqueues == nil {
		return nil
	}
	return []sample{{value: sum(ns.Contents.Mqueues, func(q ipc.MqueueStat) float64 { return float64(q.Attr.Curmsgs) })}}
}

func posixFullness(ns *survey.Namespace) (samples []sample) {
	if ns.Contents == nil {
		return nil
	}
	for _, q := range ns.Contents.Mqueues {
		if !q.Unreadable {
			samples = append(samples, sample{[]string{"name", printable(q.Name)}, ratio(uint64(q.Attr.Curmsgs), uint64(q.Attr.Maxmsg))})
		}
	}
	return fullest(samples)
}

// printable writes what does not print as Go does, so that no two names become
// the same.
func printable(name string) string {
	quoted := strconv.Quote(name)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// fullest returns the samples with the highest values, as many as are told, in
// the order in which they were.
func fullest(samples []sample) []sample {
	if len(samples) <= QueuesTold {
		return samples
	}
	order := make([]int, len(samples))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(samples[j].value, samples[i].value) })
	order = order[:QueuesTold]
	slices.Sort(order)
	told := make([]sample, 0, QueuesTold)
	for _, i := range order {
		told = append(told, samples[i])
	}
	return told
}

// ratio is 1 of what takes nothing.
func ratio(used, limit uint64) float64 {
	if limit == 0 {
		return 1
	}
	return float64(used) / float64(limit)
}

var pageSize = uint64(os.Getpagesize())

func pagesOf(s host.Segment) float64 {
	return float64((s.Segsz + pageSize - 1) / pageSize * pageSize)
}

// shmall returns the limit in bytes. That of a fresh namespace is none.
func shmall(l ipc.Limits) float64 {
	if l.Shmall >= ipc.DefaultLimits().Shmall {
		return math.Inf(1)
	}
	return float64(l.Shmall) * float64(pageSize)
}

func sum[T any](all []T, of func(T) float64) float64 {
	total := 0.0
	for _, one := range all {
		total += of(one)
	}
	return total
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
