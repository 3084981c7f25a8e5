//go:build linux

// Bench measures ipcns against what people use instead, and prints ratios. The
// two programs of a ratio run in turns, since a time alone says more about the
// machine than about a program:
//
//	go run ./internal/bench build/ipcns
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	starts   = flag.Int("starts", 300, "how often each of two programs starts another")
	listings = flag.Int("listings", 30, "how often each of two programs lists the queues")
	queues   = flag.Int("queues", 20000, "how many queues there are to list")
	names    = flag.Int("names", 1000, "how many names there are, where there are many")
	rounds   = flag.Int("rounds", 3, "how often that many names are made")
	only     = flag.String("only", "", "the part to measure, for the copies of bench that bench starts")
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: bench [-starts N] [-listings N] [-queues N] [-names N] [-rounds N] IPCNS")
	}
	flag.Parse()
	if work := map[string]func() error{
		onlyWork: func() error { return doWork(flag.Arg(0)) },
		onlyEcho: func() error { return doEcho(flag.Args()) },
		onlyPeak: func() error { return printPeak(flag.Args()) },
	}[*only]; work != nil {
		end(work())
		return
	}
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	end(bench(flag.Arg(0)))
}

func end(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func bench(ipcns string) error {
	// A collection would be on the bill of whatever is being measured.
	debug.SetGCPercent(-1)
	dir, err := os.MkdirTemp("/tmp", "ipcns-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	removeWhenInterrupted(dir)
	t, err := findTools(dir, ipcns)
	if err != nil {
		return err
	}
	switch *only {
	case onlyPrivate:
		return t.comparePrivateStarts()
	case onlyInside:
		return t.listInside()
	case onlyCalls:
		return t.compareInside(dir)
	case onlyUserspace:
		return compareUserspaceHere()
	case onlyMachine:
		return t.compareMachine(dir)
	case onlyNames:
		return t.compareNamesHere(dir)
	}
	t.printVersions()
	if err := t.compareStarts(); err != nil {
		return err
	}
	if err := t.compareListings(); err != nil {
		return err
	}
	if err := t.compareMachine(dir); err != nil {
		return err
	}
	if err := t.compareNames(); err != nil {
		return err
	}
	if err := t.compareCalls(); err != nil {
		return err
	}
	if err := t.compareUserspace(); err != nil {
		return err
	}
	if err := t.compareSupervised(dir); err != nil {
		return err
	}
	return t.comparePostgreSQL(dir)
}

func removeWhenInterrupted(dir string) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		<-interrupted
		os.RemoveAll(dir)
		os.Exit(1)
	}()
}

// tools are the paths of the programs that are not looked for in PATH.
type tools map[string]string

const startInC = "start-in-c"

// findTools puts ipcns and the C program where an ordinary user can reach
// them.
func findTools(dir, ipcns string) (tools, error) {
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(ipcns)
	if err != nil {
		return nil, err
	}
	t := tools{"ipcns": filepath.Join(dir, "ipcns")}
	if err := os.WriteFile(t["ipcns"], program, 0o755); err != nil {
		return nil, err
	}
	if t["true"], err = exec.LookPath("true"); err != nil {
		return nil, err
	}
	if c, err := compile(dir); err == nil {
		t[startInC] = c
	} else {
		fmt.Printf("There is no %s to compare with: %v\n", startInC, err)
	}
	for _, name := range []string{"ipcns", startInC} {
		if err := readFromDisk(t[name]); t[name] != "" && err != nil {
			return nil, err
		}
	}
	return t, nil
}

// readFromDisk has the kernel forget the file as it was written. It keeps such
// a file in larger pieces than one that it has read, as programs that have been
// installed for long are, and that starts ipcns faster by up to a tenth.
func readFromDisk(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// again returns a command that starts this program once more, for a part of
// what there is to measure, in the place where the words take it.
func (t tools) again(part string, words ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append(t.resolve(words), self)
	flag.Visit(func(f *flag.Flag) { args = append(args, "-"+f.Name+"="+f.Value.String()) })
	cmd := exec.Command(args[0], append(args[1:], "-only="+part, t["ipcns"])...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd, nil
}

func (t tools) printVersions() {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		fmt.Printf("Linux %s, %s, %d CPUs\n", unix.ByteSliceToString(uts.Release[:]), runtime.GOARCH, runtime.NumCPU())
	}
	for _, version := range []string{"ipcns version", "unshare --version", "ipcs --version", "nsenter --version", "ip -V", "bwrap --version", "cc --version"} {
		args := t.resolve(strings.Fields(version))
		if output, err := exec.Command(args[0], args[1:]...).Output(); err == nil {
			line, _, _ := strings.Cut(string(output), "\n")
			fmt.Println(line)
		}
	}
	fmt.Printf(`
Each ratio is the median of those of all pairs, which run in turns: our time by
theirs, from fork to the end of the program. Its quartiles follow, and the
median times.

`)
}
