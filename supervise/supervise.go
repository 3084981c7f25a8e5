//go:build linux

// Package supervise runs unmodified programs on a namespace of package
// userspace. A seccomp filter stops a program at each of its IPC calls, and a
// [Supervisor] answers in the kernel's place; see seccomp_unotify(2). It takes
// no privilege, and no IPC of the kernel's.
//
// The filter is installed by the process that is to become the program, with
// [Listen], whose listener it gives to the supervisor. What it starts inherits
// the filter, whatever it is.
//
// What a program can reach is its own calls. Memory is read once, and what was
// read is what counts; a call takes effect only when the program has its
// answer. A program that the supervisor may not look at (see ptrace(2)) gets
// EPERM.
package supervise

import (
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// A Supervisor answers the calls of programs. Its methods may be called from
// any goroutine.
type Supervisor struct {
	mu         sync.Mutex // of all that follows, and of the namespaces
	outermost  *namespace
	namespaces map[uint16]*namespace // by marker
	marker     uint16                // the last one that was given
	enough     int                   // namespaces, for a look whether somebody is in each
	processes  map[int]*process      // by pid
	threads    map[int]*thread       // by tid
	waiting    map[*call]struct{}    // calls that sleep
	careful    bool                  // a program may have pages that come when it likes
	undoes     bool                  // a program has used SEM_UNDO

	descriptions  map[uint64]*description    // open POSIX queues, by the inode of their pipe
	events        int                        // that may have to do with them, since all were looked at
	registrations map[queueKey]*registration // of mq_notify
	segments      map[uint64]*segment        // that are attached, by the inode of their memfd

	counts     int       // of all mappings that were made
	countAgain time.Time // not before that, unless it is asked for

	served   map[int]*listener // by their descriptors
	errands  map[int]*errands  // by pid, until they are done
	ready    []*errands        // that nobody has begun with
	runnable *sync.Cond        // one of those may be there
	runners  int               // threads that run them
	idle     int               // of these

	watching  chan struct{} // tells the watcher that one has begun to
	exits     int           // an epoll descriptor of the processes' pidfds
	closing   int           // an eventfd in exits
	watchers  sync.WaitGroup
	listeners sync.WaitGroup
	listening int
	unused    chan struct{}
	closed    bool
	spare     int    // descriptors from this number on are kept for processes
	memory    memory // of segments
	owner     uint64 // the inode of the user namespace that the supervisor is in
	initial   bool   // that is the machine's first
	pid       int
}

// New makes a supervisor of a new namespace with those limits, nil for those of
// a fresh one.
func New(limits *ipc.Limits) (*Supervisor, error) {
	exits, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	s := &Supervisor{
		namespaces: map[uint16]*namespace{}, processes: map[int]*process{}, threads: map[int]*thread{},
		waiting: map[*call]struct{}{}, served: map[int]*listener{}, errands: map[int]*errands{},
		descriptions: map[uint64]*description{}, registrations: map[queueKey]*registration{}, segments: map[uint64]*segment{},
		watching: make(chan struct{}, 1), exits: exits, unused: make(chan struct{}), pid: unix.Getpid(),
	}
	s.runnable = sync.NewCond(&s.mu)
	if s.closing, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err == nil {
		err = unix.EpollCtl(exits, unix.EPOLL_CTL_ADD, s.closing, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: closingEvent})
	}
	if err == nil {
		s.owner, s.initial, err = ownUserNamespace()
	}
	if err != nil {
		s.closeFiles()
		return nil, err
	}
	s.spare = spareDescriptors()
	s.memory.end = s.spare
	s.outermost = newNamespace(userspace.New(userspace.Options{Clock: clock{s}, Memory: &s.memory, Limits: limits}), 0)
	s.watchers.Go(s.watchExits)
	s.watchers.Go(s.watchSleepers)
	return s, nil
}

// What an event has in place of a pid: it tells the watchers to end, or, the
// number of its descriptor less, that a listener has nobody any more.
const (
	closingEvent  = -1
	listenerEvent = -2
)

func (s *Supervisor) closeFiles() {
	unix.Close(s.exits)
	if s.closing > 0 {
		unix.Close(s.closing)
	}
}

// Close ends the namespaces with all that is in them, once no process is served
// any more. Until then it waits.
func (s *Supervisor) Close() {
	s.listeners.Wait()
	s.mu.Lock()
	s.closed = true
	unix.Write(s.closing, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // which fails only if it is not there
	close(s.watching)
	s.runnable.Broadcast()
	s.mu.Unlock()
	s.watchers.Wait()
	for _, p := range s.processes {
		s.ended(p)
	}
	for _, d := range s.descriptions { // which somebody has who is not served
		d.release()
	}
	s.closeFiles()
	s.outermost.close()
	for _, inside := range s.namespaces {
		inside.close()
	}
}

// A clock calls functions with the supervisor's lock, as everything that gets
// at a namespace has it.
type clock struct{ s *Supervisor }

func (clock) Now() time.Time { return time.Now() }

func (c clock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, func() {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		f()
	}).Stop
}

// Serve answers the calls that come to a listener, until no process has its
// filter any more. It takes the listener over, and returns at once.
func (s *Supervisor) Serve(listener int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listening++
	s.listeners.Add(1)
	go s.serve(listener)
}

func (s *Supervisor) serve(fd int) {
	defer s.listeners.Done()
	defer unix.Close(fd)
	// On a thread of its own it is faster.
	runtime.LockOSThread()
	l := &listener{s: s, fd: fd, tid: unix.Gettid(), ended: make(chan struct{})}
	s.watchListener(l)
	l.loop()
	close(l.ended)
	l.errands.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.served, fd)
	if s.listening--; s.listening == 0 {
		s.forgetNamespaces()
		close(s.unused)
		s.unused = make(chan struct{})
	}
}

// watchListener notes when no process has the listener's filter any more.
func (s *Supervisor) watchListener(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served[l.fd] = l
	event := unix.EpollEvent{Events: unix.EPOLLHUP | unix.EPOLLONESHOT, Fd: int32(listenerEvent - l.fd)}
	unix.EpollCtl(s.exits, unix.EPOLL_CTL_ADD, l.fd, &event) // else it ends with the server, before Linux 6.11
}

// Unused returns a channel that is closed when no process is served any more.
func (s *Supervisor) Unused() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listening == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	return s.unused
}

// Namespace calls f with the namespace that programs get, which no program
// changes meanwhile.
func (s *Supervisor) Namespace(f func(*userspace.Namespace) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reap()
	s.countAll()
	return f(s.outermost.ns)
}

// Members returns the processes that have been seen, and have not ended.
func (s *Supervisor) Members() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reap()
	var pids []int
	for pid := range s.processes {
		pids = append(pids, pid)
	}
	return pids
}

// errnoOf returns the errno in an error, EIO for another.
func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var errno syscall.Errno
	if asErrno(err, &errno) {
		return errno
	}
	return syscall.EIO
}
