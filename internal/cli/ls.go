//go:build linux

package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/survey"
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
	survey.Counts
	OwnerUID *uint32 `json:"owner_uid"`
	PID      *int    `json:"pid"`
	Command  *string `json:"command"`

	Engine string `json:"engine"`
}

// namespaceRows returns a row for each namespace, those with a name first.
func namespaceRows() (rows []*namespaceRow, unseen int, err error) {
	s, err := survey.Take(run.Names(), survey.Options{})
	if err != nil {
		return nil, 0, err
	}
	rows = []*namespaceRow{}
	for _, ns := range s.Namespaces {
		rows = append(rows, rowOf(ns))
	}
	return rows, s.Unseen, nil
}

func rowOf(ns *survey.Namespace) *namespaceRow {
	row := &namespaceRow{Name: ns.Name, State: ns.State, ID: ns.ID, Inode: ns.Inode, Counts: ns.Counts, OwnerUID: ns.Owner, Engine: ns.Engine}
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
