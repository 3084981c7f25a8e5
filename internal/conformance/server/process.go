//go:build linux

package server

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// A Process is a server, as the test sees it.
type Process struct {
	connection
	descriptors *net.UnixConn
	pid         int
	pidfd       int
	reap        func() error
	ending      sync.Once
	forking     sync.Mutex

	mu       sync.Mutex
	attached []attachment
}

var _ conformance.Process = (*Process)(nil)

// A connection carries calls to a server.
type connection struct {
	conn *net.UnixConn
	gone chan struct{} // closed with the connection

	mu            sync.Mutex
	requests      *json.Encoder
	calls         int
	pending       map[int]chan answer
	registrations map[int]*registration
}

// A registration is one by mq_notify.
type registration struct {
	f       func()
	running sync.WaitGroup
}

// errGone is the error of a call of a process that has ended.
var errGone = errors.New("the process has ended")

// socketPairs returns the test's ends of what a server needs, and the
// server's ends.
func socketPairs() (ours []*net.UnixConn, theirs []*os.File, err error) {
	for range 2 {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, nil, err
		}
		conn, err := unixConn(fds[0])
		if err != nil {
			return nil, nil, err
		}
		ours = append(ours, conn)
		theirs = append(theirs, os.NewFile(uintptr(fds[1]), "socket"))
	}
	return ours, theirs, nil
}

// Start runs a server by a function that gives it the files, as descriptors
// from 3 on, and returns its pid and a function that waits for it. The server
// ends with the test.
func Start(t testing.TB, run func(files []*os.File) (pid int, reap func() error, err error)) (*Process, error) {
	t.Helper()
	ours, theirs, err := socketPairs()
	if err != nil {
		t.Fatal(err)
	}
	pid, reap, err := run(theirs)
	for _, file := range theirs {
		file.Close()
	}
	if err != nil {
		ours[0].Close()
		ours[1].Close()
		return nil, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{descriptors: ours[1], pid: pid, pidfd: pidfd, reap: reap, connection: connection{
		conn: ours[0], gone: make(chan struct{}), requests: json.NewEncoder(ours[0]),
		pending: map[int]chan answer{}, registrations: map[int]*registration{},
	}}
	go p.read()
	t.Cleanup(func() {
		p.Kill()
		for _, a := range p.attached {
			unix.Munmap(a.handle)
		}
	})
	return p, nil
}

// read gives answers to the calls that wait for them.
func (c *connection) read() {
	defer close(c.gone)
	for answers := json.NewDecoder(c.conn); ; {
		var a answer
		if answers.Decode(&a) != nil {
			return
		}
		c.mu.Lock()
		if r := c.registrations[a.Notification]; r != nil {
			r.running.Go(r.f)
		} else {
			c.pending[a.Call] <- a
			delete(c.pending, a.Call)
		}
		c.mu.Unlock()
	}
}

// call makes a call of the server, or of a message queue descriptor that it
// has. Args are without the context and results without the error.
func (c *connection) call(ctx context.Context, queue int, method string, args []any, results ...any) error {
	r := request{Queue: queue, Method: method, Cancellable: ctx.Done() != nil, Ended: ctx.Err() != nil}
	for _, arg := range args {
		r.Args = append(r.Args, encode(arg))
	}
	done := make(chan answer, 1)
	c.mu.Lock()
	c.calls++
	r.Call = c.calls
	c.pending[r.Call] = done
	err := c.requests.Encode(r)
	c.mu.Unlock()
	if err != nil {
		return errGone
	}
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests.Encode(request{Call: r.Call, Cancel: true})
	})
	defer stop()
	select {
	case a := <-done:
		return a.read(ctx, results)
	case <-c.gone:
		return errGone
	}
}

func (a *answer) read(ctx context.Context, results []any) error {
	for i, result := range results {
		if err := json.Unmarshal(a.Results[i], result); err != nil {
			return err
		}
	}
	switch {
	case a.Error == nil:
		return nil
	case a.Error.Context:
		return ctx.Err()
	}
	return a.Error
}

// do makes a call that returns an error alone.
func (c *connection) do(method string, args ...any) error {
	return c.call(context.Background(), 0, method, args)
}

// one makes a call with one more result.
func one[T any](c *connection, method string, args ...any) (result T, err error) {
	err = c.call(context.Background(), 0, method, args, &result)
	return result, err
}

// two makes a call with two more results.
func two[T, U any](c *connection, method string, args ...any) (first T, second U, err error) {
	err = c.call(context.Background(), 0, method, args, &first, &second)
	return first, second, err
}

func (p *Process) PID() int { return p.pid }

func (p *Process) Fork(t testing.TB) conformance.Process {
	t.Helper()
	return p.start(t, nil)
}

// start starts a server by this one.
func (p *Process) start(t testing.TB, who *conformance.Credentials) *Process {
	t.Helper()
	child, err := Start(t, func(files []*os.File) (pid int, reap func() error, err error) {
		p.forking.Lock()
		defer p.forking.Unlock()
		rights := unix.UnixRights(int(files[0].Fd()), int(files[1].Fd()))
		if _, _, err := p.descriptors.WriteMsgUnix([]byte{0}, rights, nil); err != nil {
			return 0, nil, err
		}
		pid, err = one[int](&p.connection, "Start", who)
		return pid, func() error { return p.do("Wait", pid) }, err
	})
	if err != nil {
		t.Fatalf("cannot start a process: %v", err)
	}
	return child
}

func (p *Process) Exit() { p.end(func() { p.do("Exit") }) }

func (p *Process) Kill() { p.end(func() { unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0) }) }

// end returns when the process has been waited for: by its parent or, if that
// has ended and this process adopts orphans, here.
func (p *Process) end(how func()) {
	p.ending.Do(func() {
		how()
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, -1)
			if err != unix.EINTR {
				break
			}
		}
		<-p.gone
		p.reap()
		unix.Waitid(unix.P_PIDFD, p.pidfd, nil, unix.WEXITED|unix.WNOHANG, nil)
		unix.Close(p.pidfd)
		p.conn.Close()
		p.descriptors.Close()
	})
}

func (p *Process) Sleeping() int {
	n, err := one[int](&p.connection, "Sleeping")
	if err != nil {
		panic(err)
	}
	return n
}

// ReadFile returns what a file of /proc holds for the process, without the end
// of the line.
func (p *Process) ReadFile(path string) (string, error) {
	return one[string](&p.connection, "ReadFile", path)
}

// WriteFile writes to a file of /proc.
func (p *Process) WriteFile(path, content string) error { return p.do("WriteFile", path, content) }

func (p *Process) Limits() (ipc.Limits, error) { return one[ipc.Limits](&p.connection, "Limits") }

func (p *Process) Msgget(key ipc.Key, flags int) (int, error) {
	return one[int](&p.connection, "Msgget", key, flags)
}

func (p *Process) Msgsnd(ctx context.Context, id int, typ int64, text []byte, flags int) error {
	return p.call(ctx, 0, "Msgsnd", []any{id, typ, text, flags})
}

func (p *Process) Msgrcv(ctx context.Context, id int, typ int64, text []byte, flags int) (gotType int64, n int, err error) {
	var got []byte
	err = p.call(ctx, 0, "Msgrcv", []any{id, typ, len(text), flags}, &gotType, &got)
	return gotType, copy(text, got), err
}

func (p *Process) MsgctlStat(id int) (ipc.MsqidDS, error) {
	return one[ipc.MsqidDS](&p.connection, "MsgctlStat", id)
}

func (p *Process) MsgctlSet(id int, set ipc.MsqidSet) error { return p.do("MsgctlSet", id, set) }

func (p *Process) MsgctlRmid(id int) error { return p.do("MsgctlRmid", id) }

func (p *Process) MsgctlInfo() (ipc.Msginfo, int, error) {
	return two[ipc.Msginfo, int](&p.connection, "MsgctlInfo")
}

func (p *Process) MsgInfo() (ipc.MsgInfo, int, error) {
	return two[ipc.MsgInfo, int](&p.connection, "MsgInfo")
}

func (p *Process) MsgStat(index int) (int, ipc.MsqidDS, error) {
	return two[int, ipc.MsqidDS](&p.connection, "MsgStat", index)
}

func (p *Process) MsgStatAny(index int) (int, ipc.MsqidDS, error) {
	return two[int, ipc.MsqidDS](&p.connection, "MsgStatAny", index)
}

func (p *Process) Semget(key ipc.Key, nsems, flags int) (int, error) {
	return one[int](&p.connection, "Semget", key, nsems, flags)
}

func (p *Process) Semop(ctx context.Context, id int, ops []ipc.Sembuf) error {
	return p.call(ctx, 0, "Semop", []any{id, ops})
}

func (p *Process) Semtimedop(ctx context.Context, id int, ops []ipc.Sembuf, timeout time.Duration) error {
	return p.call(ctx, 0, "Semtimedop", []any{id, ops, timeout})
}

func (p *Process) SemctlGetval(id, num int) (int, error) {
	return one[int](&p.connection, "SemctlGetval", id, num)
}

func (p *Process) SemctlSetval(id, num, value int) error {
	return p.do("SemctlSetval", id, num, value)
}

func (p *Process) SemctlGetall(id int) ([]uint16, error) {
	return one[[]uint16](&p.connection, "SemctlGetall", id)
}

func (p *Process) SemctlSetall(id int, values []uint16) error {
	return p.do("SemctlSetall", id, values)
}

func (p *Process) SemctlGetpid(id, num int) (int, error) {
	return one[int](&p.connection, "SemctlGetpid", id, num)
}

func (p *Process) SemctlGetncnt(id, num int) (int, error) {
	return one[int](&p.connection, "SemctlGetncnt", id, num)
}

func (p *Process) SemctlGetzcnt(id, num int) (int, error) {
	return one[int](&p.connection, "SemctlGetzcnt", id, num)
}

func (p *Process) SemctlStat(id int) (ipc.SemidDS, error) {
	return one[ipc.SemidDS](&p.connection, "SemctlStat", id)
}

func (p *Process) SemctlSet(id int, set ipc.PermSet) error { return p.do("SemctlSet", id, set) }

func (p *Process) SemctlRmid(id int) error { return p.do("SemctlRmid", id) }

func (p *Process) SemctlInfo() (ipc.Seminfo, int, error) {
	return two[ipc.Seminfo, int](&p.connection, "SemctlInfo")
}

func (p *Process) SemInfo() (ipc.SemInfo, int, error) {
	return two[ipc.SemInfo, int](&p.connection, "SemInfo")
}

func (p *Process) SemStat(index int) (int, ipc.SemidDS, error) {
	return two[int, ipc.SemidDS](&p.connection, "SemStat", index)
}

func (p *Process) SemStatAny(index int) (int, ipc.SemidDS, error) {
	return two[int, ipc.SemidDS](&p.connection, "SemStatAny", index)
}

func (p *Process) Shmget(key ipc.Key, size uint64, flags int) (int, error) {
	return one[int](&p.connection, "Shmget", key, size, flags)
}

// An attachment is memory of the server, and the slice that stands for it
// here: one that nobody can use.
type attachment struct {
	handle []byte
	memory memory
}

func (p *Process) Shmat(id int, addr uintptr, flags int) ([]byte, error) {
	attached, err := one[memory](&p.connection, "Shmat", id, addr, flags)
	if err != nil {
		return nil, err
	}
	handle, err := unix.Mmap(-1, 0, attached.Size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attached = append(p.attached, attachment{handle, attached})
	return handle, nil
}

// address returns where the memory is that the slice stands for, or 0.
func (p *Process) address(slice []byte) uintptr {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(slice)))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.attached {
		first := uintptr(unsafe.Pointer(unsafe.SliceData(a.handle)))
		if offset := at - first; at >= first && offset < uintptr(len(a.handle)) {
			return a.memory.Address + offset
		}
	}
	return 0
}

func (p *Process) Shmdt(memory []byte) error { return p.do("Shmdt", p.address(memory)) }

func (p *Process) Peek(memory []byte, offset, n int) ([]byte, error) {
	return one[[]byte](&p.connection, "Peek", p.address(memory)+uintptr(offset), n)
}

func (p *Process) Poke(memory []byte, offset int, data []byte) error {
	return p.do("Poke", p.address(memory)+uintptr(offset), data)
}

func (p *Process) ShmctlStat(id int) (ipc.ShmidDS, error) {
	return one[ipc.ShmidDS](&p.connection, "ShmctlStat", id)
}

func (p *Process) ShmctlSet(id int, set ipc.PermSet) error { return p.do("ShmctlSet", id, set) }

func (p *Process) ShmctlRmid(id int) error { return p.do("ShmctlRmid", id) }

func (p *Process) ShmctlLock(id int) error { return p.do("ShmctlLock", id) }

func (p *Process) ShmctlUnlock(id int) error { return p.do("ShmctlUnlock", id) }

func (p *Process) ShmctlInfo() (ipc.Shminfo, int, error) {
	return two[ipc.Shminfo, int](&p.connection, "ShmctlInfo")
}

func (p *Process) ShmInfo() (ipc.ShmInfo, int, error) {
	return two[ipc.ShmInfo, int](&p.connection, "ShmInfo")
}

func (p *Process) ShmStat(index int) (int, ipc.ShmidDS, error) {
	return two[int, ipc.ShmidDS](&p.connection, "ShmStat", index)
}

func (p *Process) ShmStatAny(index int) (int, ipc.ShmidDS, error) {
	return two[int, ipc.ShmidDS](&p.connection, "ShmStatAny", index)
}

func (p *Process) MqUnlink(name string) error { return p.do("MqUnlink", name) }

func (p *Process) MqList() ([]ipc.MqueueStat, error) {
	return one[[]ipc.MqueueStat](&p.connection, "MqList")
}

func (p *Process) MqCount() (int, error) { return one[int](&p.connection, "MqCount") }

// A descriptor is a message queue descriptor of the server.
type descriptor struct {
	*connection
	handle int
}

func (p *Process) MqOpen(name string, flags int, mode uint32, attr *ipc.MqAttr) (ipc.Mqd, error) {
	handle, err := one[int](&p.connection, "MqOpen", name, flags, mode, attr)
	if err != nil {
		return nil, err
	}
	return descriptor{&p.connection, handle}, nil
}

func (d descriptor) call(ctx context.Context, method string, args []any, results ...any) error {
	return d.connection.call(ctx, d.handle, method, args, results...)
}

func (d descriptor) Timedsend(ctx context.Context, message []byte, priority uint) error {
	return d.call(ctx, "Timedsend", []any{message, priority})
}

func (d descriptor) Timedreceive(ctx context.Context, buffer []byte) (n int, priority uint, err error) {
	var message []byte
	err = d.call(ctx, "Timedreceive", []any{len(buffer)}, &message, &priority)
	return copy(buffer, message), priority, err
}

func (d descriptor) Getattr() (attr ipc.MqAttr, err error) {
	err = d.call(context.Background(), "Getattr", nil, &attr)
	return attr, err
}

func (d descriptor) SetNonblock(nonblock bool) (before ipc.MqAttr, err error) {
	err = d.call(context.Background(), "SetNonblock", []any{nonblock}, &before)
	return before, err
}

func (d descriptor) Close() error { return d.call(context.Background(), "Close", nil) }

func (d descriptor) Notify(f func()) (cancel func() error, err error) {
	r := &registration{f: f}
	d.mu.Lock()
	number := len(d.registrations) + 1
	d.registrations[number] = r
	d.mu.Unlock()
	if err := d.call(context.Background(), "Notify", []any{number}); err != nil {
		return nil, err
	}
	return func() error {
		defer r.running.Wait()
		return d.do("EndNotify", number)
	}, nil
}
