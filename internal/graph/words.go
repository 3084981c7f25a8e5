//go:build linux

package graph

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/ipc"
)

// keyed names an object by its key, and one that is private by its id.
func keyed(what string, key ipc.Key, id int) (title, detail string) {
	if key == 0 {
		return fmt.Sprintf("%s id %d", what, id), "private"
	}
	return fmt.Sprintf("%s %s", what, key), fmt.Sprintf("id %d", id)
}

func queueNode(q host.MessageQueue) *Node {
	title, detail := keyed("queue", q.Perm.Key, q.ID)
	return &Node{
		Title:   title,
		Details: []string{detail + ", " + plural(int(q.Qnum), "message", "messages"), fmt.Sprintf("%d of %s", q.Cbytes, plural(int(q.Qbytes), "byte", "bytes"))},
		Fill:    fill(max(q.Cbytes, q.Qnum), q.Qbytes),
	}
}

func fill(used, limit uint64) float64 {
	if limit == 0 {
		return 1
	}
	return math.Min(1, float64(used)/float64(limit))
}

func setNode(s host.SemaphoreSet, values []host.Semaphore) *Node {
	title, detail := keyed("set", s.Perm.Key, s.ID)
	n := &Node{Title: title, Details: []string{detail + ", " + plural(int(s.Nsems), "semaphore", "semaphores")}}
	const most = 12
	var shown []string
	for _, v := range values[:min(most, len(values))] {
		shown = append(shown, strconv.Itoa(v.Value))
	}
	if len(values) > most {
		shown = append(shown, "…")
	}
	if len(shown) > 0 {
		n.Details = append(n.Details, "values "+strings.Join(shown, " "))
	}
	return n
}

func segmentNode(s host.Segment) *Node {
	title, detail := keyed("segment", s.Perm.Key, s.ID)
	n := &Node{Title: title, Details: []string{detail + ", " + size(s.Segsz), times(s.Nattch)}}
	if s.Perm.Mode&ipc.ShmDest != 0 {
		n.Details = append(n.Details, "removed; ends when detached")
	}
	return n
}

func times(n uint64) string {
	switch n {
	case 0:
		return "not attached"
	case 1:
		return "attached once"
	case 2:
		return "attached twice"
	}
	return fmt.Sprintf("attached %d times", n)
}

func mqueueNode(q ipc.MqueueStat) *Node {
	n := &Node{Title: oneline.Of(q.Name)}
	if q.Unreadable {
		n.Details = []string{"POSIX queue, not readable"}
		return n
	}
	n.Details = []string{"POSIX queue", fmt.Sprintf("%d of %s", q.Attr.Curmsgs, plural(int(q.Attr.Maxmsg), "message", "messages"))}
	n.Fill = fill(uint64(q.Attr.Curmsgs), uint64(q.Attr.Maxmsg))
	return n
}

// size writes bytes in the largest unit that they fill.
func size(bytes uint64) string {
	for _, unit := range []struct {
		bits int
		name string
	}{{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if bytes >= 1<<unit.bits {
			value := float64(bytes) / float64(uint64(1)<<unit.bits)
			return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + " " + unit.name
		}
	}
	return plural(int(bytes), "byte", "bytes")
}

// waitWords say what a call waits for, beside its object.
func waitWords(w host.Wait) string {
	switch w.Call {
	case "msgrcv":
		if w.Type == 0 {
			return "any type"
		}
		return fmt.Sprintf("type %d", w.Type)
	case "msgsnd":
		return plural(int(w.Bytes), "byte", "bytes")
	case "semop":
		if w.Operations != nil {
			return w.Semops()
		}
	}
	return ""
}

// call is what one waits in.
func (a act) call() string {
	switch {
	case a.object.Kind == Set:
		return "semop"
	case a.object.Kind == Mqueue && a.use == WaitsToSend:
		return "mq_send"
	case a.object.Kind == Mqueue:
		return "mq_receive"
	case a.use == WaitsToSend:
		return "msgsnd"
	}
	return "msgrcv"
}

// words say what is waited for, and how long.
func (a act) words(object string) string {
	words := slices.DeleteFunc([]string{a.call(), object, a.what}, func(word string) bool { return word == "" })
	if a.threads > 1 {
		words = append([]string{strconv.Itoa(a.threads) + " threads:"}, words...)
	}
	if a.since > 0 {
		words = append(words, "for", age.Of(a.since))
	}
	return strings.Join(words, " ")
}

func useLabel(use Use) string {
	switch use {
	case OpenToSend:
		return "open to send"
	case OpenToReceive:
		return "open to receive"
	case Sent:
		return "sent last"
	case Received:
		return "received last"
	}
	return uses[use].legend
}

// processTitle is the command, without the directory of the program, and how
// many there are of it.
func processTitle(same []*actor) string {
	first := same[0]
	switch {
	case first.gone:
		return "gone"
	case first.command == "":
		return "process"
	}
	word, rest, _ := strings.Cut(first.command, " ")
	title := strings.TrimSpace(path.Base(word) + " " + rest)
	if slices.ContainsFunc(same, func(a *actor) bool { return a.command != first.command }) {
		title = program(first.command)
	}
	title = oneline.Of(title)
	if len(same) > 1 {
		title = fmt.Sprintf("%s ×%d", shortened(title, mostTitle-5), len(same))
	}
	return title
}

// processDetail is the id, or the lowest and the highest of many.
func processDetail(same []*actor) string {
	const most = 4
	var pids []string
	for _, a := range same {
		pids = append(pids, strconv.Itoa(a.pid))
	}
	if len(pids) > most {
		pids = append(append(pids[:most-1], "…"), strconv.Itoa(same[len(same)-1].pid))
	}
	detail := "pid " + strings.Join(pids, ", ")
	if len(same) > 1 {
		detail = "pids " + strings.Join(pids, ", ")
	}
	if same[0].detail != "" {
		detail += ", " + same[0].detail
	}
	return detail
}

// shortened returns the text in at most so many characters.
func shortened(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
