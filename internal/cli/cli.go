//go:build linux

// Package cli is the command line of ipcns: one file a command, with its help.
package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/internal/run"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses of every command but run and exec, which have those of package
// launch.
const (
	statusFailure = 1
	statusUsage   = 2
)

// Main runs the command line and returns its exit status.
func Main(args []string) int {
	if status, was := server.Main(args); was {
		return status
	}
	root := newRoot()
	addCommands(root, args[1:])
	root.SetArgs(args[1:])
	var helpErr error // which cobra would print and forget
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { helpErr = writeHelp(cmd) })
	err := cmp.Or(root.Execute(), helpErr)
	if err == nil {
		return 0
	}
	for _, failure := range failuresOf(err) {
		fmt.Fprintln(os.Stderr, "ipcns: "+oneline.Of(failure.Error()))
	}
	return statusOf(err)
}

// several returns failures as an error, nil if there are none.
func several(failures []error) error {
	if len(failures) == 0 {
		return nil
	}
	return severalFailures(failures)
}

// severalFailures are told a line each.
type severalFailures []error

func (s severalFailures) Error() string { return errors.Join(s...).Error() }

func failuresOf(err error) []error {
	if several := (severalFailures)(nil); errors.As(err, &several) {
		return several
	}
	return []error{err}
}

// An exitError is an error with an exit status of its own.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

func wrongUsage(format string, args ...any) error {
	return &exitError{statusUsage, fmt.Errorf(format, args...)}
}

func statusOf(err error) int {
	if e := (*exitError)(nil); errors.As(err, &e) {
		return e.status
	}
	return statusFailure
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "ipcns COMMAND",
		Short: "Give any program its own IPC namespace",
		Long: `ipcns gives any program its own IPC namespace: System V message queues,
semaphore sets and shared memory segments, and POSIX message queues, apart
from those of every other program.`,
		Example: `  ipcns run -- ./server             a program with IPC of its own
  ipcns create web                  a namespace that stays, with a name
  ipcns exec web -- ./server        a program in it
  ipcns ls                          the IPC namespaces of this machine
  ipcns ipcs -n pid:4242            what is in that of process 4242
  ipcns ps web                      who uses what is in web, and who waits for what
  ipcns doctor web                  what is wrong there, and what to do
  ipcns tour                        the story of IPC namespaces, live`,
		DisableFlagsInUseLine: true,

		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}, // there is one of our own
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return wrongUsage("unknown command %q; see \"ipcns help\"", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().Bool(insideFlag, false, "the process is in the namespace that -n names")
	if err := root.PersistentFlags().MarkHidden(insideFlag); err != nil {
		panic(err)
	}
	root.SetUsageFunc(writeUsage)
	return root
}

func writeHelp(cmd *cobra.Command) error {
	text := strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)) + "\n\n"
	_, err := io.WriteString(cmd.OutOrStdout(), text+cmd.UsageString())
	return err
}

// writeUsage is cobra's usage without its template, whose package would be
// the largest part of ipcns.
func writeUsage(cmd *cobra.Command) error {
	var b strings.Builder
	if cmd.Runnable() {
		fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, topics := range []bool{false, true} {
		heading := "\nCommands:\n"
		if topics {
			heading = "\nOther topics of help:\n"
		}
		for _, c := range cmd.Commands() {
			if c.IsAdditionalHelpTopicCommand() == topics && !c.Hidden {
				fmt.Fprintf(&b, "%s  %-11s %s\n", heading, c.Name(), c.Short)
				heading = ""
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		fmt.Fprintf(&b, "\nFlags:\n%s", cmd.LocalFlags().FlagUsages())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nFor more about a command: ipcns %sCOMMAND --help\n", strings.TrimPrefix(cmd.CommandPath()+" ", "ipcns "))
	}
	_, err := io.WriteString(cmd.OutOrStderr(), strings.TrimPrefix(b.String(), "\n"))
	return err
}

// commands makes each command. Main adds only the one that it is to run.
var commands = map[string]func() *cobra.Command{
	"run":                 newRun,
	"exec":                newExec,
	"create":              newCreate,
	"rm":                  newRm,
	"rename":              newRename,
	"adopt":               newAdopt,
	"prune":               newPrune,
	"limits":              newLimits,
	"ls":                  newLs,
	"tree":                newTree,
	"inspect":             newInspect,
	"doctor":              newDoctor,
	"graph":               newGraph,
	"gc":                  newGc,
	"top":                 newTop,
	"pids":                newPids,
	"metrics":             newMetrics,
	"ps":                  newPs,
	"identify":            newIdentify,
	"wait":                newWait,
	"ipcs":                newIpcs,
	"msg":                 newMsg,
	"sem":                 newSem,
	"shm":                 newShm,
	"mq":                  newMq,
	"tour":                newTour,
	"version":             newVersion,
	"completion":          newCompletion,
	launch.FailureCommand: newLaunchFailed,
	server.JoinCommand:    newJoinServer,
	lookInsideCommand:     newLookInside,
}

// addCommands adds the command that the arguments begin with, and all of them
// if they begin with something else.
func addCommands(root *cobra.Command, args []string) {
	if len(args) > 0 && commands[args[0]] != nil {
		addCommand(root, commands[args[0]]())
		return
	}
	for _, make := range commands {
		addCommand(root, make())
	}
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = knownCommand
	}
}

// knownCommand refuses help about what there is not.
func knownCommand(cmd *cobra.Command, args []string) error {
	if found, rest, err := cmd.Root().Find(args); err != nil || found == cmd.Root() && len(rest) > 0 {
		return wrongUsage("no help about %q; see \"ipcns help\"", strings.Join(args, " "))
	}
	return nil
}

// addCommand adds a command, whose line of usage is complete as it is.
func addCommand(parent, cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	parent.AddCommand(cmd)
}

// newLaunchFailed is what the stub of package launch becomes to tell what
// went wrong.
func newLaunchFailed() *cobra.Command {
	return failingWith(launch.StatusFailed, &cobra.Command{
		Use:                launch.FailureCommand,
		Hidden:             true,
		DisableFlagParsing: true,
		Args:               cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			otherwise, err := launch.Failure(args)
			if len(otherwise) == 0 {
				return err
			}
			return run.Instead(err, otherwise)
		},
	})
}

// newJoinServer is what becomes a program below its server.
func newJoinServer() *cobra.Command {
	return failingWith(launch.StatusFailed, &cobra.Command{
		Use:                server.JoinCommand,
		Hidden:             true,
		DisableFlagParsing: true,
		Args:               cobra.ArbitraryArgs,
		RunE:               func(cmd *cobra.Command, args []string) error { return run.BecomeJoined(args) },
	})
}

// failingWith gives every failure of the command the exit status, but those of
// package launch, which have their own.
func failingWith(status int, cmd *cobra.Command) *cobra.Command {
	with := func(err error) error {
		if err == nil {
			return nil
		}
		if e := (*launch.Error)(nil); errors.As(err, &e) {
			return &exitError{e.Status, err}
		}
		return &exitError{status, err}
	}
	args, run := cmd.Args, cmd.RunE
	cmd.Args = func(cmd *cobra.Command, a []string) error { return with(args(cmd, a)) }
	cmd.RunE = func(cmd *cobra.Command, a []string) error { return with(run(cmd, a)) }
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return with(flagError(cmd, err)) })
	return cmd
}

func flagError(cmd *cobra.Command, err error) error {
	if e := (*pflag.InvalidValueError)(nil); errors.As(err, &e) && valuesOf[e.GetFlag().Value.Type()] != "" {
		return wrongUsage("--%s takes %s, not %q; see \"%s --help\"", e.GetFlag().Name, valuesOf[e.GetFlag().Value.Type()], e.GetValue(), cmd.CommandPath())
	}
	return wrongUsage("%w; see \"%s --help\"", err, cmd.CommandPath())
}

// valuesOf are the values that flags take, by the types of package pflag,
// whose errors are for programmers.
var valuesOf = map[string]string{
	"bool":     "true or false",
	"int":      "a number",
	"int64":    "a number",
	"uint":     "a number from 0",
	"duration": "a time such as 200ms",
}

// takes tells what arguments a command takes. The name of ipcns comes before
// any error.
func takes(cmd *cobra.Command, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	return wrongUsage("%s takes %s; see \"%s --help\"", strings.TrimPrefix(cmd.CommandPath(), "ipcns "), what, cmd.CommandPath())
}

// noArguments refuses arguments in one line that says what to do.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return takes(cmd, "no argument %q", args[0])
	}
	return nil
}
