//go:build linux

package cli

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/registry"
	"github.com/spf13/cobra"
)

func newTree() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tree [--json]",
		Short: "Draw which namespaces are inside which",
		Long: `Draw the IPC namespaces of this machine as a tree, with what "ipcns ls" tells of
each. A name is inside the one before its last slash. The kernel keeps no tree:
a namespace without a name is drawn inside the one where the parent of its
first process is.

--json prints {"namespaces": [...]}, each with an "inside" of the same kind.`,
		Example: `  ipcns tree
  ipcns tree --json | jq -r '.namespaces[].inside[].name'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := takeSurvey()
			if err != nil {
				return err
			}
			rows := rowsOf(s, asJSON)
			defer noteEnded(cmd.ErrOrStderr(), rows)
			roots := growTree(rows)
			if asJSON {
				return listing.WriteJSON(cmd.OutOrStdout(), struct {
					Namespaces []*branch `json:"namespaces"`
				}{roots})
			}
			if err := writeTree(cmd.OutOrStdout(), roots); err != nil {
				return err
			}
			noteMissing(cmd.ErrOrStderr(), s)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A branch is a namespace with those inside it.
type branch struct {
	*namespaceRow
	Inside []*branch `json:"inside"`
}

// growTree returns the outermost namespaces.
func growTree(rows []*namespaceRow) (roots []*branch) {
	byName, byInode := map[string]*branch{}, map[uint64]*branch{}
	branches := make([]*branch, len(rows))
	for i, row := range rows {
		b := &branch{row, []*branch{}}
		branches[i] = b
		if row.Name != nil {
			byName[*row.Name] = b
		}
		if row.State == registry.Alive && row.Inode != 0 {
			byInode[row.Inode] = b
		}
	}
	initial := byInode[ipcns.InitialInode]
	for _, b := range branches {
		var outer *branch
		if b.Name != nil {
			outer = byName[path.Dir(*b.Name)]
		} else if b.PID != nil && b != initial {
			outer = byInode[inodeOfParent(*b.PID)]
		}
		if outer == nil || outer == b {
			outer = initial
		}
		if outer == nil || b == initial {
			roots = append(roots, b)
			continue
		}
		outer.Inside = append(outer.Inside, b)
	}
	return roots
}

// inodeOfParent returns the inode number of the namespace that the parent of
// a process is in, 0 if that may not be known.
func inodeOfParent(pid int) uint64 {
	const proc = host.Proc("/proc")
	parent, err := proc.Parent(pid)
	if err != nil {
		return 0
	}
	inode, err := proc.Inode(parent)
	if err != nil {
		return 0
	}
	return inode
}

func writeTree(w io.Writer, roots []*branch) error {
	t := table{rightAligned: []bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: false}}
	t.add("NAMESPACE", "PROCS", "MSG", "SEM", "SHM", "MQ", "COMMAND")
	for _, root := range roots {
		root.draw(&t, "", "")
	}
	return t.write(w, terminalWidth())
}

// draw adds a row for the namespace, behind a lead, and for those inside it.
func (b *branch) draw(t *table, lead, below string) {
	t.add(lead+b.label(), number(b.Processes), number(b.Queues), number(b.Sets), number(b.Segments), number(b.Mqueues), b.command())
	for i, inner := range b.Inside {
		if i < len(b.Inside)-1 {
			inner.draw(t, below+lines.branch, below+lines.trunk)
		} else {
			inner.draw(t, below+lines.last, below+"   ")
		}
	}
}

func (b *branch) label() string {
	switch {
	case b.Name != nil:
		return path.Base(*b.Name)
	case b.Inode == ipcns.InitialInode:
		return "init"
	case b.Inode != 0:
		return fmt.Sprintf("ipc:[%d]", b.Inode)
	case b.PID != nil:
		return fmt.Sprintf("pid:%d", *b.PID) // by which it is named elsewhere too
	}
	return b.Engine
}

// lines are what a tree is drawn with: in ASCII, if the terminal's characters
// are not those of Unicode.
var lines = func() struct{ branch, last, trunk string } {
	for _, name := range [...]string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := os.Getenv(name); value != "" {
			if upper := strings.ToUpper(value); !strings.Contains(upper, "UTF-8") && !strings.Contains(upper, "UTF8") {
				break
			}
			return struct{ branch, last, trunk string }{"├─ ", "└─ ", "│  "}
		}
	}
	return struct{ branch, last, trunk string }{"|- ", "`- ", "|  "}
}()
