//go:build linux

package listing

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
)

// The names in JSON are those of the structures in msgctl(2), semctl(2),
// shmctl(2) and mq_getattr(3), without their prefixes.

// A document is the JSON of a report on objects. A kind that is not selected,
// or that could not be read, is left out; one without objects is [].
type document struct {
	MessageQueues []messageQueueFacts `json:"message_queues,omitzero"`
	Segments      []segmentFacts      `json:"segments,omitzero"`
	SemaphoreSets []semaphoreSetFacts `json:"semaphore_sets,omitzero"`
	Mqueues       []mqueueFacts       `json:"posix_message_queues,omitzero"`
}

// A summary is the JSON of the view Summary.
type summary struct {
	MessageQueues *messageSummary   `json:"message_queues,omitempty"`
	Segments      *segmentSummary   `json:"segments,omitempty"`
	SemaphoreSets *semaphoreSummary `json:"semaphore_sets,omitempty"`
	Mqueues       *mqueueSummary    `json:"posix_message_queues,omitempty"`
}

// messageSummary is [ipc.MsgInfo].
type messageSummary struct {
	Queues   int `json:"queues"`
	Messages int `json:"messages"`
	Bytes    int `json:"bytes"`
}

// segmentSummary is [ipc.ShmInfo].
type segmentSummary struct {
	Segments      int    `json:"segments"`
	Pages         uint64 `json:"pages"`
	Resident      uint64 `json:"resident_pages"`
	Swapped       uint64 `json:"swapped_pages"`
	SwapAttempts  uint64 `json:"swap_attempts"`
	SwapSuccesses uint64 `json:"swap_successes"`
}

// semaphoreSummary is [ipc.SemInfo].
type semaphoreSummary struct {
	Sets       int `json:"sets"`
	Semaphores int `json:"semaphores"`
}

// mqueueSummary has null for what is not known.
type mqueueSummary struct {
	Queues   int     `json:"queues"`
	Messages *int64  `json:"messages"`
	Bytes    *uint64 `json:"bytes"`
}

// headFacts are those of every System V object. A user or group without a
// name has its number for one.
type headFacts struct {
	Key          string `json:"key"`
	ID           int    `json:"id"`
	Mode         string `json:"mode"`
	UID          uint32 `json:"uid"`
	Owner        string `json:"owner"`
	GID          uint32 `json:"gid"`
	Group        string `json:"group"`
	CUID         uint32 `json:"cuid"`
	Creator      string `json:"creator"`
	CGID         uint32 `json:"cgid"`
	CreatorGroup string `json:"creator_group"`
}

type messageQueueFacts struct {
	headFacts
	Cbytes uint64     `json:"cbytes"`
	Qnum   uint64     `json:"qnum"`
	Qbytes uint64     `json:"qbytes"`
	Lspid  int32      `json:"lspid"`
	Lrpid  int32      `json:"lrpid"`
	Stime  *time.Time `json:"stime"`
	Rtime  *time.Time `json:"rtime"`
	Ctime  *time.Time `json:"ctime"`
}

type segmentFacts struct {
	headFacts
	Status []string   `json:"status"`
	Segsz  uint64     `json:"segsz"`
	Nattch uint64     `json:"nattch"`
	Cpid   int32      `json:"cpid"`
	Lpid   int32      `json:"lpid"`
	Atime  *time.Time `json:"atime"`
	Dtime  *time.Time `json:"dtime"`
	Ctime  *time.Time `json:"ctime"`
}

type semaphoreSetFacts struct {
	headFacts
	Nsems      uint64           `json:"nsems"`
	Otime      *time.Time       `json:"otime"`
	Ctime      *time.Time       `json:"ctime"`
	Semaphores []semaphoreFacts `json:"semaphores,omitzero"` // of a single set only
}

type semaphoreFacts struct {
	Num   int `json:"num"`
	Value int `json:"value"`
	Ncnt  int `json:"ncnt"`
	Zcnt  int `json:"zcnt"`
	PID   int `json:"pid"`
}

// mqueueFacts has null for what an unreadable queue does not tell. Bytes of a
// name that are not UTF-8 are U+FFFD, for JSON has no way to write them.
type mqueueFacts struct {
	Name      string  `json:"name"`
	Inode     uint64  `json:"inode"`
	Mode      string  `json:"mode"`
	UID       uint32  `json:"uid"`
	Owner     string  `json:"owner"`
	GID       uint32  `json:"gid"`
	Group     string  `json:"group"`
	Maxmsg    *int64  `json:"maxmsg"`
	Msgsize   *int64  `json:"msgsize"`
	Curmsgs   *int64  `json:"curmsgs"`
	Bytes     *uint64 `json:"bytes"`
	NotifyPID *int32  `json:"notify_pid"`
}

// JSON prints the report as one JSON object: all facts of every object,
// whatever the view; or "limits", which are all limits whatever is selected;
// or "summary".
func (r Report) JSON(w io.Writer, system ipc.System) error {
	from := &source{system, r.Names}
	var document document
	var summary summary
	switch r.View {
	case Limits:
		limits, err := readLimits(system)
		if err != nil {
			return err
		}
		return WriteJSON(w, map[string]any{"limits": limitFacts(limits)})
	case Summary:
		if err := r.each(func(k *kind) error { return k.sum(&summary, from) }); err != nil {
			return err
		}
		return WriteJSON(w, map[string]any{"summary": summary})
	}
	if err := r.each(func(k *kind) error { return k.list(&document, from) }); err != nil {
		return err
	}
	return WriteJSON(w, document)
}

// WriteJSON prints a value as every list of ipcns does: indented, with a newline
// at its end.
func WriteJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

func limitFacts(limits ipc.Limits) map[string]uint64 {
	facts := make(map[string]uint64)
	for _, limit := range ipc.AllLimits {
		facts[limit.Name] = *limit.Of(&limits)
	}
	return facts
}

// listFacts stores the facts of every object that read returns.
func listFacts[Object, Facts any](to *[]Facts, from *source, read func(*source) ([]Object, error), of func(*source, *Object) Facts) error {
	objects, err := read(from)
	if err != nil {
		return err
	}
	*to = make([]Facts, len(objects))
	for i := range objects {
		(*to)[i] = of(from, &objects[i])
	}
	return nil
}

// factsOfOne returns the facts of the object that find returns.
func factsOfOne[Object, Facts any](find func(*source, int) (*Object, error), of func(*source, *Object) Facts) func(*source, int) (any, error) {
	return func(from *source, id int) (any, error) {
		object, err := find(from, id)
		if err != nil {
			return nil, err
		}
		return of(from, object), nil
	}
}

func headFactsOf(from *source, id int, perm *ipc.Perm) headFacts {
	names := &from.names
	return headFacts{
		Key: perm.Key.String(), ID: id, Mode: octal(perm.Mode & 0o777),
		UID: perm.UID, Owner: names.User(perm.UID), GID: perm.GID, Group: names.group(perm.GID),
		CUID: perm.CUID, Creator: names.User(perm.CUID), CGID: perm.CGID, CreatorGroup: names.group(perm.CGID),
	}
}

func octal(mode uint32) string { return fmt.Sprintf("%04o", mode) }

// timeFact returns nil for a time that never was.
func timeFact(seconds int64) *time.Time {
	if seconds == 0 {
		return nil
	}
	t := time.Unix(seconds, 0).UTC()
	return &t
}

func messageQueueFactsOf(from *source, q *host.MessageQueue) messageQueueFacts {
	return messageQueueFacts{
		headFacts: headFactsOf(from, q.ID, &q.Perm),
		Cbytes:    q.Cbytes, Qnum: q.Qnum, Qbytes: q.Qbytes, Lspid: q.Lspid, Lrpid: q.Lrpid,
		Stime: timeFact(q.Stime), Rtime: timeFact(q.Rtime), Ctime: timeFact(q.Ctime),
	}
}

func segmentFactsOf(from *source, s *host.Segment) segmentFacts {
	status := []string{}
	for _, bit := range segmentStatus {
		if name := bit.of(s); name != "" {
			status = append(status, name)
		}
	}
	return segmentFacts{
		headFacts: headFactsOf(from, s.ID, &s.Perm),
		Status:    status, Segsz: s.Segsz, Nattch: s.Nattch, Cpid: s.Cpid, Lpid: s.Lpid,
		Atime: timeFact(s.Atime), Dtime: timeFact(s.Dtime), Ctime: timeFact(s.Ctime),
	}
}

func semaphoreSetFactsOf(from *source, s *host.SemaphoreSet) semaphoreSetFacts {
	return semaphoreSetFacts{
		headFacts: headFactsOf(from, s.ID, &s.Perm),
		Nsems:     s.Nsems, Otime: timeFact(s.Otime), Ctime: timeFact(s.Ctime),
	}
}

func semaphoreFactsOf(sems []host.Semaphore) []semaphoreFacts {
	facts := make([]semaphoreFacts, len(sems))
	for num, sem := range sems {
		facts[num] = semaphoreFacts{Num: num, Value: sem.Value, Ncnt: sem.Ncnt, Zcnt: sem.Zcnt, PID: sem.PID}
	}
	return facts
}

func mqueueFactsOf(from *source, q *ipc.MqueueStat) mqueueFacts {
	facts := mqueueFacts{
		Name: q.Name, Inode: q.Inode, Mode: octal(q.Mode),
		UID: q.UID, Owner: from.names.User(q.UID), GID: q.GID, Group: from.names.group(q.GID),
	}
	if q.Unreadable {
		return facts
	}
	facts.Maxmsg, facts.Msgsize, facts.Curmsgs = &q.Attr.Maxmsg, &q.Attr.Msgsize, &q.Attr.Curmsgs
	facts.Bytes, facts.NotifyPID = &q.Bytes, &q.NotifyPID
	return facts
}

// The facts of one object, as JSON of a report has them.

// QueueFacts returns those of a message queue.
func (n *Names) QueueFacts(q host.MessageQueue) any {
	n.translate(&q.Perm)
	return messageQueueFactsOf(&source{names: *n}, &q)
}

// SetFacts returns those of a semaphore set, with its semaphores if they are known.
func (n *Names) SetFacts(s host.SemaphoreSet, sems []host.Semaphore) any {
	n.translate(&s.Perm)
	facts := semaphoreSetFactsOf(&source{names: *n}, &s)
	if sems != nil {
		facts.Semaphores = semaphoreFactsOf(sems)
	}
	return facts
}

// SegmentFacts returns those of a segment.
func (n *Names) SegmentFacts(s host.Segment) any {
	n.translate(&s.Perm)
	return segmentFactsOf(&source{names: *n}, &s)
}

// MqueueFacts returns those of a POSIX message queue, of which a look knows neither
// the bytes nor who is to be notified.
func (n *Names) MqueueFacts(q ipc.MqueueStat) any {
	q.UID, q.GID = n.uid(q.UID), n.gid(q.GID)
	facts := mqueueFactsOf(&source{names: *n}, &q)
	facts.Bytes, facts.NotifyPID = nil, nil
	return facts
}
