//go:build linux

package differential

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/internal/conformance/picture"
	"github.com/ipcns/ipcns/internal/conformance/server"
	"github.com/ipcns/ipcns/internal/conformance/userworld"
	"github.com/ipcns/ipcns/ipc"
)

const firstUID = 31000

// maxText is longer than the messages.
const maxText = 16384

const (
	capDacOverride, capFowner, capIPCLock = 1, 3, 14
	capIPCOwner, capSysAdmin              = 15, 21
)

// cast are the credentials of the tasks.
var cast = []conformance.Credentials{
	{},
	{UID: firstUID, GID: firstUID},
	{UID: firstUID + 1, GID: firstUID, Groups: []uint32{firstUID + 1}},
	{UID: firstUID + 2, GID: firstUID + 2, Groups: []uint32{firstUID}, Capabilities: []int{capIPCOwner}},
	{UID: firstUID + 3, GID: firstUID + 1, Capabilities: []int{capSysAdmin}},
	{UID: firstUID + 1, GID: firstUID + 3, Capabilities: []int{capDacOverride, capFowner, capIPCLock}},
}

// A side is one of the implementations, with what a program has made there.
type side struct {
	t         testing.TB
	world     conformance.World
	oneUser   bool
	processes map[int]*process // by task
	alive     []*process
	started   int
	pids      map[string]string // what to call a process
	ids       map[string][]int  // by kind, the one that was got last first
	sleeping  []*made           // in the order in which they began to
	mqds      []*mqd            // that are open, the last one first
}

func newSide(t testing.TB, of conformance.Implementation, oneUser bool) *side {
	s := &side{t: t, world: of.NewWorld(t), oneUser: oneUser, processes: map[int]*process{}, pids: map[string]string{"0": "nobody"},
		ids: map[string][]int{}}
	return s
}

// A process is one of a side, with what it has.
type process struct {
	conformance.Process
	side     *side
	name     string
	attached [][]byte
}

// process returns the process of a task, which it starts if there is none.
func (s *side) process(task int) *process {
	if p := s.processes[task]; p != nil {
		return p
	}
	who := cast[task]
	if s.oneUser {
		who = conformance.Credentials{}
	}
	return s.add(task, s.world.Process(s.t, who))
}

func (s *side) add(task int, started conformance.Process) *process {
	s.started++
	p := &process{Process: started, side: s, name: fmt.Sprintf("process %d of task %d", s.started, task)}
	s.processes[task] = p
	s.alive = append(s.alive, p)
	s.pids[strconv.Itoa(p.PID())] = p.name
	return p
}

// thread returns what a call that may sleep is made with.
func (p *process) thread() ipc.System {
	user, inGo := p.Process.(*userworld.Process)
	if !inGo {
		return p.Process // which sees to it
	}
	thread := user.Thread()
	p.side.pids[strconv.Itoa(thread.TID())] = p.name
	return thread
}

func (p *process) openMqueue(name string, flags int, mode uint32, attr *ipc.MqAttr) (ipc.Mqd, error) {
	if kernel, ok := p.Process.(*server.Process); ok {
		return kernel.MqOpenPlain(name, flags, mode, attr)
	}
	return p.MqOpen(name, flags, mode, attr)
}

// A made is a call that was begun.
type made struct {
	step    int
	call    string
	id      int  // of the queue, for msgsnd and msgrcv
	mqd     *mqd // for mqsend and mqreceive
	process *process
	of      *making
	cancel  context.CancelFunc
	done    chan string
	over    bool
	result  string
}

// begin makes the call of a step, on a goroutine if it may sleep.
func (s *side) begin(number int, st step) *made {
	c := calls[st.call]
	ctx, cancel := context.WithCancel(context.Background())
	of := &making{process: s.process(st.task), ctx: ctx, number: number, args: st.args}
	for i := range c.args {
		if c.args[i].name == ended.name && st.args[i] != 0 {
			cancel()
		}
	}
	m := &made{step: number, call: st.call, process: of.process, of: of, cancel: cancel, done: make(chan string, 1)}
	if st.call == "msgsnd" || st.call == "msgrcv" {
		m.id = s.idOf(st)
	}
	if st.call == "mqsend" || st.call == "mqreceive" {
		m.mqd = s.descriptor(st.args)
		if m.mqd != nil {
			m.process = m.mqd.of
		}
	}
	if c.sleeps {
		go func() { m.done <- c.do(of) }()
	} else {
		m.done <- c.do(of)
	}
	return m
}

// sleepers returns how many calls of a process are known to sleep.
func (s *side) sleepers(p *process) (n int) {
	for _, m := range s.sleeping {
		if m.process == p {
			n++
		}
	}
	return n
}

// ended takes the calls that are over out of those that sleep.
func (s *side) takeOver() {
	var still []*made
	for _, m := range s.sleeping {
		if !m.over {
			still = append(still, m)
		}
	}
	s.sleeping = still
}

// poll notes the result of a call, if it is over.
func (m *made) poll() bool {
	if !m.over {
		select {
		case m.result = <-m.done:
			m.over = true
		default:
		}
	}
	return m.over
}

// look takes a picture, with names for processes.
func (s *side) look() []string {
	var lines []string
	var err error
	if kernel, ok := s.world.Root().(*server.Process); ok {
		lines, err = kernel.Look()
	} else {
		lines, err = picture.Take(s.world.Root())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range lines {
		lines[i] = s.named(lines[i])
	}
	return lines
}

var pidIn = regexp.MustCompile(`pid:-?\d+`)

// named names processes.
func (s *side) named(text string) string {
	return pidIn.ReplaceAllStringFunc(text, func(pid string) string { return s.owner(pid[len("pid:"):]) })
}

// owner names the process that has an id, or a thread with it.
func (s *side) owner(id string) string {
	if name, known := s.pids[id]; known {
		return name
	}
	for _, p := range s.alive {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/task/%s", p.PID(), id)); err == nil {
			s.pids[id] = p.name
			return p.name
		}
	}
	return "process " + id
}

// kill ends a process. Its threads keep their names.
func (s *side) kill(p *process) {
	if _, ok := p.Process.(*server.Process); ok {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID()))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			s.t.Fatal(err)
		}
		for _, thread := range threads {
			s.pids[thread.Name()] = p.name
		}
	}
	p.Kill()
	for _, m := range s.sleeping {
		if m.process == p {
			<-m.done
			m.over = true
		}
	}
	s.takeOver()
	s.mqds = slices.DeleteFunc(s.mqds, func(d *mqd) bool { return d.of == p })
	for i, other := range s.alive {
		if other == p {
			s.alive = append(s.alive[:i:i], s.alive[i+1:]...)
		}
	}
	for task, other := range s.processes {
		if other == p {
			delete(s.processes, task)
		}
	}
}

// fork lets a task's process go on as its child, and the process do nothing any
// more. It reports whether it could.
func (s *side) fork(task int) {
	s.add(task, s.processes[task].Fork(s.t))
}

// idOf returns the id of the queue that a step means.
func (s *side) idOf(st step) int {
	return (&making{process: &process{side: s}, args: st.args}).id("msg", 0)
}

// queue returns the state of a queue, or of none.
func (s *side) queue(id int) ipc.MsqidDS {
	ds, err := s.world.Root().MsgctlStat(id)
	if err != nil {
		return ipc.MsqidDS{}
	}
	return ds
}

// messages returns the sizes of the messages of a queue.
func (s *side) messages(id, n int) (sizes []int) {
	text := make([]byte, maxText)
	for position := range n {
		_, size, err := s.world.Root().Msgrcv(context.Background(), id, int64(position), text, ipc.MsgCopy|ipc.NoWait)
		if err != nil {
			size = maxText // above msgmax by now
		}
		sizes = append(sizes, size)
	}
	return sizes
}

// senders returns the sizes of the messages of those that sleep to send to a
// queue, and receivers how many sleep to receive from it.
func (s *side) senders(id int) (sizes []int) {
	for _, m := range s.sleeping {
		if m.call == "msgsnd" && m.id == id {
			sizes = append(sizes, m.of.args[2])
		}
	}
	return sizes
}

func (s *side) receivers(id int) (n int) {
	for _, m := range s.sleeping {
		if m.call == "msgrcv" && m.id == id {
			n++
		}
	}
	return n
}

// sleepsIn reports whether a call sleeps in the descriptor that a step means.
func (s *side) sleepsIn(st step) bool {
	return slices.ContainsFunc(s.sleeping, func(m *made) bool { return m.mqd != nil && m.mqd == s.descriptor(st.args) })
}

// descriptor returns the descriptor that the first argument of a call means, nil
// if there is none.
func (s *side) descriptor(args []int) *mqd {
	if len(s.mqds) == 0 {
		return nil
	}
	return s.mqds[args[0]%len(s.mqds)]
}
