//go:build linux

package top

import (
	"fmt"
	"strings"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
)

// columnObjectQueued is that of the messages in a queue.
const columnObjectQueued = 5

// objectsSheet is the view of the objects of one namespace.
func objectsSheet(ns *survey.Namespace, past *past, taken time.Time, users *listing.Names) sheet {
	s := sheet{columns: []column{
		{title: "OBJECT"},
		{title: "KEY", spare: 2},
		{title: "OWNER", spare: 4},
		{title: "PERMS", spare: 5},
		{title: "BYTES", right: true, descending: true, spare: 3},
		{title: "QUEUED", right: true, descending: true},
		{title: "+/s", least: 5, right: true, descending: true, spare: 1},
		{title: "ACTIVE", right: true, descending: true},
		{title: "LAST", right: true, spare: 1},
		{title: "DETAILS", least: 24},
	}}
	c := ns.Contents
	if c == nil {
		return s
	}
	add := func(key string, perm ipc.Perm, bytes, queued cell, last int64, details string) {
		cells := []cell{
			{text: oneline.Of(key), order: float64(len(s.rows))}, words(perm.Key.String()), words(userOf(users, perm.UID)), words(fmt.Sprintf("%03o", perm.Mode&0o777)),
			bytes, queued, unknown, unknown, since(last, taken), words(details),
		}
		if past != nil && past.objects[key] != nil {
			cells[6], cells[7] = perSecond(past.objects[key].rate), past.objects[key].activity()
		}
		s.rows = append(s.rows, row{key, cells})
	}
	for _, q := range c.Queues {
		add(queueKey(q.ID), q.Perm, count(q.Cbytes), count(q.Qnum), max(q.Stime, q.Rtime), queueDetails(q))
	}
	for _, set := range c.Sets {
		values, read := c.Values[set.ID]
		add(setKey(set.ID), set.Perm, unknown, unknown, set.Otime, setDetails(set, values, read))
	}
	for _, segment := range c.Segments {
		add(segmentKey(segment.ID), segment.Perm, count(segment.Segsz), unknown, max(segment.Atime, segment.Dtime), segmentDetails(segment))
	}
	for _, q := range c.Mqueues {
		queued := count(q.Attr.Curmsgs)
		if q.Unreadable {
			queued = unknown
		}
		add(mqueueKey(q.Name), ipc.Perm{UID: q.UID, Mode: q.Mode}, unknown, queued, 0, mqueueDetails(q))
		s.rows[len(s.rows)-1].cells[1] = unknown // it has a name instead
	}
	return s
}

// since is how long ago a time was, which is 0 for never.
func since(at int64, taken time.Time) cell {
	if at == 0 {
		return unknown
	}
	lasted := time.Duration(max(0, taken.Unix()-at)) * time.Second
	return cell{text: age.Of(lasted), order: lasted.Seconds()}
}

func queueDetails(q host.MessageQueue) string {
	var details []string
	if q.Qbytes > 0 {
		details = append(details, fmt.Sprintf("%d%% full", q.Cbytes*100/q.Qbytes))
	}
	if q.Lspid != 0 {
		details = append(details, fmt.Sprintf("sent by %d", q.Lspid))
	}
	if q.Lrpid != 0 {
		details = append(details, fmt.Sprintf("received by %d", q.Lrpid))
	}
	return strings.Join(details, ", ")
}

// setDetails shows the values, if they may be read, and how many wait.
func setDetails(set host.SemaphoreSet, sems []host.Semaphore, read bool) string {
	if !read {
		return plural(int(set.Nsems), "semaphore")
	}
	const most = 8
	var values []string
	waiting := 0
	for i, sem := range sems {
		waiting += sem.Ncnt + sem.Zcnt
		if i < most {
			values = append(values, fmt.Sprint(sem.Value))
		}
	}
	if more := len(sems) - most; more > 0 {
		values = append(values, fmt.Sprintf("and %d more", more))
	}
	text := strings.Join(values, " ")
	if waiting > 0 {
		text += fmt.Sprintf(", %d waiting", waiting)
	}
	return text
}

func segmentDetails(s host.Segment) string {
	details := fmt.Sprintf("%d attached", s.Nattch)
	if s.Perm.Mode&ipc.ShmDest != 0 {
		details += ", to be removed"
	}
	return fmt.Sprintf("%s, created by %d", details, s.Cpid)
}

func mqueueDetails(q ipc.MqueueStat) string {
	if q.Unreadable {
		return "may not be read"
	}
	return fmt.Sprintf("of %d", q.Attr.Maxmsg)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}
