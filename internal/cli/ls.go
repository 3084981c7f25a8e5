//go:build linux

package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/age"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newLs() *cobra.Command {
	var asJSON, wide bool
	cmd := &cobra.Command{
		Use:   "ls [--all] [--wide] [--json]",
		Short: "List the IPC namespaces of this machine",
		Long: `List the IPC namespaces that have a name, then those that have a process, and
then those that something else keeps: the name, the kernel's id, the inode number
(what ls -l /proc/PID/ns/ipc shows), the number of processes, of message queues,
semaphore sets, shared memory segments and POSIX message queues, the user who owns
it, and the process with the lowest id. What keeps a namespace that has neither a
name nor a process is in parentheses:

  fd           a descriptor of the namespace, in some process
  mount        a mount of it, in any mount namespace
  attachment   a segment that a process has attached, which is elsewhere now
  sysvipc      an open file of /proc/sysvipc
  context      of fsopen(2), for a mount of mqueue
  unseen       nothing of these; it may be a descriptor in flight

--wide also has the semaphores in all sets, the bytes in message queues and
segments, the age, all that keeps the namespace besides threads, and the container
or systemd unit of its first process, or of one that holds it, as the names of
control groups tell. The age is that of the name; without one, that of the first
process, with a ~ in front, since that may have come later or been elsewhere before.

A - stands for what is not there, and for what the kernel does not tell this
user. What may not be looked at is told: processes of other users, mounts in other
mount namespaces, and the kernel's own list of namespaces, which takes CAP_BPF and
CAP_PERFMON. Names are seen by their owner.

--json prints {"namespaces": [...], "unseen_processes": N, "missing": [...]}, with
null for -.`,
		Example: `  ipcns ls
  sudo ipcns ls --wide
  ipcns ls --json | jq '.namespaces[] | select(.segments > 0)'
  sudo ipcns ls --json | jq '.namespaces[] | select(.processes == 0) | .holders'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := takeSurvey()
			if err != nil {
				return err
			}
			rows := rowsOf(s, wide || asJSON)
			defer noteEnded(cmd.ErrOrStderr(), rows)
			if asJSON {
				return listing.WriteJSON(cmd.OutOrStdout(), struct {
					Namespaces []*namespaceRow `json:"namespaces"`
					Unseen     int             `json:"unseen_processes"`
					Missing    []string        `json:"missing"`
				}{rows, s.Unseen, append([]string{}, s.Missing...)})
			}
			if err := writeNamespaces(cmd.OutOrStdout(), rows, wide); err != nil {
				return err
			}
			noteMissing(cmd.ErrOrStderr(), s)
			return nil
		},
	}
	cmd.Flags().Bool("all", false, "list all namespaces, as without this: other commands have it")
	cmd.Flags().BoolVar(&wide, "wide", false, "print more columns")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// noteMissing says what could not be looked at, and what may be missing for it. The
// kernel's own list has every namespace.
func noteMissing(w io.Writer, s *survey.Survey) {
	may := "members and holders"
	var not, takes []string
	if s.Unseen > 0 {
		not, takes = append(not, counted(s.Unseen, "process", "processes")), append(takes, "CAP_SYS_PTRACE")
	}
	if slices.Contains(s.Missing, host.MountsElsewhere) {
		not, takes = append(not, host.MountsElsewhere), append(takes, "CAP_SYS_ADMIN in the machine's first PID namespace")
	}
	if slices.Contains(s.Missing, host.KernelsList) {
		may = "namespaces"
		not, takes = append(not, host.KernelsList), append(takes, "CAP_BPF with CAP_PERFMON")
	}
	if len(not) == 0 {
		return
	}
	remedy := "that takes " + strings.Join(takes, ", ")
	if os.Geteuid() != 0 {
		remedy = "root sees more"
	}
	fmt.Fprintf(w, "ipcns: %s could not be looked at, and %s may be missing here; %s\n", strings.Join(not, ", "), may, remedy)
}

// A namespaceRow is what ls tells of a namespace; nil is what it may not know.
type namespaceRow struct {
	Name      *string        `json:"name"`
	State     registry.State `json:"state"`
	ID        *uint64        `json:"id"`
	Inode     uint64         `json:"inode"`
	Processes *int           `json:"processes"`
	survey.Counts
	OwnerUID *uint32 `json:"owner_uid"`
	PID      *int    `json:"pid"`
	Command  *string `json:"command"`

	Engine string `json:"engine"`

	survey.Sizes
	Holders   []host.Holder `json:"holders"`
	Created   *time.Time    `json:"created"`   // when it was given its name
	Started   *time.Time    `json:"pid_start"` // of the first process
	Container *string       `json:"container"`
	Unit      *string       `json:"unit"`
}

// takeSurvey looks at all namespaces.
func takeSurvey() (*survey.Survey, error) {
	return survey.Take(run.Names(), survey.Options{})
}

// rowsOf returns a row for each namespace, those with a name first.
func rowsOf(s *survey.Survey, wide bool) []*namespaceRow {
	rows := []*namespaceRow{}
	for _, ns := range s.Namespaces {
		row := rowOf(ns)
		if wide {
			row.widen()
		}
		rows = append(rows, row)
	}
	return rows
}

func rowOf(ns *survey.Namespace) *namespaceRow {
	row := &namespaceRow{
		Name: ns.Name, State: ns.State, ID: ns.ID, Inode: ns.Inode, Counts: ns.Counts, OwnerUID: ns.Owner, Engine: ns.Engine,
		Sizes: ns.Sizes, Holders: append([]host.Holder{}, ns.Holders...), Created: ns.Created,
	}
	if processes := len(ns.Members); !ns.Hidden {
		row.Processes = &processes
	}
	if len(ns.Members) > 0 {
		row.PID = &ns.Members[0]
		if command := host.Proc("/proc").Command(ns.Members[0]); command != "" { // else it has ended since
			row.Command = &command
		}
	}
	return row
}

// widen adds what takes another look at the first process, or at one that holds
// the namespace.
func (row *namespaceRow) widen() {
	const proc = host.Proc("/proc")
	if row.PID != nil {
		if started, err := proc.Started(*row.PID); err == nil {
			row.Started = &started
		}
	}
	cgroup, err := proc.Cgroup(row.belongsTo())
	if err != nil {
		return // there is no such process any more
	}
	if cgroup.Container != "" {
		row.Container = &cgroup.Container
	}
	if cgroup.Unit != "" {
		row.Unit = &cgroup.Unit
	}
}

// belongsTo returns the first process, or else one that holds the namespace, 0 if
// there is none.
func (row *namespaceRow) belongsTo() int {
	if row.PID != nil {
		return *row.PID
	}
	for _, holder := range row.Holders {
		if holder.PID != 0 {
			return holder.PID
		}
	}
	return 0
}

func writeNamespaces(w io.Writer, rows []*namespaceRow, wide bool) error {
	current, err := run.Names().Current()
	if err != nil {
		return err
	}
	var users listing.Names
	var t table
	for _, row := range append([]*namespaceRow{nil}, rows...) {
		var cells []string
		t.rightAligned = t.rightAligned[:0]
		for _, c := range columns {
			if c.wide && !wide {
				continue
			}
			t.rightAligned = append(t.rightAligned, c.right)
			if row == nil {
				cells = append(cells, c.heading)
			} else {
				cells = append(cells, c.cell(row, current, &users))
			}
		}
		t.add(cells...)
	}
	return t.write(w, terminalWidth())
}

// columns are those of ls. The name is shown as it is called in the current
// namespace.
var columns = []struct {
	heading     string
	right, wide bool
	cell        func(row *namespaceRow, current string, users *listing.Names) string
}{
	{"NAME", false, false, func(row *namespaceRow, current string, _ *listing.Names) string { return row.name(current) }},
	{"ID", true, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return number(row.ID) }},
	{"INODE", true, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return row.inode() }},
	{"PROCS", true, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return number(row.Processes) }},
	{"MSG", true, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return number(row.Queues) }},
	{"SEM", true, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return number(row.Sets) }},
	{"SHM", true, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return number(row.Segments) }},
	{"MQ", true, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return number(row.Mqueues) }},
	{"SEMS", true, true, func(row *namespaceRow, _ string, _ *listing.Names) string { return number(row.Semaphores) }},
	{"BYTES", true, true, func(row *namespaceRow, _ string, _ *listing.Names) string { return row.bytes() }},
	{"AGE", true, true, func(row *namespaceRow, _ string, _ *listing.Names) string { return row.age() }},
	{"OWNER", false, false, func(row *namespaceRow, _ string, users *listing.Names) string { return row.owner(users) }},
	{"HELD", false, true, func(row *namespaceRow, _ string, _ *listing.Names) string { return heldBy(row.Holders) }},
	{"UNIT", false, true, func(row *namespaceRow, _ string, _ *listing.Names) string { return row.unit() }},
	{"PID", true, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return number(row.PID) }},
	{"COMMAND", false, false, func(row *namespaceRow, _ string, _ *listing.Names) string { return row.command() }},
}

func (row *namespaceRow) name(current string) string {
	if row.Name == nil {
		return "-"
	}
	return registry.Shown(current, *row.Name)
}

// inode prints the inode number, or the engine of what has none.
func (row *namespaceRow) inode() string {
	if row.Inode == 0 {
		return row.Engine
	}
	return strconv.FormatUint(row.Inode, 10)
}

func (row *namespaceRow) bytes() string {
	if row.MessageBytes == nil || row.SegmentBytes == nil {
		return "-"
	}
	return strconv.FormatUint(*row.MessageBytes+*row.SegmentBytes, 10)
}

func (row *namespaceRow) age() string {
	switch {
	case row.Created != nil:
		return age.Of(time.Since(*row.Created))
	case row.Started != nil:
		return "~" + age.Of(time.Since(*row.Started))
	}
	return "-"
}

func (row *namespaceRow) unit() string {
	switch {
	case row.Container != nil:
		return oneline.Of(*row.Container)
	case row.Unit != nil:
		return oneline.Of(*row.Unit)
	}
	return "-"
}

func (row *namespaceRow) command() string {
	switch {
	case row.State != registry.Alive:
		return "(" + string(row.State) + ")"
	case row.Command != nil:
		return oneline.Of(*row.Command)
	case row.Name == nil && row.PID == nil && len(row.Holders) > 0:
		return "(" + heldBy(row.Holders) + ")"
	}
	return "-"
}

// noteEnded says what to do about names whose namespaces have ended, and about
// what killed commands have left.
func noteEnded(w io.Writer, rows []*namespaceRow) {
	left := run.Names().Unfinished()
	for _, row := range rows {
		if row.State == registry.Stale {
			left++
		}
	}
	if left > 0 {
		fmt.Fprintln(w, "ipcns: there are names of namespaces that have ended; remove them with \"ipcns prune\"")
	}
}

// number prints what n points to, or - for what is not known.
func number[N int | uint64](n *N) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func (row *namespaceRow) owner(names *listing.Names) string {
	if row.OwnerUID == nil {
		return "-"
	}
	return names.User(*row.OwnerUID)
}

// terminalWidth returns the columns of the terminal that standard output is,
// and 0 if it is none.
func terminalWidth() int {
	size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
