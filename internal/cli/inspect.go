//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
)

func newInspect() *cobra.Command {
	var asJSON, hexdump bool
	cmd := &cobra.Command{
		Use:   "inspect NS [OBJECT] [--hexdump] [--json]",
		Short: "Tell all about one namespace, or one object in it",
		Long: `Tell what a namespace is, what keeps it, what is in it and inside it, and how to
enter it with ipcns and, where there is a file of it, with nsenter(1).

With OBJECT, which is queue:ID, sem:ID, shm:ID or mq:/NAME, tell all about that: who
may do what with it, what is in it, who has used it last and when, and who waits.
Messages are looked at and stay where they are, but for those of a POSIX queue, which
cannot be seen. Nothing that a program could see of the object changes.

--hexdump prints the messages, or the memory of a segment, as far as a process has it
attached that this user may trace.

` + referenceHelp,
		Example: `  ipcns inspect web
  ipcns inspect web --json | jq -r .path
  ipcns inspect web queue:3
  sudo ipcns inspect pid:4242 shm:2 --hexdump
  ipcns inspect self mq:/jobs --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return takes(cmd, "a namespace, and perhaps an object such as queue:3")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return inspectObject(cmd, args[0], args[1], asJSON, hexdump)
			}
			if hexdump {
				return wrongUsage("--hexdump takes an object too, such as shm:2")
			}
			facts, err := inspect(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return listing.WriteJSON(cmd.OutOrStdout(), facts)
			}
			return facts.write(cmd.OutOrStdout())
		},
		ValidArgsFunction: completeReferences,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&hexdump, "hexdump", false, "print what is in the object in hexadecimal")
	return cmd
}

// facts are what inspect tells.
type facts struct {
	Name    *string           `json:"name"`
	State   registry.State    `json:"state"`
	Why     string            `json:"why,omitempty"`
	ID      *uint64           `json:"id"`
	Inode   uint64            `json:"inode"`
	Engine  string            `json:"engine"`
	Owner   *uint32           `json:"owner_uid"`
	Path    string            `json:"path,omitempty"`
	Holder  int               `json:"holder_pid,omitempty"`
	Created *time.Time        `json:"created"`
	Adopted bool              `json:"adopted"`
	Share   []string          `json:"share"`
	Labels  map[string]string `json:"labels"`
	survey.Counts
	Processes []jsonProcess `json:"processes"`
	Holders   []host.Holder `json:"holders"` // besides threads
	Inside    []string      `json:"inside"`

	served bool // by a server, which the holder is
}

// inspect collects the facts about the namespace of a reference.
func inspect(reference string) (*facts, error) {
	if isName(reference) {
		names, full, err := resolve(reference)
		if err != nil {
			return nil, err
		}
		named, err := names.Find(full)
		if err != nil {
			return nil, err
		}
		if named.State != registry.Alive {
			return factsOf(named), nil
		}
	}
	ns, err := look(reference)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	f := factsOf(ns.named)
	if ns.Namespace == nil {
		return f, f.askServer(ns.named)
	}
	if id, err := ns.ID(); err == nil {
		f.ID = &id
	}
	if uid, err := ns.OwnerUID(); err == nil {
		f.Owner = &uid
	}
	// Before this process goes there itself, to count.
	pids, err := ns.pids()
	if err != nil {
		return nil, err
	}
	f.Processes = commandsOf(pids)
	holders, err := holdersOf(ns.Inode())
	if err != nil {
		return nil, err
	}
	f.Holders = append(f.Holders, holders...)
	if f.Counts, err = survey.Count(ns.Namespace); err != nil {
		return nil, err
	}
	if f.Name != nil {
		f.Inside, err = namesInside(*f.Name)
	}
	return f, err
}

// askServer completes the facts of a namespace that has a server.
func (f *facts) askServer(ns *registry.Namespace) error {
	status, err := ns.Status()
	if err != nil {
		return err
	}
	uid := uint32(os.Geteuid())
	f.Holder = status.PID
	f.Owner, f.Processes, f.Counts = &uid, commandsOf(status.Members), survey.CountsOf(status)
	f.Inside, err = namesInside(ns.Name)
	return err
}

// factsOf returns what is recorded of a namespace.
func factsOf(ns *registry.Namespace) *facts {
	f := &facts{State: ns.State, Why: ns.Why, Inode: ns.Inode, Engine: cmp.Or(string(ns.Engine), "kernel"), Adopted: ns.Adopted, Share: []string{}, Labels: map[string]string{}, Processes: []jsonProcess{}, Holders: []host.Holder{}, Inside: []string{}}
	f.Share = append(f.Share, ns.Share...)
	maps.Copy(f.Labels, ns.Labels)
	if ns.Name == "" {
		return f
	}
	f.Name = &ns.Name
	if ns.Version == 0 {
		return f // its record could not be read
	}
	f.Created, f.Path = &ns.Created, run.Names().Path(ns)
	f.served = ns.Engine == registry.Userspace
	if ns.Holder != nil {
		f.Holder = ns.Holder.PID
	}
	return f
}

func namesInside(name string) ([]string, error) {
	all, err := run.Names().List()
	inside := []string{}
	for _, ns := range all {
		if registry.Inside(ns.Name, name) {
			inside = append(inside, ns.Name)
		}
	}
	return inside, err
}

func (f *facts) write(w io.Writer) error {
	var t table
	t.rightAligned = []bool{false, false}
	for _, line := range f.lines() {
		if line[1] != "" {
			t.add(line[0], oneline.Of(line[1]))
		}
	}
	return t.write(w, 0)
}

// lines are words about the facts; those without any are left out.
func (f *facts) lines() [][2]string {
	lines := [][2]string{{"name", f.name()}, {"namespace", f.kernelName()}, {"state", f.state()}}
	if f.Created != nil {
		lines = append(lines, [2]string{"created", f.Created.Local().Format("2006-01-02 15:04:05")}, [2]string{"kept by", f.keptBy()})
	}
	if f.Adopted {
		lines = append(lines, [2]string{"adopted", "yes: \"ipcns rm\" takes the name away, and ends nothing"})
	}
	if f.State != registry.Alive {
		return lines
	}
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(f.Labels)) {
		labels = append(labels, key+"="+f.Labels[key])
	}
	lines = append(lines,
		[2]string{"labels", strings.Join(labels, ", ")},
		[2]string{"shares", strings.Join(f.Share, ", ")},
		[2]string{"held by", f.heldBy()},
		[2]string{"holds", f.holds()},
		[2]string{"processes", f.processes()},
		[2]string{"inside it", f.inside()},
	)
	if f.Name != nil {
		lines = append(lines, [2]string{"enter with", f.enterWith()})
	}
	return lines
}

func (f *facts) name() string {
	if f.Name == nil {
		return ""
	}
	return *f.Name
}

func (f *facts) kernelName() string {
	if f.Engine == string(registry.Userspace) && f.Owner != nil {
		var users listing.Names
		return fmt.Sprintf("userspace, of %s, served by process %d", users.User(*f.Owner), f.Holder)
	}
	if f.Inode == 0 {
		return ""
	}
	text := fmt.Sprintf("ipc:[%d]", f.Inode)
	if f.ID != nil {
		text += fmt.Sprintf(", id %d", *f.ID)
	}
	if f.Owner != nil {
		var users listing.Names
		text += ", of " + users.User(*f.Owner)
	}
	return text
}

func (f *facts) state() string {
	if f.State == registry.Alive {
		return ""
	}
	return string(f.State) + ": " + f.Why
}

func (f *facts) keptBy() string {
	if f.served {
		return fmt.Sprintf("process %d, a server, which implements it", f.Holder)
	}
	if f.Holder != 0 {
		return fmt.Sprintf("process %d", f.Holder)
	}
	return "a mount at " + f.Path
}

// heldBy says what keeps the namespace, besides threads and the name's own mount.
func (f *facts) heldBy() string {
	var words []string
	for _, h := range f.Holders {
		if h.Kind != host.HeldByMount || f.Path == "" || h.Path != f.Path {
			words = append(words, holderInWords(h))
		}
	}
	return listed(words)
}

// listed joins as many words as a line has room for.
func listed(words []string) string {
	const most = 8
	if more := len(words) - most; more > 0 {
		words = append(words[:most:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, ", ")
}

func (f *facts) holds() string {
	var held []string
	for _, kind := range []struct {
		count *int
		what  string
	}{{f.Queues, "message queue"}, {f.Sets, "semaphore set"}, {f.Segments, "segment"}, {f.Mqueues, "POSIX message queue"}} {
		switch {
		case kind.count == nil || *kind.count == 0:
		case *kind.count == 1:
			held = append(held, "1 "+kind.what)
		default:
			held = append(held, fmt.Sprintf("%d %ss", *kind.count, kind.what))
		}
	}
	if len(held) == 0 && f.Queues != nil {
		return "nothing"
	}
	return strings.Join(held, ", ")
}

func (f *facts) processes() string {
	if len(f.Processes) == 0 {
		return "none"
	}
	var words []string
	for _, p := range f.Processes {
		command, _, _ := strings.Cut(p.Command, " ")
		words = append(words, fmt.Sprintf("%d (%s)", p.PID, path.Base(command)))
	}
	return listed(words)
}

// inside lists what is inside as the user has to write it.
func (f *facts) inside() string {
	var names []string
	for _, name := range f.Inside {
		if shown, err := displayed(name); err == nil {
			name = shown
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// enterWith says how programs get into the namespace. Through a holder it takes
// root: the user namespace that an ordinary user would need too is the one
// around the holder's, for which there is no file.
func (f *facts) enterWith() string {
	shown, err := displayed(*f.Name)
	if err != nil {
		shown = *f.Name
	}
	if f.served {
		return fmt.Sprintf("ipcns exec %s CMD", shown)
	}
	if f.Path == "" {
		return fmt.Sprintf("ipcns exec %s CMD, or as root nsenter -t %d -i -m CMD", shown, f.Holder)
	}
	return fmt.Sprintf("ipcns exec %s CMD, or nsenter --ipc=%s CMD", shown, f.Path)
}
