//go:build linux

package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/doctor"
	"github.com/ipcns/ipcns/internal/graph"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
)

// graphFormats are what a graph is written as.
var graphFormats = map[string]func(*graph.Graph, io.Writer) error{
	"svg": (*graph.Graph).SVG, "dot": (*graph.Graph).DOT, "mermaid": (*graph.Graph).Mermaid,
}

func newGraph() *cobra.Command {
	var format string
	var all bool
	cmd := &cobra.Command{
		Use:   "graph [NS | --all] [--format dot|mermaid|svg]",
		Short: "Draw who talks to whom over what",
		Long: `Draw the processes of a namespace, that of this process if none is given, and
what they have to do with its objects: who has sent and received last, who has a
segment attached or a POSIX queue open, who has operated on semaphores last, and
who waits for what, and how long.

Arrows point the way that messages and memory go, and to who waits. What the
kernel does not tell, such as who holds a semaphore, is dashed: a guess. Processes
outside the namespace, and those that are gone, have a dotted line around them.
Processes that do the same are one, and so are many of one program.

It is an SVG picture, which needs nothing else and is what a browser shows, or
the text that graphviz or Mermaid draws. --all draws all namespaces with objects.

` + referenceHelp,
		Example: `  ipcns graph web >web.svg
  sudo ipcns graph --all >all.svg
  ipcns graph web --format dot | dot -Tpdf >web.pdf
  ipcns graph pid:4711 --format mermaid`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || all && len(args) > 0 {
				return takes(cmd, "one namespace, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			write := graphFormats[format]
			if write == nil {
				return wrongUsage("--format takes dot, mermaid or svg, not %q", format)
			}
			if all {
				return graphAll(cmd, write)
			}
			t := target{"self"}
			if len(args) > 0 {
				t.reference = args[0]
			}
			return examine(cmd, &t, func(_ ipc.System, look doctor.Look, _ *survey.Namespace) error {
				return write(graph.Of(look.Survey, someone), cmd.OutOrStdout())
			})
		},
		ValidArgsFunction: completeReferences,
	}
	cmd.Flags().BoolVar(&all, "all", false, "draw all namespaces of the machine")
	cmd.Flags().StringVar(&format, "format", "svg", "write dot, mermaid or svg")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(slices.Sorted(maps.Keys(graphFormats)), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func graphAll(cmd *cobra.Command, write func(*graph.Graph, io.Writer) error) error {
	look, closed, err := examineAll()
	if err != nil {
		return err
	}
	if err := write(graph.Of(look.Survey, someone), cmd.OutOrStdout()); err != nil {
		return err
	}
	if len(closed) > 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "ipcns: "+closedNote(closed, "graph"))
	}
	return nil
}

// someone returns the process of an id, which a message queue has of a thread.
func someone(id int) (graph.Someone, bool) {
	const proc = host.Proc("/proc")
	if !proc.There(id) {
		return graph.Someone{}, false
	}
	who := graph.Someone{PID: id, Command: proc.Command(id)}
	if pid, err := proc.ProcessOf(id); err == nil {
		who.PID = pid
	}
	if started, err := proc.Started(id); err == nil {
		who.Started = started
	}
	return who, true
}
