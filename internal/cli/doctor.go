//go:build linux

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ipcns/ipcns/internal/doctor"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/spf13/cobra"
)

// Exit statuses of doctor beside statusUsage.
const (
	statusFindings     = 1
	statusDoctorFailed = 3
)

func newDoctor() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "doctor [NS | --all] [--json]",
		Short: "Find what is wrong in a namespace, and say what to do",
		Long: `Find what is wrong with the objects of a namespace, that of this process if none
is given, and say what to do about it. It changes nothing.

Each finding has a code, a severity, the object, the evidence, and a command that
mends it. docs/doctor.md has a section for each code:

  deadlock          processes that wait for each other in a circle
  queue-full        a queue that takes no message any more
  queue-never-read  a queue with messages that nobody has ever received from
  blocked-long      a process that has waited for ten minutes or longer
  orphan-segment    a segment whose users are gone
  orphan-queue      a message queue whose users are gone
  orphan-set        a semaphore set whose users are gone
  unused-queue      a message queue that nobody has used for an hour
  unused-set        a semaphore set that nobody has used for an hour
  removed-but-held  a removed segment that somebody still has attached
  near-limit        nine tenths of a limit are used
  world-writable    an object that every user may write to
  key-collision     a key that two programs use
  stale-name        a name whose namespace has ended

` + referenceHelp + `

--json prints {"findings": [...], "unseen_processes": N, "not_examined": [...]}.

Exit status: 0 if nothing was found, 1 if something was, 2 for wrong usage, and 3
if it cannot look.`,
		Example: `  ipcns doctor
  ipcns doctor web
  sudo ipcns doctor --all
  ipcns doctor web --json | jq -r '.findings[] | select(.severity == "error").fix'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || all && len(args) > 0 {
				return takes(cmd, "one namespace, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d := diagnosis{Closed: []string{}}
			if all {
				look, closed, err := examineAll()
				if err != nil {
					return doctorFailed(err)
				}
				d.Findings, d.Unseen, d.Closed = look.Findings(), look.Unseen, append(d.Closed, closed...)
				return doctorFailed(d.tell(cmd, asJSON))
			}
			t := target{"self"}
			if len(args) > 0 {
				t.reference = args[0]
			}
			if look, stale := examineStale(t.reference); stale {
				d.Findings = look.Findings()
				return doctorFailed(d.tell(cmd, asJSON))
			}
			return doctorFailed(examine(cmd, &t, func(_ ipc.System, look doctor.Look, _ *survey.Namespace) error {
				d.Findings, d.Unseen = look.Findings(), look.Unseen
				return d.tell(cmd, asJSON)
			}))
		},
		ValidArgsFunction: completeReferences,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&all, "all", false, "look into all namespaces of the machine")
	return cmd
}

// doctorFailed gives an error its exit status, unless it has one.
func doctorFailed(err error) error {
	if err == nil || errors.As(err, new(*exitError)) {
		return err
	}
	return &exitError{statusDoctorFailed, err}
}

// A diagnosis is what doctor tells.
type diagnosis struct {
	Findings []doctor.Finding `json:"findings"`
	Unseen   int              `json:"unseen_processes"`
	Closed   []string         `json:"not_examined"`
}

// tell prints the diagnosis. Its error, if there are findings, is the exit status,
// without words.
func (d diagnosis) tell(cmd *cobra.Command, asJSON bool) error {
	var err error
	if asJSON {
		err = listing.WriteJSON(cmd.OutOrStdout(), d)
	} else {
		err = d.write(cmd.OutOrStdout())
		d.note(cmd.ErrOrStderr())
	}
	if err != nil {
		return err
	}
	if len(d.Findings) > 0 {
		return &exitError{statusFindings, severalFailures{}}
	}
	return nil
}

func (d diagnosis) write(w io.Writer) error {
	var b strings.Builder
	for i, f := range d.Findings {
		if i > 0 {
			fmt.Fprintln(&b)
		}
		fmt.Fprintf(&b, "%s: %s: %s\n", f.Severity, f.Code, oneline.Of(subject(f)))
		fmt.Fprintf(&b, "  %s\n", oneline.Of(f.Evidence))
		fmt.Fprintf(&b, "  $ %s\n", oneline.Of(f.Fix))
	}
	if len(d.Findings) == 0 {
		fmt.Fprintln(&b, "nothing found")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (d diagnosis) note(w io.Writer) {
	if len(d.Closed) > 0 {
		fmt.Fprintln(w, "ipcns: "+closedNote(d.Closed, "doctor"))
	}
	if d.Unseen > 0 {
		fmt.Fprintln(w, "ipcns: "+unseenUseNote(d.Unseen))
	}
}

// subject is what a finding is about.
func subject(f doctor.Finding) string {
	switch {
	case f.Object == "":
		return "namespace " + f.Namespace
	case f.Namespace == "self":
		return f.Object
	}
	return f.Object + " in " + f.Namespace
}

// unseenUseNote says that what some processes use is not known.
func unseenUseNote(unseen int) string {
	note := "1 process may not be looked at, and what it uses is not known here"
	if unseen > 1 {
		note = fmt.Sprintf("%d processes may not be looked at, and what they use is not known here", unseen)
	}
	if os.Geteuid() != 0 {
		note += "; root sees more"
	}
	return note
}
