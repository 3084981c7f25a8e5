//go:build linux

package host_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/kernel"
)

// caller is a program that makes the system calls that its standard input names,
// one a line. It has one thread, which no program in Go has.
const caller = `$| = 1; while (<STDIN>) {
	my ($number, @args) = map { /^x(.*)/ ? pack("H*", $1) : int $_ } split;
	print syscall($number, @args), " ", int $!, "\n";
}`

// A process is one that makes calls as it is told.
type process struct {
	t   *testing.T
	pid int
	in  io.WriteCloser
	out *bufio.Scanner
}

// start starts a caller, as begin does; see [caller].
func start(t *testing.T, cmd *exec.Cmd, begin func() error) *process {
	t.Helper()
	in, err := cmd.StdinPipe()
	ipctest.Must(t, err)
	out, err := cmd.StdoutPipe()
	ipctest.Must(t, err)
	ipctest.Must(t, begin())
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &process{t, cmd.Process.Pid, in, bufio.NewScanner(out)}
}

func callerCommand(t *testing.T) *exec.Cmd {
	t.Helper()
	perl, err := exec.LookPath("perl")
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(perl, "-e", caller)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	return cmd
}

// startAlone starts a process in a namespace of its own.
func startAlone(t *testing.T) *process {
	t.Helper()
	cmd := ipctest.Apart(t, callerCommand(t))
	return start(t, cmd, cmd.Start)
}

// startInside starts a process in a namespace.
func startInside(t *testing.T, ns *ipcns.Namespace) *process {
	t.Helper()
	args := callerCommand(t).Args
	cmd := ns.Command(args[0], args[1:]...)
	return start(t, cmd.Cmd, cmd.Start)
}

// begin begins a call, which may sleep. Arguments are integers, and memory: bytes,
// or text that the kernel is to find the end of.
func (p *process) begin(number uintptr, args ...any) {
	p.t.Helper()
	line := fmt.Sprint(number)
	for _, arg := range args {
		switch arg := arg.(type) {
		case []byte:
			line += " x" + hex.EncodeToString(arg)
		case string:
			line += " x" + hex.EncodeToString([]byte(arg)) + "00"
		default:
			line += fmt.Sprintf(" %d", arg)
		}
	}
	_, err := fmt.Fprintln(p.in, line)
	ipctest.Must(p.t, err)
}

// call makes a call, and returns its result.
func (p *process) call(number uintptr, args ...any) (result int) {
	p.t.Helper()
	p.begin(number, args...)
	var errno int
	if !p.out.Scan() {
		p.t.Fatal("the process has ended")
	}
	_, err := fmt.Sscan(p.out.Text(), &result, &errno)
	ipctest.Must(p.t, err)
	if result == -1 {
		p.t.Fatalf("call %d %v: error number %d", number, args, errno)
	}
	return result
}

// look returns what a process uses.
func look(t *testing.T, pid int, within ...host.Within) host.Process {
	t.Helper()
	processes, err := host.Proc("/proc").Processes(within)
	ipctest.Must(t, err)
	for _, p := range processes {
		if p.PID == pid {
			return p
		}
	}
	t.Fatalf("process %d was not found", pid)
	panic("unreachable")
}

// knowledge returns what is known of namespaces.
func knowledge(t *testing.T, namespaces ...*ipcns.Namespace) (within []host.Within) {
	t.Helper()
	for _, ns := range namespaces {
		w := host.Within{Namespace: ns.Inode()}
		ipctest.Do(t, ns, func() (err error) {
			w.Contents, err = host.ContentsOf(kernel.System{}, false)
			return err
		})
		w.Device = func() (device uint64, err error) {
			err = ns.Do(func() error {
				device, err = kernel.System{}.MqDevice()
				return err
			})
			return device, err
		}
		within = append(within, w)
	}
	return within
}

// describeUse has a line for each use of a process, with names for namespaces.
func describeUse(p host.Process, names map[uint64]string) string {
	var lines strings.Builder
	for _, a := range p.Attached {
		how := ""
		if a.ReadOnly {
			how = " read-only"
		}
		fmt.Fprintf(&lines, "%s: segment %d, %d bytes in %d mappings%s\n", names[a.Namespace], a.ID, a.Bytes, a.Mappings, how)
	}
	for _, queue := range p.Open {
		state := ""
		if queue.Unlinked {
			state = " unlinked"
		}
		if !queue.Receives {
			state += " only to send"
		}
		if !queue.Sends {
			state += " only to receive"
		}
		fmt.Fprintf(&lines, "%s: queue %s, descriptor %d%s\n", names[queue.Namespace], queue.Name, queue.FD, state)
	}
	for _, w := range p.Waiting {
		timed := ""
		if w.Timed {
			timed = " timed"
		}
		fmt.Fprintf(&lines, "%s: %s %d%s type %d bytes %d %v%s\n", names[w.Namespace], w.Call, w.ID, w.Name, w.Type, w.Bytes, w.Operations, timed)
	}
	return lines.String()
}

// wantUse expects what a process uses.
func wantUse(t *testing.T, p host.Process, names map[uint64]string, want ...string) {
	t.Helper()
	text := strings.Join(want, "\n")
	if text != "" {
		text += "\n"
	}
	if got := describeUse(p, names); got != text {
		t.Errorf("process %d:\n got %s\nwant %s", p.PID, got, text)
	}
}

func namesOf(namespaces ...*ipcns.Namespace) map[uint64]string {
	names := map[uint64]string{0: "unknown"}
	for i, ns := range namespaces {
		names[ns.Inode()] = string(rune('A' + i))
	}
	return names
}
