//go:build linux

// Package server is the process that serves a namespace of package userspace to
// programs, how it is started, and how one talks to it: over a socket that is
// its owner's alone.
package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// What a server can be asked for.
const (
	opLook    = "look" // whether the server may look at who asks
	opJoin    = "join" // with the listener of who asks
	opKeep    = "keep" // the server outlives who has started it, and its programs
	opLimits  = "limits"
	opPicture = "picture"
	opStatus  = "status"
	opWait    = "wait" // until there is no program
)

type request struct {
	Op     string
	Limits map[string]uint64 `json:",omitempty"`
}

type reply struct {
	Error  string        `json:",omitempty"`
	Errno  syscall.Errno `json:",omitempty"`
	Limit  string        `json:",omitempty"` // the one that was refused
	Status Status
}

// Status is what a server tells of its namespace.
type Status struct {
	PID                             int
	Members                         []int // the processes in it, as far as they have shown
	Queues, Sets, Segments, Mqueues int
	Messages, MessageBytes          int // System V
	Semaphores                      int
	Pages                           uint64 // of segments
}

// A Picture is what is in the namespace of a server, and what processes do with
// that; see [supervise.Supervisor.Uses].
type Picture struct {
	Contents  *host.Contents
	Processes []host.Process
}

// A Conn is a connection to a server. Its methods are for one goroutine.
type Conn struct{ file *os.File }

// Close ends the connection.
func (c *Conn) Close() error { return c.file.Close() }

// maxMessage is more than a message takes, with 30,000 members.
const maxMessage = 1 << 18

// ask sends a request, with a descriptor unless that is negative, and returns
// the reply.
func (c *Conn) ask(r request, fd int) (Status, error) {
	status, got, err := c.askForFile(r, fd)
	closeFD(got)
	return status, err
}

// askForFile is ask for a reply that comes with a descriptor. Without one it is -1.
func (c *Conn) askForFile(r request, fd int) (_ Status, got int, err error) {
	if err := send(c.file, r, fd); err != nil {
		return Status{}, -1, fmt.Errorf("cannot ask the server of the namespace: %w", err)
	}
	var answer reply
	got, err = receive(c.file, &answer)
	switch {
	case err != nil:
		return Status{}, got, fmt.Errorf("the server of the namespace does not answer: %w", err)
	case answer.Limit != "":
		limit, err := ipc.LimitByName(answer.Limit)
		if err != nil {
			return Status{}, got, err
		}
		return Status{}, got, ipc.LimitSetting{Limit: limit, Value: r.Limits[answer.Limit]}.Failure(answer.Errno)
	case answer.Error != "":
		return Status{}, got, errors.New(answer.Error)
	}
	return answer.Status, got, nil
}

// Status returns what is in the namespace.
func (c *Conn) Status() (Status, error) { return c.ask(request{Op: opStatus}, -1) }

// Picture returns what is in the namespace and who uses it. It changes nothing.
func (c *Conn) Picture() (Picture, error) {
	_, fd, err := c.askForFile(request{Op: opPicture}, -1)
	if err != nil {
		closeFD(fd)
		return Picture{}, err
	}
	file := os.NewFile(uintptr(fd), "picture")
	defer file.Close()
	var picture Picture
	if err := json.NewDecoder(file).Decode(&picture); err != nil {
		return Picture{}, fmt.Errorf("cannot understand the server of the namespace: %w", err)
	}
	return picture, nil
}

// Keep lets the server outlive this process, and the programs.
func (c *Conn) Keep() error {
	_, err := c.ask(request{Op: opKeep}, -1)
	return err
}

// Wait waits until no program is in the namespace.
func (c *Conn) Wait() error {
	_, err := c.ask(request{Op: opWait}, -1)
	return err
}

// SetLimits changes limits of the namespace, until one is refused.
func (c *Conn) SetLimits(settings []ipc.LimitSetting) error {
	for _, setting := range settings {
		if _, err := c.ask(request{Op: opLimits, Limits: map[string]uint64{setting.Name: setting.Value}}, -1); err != nil {
			return err
		}
	}
	return nil
}

// address is where the server with that process id listens. It is in no
// directory, and may be anybody's: who connects looks at whom the answer comes
// from.
func address(pid int) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: "@" + socketPrefix + strconv.Itoa(pid)}
}

const socketPrefix = Name + "-"

// Dial connects to the server with that process id.
func Dial(pid int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	conn := &Conn{os.NewFile(uintptr(fd), "server")}
	err = unix.Connect(fd, address(pid))
	if err == nil {
		err = conn.checkPeer(pid)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot reach the server of the namespace (process %d): %w", pid, err)
	}
	return conn, nil
}

// checkPeer refuses another than the server, whoever that may be.
func (c *Conn) checkPeer(pid int) error {
	peer, err := unix.GetsockoptUcred(int(c.file.Fd()), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return err
	}
	if int(peer.Pid) != pid {
		return fmt.Errorf("process %d is in its place", peer.Pid)
	}
	return nil
}

// send sends a message, with a descriptor unless that is negative.
func send(file *os.File, message any, fd int) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	return retried(func() error {
		return unix.Sendmsg(int(file.Fd()), text, rights, nil, unix.MSG_NOSIGNAL)
	})
}

// receive receives a message, and the descriptor that came with it or -1.
func receive(file *os.File, message any) (fd int, err error) {
	text, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	var n, rightsLen int
	err = retried(func() (err error) {
		n, rightsLen, _, _, err = unix.Recvmsg(int(file.Fd()), text, rights, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return -1, err
	}
	fd = descriptorIn(rights[:rightsLen])
	if n == 0 {
		return fd, errors.New("it has ended")
	}
	return fd, json.Unmarshal(text[:n], message)
}

func retried(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func descriptorIn(rights []byte) int {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) == 0 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1
	}
	for _, surplus := range fds[1:] {
		unix.Close(surplus)
	}
	return fds[0]
}
