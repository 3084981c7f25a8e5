//go:build linux

package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/supervise"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// A server serves one namespace.
type server struct {
	supervisor *supervise.Supervisor

	mu   sync.Mutex
	kept bool
}

// serve is the server's process. It lets begin do what comes before it serves.
func serve(begin func() error) error {
	if err := begin(); err != nil {
		return err
	}
	signal.Ignore(unix.SIGHUP) // of a terminal that it does not use
	supervisor, err := supervise.New(nil)
	if err != nil {
		return err
	}
	s := &server{supervisor: supervisor}
	listen, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(listen, address(os.Getpid())); err != nil {
		return err
	}
	if err := unix.Listen(listen, unix.SOMAXCONN); err != nil {
		return err
	}
	go s.accept(listen)
	s.talk(os.NewFile(connFD, "starter"))
	if s.isKept() {
		select {} // until somebody ends it
	}
	<-supervisor.Unused()
	return nil
}

func (s *server) isKept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// accept talks to everyone who may.
func (s *server) accept(listen int) {
	for {
		fd, _, err := unix.Accept4(listen, unix.SOCK_CLOEXEC)
		if err != nil {
			continue // who has connected is gone, or there are no descriptors left
		}
		go s.talk(os.NewFile(uintptr(fd), "client"))
	}
}

// talk answers requests until the other side has no more.
func (s *server) talk(conn *os.File) {
	defer conn.Close()
	peer, err := unix.GetsockoptUcred(int(conn.Fd()), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(peer.Uid) != os.Geteuid() && peer.Uid != 0 {
		return
	}
	for {
		var r request
		fd, err := receive(conn, &r)
		if err != nil {
			closeFD(fd)
			return
		}
		answer, file := s.answer(r, fd, int(peer.Pid))
		err = send(conn, answer, file)
		closeFD(file)
		if err != nil {
			return
		}
	}
}

func closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}

// answer does what a request asks for, and returns a descriptor to go with the
// reply, -1 for none. It takes that of the request over.
func (s *server) answer(r request, fd, peer int) (reply, int) {
	if r.Op == opPicture {
		closeFD(fd)
		file, err := s.picture()
		if err != nil {
			return reply{Error: err.Error()}, -1
		}
		return reply{}, file
	}
	return s.answerAlone(r, fd, peer), -1
}

func (s *server) answerAlone(r request, fd, peer int) reply {
	if r.Op != opJoin {
		closeFD(fd)
	}
	switch r.Op {
	case opLook:
		if err := supervise.MayLookAt(peer); err != nil {
			return reply{Error: err.Error()}
		}
	case opJoin:
		if fd < 0 {
			return reply{Error: "there is no listener to serve"}
		}
		s.supervisor.Serve(fd)
	case opKeep:
		s.mu.Lock()
		s.kept = true
		s.mu.Unlock()
	case opLimits:
		return s.setLimits(r.Limits)
	case opWait:
		<-s.supervisor.Unused()
	case opStatus:
		status, err := s.status()
		if err != nil {
			return reply{Error: err.Error()}
		}
		return reply{Status: status}
	default:
		return reply{Error: fmt.Sprintf("this server knows no %q; it may be of another version of ipcns", r.Op)}
	}
	return reply{}
}

func (s *server) setLimits(limits map[string]uint64) (answer reply) {
	s.supervisor.Namespace(func(ns *userspace.Namespace) error {
		for name, value := range limits {
			if err := ns.SetLimit(name, int64(value)); err != nil {
				errno := unix.EINVAL
				errors.As(err, &errno)
				answer = reply{Error: err.Error(), Errno: errno, Limit: name}
				return err
			}
		}
		return nil
	})
	return answer
}

func (s *server) status() (Status, error) {
	status := Status{PID: os.Getpid(), Members: s.supervisor.Members()}
	err := s.supervisor.Namespace(func(ns *userspace.Namespace) error {
		looker := ns.Looker()
		queues, _, err := looker.MsgInfo()
		if err != nil {
			return err
		}
		sets, _, err := looker.SemInfo()
		if err != nil {
			return err
		}
		segments, _, err := looker.ShmInfo()
		if err != nil {
			return err
		}
		status.Queues, status.Sets, status.Segments = queues.Queues, sets.Sets, segments.Segments
		status.Messages, status.MessageBytes, status.Semaphores, status.Pages = queues.Messages, queues.Bytes, sets.Semaphores, segments.Pages
		status.Mqueues, err = looker.MqCount()
		return err
	})
	return status, err
}

// picture returns a file that holds a [Picture]: that may be longer than a message.
func (s *server) picture() (fd int, err error) {
	var p Picture
	err = s.supervisor.Namespace(func(ns *userspace.Namespace) error {
		p.Contents, err = host.ContentsOf(ns.Looker(), true)
		return err
	})
	if err != nil {
		return -1, err
	}
	p.Processes = s.supervisor.Uses()
	text, err := json.Marshal(p)
	if err != nil {
		return -1, err
	}
	return sys.MemoryFile("picture", text)
}
