//go:build linux

// Package programs runs programs that were not written for ipcns on each engine
// of "ipcns run", and compares what they print. The kernel is right.
//
// The scripts in testdata make the programs do what they are for, and print
// what two runs of them have in common. Whatever differs from run to run, such
// as a time, they or the table in programs_test.go leave out.
package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/cli"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/rogpeppe/go-internal/testscript"
)

// An engine is what a program's calls are answered by.
type engine struct {
	name string
	run  []string // the command that takes the options of "ipcns run" and a program
}

// engines are those that are compared. The first is the one that is right.
var engines = []engine{
	{"kernel", []string{"ipcns", "run", "--engine", "kernel"}},
	{"userspace", []string{"ipcns", "run", "--engine", "userspace"}},
	{"userspace in a sandbox", []string{"sandbox", "ipcns", "run", "--engine", "userspace"}},
}

// command returns the command that runs a program in a new namespace.
func (e engine) command(options, program []string) []string {
	return slices.Concat(e.run, options, []string{"--"}, program)
}

func TestMain(m *testing.M) {
	// What ipcns starts of itself has names that begin with its own.
	if strings.HasPrefix(filepath.Base(os.Args[0]), "ipcns-") {
		os.Exit(cli.Main(os.Args))
	}
	testscript.Main(withPrograms{m}, map[string]func(){
		"ipcns":             func() { os.Exit(cli.Main(os.Args)) },
		"sandbox":           becomeSandboxed,
		"try-refused-calls": orFail(tryRefusedCalls),
		"supervise-a-call":  orFail(superviseACall),
	})
}

// orFail is a program that does something, or tells why it cannot.
func orFail(do func() error) func() {
	return func() {
		if err := do(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// withPrograms are the tests of this package, with the directory that
// testscript has put the programs in open to every user: a server that root
// may not run looks for ipcns there too.
type withPrograms struct{ tests testscript.TestingM }

func (w withPrograms) Run() int {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // instead of a second after every program
	// Debian's PostgreSQL has its server beside the search path.
	servers, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is right
	if len(servers) > 0 {
		os.Setenv("PATH", os.Getenv("PATH")+":"+servers[len(servers)-1])
	}
	if err := openToAll("ipcns"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return leak.Checked(w.tests).Run()
}

// openToAll lets every user run a program of the search path.
func openToAll(name string) error {
	program, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	bin := filepath.Dir(program)
	for _, dir := range []string{bin, filepath.Dir(bin)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}
