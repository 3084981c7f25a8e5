//go:build linux

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newLs() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [--json]",
		Short: "List the IPC namespaces of this machine",
		Long: `List the IPC namespaces that have a name, and then those that have a process: the
name, the kernel's id, the inode number (what ls -l /proc/PID/ns/ipc shows), the
number of processes, of message queues, semaphore sets, shared memory segments
and POSIX message queues, the user who owns it, and the process with the lowest
id.

A - stands for what is not there, and for what the kernel does not tell this
user. Processes of other users are seen by root alone, and names by their owner.

--json prints {"namespaces": [...], "unseen_processes": N}, with null for -.`,
		Example: `  ipcns ls
  sudo ipcns ls
  ipcns ls --json | jq '.namespaces[] | select(.segments > 0)'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, unseen, err := namespaceRows()
			if err != nil {
				return err
			}
			defer noteEnded(cmd.ErrOrStderr(), rows)
			if asJSON {
				return listing.WriteJSON(cmd.OutOrStdout(), struct {
					Namespaces []*namespaceRow `json:"namespaces"`
					Unseen     int             `json:"unseen_processes"`
				}{rows, unseen})
			}
			if err := writeNamespaces(cmd.OutOrStdout(), rows); err != nil {
				return err
			}
			if unseen > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "ipcns: "+unseenNote(unseen))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func unseenNote(unseen int) string {
	note := "1 process may not be looked at, and its namespace may be missing here"
	if unseen > 1 {
		note = fmt.Sprintf("%d processes may not be looked at, and their namespaces may be missing here", unseen)
	}
	if os.Geteuid() != 0 {
		note += "; root sees more"
	}
	return note
}

// A namespaceRow is what ls tells of a namespace; nil is what it may not know.
type namespaceRow struct {
	Name      *string        `json:"name"`
	State     registry.State `json:"state"`
	ID        *uint64        `json:"id"`
	Inode     uint64         `json:"inode"`
	Processes *int           `json:"processes"`
	objectCounts
	OwnerUID *uint32 `json:"owner_uid"`
	PID      *int    `json:"pid"`
	Command  *string `json:"command"`

	Engine string `json:"engine"`

	pids   []int
	open   func() (*ipcns.Namespace, error)
	status func() (server.Status, error) // nil for one of the kernel's
}

// objectCounts are the objects of a namespace.
type objectCounts struct {
	Queues   *int `json:"message_queues"`
	Sets     *int `json:"semaphore_sets"`
	Segments *int `json:"segments"`
	Mqueues  *int `json:"posix_message_queues"`
}

// namespaceRows returns a row for each namespace, those with a name first.
func namespaceRows() (rows []*namespaceRow, unseen int, err error) {
	const proc = host.Proc("/proc")
	namespaces, unseen, err := proc.Namespaces()
	if err != nil {
		return nil, 0, err
	}
	members := map[uint64]host.Namespace{}
	for _, ns := range namespaces {
		members[ns.Inode] = ns
	}
	names := run.Names()
	all, err := names.List()
	if err != nil {
		return nil, 0, err
	}
	for _, named := range all {
		rows = append(rows, namedRow(names, named, members[named.Inode]))
		if named.State == registry.Alive {
			delete(members, named.Inode)
		}
	}
	rows = append(rows, servedRows(all)...)
	for _, ns := range namespaces {
		if _, unnamed := members[ns.Inode]; unnamed {
			rows = append(rows, &namespaceRow{State: registry.Alive, Inode: ns.Inode, Engine: engineOf(&registry.Namespace{}), pids: ns.PIDs, open: ns.Open})
		}
	}
	rows, err = fill(rows)
	return rows, unseen, err
}

func namedRow(names *registry.Registry, named *registry.Namespace, members host.Namespace) *namespaceRow {
	row := &namespaceRow{Name: &named.Name, State: named.State, Inode: named.Inode, Engine: engineOf(named)}
	if named.Engine == registry.Userspace {
		row.status = func() (server.Status, error) { return named.Status() }
		return row
	}
	row.pids = registry.Membership{named.Inode: members.PIDs}.In(named)
	row.open = func() (*ipcns.Namespace, error) { return names.OpenNamespace(named.Name) }
	return row
}

// servedRows returns a row for each server's namespace that has no name.
func servedRows(names []*registry.Namespace) (rows []*namespaceRow) {
	for _, pid := range server.All() {
		named := slices.ContainsFunc(names, func(ns *registry.Namespace) bool { return ns.Holder != nil && ns.Holder.PID == pid })
		if ns := unnamed(pid); !named {
			rows = append(rows, &namespaceRow{State: ns.State, Engine: engineOf(ns), status: ns.Status})
		}
	}
	return rows
}

// engineOf returns the word for who implements a namespace.
func engineOf(ns *registry.Namespace) string { return cmp.Or(string(ns.Engine), "kernel") }

// fill completes rows, some at a time, and leaves out what has ended since.
func fill(rows []*namespaceRow) ([]*namespaceRow, error) {
	errs := make([]error, len(rows))
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				errs[i] = rows[i].fill()
			}
		})
	}
	for i := range rows {
		next <- i
	}
	close(next)
	workers.Wait()
	filled := []*namespaceRow{}
	for i, err := range errs {
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || registry.Missing(err) || registry.Ended(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		filled = append(filled, rows[i])
	}
	return filled, nil
}

func (row *namespaceRow) fill() error {
	if row.status != nil && row.State == registry.Alive {
		if err := row.fillServed(); err != nil {
			return err
		}
	}
	processes := len(row.pids)
	row.Processes = &processes
	if processes > 0 {
		row.PID = &row.pids[0]
		if command := host.Proc("/proc").Command(row.pids[0]); command != "" { // else it has ended since
			row.Command = &command
		}
	}
	if row.State != registry.Alive || row.status != nil {
		return nil
	}
	opened, err := row.open()
	if errors.Is(err, unix.EACCES) {
		if processes == 0 {
			row.Processes = nil // this user may look at none of them
		}
		return nil // what the kernel does not tell this user
	}
	if err != nil {
		return err
	}
	defer opened.Close()
	if id, err := opened.ID(); err == nil {
		row.ID = &id
	}
	if uid, err := opened.OwnerUID(); err == nil {
		row.OwnerUID = &uid
	}
	row.objectCounts, err = count(opened)
	return err
}

// fillServed asks the server of a namespace, whose owner is who asks.
func (row *namespaceRow) fillServed() error {
	status, err := row.status()
	if err != nil {
		return fmt.Errorf("%w: %w", unix.ESRCH, err) // it ends with its last program
	}
	uid := uint32(os.Geteuid())
	row.OwnerUID, row.pids, row.objectCounts = &uid, status.Members, countsOf(status)
	return nil
}

func countsOf(status server.Status) objectCounts {
	return objectCounts{&status.Queues, &status.Sets, &status.Segments, &status.Mqueues}
}

// count counts the objects of a namespace, as far as this user may.
func count(ns *ipcns.Namespace) (counts objectCounts, err error) {
	if _, _, within := server.Within(); within {
		return counts, nil // what this process sees is the server's
	}
	entered, err := enter(ns, func(system ipc.System) error {
		counts, err = countObjects(system)
		return err
	})
	if entered || !errors.Is(err, unix.EPERM) {
		return counts, err
	}
	owner, err := ns.Owner()
	if err != nil {
		return counts, nil
	}
	defer owner.Close()
	contents, err := launch.Look(owner, ns.File())
	if err != nil {
		return counts, nil
	}
	mqueues := len(contents.Mqueues)
	return objectCounts{&contents.Queues, &contents.Sets, &contents.Segments, &mqueues}, nil
}

func countObjects(system ipc.System) (objectCounts, error) {
	queues, _, err := system.MsgInfo()
	if err != nil {
		return objectCounts{}, err
	}
	sets, _, err := system.SemInfo()
	if err != nil {
		return objectCounts{}, err
	}
	segments, _, err := system.ShmInfo()
	if err != nil {
		return objectCounts{}, err
	}
	counts := objectCounts{Queues: &queues.Queues, Sets: &sets.Sets, Segments: &segments.Segments}
	if mqueues, err := system.MqCount(); err == nil {
		counts.Mqueues = &mqueues
	}
	return counts, nil
}

func writeNamespaces(w io.Writer, rows []*namespaceRow) error {
	current, err := run.Names().Current()
	if err != nil {
		return err
	}
	var users listing.Names
	t := table{rightAligned: []bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 9: true, 10: false}}
	t.add("NAME", "ID", "INODE", "PROCS", "MSG", "SEM", "SHM", "MQ", "OWNER", "PID", "COMMAND")
	for _, row := range rows {
		name := "-"
		if row.Name != nil {
			name = registry.Shown(current, *row.Name)
		}
		t.add(name, number(row.ID), row.inode(), number(row.Processes),
			number(row.Queues), number(row.Sets), number(row.Segments), number(row.Mqueues),
			row.owner(&users), number(row.PID), row.command())
	}
	return t.write(w, terminalWidth())
}

// inode prints the inode number, or the engine of what has none.
func (row *namespaceRow) inode() string {
	if row.Inode == 0 {
		return row.Engine
	}
	return strconv.FormatUint(row.Inode, 10)
}

func (row *namespaceRow) command() string {
	switch {
	case row.State != registry.Alive:
		return "(" + string(row.State) + ")"
	case row.Command == nil:
		return "-"
	}
	return oneline.Of(*row.Command)
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
