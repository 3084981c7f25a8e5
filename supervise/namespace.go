//go:build linux

package supervise

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/ipcns/ipcns/internal/inject"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// A namespace is one of package userspace, with what the supervisor has to
// know of it: the outermost, or one that a program inside has made.
type namespace struct {
	ns     *userspace.Namespace
	marker uint16          // 0 for the outermost
	keeper *userspace.Task // whose the open POSIX queues are, which several processes may share

	queues map[uint64][]*description // that are open, by the queue's inode
	open   int                       // of all queues
}

func newNamespace(ns *userspace.Namespace, marker uint16) *namespace {
	return &namespace{ns: ns, marker: marker, keeper: ns.StartPID(keeperPID, userspace.Credentials{}), queues: map[uint64][]*description{}}
}

// keeperPID is that of no process.
const keeperPID = 0

func (in *namespace) close() { in.ns.Close() }

// Markers are what a filter can answer with; see [marker]. The one that is ENOSYS
// is what a thread without one gets.
const (
	maxMarker = 4095
	noMarker  = uint16(unix.ENOSYS)
)

// newMarker returns a number for the next namespace, 0 if there is none left.
func (s *Supervisor) newMarker() uint16 {
	if len(s.namespaces) >= s.enough {
		s.forgetNamespaces()
		s.enough = min(max(2*len(s.namespaces), fewNamespaces), maxMarker-1)
	}
	for range maxMarker {
		if s.marker++; s.marker > maxMarker {
			s.marker = 1
		}
		if s.marker != noMarker && s.namespaces[s.marker] == nil {
			return s.marker
		}
	}
	return 0
}

// fewNamespaces are so few that it does not matter whether anybody is in them.
const fewNamespaces = 64

// forgetNamespaces ends the namespaces that nobody is in any more. A process
// that has made no call yet may be in any, also when it is all that is left of
// one: as long as there is such a process, none ends.
func (s *Supervisor) forgetNamespaces() {
	if len(s.namespaces) == 0 {
		return
	}
	s.reap()
	s.releaseDescriptions()
	inhabited := map[*namespace]bool{}
	for _, p := range s.processes {
		for in := range p.in {
			inhabited[in] = true
		}
	}
	for _, d := range s.descriptions { // which a process elsewhere may have
		inhabited[d.in] = true
	}
	if s.listening > 0 && s.hasStrangers() {
		return
	}
	for number, in := range s.namespaces {
		if !inhabited[in] {
			delete(s.namespaces, number)
			s.endSegments(in)
			in.close()
		}
	}
}

// hasStrangers reports whether there is a process, of this supervisor's or not,
// that has two filters as one in a namespace within has, and is not known.
func (s *Supervisor) hasStrangers() bool {
	for _, pid := range allProcesses() {
		if s.processes[pid] != nil {
			continue
		}
		text, _ := readProc(pid, "status")
		_, count, _ := bytes.Cut(text, []byte("\nSeccomp_filters:\t"))
		count, _, _ = bytes.Cut(count, []byte("\n"))
		if filters, _ := strconv.Atoi(string(count)); filters > 1 {
			return true
		}
	}
	return false
}

// endSegments forgets who has attached the segments of a namespace that ends.
// Their memory lasts as long as it is mapped.
func (s *Supervisor) endSegments(in *namespace) {
	for inode, segment := range s.segments {
		if segment.in == in {
			segment.set(nil)
			delete(s.segments, inode)
		}
	}
}

// findNamespace finds out in which namespace a thread is that is not known yet.
// When there are several it asks the thread's filters; the call is made anew
// then, and the thread is known.
func (c *call) findNamespace(pid int) {
	c.later(pid, func(tracer *inject.Tracer) {
		c.injected(tracer, func(thread *inject.Thread) int64 {
			number := uint16(0)
			if _, errno := thread.Call(markerCall); errno != syscall.Errno(noMarker) {
				number = uint16(errno)
			}
			if errno := c.found(number); errno != 0 {
				return -int64(errno)
			}
			thread.MakeAnew(uintptr(c.number), c.arguments()...)
			return 0
		})
	})
}

// found makes the thread known, in the namespace of that number, 0 for the
// outermost. EPERM: the program has a filter of its own that answers with
// another.
func (c *call) found(number uint16) syscall.Errno {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.namespaces[number]
	if number == 0 {
		in = s.outermost
	}
	if in == nil {
		return syscall.EPERM
	}
	status, errno := s.status(c.tid)
	if errno != 0 || s.threads[c.tid] != nil {
		return errno
	}
	_, errno = s.join(c.tid, in, status)
	return errno
}

func (c *call) arguments() []uintptr {
	var args []uintptr
	for _, arg := range c.args {
		args = append(args, uintptr(arg))
	}
	return args
}

// unshare is unshare(2). It takes no privilege to make a namespace of ours.
func (c *call) unshare() {
	flags := c.args[0]
	if flags&unix.CLONE_NEWIPC == 0 {
		c.changes()
		return
	}
	if c.task() == nil {
		return
	}
	number := c.s.newMarker()
	if number == 0 {
		c.fail(syscall.ENOSPC)
		return
	}
	c.later(c.thread.process.pid, func(tracer *inject.Tracer) {
		c.injected(tracer, func(thread *inject.Thread) int64 {
			if rest := flags &^ unix.CLONE_NEWIPC; rest != 0 {
				if _, errno := thread.Call(unix.SYS_UNSHARE, uintptr(rest), 0, 0, 0, 0, bySupervisor); errno != 0 {
					return -int64(errno)
				}
			}
			errno := mark(thread, number)
			if errno == 0 {
				c.locked(func() { c.enterNew(number) })
			}
			return -int64(errno)
		})
	})
}

// compatUnshare is unshare(2) of a program of 32 bits, for which there is no IPC.
func (c *call) compatUnshare() {
	if c.args[0]&unix.CLONE_NEWIPC != 0 {
		c.fail(syscall.EINVAL)
		return
	}
	c.changes()
}

// mark makes a thread install a marker.
func mark(thread *inject.Thread, number uint16) syscall.Errno {
	filters := marker(number)
	size := int(unsafe.Sizeof(unix.SockFprog{}))
	var failure syscall.Errno
	errno := thread.WithMemory(size+len(filters)*int(unsafe.Sizeof(filters[0])), func(address uintptr) {
		program := unix.SockFprog{Len: uint16(len(filters))}
		*(*uintptr)(unsafe.Pointer(&program.Filter)) = address + uintptr(size)
		code := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(filters))), len(filters)*int(unsafe.Sizeof(filters[0])))
		if failure = thread.Write(address, append(append([]byte(nil), bytesOf(&program)...), code...)); failure != 0 {
			return
		}
		failure = install(thread, address)
	})
	if failure != 0 {
		return failure
	}
	return errno
}

// install installs a filter. Who has not the privilege for that gives up the one
// to gain others.
func install(thread *inject.Thread, program uintptr) syscall.Errno {
	const setModeFilter = 1
	_, errno := thread.Call(unix.SYS_SECCOMP, setModeFilter, 0, program)
	if errno != syscall.EACCES {
		return errno
	}
	if _, errno := thread.Call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); errno != 0 {
		return errno
	}
	_, errno = thread.Call(unix.SYS_SECCOMP, setModeFilter, 0, program)
	return errno
}

// enterNew puts the thread in a new namespace.
func (c *call) enterNew(number uint16) {
	th := c.thread
	th.task = th.task.Unshare()
	th.in = newNamespace(th.task.Namespace(), number)
	th.stale = true // it may be in another user namespace
	th.process.in[th.in] = th.task
	c.s.namespaces[number] = th.in
}

// setns is setns(2). The kernel's IPC namespaces are not where a program's
// objects are.
func (c *call) setns() {
	link, err := os.Readlink(procPath(c.tid, "fd/"+itoa(c.int(0))))
	if err == nil && (strings.HasPrefix(link, "ipc:[") || c.args[1]&unix.CLONE_NEWIPC != 0) {
		c.fail(syscall.EPERM)
		return
	}
	c.changes()
}

// mqueueType is the type of the file system of the kernel's POSIX queues, which
// no program is to get at.
const mqueueType = "mqueue"

func (c *call) fsopen() { c.refuseMqueue(c.args[0]) }

func (c *call) mount() { c.refuseMqueue(c.args[2]) }

// refuseMqueue refuses a file system of that type, as to one without privilege.
func (c *call) refuseMqueue(fileSystem uint64) {
	if name, errno := c.readString(fileSystem); errno == 0 && name == mqueueType {
		c.fail(syscall.EPERM)
		return
	}
	c.proceed()
}
