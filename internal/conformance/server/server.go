//go:build linux

// Package server is a process of the conformance suite that makes real system
// calls: those that the test asks for, in whatever namespace it was started in.
package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// role is that of the test binary as a server.
const role = "serve calls"

// Roles are what a test binary with servers has to play; see [ipctest.Play].
func Roles() map[string]func() error { return map[string]func() error{role: serve} }

// Descriptors of a server.
const (
	callsFD       = 3 // requests and answers
	descriptorsFD = 4 // the two descriptors of each server that it starts
)

// A server makes calls for the test, in the namespace that it was started in.
// Its exported methods are those that a request can name.
type server struct {
	kernel.System
	descriptors *net.UnixConn

	writing sync.Mutex
	answers *json.Encoder

	mu       sync.Mutex
	cancels  map[int]context.CancelFunc // by call
	queues   map[int]*queue
	ends     map[int]func() error // by registration
	handles  int
	children map[int]chan struct{} // by pid, closed when reaped
}

// serve answers requests until the test closes the connection.
func serve() error {
	calls, err := unixConn(callsFD)
	if err != nil {
		return err
	}
	descriptors, err := unixConn(descriptorsFD)
	if err != nil {
		return err
	}
	s := &server{
		descriptors: descriptors,
		answers:     json.NewEncoder(calls),
		cancels:     map[int]context.CancelFunc{},
		queues:      map[int]*queue{},
		ends:        map[int]func() error{},
		children:    map[int]chan struct{}{},
	}
	for requests := json.NewDecoder(calls); ; {
		var r request
		if err := requests.Decode(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		s.take(r)
	}
}

func unixConn(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

func (s *server) take(r request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Cancel {
		if cancel := s.cancels[r.Call]; cancel != nil {
			cancel()
		}
		return
	}
	ctx := context.Background()
	if r.Cancellable {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		s.cancels[r.Call] = cancel
		if r.Ended {
			cancel()
		}
	}
	target := reflect.ValueOf(s)
	if r.Queue != 0 {
		target = reflect.ValueOf(s.queues[r.Queue])
	}
	go func() {
		s.send(call(ctx, target.MethodByName(r.Method), r))
		s.mu.Lock()
		defer s.mu.Unlock()
		if cancel := s.cancels[r.Call]; cancel != nil {
			cancel()
			delete(s.cancels, r.Call)
		}
	}()
}

// call calls the method, whose last result is an error.
func call(ctx context.Context, method reflect.Value, r request) answer {
	var in []reflect.Value
	for i := range method.Type().NumIn() {
		arg := reflect.New(method.Type().In(i))
		if context, ok := arg.Interface().(*context.Context); ok {
			*context = ctx
		} else {
			if err := json.Unmarshal(r.Args[0], arg.Interface()); err != nil {
				panic(err)
			}
			r.Args = r.Args[1:]
		}
		in = append(in, arg.Elem())
	}
	out := method.Call(in)
	a := answer{Call: r.Call}
	results, last := out[:len(out)-1], out[len(out)-1].Interface()
	for _, result := range results {
		a.Results = append(a.Results, encode(result.Interface()))
	}
	if err, failed := last.(error); failed {
		a.Error = &failure{Text: err.Error(), Context: err == ctx.Err()}
		errors.As(err, &a.Error.Errno)
	}
	return a
}

func encode(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

func (s *server) send(a answer) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.answers.Encode(a) // fails only when the test is over
}

func (s *server) handle() int {
	s.handles++
	return s.handles
}

// Exit ends the process.
func (s *server) Exit() error {
	os.Exit(0)
	return nil
}

// Start starts another server with these credentials, or with those of this
// one, on the next two descriptors that the test sends.
func (s *server) Start(who *conformance.Credentials) (pid int, err error) {
	files, err := s.receiveDescriptors()
	if err != nil {
		return 0, err
	}
	cmd := Command(files)
	if who != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: who.UID, Gid: who.GID, Groups: who.Groups}
		for _, capability := range who.Capabilities {
			cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, uintptr(capability))
		}
	}
	err = cmd.Start()
	for _, file := range files {
		file.Close()
	}
	if err != nil {
		return 0, err
	}
	reaped := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.children[cmd.Process.Pid] = reaped
	go func() {
		cmd.Wait()
		close(reaped)
	}()
	return cmd.Process.Pid, nil
}

// Command returns the command that runs a server on the files of [Start].
func Command(files []*os.File) *exec.Cmd {
	cmd := ipctest.Again(role)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, files
	return cmd
}

func (s *server) receiveDescriptors() ([]*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(2*4))
	_, n, _, _, err := s.descriptors.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "socket"))
	}
	return files, nil
}

// Wait returns when a child has been waited for.
func (s *server) Wait(pid int) error {
	s.mu.Lock()
	reaped := s.children[pid]
	s.mu.Unlock()
	<-reaped
	return nil
}

// Setrlimit lowers a resource limit.
func (s *server) Setrlimit(resource int, value uint64) error {
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value})
}

// ReadFile reads a file under /proc/sys.
func (s *server) ReadFile(path string) (string, error) {
	content, err := os.ReadFile(path)
	return strings.TrimSpace(string(content)), err
}

// WriteFile writes a file under /proc/sys.
func (s *server) WriteFile(path, content string) error {
	return os.WriteFile(path, []byte(content), 0)
}

// Shmat attaches a segment.
func (s *server) Shmat(id int, addr uintptr, flags int) (memory, error) {
	attached, err := s.System.Shmat(id, addr, flags)
	return memory{uintptr(unsafe.Pointer(unsafe.SliceData(attached))), len(attached)}, err
}

// Shmdt detaches what is attached at that address.
func (s *server) Shmdt(addr uintptr) error { return s.System.Shmdt(bytesAt(addr, 1)) }

func bytesAt(addr uintptr, n int) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), n)
}

// Peek reads memory.
func (s *server) Peek(addr uintptr, n int) (data []byte, err error) {
	data = make([]byte, n)
	return data, faulting(func() { copy(data, bytesAt(addr, n)) })
}

// Poke writes memory.
func (s *server) Poke(addr uintptr, data []byte) error {
	return faulting(func() { copy(bytesAt(addr, len(data)), data) })
}

// faulting returns EFAULT if f uses memory that it may not use.
func faulting(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = syscall.EFAULT
		}
	}()
	f()
	return nil
}

// sleepingCalls are the system calls that count as sleeping. Others sleep
// too, but those are the runtime's.
var sleepingCalls = []int{
	unix.SYS_MSGSND, unix.SYS_MSGRCV, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP,
	unix.SYS_MQ_TIMEDSEND, unix.SYS_MQ_TIMEDRECEIVE,
}

// Sleeping returns how many calls sleep: on a thread, or parked by the runtime.
func (s *server) Sleeping() (int, error) {
	sleeping := parked()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0, err
	}
	for _, thread := range threads {
		state, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/syscall")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			return 0, err
		}
		// The first word is the call's number, or says that the thread runs.
		word, _, _ := strings.Cut(string(state), " ")
		if number, err := strconv.Atoi(word); err == nil && slices.Contains(sleepingCalls, number) {
			sleeping++
		}
	}
	return sleeping, nil
}

// parked returns how many goroutines wait in a message queue descriptor.
func parked() (n int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		header, calls, _ := bytes.Cut(stack, []byte("\n"))
		waits := bytes.Contains(header, []byte("[IO wait")) || bytes.Contains(header, []byte("[select"))
		if waits && bytes.Contains(calls, []byte("kernel.(*mqd).sleep(")) {
			n++
		}
	}
	return n
}

// A queue is an open message queue descriptor of a server.
type queue struct {
	ipc.Mqd
	server *server
}

// MqOpen opens a queue and returns the handle for requests.
func (s *server) MqOpen(name string, flags int, mode uint32, attr *ipc.MqAttr) (int, error) {
	mqd, err := s.System.MqOpen(name, flags, mode, attr)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	handle := s.handle()
	s.queues[handle] = &queue{mqd, s}
	return handle, nil
}

// Timedreceive receives into a buffer of that size.
func (q *queue) Timedreceive(ctx context.Context, size int) (message []byte, priority uint, err error) {
	buffer := make([]byte, size)
	n, priority, err := q.Mqd.Timedreceive(ctx, buffer)
	return buffer[:n], priority, err
}

// Msgrcv receives into a buffer of that size.
func (s *server) Msgrcv(ctx context.Context, id int, typ int64, size, flags int) (gotType int64, text []byte, err error) {
	buffer := make([]byte, size)
	gotType, n, err := s.System.Msgrcv(ctx, id, typ, buffer, flags)
	return gotType, buffer[:n], err
}

// Notify makes a registration of that number.
func (q *queue) Notify(registration int) error {
	end, err := q.Mqd.Notify(func() { q.server.send(answer{Notification: registration}) })
	if err != nil {
		return err
	}
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	q.server.ends[registration] = end
	return nil
}

// EndNotify ends a registration.
func (s *server) EndNotify(registration int) error {
	s.mu.Lock()
	end := s.ends[registration]
	s.mu.Unlock()
	return end()
}
