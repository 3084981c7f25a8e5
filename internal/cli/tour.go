//go:build linux

package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newTour() *cobra.Command {
	return &cobra.Command{
		Use:   "tour",
		Short: "Tell the story of IPC namespaces, live, on this machine",
		Long: `Tell what an IPC namespace is in seven steps. Each runs the commands that it
prints and checks what came out; a step that does not come out as told ends the
tour with exit status 1. It needs no privilege but that of "ipcns run", does not
touch your names, and leaves none behind.`,
		Example: "  ipcns tour",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			// The last two, too, would end it with a name left behind.
			ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
			defer stop()
			return takeTour(ctx, cmd.OutOrStdout())
		},
	}
}

// stepTimeout is far more than a step takes; it ends one that hangs.
const stepTimeout = 30 * time.Second

// A tour is a tour under way.
type tour struct {
	ctx  context.Context // ends with the first signal to end
	out  io.Writer
	env  []string // in which ipcns is this program, and an ordinary user has other names
	key  string   // of a queue that the host does not have
	step int
}

func takeTour(ctx context.Context, out io.Writer) error {
	key, err := freeKey()
	if err != nil {
		return err
	}
	bin, remove, err := ownDirectory()
	if err != nil {
		return err
	}
	defer remove()
	names, err := os.MkdirTemp("", "ipcns-tour-names-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(names)
	t := &tour{ctx: ctx, out: out, key: key, env: append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_RUNTIME_DIR="+names)}
	for _, scene := range []func() error{t.host, t.newNamespace, t.oneNamespace, t.twoNamespaces, t.nested, t.named, t.hostAgain} {
		if err := scene(); err != nil {
			return fmt.Errorf("the tour ends at step %d: %w", t.step, cmp.Or(ctx.Err(), err))
		}
	}
	_, err = fmt.Fprintln(out, "\nTo go on: ipcns help")
	return err
}

// freeKey returns a key that no queue of this namespace has.
func freeKey() (string, error) {
	queues, err := host.MessageQueues(kernel.System{})
	if err != nil {
		return "", err
	}
	taken := map[ipc.Key]bool{}
	for _, queue := range queues {
		taken[queue.Perm.Key] = true
	}
	key := ipc.Key(0x2a)
	for taken[key] {
		key++
	}
	return fmt.Sprintf("0x%x", uint32(key)), nil
}

// ownDirectory returns a directory in which this program is called ipcns.
func ownDirectory() (dir string, remove func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	if filepath.Base(self) == "ipcns" {
		return filepath.Dir(self), func() {}, nil
	}
	dir, err = os.MkdirTemp("", "ipcns-tour-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	if err := os.Symlink(self, filepath.Join(dir, "ipcns")); err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}

func (t *tour) host() error {
	t.begin("Programs find a System V message queue by its key.\nThese are the queues that every program of this namespace finds:")
	_, err := t.run("ipcns ipcs -q")
	return err
}

func (t *tour) newNamespace() error {
	t.begin("A program that ipcns runs has a namespace of its own, and none of them:")
	output, err := t.run("ipcns run -- ipcns ipcs -q")
	if err != nil {
		return err
	}
	if n := strings.Count(output, "\n0x"); n != 0 {
		return fmt.Errorf("a new namespace has %d queues", n)
	}
	return nil
}

func (t *tour) oneNamespace() error {
	t.begin("Two processes of one namespace pass a message through a queue:")
	output, err := t.run(fmt.Sprintf("ipcns run -- sh -c 'ipcns msg create %[1]s; echo hello | ipcns msg send %[1]s; ipcns msg recv %[1]s'", t.key))
	if err != nil {
		return err
	}
	return shows(output, "hello\n")
}

func (t *tour) twoNamespaces() error {
	t.begin("The same two processes in two namespaces. The sender, which goes on waiting:")
	pid, stop, err := t.start(fmt.Sprintf("ipcns run -- sh -c 'ipcns msg create %[1]s; echo hello | ipcns msg send %[1]s; echo sent; read stop'", t.key), "sent\n")
	if err != nil {
		return err
	}
	defer stop()
	t.tell("The receiver, with the same key, finds no queue:")
	output, err := t.run("ipcns run -- ipcns msg recv " + t.key)
	if err == nil {
		return errors.New("the receiver found a queue")
	}
	if err := shows(output, "this namespace has none"); err != nil {
		return err
	}
	t.tell("The message is where it was sent:")
	output, err = t.run(fmt.Sprintf("ipcns msg recv %s -n pid:%d", t.key, pid))
	if err != nil {
		return err
	}
	return shows(output, "hello\n")
}

func (t *tour) nested() error {
	t.begin("A namespace within a namespace is as empty as any other:")
	output, err := t.run(fmt.Sprintf("ipcns run -- sh -c 'ipcns msg create %s; ipcns ipcs -q; ipcns run -- ipcns ipcs -q'", t.key))
	if err != nil {
		return err
	}
	tables := strings.Split(output, "Message Queues")
	if len(tables) != 3 || strings.Count(tables[1], "\n0x") != 1 || strings.Contains(tables[2], "\n0x") {
		return errors.New("not one queue outside and none inside")
	}
	return nil
}

func (t *tour) named() error {
	t.begin("A namespace with a name stays without a program in it, and programs come back:")
	name := fmt.Sprintf("tour-%d", os.Getpid())
	defer t.end(name)
	if err := t.runToTheEnd("ipcns create " + name); err != nil {
		return err
	}
	if _, err := t.run(fmt.Sprintf("ipcns exec %s ipcns msg create %s", name, t.key)); err != nil {
		return err
	}
	output, err := t.run(fmt.Sprintf("ipcns exec %s ipcns ipcs -q", name))
	if err != nil {
		return err
	}
	if strings.Count(output, "\n0x") != 1 {
		return errors.New("the queue is not there")
	}
	t.tell(fmt.Sprintf("A program in it makes another inside, which is db in there and %s/db out here,\nand as empty as any:", name))
	if err := t.runToTheEnd(fmt.Sprintf("ipcns exec %s ipcns create db", name)); err != nil {
		return err
	}
	output, err = t.run(fmt.Sprintf("ipcns ipcs -q -n %s/db", name))
	if err != nil {
		return err
	}
	if strings.Contains(output, "\n0x") {
		return errors.New("the inner namespace has a queue")
	}
	t.tell("Both end when somebody says so, with all that is in them:")
	return t.runToTheEnd("ipcns rm -r " + name)
}

// end removes the name, if it is still there.
func (t *tour) end(name string) {
	t.shell(context.WithoutCancel(t.ctx), "ipcns rm -r -f "+name).Run()
}

func (t *tour) hostAgain() error {
	t.begin("Nothing of all this was to be seen here, and nothing of it is left:")
	output, err := t.run("ipcns ipcs -q")
	if err != nil {
		return err
	}
	key, err := parseKey(t.key)
	if err != nil {
		return err
	}
	if strings.Contains(output, "\n"+key.String()) {
		return fmt.Errorf("the host has a queue %s now", t.key)
	}
	return nil
}

func shows(output, want string) error {
	if !strings.Contains(output, want) {
		return fmt.Errorf("the output lacks %q", want)
	}
	return nil
}

// begin begins a step with what its first command shows.
func (t *tour) begin(sentence string) {
	t.step++
	t.tell(fmt.Sprintf("%d. %s", t.step, sentence))
}

// tell prints what the next command shows.
func (t *tour) tell(sentence string) {
	fmt.Fprintf(t.out, "\n%s\n", sentence)
}

// show prints a command as typed.
func (t *tour) show(line string) {
	if terminalWidth() > 0 && os.Getenv("NO_COLOR") == "" {
		line = "\x1b[1m" + line + "\x1b[0m"
	}
	fmt.Fprintln(t.out, "$ "+line)
}

// shell returns the command line as a process to be.
func (t *tour) shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
	cmd.Env = t.env
	cmd.WaitDelay = time.Second
	return cmd
}

// run prints a command, what it prints, and returns that too.
func (t *tour) run(line string) (string, error) {
	t.show(line)
	ctx, cancel := context.WithTimeout(t.ctx, stepTimeout)
	defer cancel()
	cmd := t.shell(ctx, line)
	var output bytes.Buffer
	cmd.Stdout = io.MultiWriter(t.out, &output)
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	return output.String(), err
}

// runToTheEnd is run for what should not be left half done. It goes on when the
// tour is told to end.
func (t *tour) runToTheEnd(line string) error {
	t.show(line)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), stepTimeout)
	defer cancel()
	cmd := t.shell(ctx, line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal interrupts its foreground group
	output, err := cmd.CombinedOutput()
	t.out.Write(output)
	return err
}

// start prints a command that goes on, waits until it has printed ready, and
// returns its process id. Stop ends its standard input and waits for its end.
func (t *tour) start(line, ready string) (pid int, stop func(), err error) {
	t.show(line + " &")
	ctx, cancel := context.WithTimeout(t.ctx, stepTimeout)
	cmd := t.shell(ctx, line)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return 0, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return 0, nil, err
	}
	cmd.Stderr = t.out
	if err := cmd.Start(); err != nil {
		cancel()
		return 0, nil, err
	}
	stop = func() {
		stdin.Close()
		cmd.Wait() // its exit status says only that read met the end
		cancel()
	}
	fmt.Fprintf(t.out, "[process %d]\n", cmd.Process.Pid)
	for lines := bufio.NewReader(stdout); ; {
		text, err := lines.ReadString('\n')
		fmt.Fprint(t.out, text)
		if text == ready {
			return cmd.Process.Pid, stop, nil
		}
		if err != nil {
			stop()
			return 0, nil, fmt.Errorf("it ended before it printed %q", ready)
		}
	}
}
