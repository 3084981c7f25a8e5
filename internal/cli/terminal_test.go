//go:build linux

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// A terminal is a pseudo-terminal with a program on it.
type terminal struct {
	master *os.File
	cmd    *exec.Cmd

	mu     sync.Mutex
	unseen []byte // what the program has printed since what see found last
}

type terminalKey struct{}

// theTerminal returns the terminal that the script has opened last.
func theTerminal(ts *testscript.TestScript) *terminal {
	holder := ts.Value(terminalKey{}).(**terminal)
	if *holder == nil {
		ts.Fatalf("there is no terminal; open one with: terminal CMD [ARG...]")
	}
	return *holder
}

// cmdTerminal starts a program on a terminal of 24 lines and 80 columns.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) >= 1, "terminal CMD [ARG...]")
	master, slave, err := openTerminal()
	ts.Check(err)
	defer slave.Close()
	t := &terminal{master: master, cmd: exec.Command(args[0], args[1:]...)}
	ts.Check(t.resize(24, 80))
	t.cmd.Dir = ts.MkAbs(".")
	t.cmd.Env = os.Environ()
	for _, name := range []string{"PATH", "WORK", "HOME", "TMPDIR", "PS1", "XDG_RUNTIME_DIR"} {
		t.cmd.Env = append(t.cmd.Env, name+"="+ts.Getenv(name))
	}
	t.cmd.Env = append(t.cmd.Env, "TERM=vt100", "ENV=", "PWD="+t.cmd.Dir)
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = slave, slave, slave
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := t.cmd.Start(); err != nil {
		master.Close()
		ts.Fatalf("%v", err)
	}
	go t.read()
	*ts.Value(terminalKey{}).(**terminal) = t
	ts.Defer(t.end)
}

func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	var number int
	err = control(master, func(fd int) (err error) {
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			return err
		}
		return unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	})
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}

// control calls f with the descriptor of a file, which stays one that a read
// can be called away from.
func control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := conn.Control(func(fd uintptr) { failure = f(int(fd)) }); err != nil {
		return err
	}
	return failure
}

func (t *terminal) resize(lines, columns uint16) error {
	return control(t.master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: lines, Col: columns})
	})
}

// read collects what the program prints, until nobody has the terminal open.
func (t *terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := t.master.Read(buffer)
		t.mu.Lock()
		t.unseen = append(t.unseen, buffer[:n]...)
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// end hangs the terminal up and waits for the program.
func (t *terminal) end() {
	t.master.Close()
	overdue := time.AfterFunc(patience, func() { unix.Kill(-t.cmd.Process.Pid, unix.SIGKILL) })
	defer overdue.Stop()
	t.cmd.Wait() // with the status of whatever the hangup did to it
}

// cmdType types a line.
func cmdType(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) == 1, "type LINE")
	_, err := theTerminal(ts).master.WriteString(args[0] + "\r")
	ts.Check(err)
}

var keys = map[string]string{"tab": "\t", "ctrl-c": "\x03", "ctrl-d": "\x04", "ctrl-z": "\x1a", "escape": "\x1b"}

// cmdPress presses keys one after the other: those with a name, and others
// that are characters.
func cmdPress(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) >= 1, "press KEY...")
	for _, key := range args {
		if named, ok := keys[key]; ok {
			key = named
		}
		_, err := theTerminal(ts).master.WriteString(key)
		ts.Check(err)
	}
}

// cmdSee waits until the program has printed what matches the regular
// expression, after all that was seen before.
func cmdSee(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) == 1, "see REGEXP")
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	t := theTerminal(ts)
	seen := waitFor(ts, "the terminal shows "+args[0], func() (string, bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		found := want.FindIndex(t.unseen)
		if found == nil {
			return string(t.unseen), false
		}
		seen := string(t.unseen[:found[1]])
		t.unseen = t.unseen[found[1]:]
		return seen, true
	})
	ts.Logf("[seen]\n%q", seen)
}

// cmdResize gives the terminal another size.
func cmdResize(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) == 1, "resize LINESxCOLUMNS")
	var lines, columns uint16
	_, err := fmt.Sscanf(args[0], "%dx%d", &lines, &columns)
	ts.Check(err)
	ts.Check(theTerminal(ts).resize(lines, columns))
}

// cmdHangup closes the terminal as a lost connection does.
func cmdHangup(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, len(args) == 0, "hangup")
	theTerminal(ts).end()
}
