//go:build linux

package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/doctor"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
)

// An objectName is what names an object behind a namespace: queue:3, sem:7, shm:2 or
// mq:/jobs.
type objectName struct {
	kind string
	id   int
	name string // of a POSIX queue
}

func parseObjectName(text string) (objectName, error) {
	kind, rest, _ := strings.Cut(text, ":")
	if kind == "mq" && strings.HasPrefix(rest, "/") {
		return objectName{kind: kind, name: rest}, nil
	}
	id, err := strconv.ParseInt(rest, 10, 32)
	if known := kind == "queue" || kind == "sem" || kind == "shm"; !known || err != nil || id < 0 {
		return objectName{}, wrongUsage("%q is no object; write queue:ID, sem:ID, shm:ID or mq:/NAME", text)
	}
	return objectName{kind: kind, id: int(id)}, nil
}

func (o objectName) String() string {
	if o.kind == "mq" {
		return "mq:" + o.name
	}
	return fmt.Sprintf("%s:%d", o.kind, o.id)
}

// A viewing is a look at the objects of one namespace.
type viewing struct {
	system    ipc.System
	look      doctor.Look
	ns        *survey.Namespace
	reference string
	names     listing.Names
}

// An account is what inspect tells of an object, beside its JSON.
type account interface {
	lines() [][2]string // words about it; those without any are left out
	detail(w io.Writer) error
	dump(w io.Writer) error
}

// inspectObject tells all about one object.
func inspectObject(cmd *cobra.Command, reference, object string, asJSON, hexdump bool) error {
	name, err := parseObjectName(object)
	if err != nil {
		return err
	}
	if hexdump && (asJSON || name.kind == "sem" || name.kind == "mq") {
		return wrongUsage("--hexdump prints what is in a message queue or a segment, and no JSON; %s", hexdumpAdvice(name, asJSON))
	}
	shown, err := users(cmd)
	if err != nil {
		return err
	}
	t := target{reference}
	return examine(cmd, &t, func(system ipc.System, look doctor.Look, ns *survey.Namespace) error {
		v := &viewing{system, look, ns, reference, shown}
		told, err := v.find(name)
		if err != nil {
			return err
		}
		return v.tell(cmd.OutOrStdout(), told, asJSON, hexdump)
	})
}

func hexdumpAdvice(name objectName, asJSON bool) string {
	switch {
	case asJSON:
		return "write one of --hexdump and --json"
	case name.kind == "sem":
		return "a semaphore set has values"
	}
	return "a message of a POSIX queue cannot be seen without taking it: see \"ipcns mq recv --help\""
}

// find looks at the object of that name.
func (v *viewing) find(name objectName) (account, error) {
	c := v.ns.Contents
	switch name.kind {
	case "queue":
		for _, q := range c.Queues {
			if q.ID == name.id {
				return v.queue(q), nil
			}
		}
	case "sem":
		for _, s := range c.Sets {
			if s.ID == name.id {
				return v.set(s), nil
			}
		}
	case "shm":
		for _, s := range c.Segments {
			if s.ID == name.id {
				return v.segment(s), nil
			}
		}
	case "mq":
		for _, q := range c.Mqueues {
			if q.Name == name.name {
				return v.mqueue(q), nil
			}
		}
	}
	flag := map[string]string{"queue": "-q", "sem": "-s", "shm": "-m", "mq": "-Q"}[name.kind]
	return nil, fmt.Errorf("there is no %s in namespace %s; see \"ipcns ipcs %s%s\"", oneline.Of(name.String()), v.reference, flag, v.option())
}

// option is what other commands take to work on the namespace.
func (v *viewing) option() string {
	if v.reference == "self" {
		return ""
	}
	return " -n " + doctor.Quoted(v.reference)
}

func (v *viewing) tell(w io.Writer, told account, asJSON, hexdump bool) error {
	if asJSON {
		return listing.WriteJSON(w, told)
	}
	t := table{rightAligned: []bool{false, false}}
	for _, line := range told.lines() {
		if line[1] != "" {
			t.add(line[0], oneline.Of(line[1]))
		}
	}
	if err := t.write(w, 0); err != nil {
		return err
	}
	if hexdump {
		return told.dump(w)
	}
	return told.detail(w)
}

// An objectHead is what the accounts have in common.
type objectHead struct {
	Namespace string   `json:"namespace"`
	Object    string   `json:"object"`
	Owner     []string `json:"owner_may"`
	Group     []string `json:"group_may"`
	Others    []string `json:"others_may"`
}

// headOf returns it for an object of which read and write permission mean that.
func (v *viewing) headOf(name objectName, mode uint32, read, write string) objectHead {
	may := func(bits uint32) []string {
		words := []string{}
		if bits&4 != 0 {
			words = append(words, read)
		}
		if bits&2 != 0 {
			words = append(words, write)
		}
		return words
	}
	return objectHead{v.reference, name.String(), may(mode >> 6), may(mode >> 3), may(mode)}
}

// permissions says what the mode allows.
func (h *objectHead) permissions(mode uint32) string {
	var words []string
	for _, class := range []struct {
		who string
		may []string
	}{{"its owner may ", h.Owner}, {"its group ", h.Group}, {"others ", h.Others}} {
		what := strings.Join(class.may, " and ")
		if what == "" {
			what = "nothing"
		}
		words = append(words, class.who+what)
	}
	return fmt.Sprintf("%04o: %s", mode&0o777, strings.Join(words, ", "))
}

// heading are the first lines about a System V object.
func (v *viewing) heading(h *objectHead, noun string, id int, perm ipc.Perm) [][2]string {
	key := "no key"
	if perm.Key != ipc.Private {
		key = "key " + perm.Key.String()
	}
	owner, group := v.names.Owner(perm)
	creator, creatorGroup := v.names.Creator(perm)
	lines := [][2]string{
		{"object", fmt.Sprintf("%s %d, %s", noun, id, key)},
		{"namespace", v.reference},
		{"owner", owner + ", group " + group},
	}
	if creator != owner || creatorGroup != group {
		lines = append(lines, [2]string{"creator", creator + ", group " + creatorGroup})
	}
	return append(lines, [2]string{"mode", h.permissions(perm.Mode)})
}

// when says when something was, in seconds since 1970; 0 is never.
func (v *viewing) when(seconds int64) string {
	if seconds == 0 {
		return "never"
	}
	at := time.Unix(seconds, 0)
	return fmt.Sprintf("%s ago, %s", age.Of(v.look.Taken.Sub(at)), at.Format(time.DateTime))
}

// An actor is a process that has done something to an object, or a thread of one: the
// kernel notes a receiver that has slept so.
type actor struct {
	PID     int    `json:"pid"`
	Process int    `json:"process"` // that it is of, 0 if it is gone
	Command string `json:"command"`
	Gone    bool   `json:"gone"`
}

// actor returns the process that has done something at that time, the last time;
// nil if none has, or none of this PID namespace.
func (v *viewing) actor(pid int, at int64) *actor {
	if pid == 0 {
		return nil
	}
	const proc = host.Proc("/proc")
	started, err := proc.Started(pid)
	// Times of objects are cut to seconds, and that of the start is not exact.
	if !v.look.There(pid) || err == nil && at != 0 && started.After(time.Unix(at+2, 0)) {
		return &actor{PID: pid, Gone: true}
	}
	process, err := proc.ProcessOf(pid)
	if err != nil {
		return &actor{PID: pid, Gone: true}
	}
	return &actor{PID: pid, Process: process, Command: proc.Command(process)}
}

func (a *actor) String() string {
	switch {
	case a == nil:
		return "a process that is not in this PID namespace"
	case a.Gone:
		return fmt.Sprintf("process %d, which is gone", a.PID)
	case a.PID != a.Process:
		return fmt.Sprintf("thread %d of process %d (%s)", a.PID, a.Process, a.Command)
	}
	return fmt.Sprintf("process %d (%s)", a.PID, a.Command)
}

// by says when something was done, and who did it.
func (v *viewing) by(seconds int64, who *actor) string {
	if seconds == 0 {
		return "never"
	}
	return v.when(seconds) + ", by " + who.String()
}

// A sleeper is a thread that waits for something of an object.
type sleeper struct {
	PID        int          `json:"pid"`
	TID        int          `json:"tid"`
	Command    string       `json:"command"`
	Type       *int64       `json:"type,omitempty"`
	Operations []ipc.Sembuf `json:"operations,omitempty"`
	Seconds    *float64     `json:"seconds"` // how long, at least; null if that is not known

	wait host.Wait
}

// sleepers returns who sleeps in one of the calls, as far as they may be looked at.
func (v *viewing) sleepers(is func(*host.Wait) bool) []sleeper {
	found := []sleeper{}
	for _, p := range v.ns.Processes {
		for _, w := range p.Waiting {
			if w.Namespace != v.ns.Inode || !is(&w) {
				continue
			}
			s := sleeper{PID: p.PID, TID: w.TID, Command: p.Command, Operations: w.Operations, wait: w}
			if w.Call == "msgrcv" || w.Call == "msgsnd" {
				s.Type = &w.Type
			}
			if w.Since > 0 {
				seconds := w.Since.Seconds()
				s.Seconds = &seconds
			}
			found = append(found, s)
		}
	}
	return found
}

// sleeperLines tells of sleepers, a line each.
func sleeperLines(title string, sleepers []sleeper, what func(*sleeper) string) (lines [][2]string) {
	for _, s := range sleepers {
		text := fmt.Sprintf("process %d (%s)", s.PID, s.Command)
		if s.TID != s.PID {
			text = fmt.Sprintf("thread %d of ", s.TID) + text
		}
		text += " " + what(&s)
		if s.wait.Since > 0 {
			text += ", for " + age.Of(s.wait.Since)
		}
		lines = append(lines, [2]string{title, text})
	}
	return lines
}
