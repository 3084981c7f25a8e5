//go:build linux

package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/mqueue"
	"github.com/ipcns/ipcns/sysv"
)

// onlyCalls is the part of this program that compares the Go packages with
// the same work in C; it has to be in a namespace of its own. onlyWork does
// one work, and onlyEcho is the other process of a ping-pong.
const (
	onlyCalls = "calls"
	onlyWork  = "work"
	onlyEcho  = "echo"
)

const (
	callRuns   = 15    // of each program and work
	callsInRun = 20000 // of a work
)

//go:embed testdata/calls-in-c.c
var callsInCSource []byte

// A work is what both programs do over and over.
type work struct {
	name   string // as calls-in-c knows it
	what   string
	wanted string
	do     func(ctx context.Context, n int) (start time.Time, err error)
	cancel bool // with a context that can end
}

func works() []work {
	return []work{
		{"msg-64", "msgsnd and msgrcv of 64 bytes", "1.1 at most", msgWork(64), false},
		{"msg-4k", "msgsnd and msgrcv of 4 KiB", "1.1 at most", msgWork(4096), false},
		{"sem", "semop up and down", "1.1 at most", semWork, false},
		{"shm", "shmat, a byte, shmdt", "1.1 at most", shmWork, false},
		{"mq-64", "mq_send and mq_receive of 64 bytes", "1.5 at most", mqWork(64), false},
		{"mq-4k", "mq_send and mq_receive of 4 KiB", "1.5 at most", mqWork(4096), false},
		{"msg-ping-pong", "a message to another process and back", "1.3 at most", msgPingPong, false},
		{"sem-ping-pong", "a semaphore to another process and back", "1.3 at most", semPingPong, false},
		{"mq-ping-pong", "a POSIX message to another process and back", "1.5 at most", mqPingPong, false},
		{"msg-ping-pong", "... the System V message, with a context that can end", "", msgPingPong, true},
		{"sem-ping-pong", "... the semaphore, with a context that can end", "", semPingPong, true},
		{"mq-ping-pong", "... the POSIX message, with a context that can end", "", mqPingPong, true},
	}
}

func (t tools) compareCalls() error {
	again, err := t.again(onlyCalls, "ipcns", "run", "--root", "--share", "mqueue,shm", "--")
	if err != nil {
		return err
	}
	return again.Run()
}

// compareInside compares in this namespace.
func (t tools) compareInside(dir string) error {
	fmt.Printf("The Go packages and the same work in C, %d times in a run:\n\n", callsInRun)
	c := filepath.Join(dir, "calls-in-c")
	if err := compileC(callsInCSource, c); err != nil {
		fmt.Printf("    skipped: %v\n\n", err)
		return nil
	}
	for i, w := range works() {
		var ours, theirs, ratios []float64
		for range callRuns {
			our, err := t.timeOurs(i)
			if err != nil {
				return err
			}
			their, err := printed(exec.Command(c, w.name, strconv.Itoa(callsInRun)))
			if err != nil {
				return err
			}
			ours, theirs, ratios = append(ours, our), append(theirs, their), append(ratios, our/their)
		}
		fmt.Printf("%-55s %.2f (%.2f to %.2f)  %6.0f ns / %6.0f ns", w.what, quartile(2, ratios), quartile(1, ratios), quartile(3, ratios), quartile(2, ours), quartile(2, theirs))
		if w.wanted != "" {
			fmt.Printf("   wanted: %s", w.wanted)
		}
		fmt.Println()
	}
	fmt.Println()
	return nil
}

// timeOurs lets a process of its own do a work, as the C program is one.
func (t tools) timeOurs(index int) (float64, error) {
	cmd, err := selfAs(onlyWork, strconv.Itoa(index))
	if err != nil {
		return 0, err
	}
	return printed(cmd)
}

func selfAs(part string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{"-only=" + part}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// printed returns the number that a command prints.
func printed(cmd *exec.Cmd) (float64, error) {
	output, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(output)), 64)
}

// doWork does one work and prints the nanoseconds that one time took.
func doWork(index string) error {
	i, err := strconv.Atoi(index)
	if err != nil {
		return err
	}
	w := works()[i]
	ctx := context.Background()
	if w.cancel {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Hour)
		defer cancel()
	}
	start, err := w.do(ctx, callsInRun)
	if err != nil {
		return err
	}
	_, err = fmt.Println(float64(time.Since(start)) / callsInRun)
	return err
}

var system = kernel.System{}

func msgWork(size int) func(context.Context, int) (time.Time, error) {
	return func(ctx context.Context, n int) (start time.Time, err error) {
		queue, err := sysv.CreateMessageQueue(system, ipc.Private, 0o600)
		if err != nil {
			return start, err
		}
		text := make([]byte, size)
		start = time.Now()
		for range n {
			if err := queue.Send(ctx, 1, text, 0); err != nil {
				return start, err
			}
			if _, _, err := queue.Receive(ctx, 0, text, 0); err != nil {
				return start, err
			}
		}
		return start, nil
	}
}

func semWork(ctx context.Context, n int) (start time.Time, err error) {
	set, err := sysv.CreateSemaphoreSet(ctx, system, ipc.Private, []uint16{0}, 0o600)
	if err != nil {
		return start, err
	}
	start = time.Now()
	for range n {
		if err := set.Release(0); err != nil {
			return start, err
		}
		if err := set.Acquire(ctx, 0); err != nil {
			return start, err
		}
	}
	return start, nil
}

func shmWork(ctx context.Context, n int) (start time.Time, err error) {
	segment, err := sysv.CreateSegment(system, ipc.Private, 65536, 0o600)
	if err != nil {
		return start, err
	}
	touch := func(memory []byte) error { memory[0]++; return nil }
	start = time.Now()
	for range n {
		attachment, err := segment.Attach(0)
		if err != nil {
			return start, err
		}
		if err := attachment.Use(touch); err != nil {
			return start, err
		}
		if err := attachment.Detach(); err != nil {
			return start, err
		}
	}
	return start, segment.Remove()
}

func mqWork(size int) func(context.Context, int) (time.Time, error) {
	return func(ctx context.Context, n int) (start time.Time, err error) {
		queue, err := mqueue.Create(system, "/go", mqueue.ReadWrite, 0o600, mqueue.Attributes{Maxmsg: 8, Msgsize: size})
		if err != nil {
			return start, err
		}
		message := make([]byte, size)
		start = time.Now()
		for range n {
			if err := queue.Send(ctx, message, 0); err != nil {
				return start, err
			}
			if _, _, err := queue.Receive(ctx, message); err != nil {
				return start, err
			}
		}
		return start, mqueue.Unlink(system, "/go")
	}
}

// A side is one of the two processes of a ping-pong: it sends and it
// receives.
type side struct{ send, receive func() error }

// echoes are the other sides, by name.
var echoes = map[string]func(ctx context.Context, args []string) (side, error){
	"msg": msgSide, "sem": semSide, "mq": mqSide,
}

// pingPong sends and receives n times, against another process that echoes.
// There and back are what each side is made of, in its view.
func pingPong(ctx context.Context, n int, kind string, there, back []string) (start time.Time, err error) {
	side, err := echoes[kind](ctx, there)
	if err != nil {
		return start, err
	}
	_, canEnd := ctx.Deadline()
	echo, err := selfAs(onlyEcho, append([]string{kind, strconv.FormatBool(canEnd), strconv.Itoa(n)}, back...)...)
	if err != nil {
		return start, err
	}
	if err := echo.Start(); err != nil {
		return start, err
	}
	// The first round waits for the other process to have started.
	for i := range n {
		if i == 1 {
			start = time.Now()
		}
		if err := side.send(); err != nil {
			return start, err
		}
		if err := side.receive(); err != nil {
			return start, err
		}
	}
	return start, echo.Wait()
}

func doEcho(args []string) error {
	kind, canEnd, count, args := args[0], args[1], args[2], args[3:]
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if canEnd == "true" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Hour)
		defer cancel()
	}
	side, err := echoes[kind](ctx, args)
	if err != nil {
		return err
	}
	for range n {
		if err := side.receive(); err != nil {
			return err
		}
		if err := side.send(); err != nil {
			return err
		}
	}
	return nil
}

func msgPingPong(ctx context.Context, n int) (start time.Time, err error) {
	there, err := sysv.CreateMessageQueue(system, ipc.Private, 0o600)
	if err != nil {
		return start, err
	}
	back, err := sysv.CreateMessageQueue(system, ipc.Private, 0o600)
	if err != nil {
		return start, err
	}
	a, b := strconv.Itoa(there.ID()), strconv.Itoa(back.ID())
	return pingPong(ctx, n, "msg", []string{a, b}, []string{b, a})
}

// msgSide is made of the ids of the queues to send to and to receive from.
func msgSide(ctx context.Context, ids []string) (side, error) {
	to, err := strconv.Atoi(ids[0])
	if err != nil {
		return side{}, err
	}
	from, err := strconv.Atoi(ids[1])
	if err != nil {
		return side{}, err
	}
	out, in := sysv.MessageQueueByID(system, to), sysv.MessageQueueByID(system, from)
	text := make([]byte, 64)
	return side{
		send: func() error { return out.Send(ctx, 1, text, 0) },
		receive: func() error {
			_, _, err := in.Receive(ctx, 0, text, 0)
			return err
		},
	}, nil
}

func semPingPong(ctx context.Context, n int) (start time.Time, err error) {
	set, err := sysv.CreateSemaphoreSet(ctx, system, ipc.Private, []uint16{0, 0}, 0o600)
	if err != nil {
		return start, err
	}
	id := strconv.Itoa(set.ID())
	return pingPong(ctx, n, "sem", []string{id, "0", "1"}, []string{id, "1", "0"})
}

// semSide is made of the id of the set, and the numbers of the semaphores to
// release and to acquire.
func semSide(ctx context.Context, args []string) (side, error) {
	var numbers [3]int
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.Atoi(args[i]); err != nil {
			return side{}, err
		}
	}
	set := sysv.SemaphoreSetByID(system, numbers[0])
	return side{
		send:    func() error { return set.Release(numbers[1]) },
		receive: func() error { return set.Acquire(ctx, numbers[2]) },
	}, nil
}

func mqPingPong(ctx context.Context, n int) (start time.Time, err error) {
	for _, name := range []string{"/there", "/back"} {
		queue, err := mqueue.Create(system, name, mqueue.ReadWrite, 0o600, mqueue.Attributes{Maxmsg: 8, Msgsize: 64})
		if err != nil {
			return start, err
		}
		defer queue.Close()
		defer mqueue.Unlink(system, name)
	}
	return pingPong(ctx, n, "mq", []string{"/there", "/back"}, []string{"/back", "/there"})
}

// mqSide is made of the names of the queues to send to and to receive from.
func mqSide(ctx context.Context, names []string) (side, error) {
	out, err := mqueue.Open(system, names[0], mqueue.WriteOnly)
	if err != nil {
		return side{}, err
	}
	in, err := mqueue.Open(system, names[1], mqueue.ReadOnly)
	if err != nil {
		return side{}, err
	}
	message := make([]byte, 64)
	return side{
		send: func() error { return out.Send(ctx, message, 0) },
		receive: func() error {
			_, _, err := in.Receive(ctx, message)
			return err
		},
	}, nil
}
