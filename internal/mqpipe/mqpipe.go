//go:build linux

// Package mqpipe has the descriptor that a program holds for a POSIX message
// queue which another process serves: a pipe that is as ready as the queue,
// for poll(2), select(2) and epoll(7), and whose last close can be seen.
//
// The pipe has room for two packets; see O_DIRECT in pipe(2). None stands for
// an empty queue, one for a queue with some messages, two for a full one.
package mqpipe

import (
	"errors"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// A Level is how full a queue is.
type Level int

// The levels are the packets that stand for them.
const (
	Empty Level = iota // ready for sending
	Some               // ready for both
	Full               // ready for receiving
)

// A Pipe is the server's side of a descriptor. Any goroutine may call any
// method, several at a time.
type Pipe struct {
	inode uint64
	path  string // of write, where the pipe can be opened in other modes

	mu    sync.Mutex
	write int   // O_WRONLY; -1 after Close
	read  int   // O_RDONLY; -1 since Held
	shown Level // unless the program has used its descriptor
}

// New makes a pipe that shows [Empty]. Program is the descriptor for the
// program, which has an open file description of its own: O_RDWR, and
// O_NONBLOCK if asked for. The caller gives it away and closes it.
func New(nonblock bool) (p *Pipe, program int, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_DIRECT|unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, -1, os.NewSyscallError("pipe2", err)
	}
	p = &Pipe{read: ends[0], write: ends[1], path: "/proc/self/fd/" + strconv.Itoa(ends[1])}
	program, err = p.prepare(nonblock)
	if err != nil {
		p.Close()
		return nil, -1, err
	}
	return p, program, nil
}

// prepare opens the program's descriptor.
func (p *Pipe) prepare(nonblock bool) (program int, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(p.write, &stat); err != nil {
		return -1, os.NewSyscallError("fstat", err)
	}
	p.inode = stat.Ino
	if err := p.resize(); err != nil {
		return -1, err
	}
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if nonblock {
		flags |= unix.O_NONBLOCK
	}
	return p.open(flags)
}

// resize makes room for two packets: a packet takes a page.
func (p *Pipe) resize() error {
	_, err := unix.FcntlInt(uintptr(p.write), unix.F_SETPIPE_SZ, int(Full)*os.Getpagesize())
	return os.NewSyscallError("fcntl(F_SETPIPE_SZ)", err)
}

// Inode returns the pipe's inode number, st_ino of stat(2). The program's
// descriptor has it too; the kernel gives it to another pipe only after 2^32
// other inodes.
func (p *Pipe) Inode() uint64 { return p.inode }

// Fd returns the descriptor to wait on for the last close. From a [Pipe.Held]
// to the next [Pipe.Show], epoll(7) reports EPOLLERR for it once nobody holds
// the program's descriptor any more. It is -1 after Close.
func (p *Pipe) Fd() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write
}

// Show makes the program's descriptor as ready as a queue of that level is.
// What the program has done to its descriptor is undone, unless it goes on
// with it all the time: then Show gives up, and the program sees what it has
// made of it.
//
// Show does not wait for anything that the program does, with one exception:
// the kernel holds the pipe's lock while it copies what the program reads from
// the pipe or writes to it, and if it has to wait for the program's memory,
// Show waits too. It takes userfaultfd(2) for faults of the kernel, or a file
// of FUSE, to make that long.
func (p *Pipe) Show(level Level) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.openRead(); err != nil {
		return err
	}
	if err := p.step(level); err != nil {
		return err
	}
	for range 4 {
		right, err := p.shows(level)
		if right || err != nil {
			return err
		}
		if err := p.rebuild(level); err != nil {
			return err
		}
	}
	return nil
}

// Held reports whether anyone still holds the program's descriptor: a
// duplicate, the copy of a child, one on its way through a socket, or one
// opened anew through /proc, unless for writing alone.
func (p *Pipe) Held() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.write < 0 {
		return false, os.ErrClosed
	}
	p.closeRead() // or it would be one of those that hold the pipe
	end := []unix.PollFd{{Fd: int32(p.write)}}
	err := poll(end)
	return end[0].Revents&unix.POLLERR == 0, err
}

// Close closes the server's side. The program's descriptor stays as it is.
func (p *Pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.write < 0 {
		return os.ErrClosed
	}
	p.closeRead()
	err := unix.Close(p.write)
	p.write = -1
	return os.NewSyscallError("close", err)
}

func (p *Pipe) openRead() (err error) {
	if p.write < 0 {
		return os.ErrClosed
	}
	if p.read >= 0 {
		return nil
	}
	p.read, err = p.open(unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC)
	return err
}

// open returns a descriptor of another open file description.
func (p *Pipe) open(flags int) (int, error) {
	fd, err := unix.Open(p.path, flags, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: p.path, Err: err}
	}
	return fd, nil
}

func (p *Pipe) closeRead() {
	if p.read >= 0 {
		unix.Close(p.read)
		p.read = -1
	}
}

// step adds and takes away packets as if the program had not done so.
func (p *Pipe) step(level Level) error {
	for ; p.shown < level; p.shown++ {
		if err := p.add(); err != nil {
			return err
		}
	}
	for ; p.shown > level; p.shown-- {
		if _, err := p.take(make([]byte, 1)); err != nil {
			return err
		}
	}
	return nil
}

// rebuild starts again from a pipe that may hold anything and have any size.
func (p *Pipe) rebuild(level Level) error {
	buffer := make([]byte, 4096)
	for range 1 << 10 { // more than a pipe of pipe-max-size holds
		if more, err := p.take(buffer); err != nil || !more {
			break
		}
	}
	// The program may have added more than fits, or have left its user no
	// room to grow.
	if err := p.resize(); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EPERM) {
		return err
	}
	p.shown = Empty
	return p.step(level)
}

// add adds a packet, if there is room for it.
func (p *Pipe) add() error {
	_, err := unix.Write(p.write, []byte{0})
	if err == unix.EAGAIN {
		return nil
	}
	return os.NewSyscallError("write", err)
}

// take takes a packet away, however long it is, or as much as the buffer holds
// of what the program has written, and reports whether there was anything.
func (p *Pipe) take(buffer []byte) (bool, error) {
	n, err := unix.Read(p.read, buffer)
	if err == unix.EAGAIN {
		return false, nil
	}
	return n > 0, os.NewSyscallError("read", err)
}

// shows reports whether the program sees the pipe as ready as that level is.
func (p *Pipe) shows(level Level) (bool, error) {
	ends := []unix.PollFd{{Fd: int32(p.read), Events: unix.POLLIN}, {Fd: int32(p.write), Events: unix.POLLOUT}}
	err := poll(ends)
	in, out := ends[0].Revents&unix.POLLIN != 0, ends[1].Revents&unix.POLLOUT != 0
	return in == (level != Empty) && out == (level != Full), err
}

// poll is poll(2) that does not wait.
func poll(fds []unix.PollFd) error {
	for {
		if _, err := unix.Poll(fds, 0); err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
}
