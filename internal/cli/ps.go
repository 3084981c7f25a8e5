//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/doctor"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
)

func newPs() *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "ps [NS | --all] [--json]",
		Short: "Show what processes use, and what they wait for",
		Long: `Show the processes that use the objects of a namespace (self if none is named), a
line for each use: segments that are attached, POSIX message queues that are open,
and calls in which a thread sleeps until others have done something, with the
object, its key, what it waits for, and for how long.

A semop waits for all of its operations at once: [0:-1 2:0] takes 1 from semaphore
0, and wants semaphore 2 to be 0. A process may use what it has attached or opened
in a namespace that it has left. Processes that use nothing are not shown:
"ipcns pids" lists them too.

Processes of other users are seen by root alone. --json has also the processes
that use nothing, and null for the key of an object that may not be looked at.

` + referenceHelp,
		Example: `  ipcns ps
  ipcns ps web
  sudo ipcns ps --all
  ipcns ps web --json | jq '.namespaces[].processes[] | select(.waiting != [])'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || all && len(args) > 0 {
				return takes(cmd, "a namespace, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				s, err := takeWhole(survey.Options{Processes: true})
				if err != nil {
					return err
				}
				heading, err := references()
				if err != nil {
					return err
				}
				return tellUses(cmd, s, heading, asJSON)
			}
			t := target{"self"}
			if len(args) > 0 {
				t.reference = args[0]
			}
			return examine(cmd, &t, func(_ ipc.System, look doctor.Look, _ *survey.Namespace) error {
				look.Elsewhere = nil
				return tellUses(cmd, look.Survey, nil, asJSON)
			})
		},
		ValidArgsFunction: completeReferences,
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "show all namespaces")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// tellUses prints who uses what. Namespaces have a heading if there is a function
// for it.
func tellUses(cmd *cobra.Command, s *survey.Survey, heading func(*survey.Namespace) string, asJSON bool) error {
	if asJSON {
		return listing.WriteJSON(cmd.OutOrStdout(), usesOf(s))
	}
	if err := writeUses(cmd.OutOrStdout(), s, heading); err != nil {
		return err
	}
	if s.Unseen > 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "ipcns: "+unseenUseNote(s.Unseen))
	}
	return nil
}

// writeUses writes a line for each use. Of several namespaces, those that somebody
// uses have a line of their own above.
func writeUses(w io.Writer, s *survey.Survey, heading func(*survey.Namespace) string) error {
	t := table{rightAligned: []bool{0: true, 1: false, 2: false, 3: false}}
	t.add("PID", "USER", "COMMAND", "USES")
	var users listing.Names
	for _, ns := range s.Namespaces {
		above := ""
		if heading != nil {
			above = heading(ns)
		}
		writeUsesOf(&t, &users, above, objectsOf(ns), ns.Processes)
	}
	writeUsesOf(&t, &users, "in a namespace that cannot be told", objects{}, s.Elsewhere)
	return t.write(w, 0)
}

func writeUsesOf(t *table, users *listing.Names, heading string, objects objects, processes []host.Process) {
	for _, p := range processes {
		uses := objects.uses(p)
		if len(uses) > 0 && heading != "" {
			t.add(heading)
			heading = ""
		}
		for i, use := range uses {
			if i == 0 {
				t.add(fmt.Sprint(p.PID), users.User(p.UID), shortCommand(p.Command), use)
			} else {
				t.add("", "", "", use)
			}
		}
	}
}

// shortCommand is the name of the program of a command line, cut to what leaves
// room for the rest.
func shortCommand(command string) string {
	first, _, _ := strings.Cut(command, " ")
	return cut(oneline.Of(cmp.Or(path.Base(first), "-")), maxCommand)
}

// maxCommand is as long as the kernel's own name of a process; see
// proc_pid_comm(5).
const maxCommand = 15

// objects are what is known of the objects of a namespace, by their ids.
type objects struct {
	queues, sets map[int]ipc.Key
	segments     map[int]host.Segment
}

func objectsOf(ns *survey.Namespace) objects {
	o := objects{map[int]ipc.Key{}, map[int]ipc.Key{}, map[int]host.Segment{}}
	if ns.Contents == nil {
		return o
	}
	for _, queue := range ns.Contents.Queues {
		o.queues[queue.ID] = queue.Perm.Key
	}
	for _, set := range ns.Contents.Sets {
		o.sets[set.ID] = set.Perm.Key
	}
	for _, segment := range ns.Contents.Segments {
		o.segments[segment.ID] = segment
	}
	return o
}

// uses are words about what a process uses, one for each use.
func (o objects) uses(p host.Process) (uses []string) {
	for _, a := range p.Attached {
		uses = append(uses, o.attached(a))
	}
	for _, queue := range p.Open {
		use := fmt.Sprintf("open mq:%s fd %d", oneline.Of(queue.Name), queue.FD)
		if queue.Unlinked {
			use += " (unlinked)"
		}
		uses = append(uses, use)
	}
	for _, w := range p.Waiting {
		use := "blocked in " + o.wait(w)
		if w.TID != p.PID {
			use += fmt.Sprintf(" (thread %d)", w.TID)
		}
		uses = append(uses, use)
	}
	return uses
}

func (o objects) attached(a host.Attachment) string {
	var facts []string
	size := a.Bytes
	if segment, known := o.segments[a.ID]; known {
		if segment.Perm.Key != ipc.Private {
			facts = append(facts, "key "+segment.Perm.Key.String())
		}
		size = segment.Segsz
	}
	facts = append(facts, sizeOf(size))
	if a.Mappings > 1 {
		facts = append(facts, fmt.Sprintf("%d mappings", a.Mappings))
	}
	if a.ReadOnly {
		facts = append(facts, "read-only")
	}
	return fmt.Sprintf("attached shm:%d (%s)", a.ID, strings.Join(facts, ", "))
}

// sizeOf prints a size in the largest unit that leaves two digits, without what
// is left over.
func sizeOf(bytes uint64) string {
	unit, left := 0, bytes
	for ; left >= 10<<10 || left >= 1<<10 && left%(1<<10) == 0; unit++ {
		left >>= 10
	}
	return fmt.Sprintf("%d %s", left, [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}[unit])
}

// wait is words about a call that sleeps: the object as it is named elsewhere,
// what is wanted of it, and since when.
func (o objects) wait(w host.Wait) string {
	text := w.Call
	switch w.Call {
	case "msgrcv", "msgsnd":
		text += object("queue", w.ID, o.queues) + fmt.Sprintf(" type %d", w.Type)
		if w.ID < 0 {
			text = w.Call
		}
	case "semop":
		text += object("sem", w.ID, o.sets)
		if w.Operations != nil {
			text += " " + w.Semops()
		}
	default:
		if w.Name != "" {
			text += " mq:" + oneline.Of(w.Name)
		}
	}
	if w.Since > 0 {
		text += " for " + age.Of(w.Since)
	}
	return text
}

func object(kind string, id int, keys map[int]ipc.Key) string {
	if id < 0 {
		return "" // it may not be known
	}
	text := fmt.Sprintf(" %s:%d", kind, id)
	if key := keys[id]; key != ipc.Private {
		text += " (key " + key.String() + ")"
	}
	return text
}

// What ps prints as JSON.
type (
	jsonUses struct {
		Namespaces []jsonNamespaceUse `json:"namespaces"`
		Elsewhere  []jsonUser         `json:"elsewhere"`
		Unseen     int                `json:"unseen_processes"`
	}
	jsonNamespaceUse struct {
		Name      *string    `json:"name"`
		Inode     uint64     `json:"inode"`
		Engine    string     `json:"engine"`
		Server    int        `json:"server_pid,omitempty"`
		Processes []jsonUser `json:"processes"`
	}
	jsonUser struct {
		host.Process
		Attached []jsonAttachment `json:"attached"`
		Waiting  []jsonWait       `json:"waiting"`
	}
	jsonAttachment struct {
		host.Attachment
		Key *string `json:"key"`
	}
	jsonWait struct {
		host.Wait
		Key         *string  `json:"key"`
		Seconds     *float64 `json:"seconds"`               // how long, at least; null if that is not known
		Nanoseconds *int64   `json:"nanoseconds,omitempty"` // nil, in place of those of the Wait
	}
)

func usesOf(s *survey.Survey) jsonUses {
	uses := jsonUses{Namespaces: []jsonNamespaceUse{}, Elsewhere: objects{}.users(s.Elsewhere), Unseen: s.Unseen}
	for _, ns := range s.Namespaces {
		uses.Namespaces = append(uses.Namespaces, jsonNamespaceUse{ns.Name, ns.Inode, ns.Engine, ns.Server, objectsOf(ns).users(ns.Processes)})
	}
	return uses
}

func (o objects) users(processes []host.Process) []jsonUser {
	users := []jsonUser{}
	for _, p := range processes {
		user := jsonUser{p, []jsonAttachment{}, []jsonWait{}}
		for _, a := range p.Attached {
			var key *string
			if segment, known := o.segments[a.ID]; known {
				key = keyText(segment.Perm.Key)
			}
			user.Attached = append(user.Attached, jsonAttachment{a, key})
		}
		for _, w := range p.Waiting {
			user.Waiting = append(user.Waiting, o.jsonWait(w))
		}
		users = append(users, user)
	}
	return users
}

func (o objects) jsonWait(w host.Wait) jsonWait {
	wait := jsonWait{Wait: w}
	keys := o.queues
	if w.Call == "semop" {
		keys = o.sets
	}
	if key, known := keys[w.ID]; known && !strings.HasPrefix(w.Call, "mq") {
		wait.Key = keyText(key)
	}
	if w.Since > 0 {
		seconds := w.Since.Seconds()
		wait.Seconds = &seconds
	}
	return wait
}

func keyText(key ipc.Key) *string {
	text := key.String()
	return &text
}
