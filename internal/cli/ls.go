//go:build linux

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newLs() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [--json]",
		Short: "List the IPC namespaces of this machine",
		Long: `List the IPC namespaces that have a process: the kernel's id, the inode number
(what ls -l /proc/PID/ns/ipc shows), the number of processes, of message
queues, semaphore sets, shared memory segments and POSIX message queues, the
user who owns it, and the process with the lowest id.

A - stands for what the kernel does not tell this user. Processes of other
users are seen by root alone.

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
			if asJSON {
				return listing.WriteJSON(cmd.OutOrStdout(), struct {
					Namespaces []namespaceRow `json:"namespaces"`
					Unseen     int            `json:"unseen_processes"`
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
	ID        *uint64 `json:"id"`
	Inode     uint64  `json:"inode"`
	Processes int     `json:"processes"`
	objectCounts
	OwnerUID *uint32 `json:"owner_uid"`
	PID      int     `json:"pid"`
	Command  *string `json:"command"`
}

// objectCounts are the objects of a namespace.
type objectCounts struct {
	Queues   *int `json:"message_queues"`
	Sets     *int `json:"semaphore_sets"`
	Segments *int `json:"segments"`
	Mqueues  *int `json:"posix_message_queues"`
}

func namespaceRows() ([]namespaceRow, int, error) {
	const proc = host.Proc("/proc")
	namespaces, unseen, err := proc.Namespaces()
	if err != nil {
		return nil, 0, err
	}
	rows := []namespaceRow{}
	for _, ns := range namespaces {
		row, err := rowOf(ns)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
			continue // its last process has ended since
		}
		if err != nil {
			return nil, 0, err
		}
		if command := proc.Command(row.PID); command != "" { // else the process has ended since
			row.Command = &command
		}
		rows = append(rows, row)
	}
	return rows, unseen, nil
}

func rowOf(ns host.Namespace) (namespaceRow, error) {
	row := namespaceRow{Inode: ns.Inode, Processes: len(ns.PIDs), PID: ns.PIDs[0]}
	opened, err := ns.Open()
	if err != nil {
		return row, err
	}
	defer opened.Close()
	if id, err := opened.ID(); err == nil {
		row.ID = &id
	}
	if uid, err := opened.OwnerUID(); err == nil {
		row.OwnerUID = &uid
	}
	entered, err := enter(opened, func(system ipc.System) error {
		row.objectCounts, err = countObjects(system)
		return err
	})
	if !entered && errors.Is(err, unix.EPERM) {
		if counts, err := countInside(ns.PIDs[0]); err == nil {
			row.objectCounts = counts
		}
		return row, nil // what the kernel does not tell this user
	}
	return row, err
}

// countInside counts the objects of the namespace of a process by another
// ipcns, which can enter the user namespace that owns it; see [target.do].
func countInside(pid int) (objectCounts, error) {
	again := exec.Command("/proc/self/exe", "ipcs", "-u", "--json", "-n", "pid:"+strconv.Itoa(pid))
	again.Args[0] = "ipcns"
	output, err := again.Output()
	if err != nil {
		return objectCounts{}, err
	}
	var report struct {
		Summary struct {
			Queues   struct{ Queues int }   `json:"message_queues"`
			Sets     struct{ Sets int }     `json:"semaphore_sets"`
			Segments struct{ Segments int } `json:"segments"`
			Mqueues  *struct{ Queues int }  `json:"posix_message_queues"`
		}
	}
	if err := json.Unmarshal(output, &report); err != nil {
		return objectCounts{}, fmt.Errorf("cannot read what ipcns ipcs printed: %w", err)
	}
	counts := objectCounts{Queues: &report.Summary.Queues.Queues, Sets: &report.Summary.Sets.Sets, Segments: &report.Summary.Segments.Segments}
	if report.Summary.Mqueues != nil {
		counts.Mqueues = &report.Summary.Mqueues.Queues
	}
	return counts, nil
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

func writeNamespaces(w io.Writer, rows []namespaceRow) error {
	var names listing.Names
	t := table{rightAligned: []bool{true, true, true, true, true, true, true, false, true, false}}
	t.add("ID", "INODE", "PROCS", "MSG", "SEM", "SHM", "MQ", "OWNER", "PID", "COMMAND")
	for _, row := range rows {
		t.add(number(row.ID), strconv.FormatUint(row.Inode, 10), strconv.Itoa(row.Processes),
			number(row.Queues), number(row.Sets), number(row.Segments), number(row.Mqueues),
			row.owner(&names), strconv.Itoa(row.PID), row.command())
	}
	return t.write(w, terminalWidth())
}

// number prints what n points to, or - for what is not known.
func number[N int | uint64](n *N) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func (row namespaceRow) owner(names *listing.Names) string {
	if row.OwnerUID == nil {
		return "-"
	}
	return names.User(*row.OwnerUID)
}

func (row namespaceRow) command() string {
	if row.Command == nil {
		return "-"
	}
	return oneline.Of(*row.Command)
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
