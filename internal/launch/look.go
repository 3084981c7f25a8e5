//go:build linux

package launch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/internal/thread"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// Contents is how much a namespace holds.
type Contents struct {
	Queues, Sets, Segments int
	Mqueues                []string // names, without the slash
	Messages, MessageBytes int      // in all queues
	Semaphores             int      // in all sets
	Pages                  uint64   // of all segments

	highest [3]uint64 // indexes of queues, sets, segments
}

// lookMount is where a side mounts the file system of the POSIX queues, in a
// mount namespace of its own: a directory that every machine has.
const lookMount = "/proc"

// Look tells how much the namespace holds. Owner is the user namespace that
// owns it, for who may not enter it otherwise, and nil for who may.
func Look(owner, ipc *os.File) (Contents, error) {
	if owner == nil {
		return lookDirectly(ipc)
	}
	info := newInfo()
	calls := slices.Concat(enterBeside, newMount, []call{mountMqueue(lookMount)}, info.calls())
	s, err := startSide([]string{LookName}, calls, []call{exitGroup(0)}, info.results(), owner, ipc)
	if err != nil {
		return Contents{}, err
	}
	defer s.end()
	contents, err := info.contents()
	if err != nil {
		return Contents{}, err
	}
	entries, err := os.ReadDir(s.root() + lookMount)
	if err != nil {
		return Contents{}, fmt.Errorf("cannot list the POSIX message queues of a namespace: %w", err)
	}
	for _, entry := range entries {
		contents.Mqueues = append(contents.Mqueues, entry.Name())
	}
	return contents, nil
}

// lookDirectly looks from a thread there. With the privilege for that, POSIX
// queues are listed without a mount namespace, which would take most of the
// time.
func lookDirectly(ipc *os.File) (contents Contents, err error) {
	info := newInfo()
	err = thread.Do(func() error {
		if err := run(append([]call{enterIPC(int(ipc.Fd()))}, info.calls()...)); err != nil {
			return err
		}
		if contents, err = info.contents(); err != nil {
			return err
		}
		queues, err := kernel.System{}.MqLook()
		for _, queue := range queues {
			contents.Mqueues = append(contents.Mqueues, strings.TrimPrefix(queue.Name, "/"))
		}
		return err
	})
	return contents, err
}

// enterBeside enters the user and the IPC namespace that are the first files
// of a side.
var enterBeside = []call{
	{number: unix.SYS_SETNS, args: []arg{number(sideFile), number(unix.CLONE_NEWUSER)}, step: stepEnterUser},
	enterIPC(sideFile + 1),
}

func enterIPC(fd int) call {
	return call{number: unix.SYS_SETNS, args: []arg{number(fd), number(unix.CLONE_NEWIPC)}, step: stepEnterIPC}
}

// An info is what MSG_INFO, SEM_INFO and SHM_INFO write, and the highest used
// indexes, which they return.
type info struct {
	structures [3][]byte
	highest    [3][]byte
}

func newInfo() *info {
	var i info
	for kind, structure := range [...]any{sys.MsgInfoDS{}, sys.SemInfoDS{}, sys.ShmInfoDS{}} {
		i.structures[kind] = make([]byte, binary.Size(structure))
		i.highest[kind] = make([]byte, 8)
	}
	return &i
}

func (i *info) results() [][]byte { return append(i.structures[:], i.highest[:]...) }

func (i *info) calls() []call {
	return []call{
		{number: unix.SYS_MSGCTL, args: []arg{{}, number(sys.MsgInfo), memory(i.structures[0])}, result: i.highest[0], step: stepLook},
		{number: unix.SYS_SEMCTL, args: []arg{{}, {}, number(sys.SemInfo), memory(i.structures[1])}, result: i.highest[1], step: stepLook},
		{number: unix.SYS_SHMCTL, args: []arg{{}, number(sys.ShmInfo), memory(i.structures[2])}, result: i.highest[2], step: stepLook},
	}
}

// contents reads what the calls have brought.
func (i *info) contents() (Contents, error) {
	var msg sys.MsgInfoDS
	var sem sys.SemInfoDS
	var shm sys.ShmInfoDS
	for kind, structure := range [...]any{&msg, &sem, &shm} {
		if err := binary.Read(bytes.NewReader(i.structures[kind]), binary.NativeEndian, structure); err != nil {
			return Contents{}, fmt.Errorf("cannot read what the kernel tells of a namespace: %w", err)
		}
	}
	c := Contents{
		Queues: int(msg.Pool), Sets: int(sem.Usz), Segments: int(shm.UsedIDs),
		Messages: int(msg.Map), MessageBytes: int(msg.Tql), Semaphores: int(sem.Aem), Pages: shm.Tot,
	}
	for kind, highest := range i.highest {
		c.highest[kind] = binary.NativeEndian.Uint64(highest)
	}
	return c, nil
}

// Empty destroys all objects of the namespace, and returns how many segments
// are left because they are attached somewhere: those end with their last
// attachment. For owner see [Look].
func Empty(owner, ipc *os.File) (attached int, err error) {
	// A program that is there may make objects meanwhile.
	const attempts = 10
	for range attempts {
		contents, err := Look(owner, ipc)
		if err != nil {
			return 0, err
		}
		if contents.Queues == 0 && contents.Sets == 0 && len(contents.Mqueues) == 0 && contents.Segments == attached {
			return attached, nil
		}
		if err := remove(owner, ipc, contents); err != nil && !errors.Is(err, unix.EIDRM) {
			return 0, err
		}
		attached = contents.Segments
	}
	return 0, errors.New("cannot empty the namespace: programs in it make objects as fast as they are destroyed; end them first")
}

func remove(owner, ipc *os.File, contents Contents) error {
	calls := contents.removal()
	if owner == nil {
		return thread.Do(func() error { return run(append([]call{enterIPC(int(ipc.Fd()))}, calls...)) })
	}
	s, err := startSide([]string{LookName}, append(enterBeside[:len(enterBeside):len(enterBeside)], calls...), []call{exitGroup(0)}, nil, owner, ipc)
	if err != nil {
		return err
	}
	s.end()
	return nil
}

// removal removes what is at each index. A call tells the id of the object
// there, which is what the next one takes; where none is, that gets -1.
func (c Contents) removal() []call {
	const none = ^uintptr(0)
	var calls []call
	at := func(kind int, stat func(index uintptr) call, remove call) {
		for index := range c.highest[kind] + 1 {
			find := stat(uintptr(index))
			find.pass, find.except, find.step = true, unix.EINVAL, stepEmpty
			remove.except, remove.step = unix.EINVAL, stepEmpty
			calls = append(calls, find, remove)
		}
	}
	if c.Queues > 0 {
		ds := memory(make([]byte, binary.Size(sys.MsqidDS{})))
		at(0, func(index uintptr) call {
			return call{number: unix.SYS_MSGCTL, args: []arg{number(index), number(sys.MsgStatAny), ds}}
		}, call{number: unix.SYS_MSGCTL, args: []arg{number(none), number(sys.IPCRmid), {}}})
	}
	if c.Sets > 0 {
		ds := memory(make([]byte, binary.Size(sys.SemidDS{})))
		at(1, func(index uintptr) call {
			return call{number: unix.SYS_SEMCTL, args: []arg{number(index), {}, number(sys.SemStatAny), ds}}
		}, call{number: unix.SYS_SEMCTL, args: []arg{number(none), {}, number(sys.IPCRmid), {}}})
	}
	if c.Segments > 0 {
		ds := memory(make([]byte, binary.Size(sys.ShmidDS{})))
		at(2, func(index uintptr) call {
			return call{number: unix.SYS_SHMCTL, args: []arg{number(index), number(sys.ShmStatAny), ds}}
		}, call{number: unix.SYS_SHMCTL, args: []arg{number(none), number(sys.IPCRmid), {}}})
	}
	for _, name := range c.Mqueues {
		calls = append(calls, call{number: unix.SYS_MQ_UNLINK, args: []arg{text(name)}, except: unix.ENOENT, step: stepEmpty})
	}
	return calls
}
