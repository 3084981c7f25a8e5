//go:build linux

package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// commands are what the scripts can do beyond the commands of testscript.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"status":     cmdStatus,
	"fails":      cmdFails,
	"await":      cmdAwait,
	"signal":     cmdSignal,
	"becomes":    cmdBecomes,
	"gone":       cmdGone,
	"shows":      cmdShows,
	"transcript": cmdTranscript,
	"terminal":   cmdTerminal,
	"type":       cmdType,
	"press":      cmdPress,
	"see":        cmdSee,
	"resize":     cmdResize,
	"hangup":     cmdHangup,
}

// patience is how long a script waits for what must come.
const patience = 20 * time.Second

func plain(ts *testscript.TestScript, neg bool, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// cmdStatus runs a program that must end with the exit status, or by the
// signal, that the first argument names.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) >= 2, "status N|SIGNAL CMD [ARG...]")
	if got := outcome(ts, ts.Exec(args[1], args[2:]...)); got != args[0] {
		ts.Fatalf("%s: ended with %s instead of %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// outcome returns the exit status, or the name of the signal, behind the
// error of a program that has run.
func outcome(ts *testscript.TestScript, err error) string {
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return "0"
	case !errors.As(err, &exit):
		ts.Fatalf("%v", err)
	}
	if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
		return unix.SignalName(status.Signal())
	}
	return strconv.Itoa(exit.ExitCode())
}

var oneLineOfIpcns = regexp.MustCompile(`\Aipcns: [^\n]+\n\z`)

// cmdFails is cmdStatus for a program that must print nothing but one line of
// ipcns on standard error.
func cmdFails(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) >= 2, "fails N CMD [ARG...]")
	cmdStatus(ts, neg, args)
	if stdout := ts.ReadFile("stdout"); stdout != "" {
		ts.Fatalf("it printed %q", stdout)
	}
	if stderr := ts.ReadFile("stderr"); !oneLineOfIpcns.MatchString(stderr) {
		ts.Fatalf("it did not tell why in one line: %q", stderr)
	}
}

// cmdAwait waits for a file to hold a line, and stores it in the environment
// variable if there is one.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) == 1 || len(args) == 2, "await FILE [VARIABLE]")
	line := waitFor(ts, args[0]+" holds a line", func() (string, bool) {
		content, _ := os.ReadFile(ts.MkAbs(args[0]))
		line, _, whole := strings.Cut(string(content), "\n")
		return line, whole
	})
	if len(args) == 2 {
		ts.Setenv(args[1], line)
	}
}

// cmdBecomes waits until a process runs the program of that name.
func cmdBecomes(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) == 2, "becomes PID PROGRAM")
	waitFor(ts, "process "+args[0]+" is "+args[1], func() (string, bool) {
		comm, _ := os.ReadFile("/proc/" + args[0] + "/comm")
		return string(comm), string(comm) == args[1]+"\n"
	})
}

// cmdGone waits until a process has ended.
func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) == 1, "gone PID")
	waitFor(ts, "process "+args[0]+" has ended", func() (string, bool) {
		stat, err := os.ReadFile("/proc/" + args[0] + "/stat")
		return string(stat), err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// cmdShows runs a program until its standard output matches. It is for what counts
// the processes of a namespace: who looks into all at the same time, as other
// scripts do, is in each for a moment.
func cmdShows(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) >= 2, "shows REGEXP CMD [ARG...]")
	wanted, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	waitFor(ts, strings.Join(args[1:], " ")+" shows "+args[0], func() (string, bool) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		output := ts.ReadFile("stdout")
		return output, wanted.MatchString(output)
	})
}

// waitFor calls look until it is satisfied, and returns what it saw then.
func waitFor(ts *testscript.TestScript, what string, look func() (string, bool)) string {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		seen, ok := look()
		if ok {
			return seen
		}
		if time.Now().After(end) {
			ts.Fatalf("waited in vain until %s: %q", what, seen)
		}
	}
}

// cmdSignal sends a signal to a process by its id.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) == 2, "signal SIGNAL PID")
	pid, err := strconv.Atoi(args[1])
	ts.Check(err)
	number := unix.SignalNum(args[0])
	if number == 0 || pid <= 1 {
		ts.Fatalf("cannot send %s to %d", args[0], pid)
	}
	ts.Check(unix.Kill(pid, number))
}

// cmdTranscript has a shell, which the program becomes if there is one, run the
// lines of a file that begin with "$ ". They must print the lines that follow
// them, and [N] if they end with the exit status N.
func cmdTranscript(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) >= 1, "transcript FILE [CMD [ARG...]]")
	want := ts.ReadFile(args[0])
	var shell strings.Builder
	for line := range strings.Lines(want) {
		command, typed := strings.CutPrefix(line, "$ ")
		if !typed {
			continue
		}
		command = strings.TrimSuffix(command, "\n")
		fmt.Fprintf(&shell, "printf '%%s\\n' '$ %s'\n{ %s\n} 2>&1\ns=$?; [ $s = 0 ] || echo \"[$s]\"\n", strings.ReplaceAll(command, "'", `'\''`), command)
	}
	program := append(args[1:], "sh", "-c", shell.String())
	if err := ts.Exec(program[0], program[1:]...); err != nil {
		ts.Fatalf("%v", err)
	}
	if seen := ts.ReadFile("stdout"); seen != want {
		ts.Fatalf("%s", diff.Diff(args[0], []byte(want), "stdout", []byte(seen)))
	}
}
