//go:build linux

package listing_test

import (
	"context"
	"fmt"
	"github.com/ipcns/ipcns/host"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// A maker makes objects in the thread's namespace until something fails.
type maker struct {
	queues, segments, sets []int
	attached               [][]byte
	waiters                []chan struct{}
	err                    error
}

func (m *maker) check(what string, err error) {
	if m.err == nil && err != nil {
		m.err = fmt.Errorf("%s: %w", what, err)
	}
}

func (m *maker) call(what string, errno syscall.Errno) {
	if errno != 0 {
		m.check(what, errno)
	}
}

func (m *maker) queue(key ipc.Key, mode int, messages ...string) int {
	id, err := kernel.System{}.Msgget(key, ipc.Creat|mode)
	m.check("msgget", err)
	m.queues = append(m.queues, id)
	for _, text := range messages {
		m.check("msgsnd", kernel.System{}.Msgsnd(context.Background(), id, 1, []byte(text), ipc.NoWait))
	}
	return id
}

func (m *maker) segment(key ipc.Key, size, flags int) int {
	id, err := unix.SysvShmGet(int(key), size, ipc.Creat|flags)
	m.check("shmget", err)
	m.segments = append(m.segments, id)
	return id
}

func (m *maker) set(key ipc.Key, nsems, mode int) int {
	id, _, errno := syscall.Syscall(unix.SYS_SEMGET, uintptr(key), uintptr(nsems), uintptr(ipc.Creat|mode))
	m.call("semget", errno)
	m.sets = append(m.sets, int(id))
	return int(id)
}

func (m *maker) setval(id, num, value int) {
	_, errno := sys.Semctl(id, num, sys.SemSetVal, uintptr(value), nil)
	m.call("semctl(SETVAL)", errno)
}

func semop(id int, num uint16, op int16) syscall.Errno {
	sembuf := struct {
		num     uint16
		op, flg int16
	}{num, op, 0}
	_, _, errno := syscall.Syscall(unix.SYS_SEMOP, uintptr(id), uintptr(unsafe.Pointer(&sembuf)), 1)
	return errno
}

// waitFor starts a thread that sleeps in a semop until the set is removed.
func (m *maker) waitFor(id int, num uint16, op int16) {
	namespace, err := os.Open("/proc/thread-self/ns/ipc")
	m.check("open", err)
	ended := make(chan struct{})
	m.waiters = append(m.waiters, ended)
	go onThread(func() {
		defer close(ended)
		defer namespace.Close()
		if unix.Setns(int(namespace.Fd()), unix.CLONE_NEWIPC) == nil {
			semop(id, num, op)
		}
	})
	for range 10000 {
		sems, err := host.Semaphores(kernel.System{}, id, int(num)+1)
		m.check("semctl", err)
		if err != nil || sems[num].Ncnt+sems[num].Zcnt > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	m.check("semop", fmt.Errorf("does not sleep"))
}

func (m *maker) attach(id int) []byte {
	at, err := unix.SysvShmAttach(id, 0, 0)
	m.check("shmat", err)
	m.attached = append(m.attached, at)
	return at
}

func (m *maker) shmctl(what string, id, cmd int) {
	_, errno := sys.Shmctl(id, cmd, nil)
	m.call(what, errno)
}

// own changes the owner and the mode of an object; ctl is its msgctl, semctl
// or shmctl, and perm is in the buffer that it takes.
func (m *maker) own(perm *sys.IPCPerm, ctl func(cmd int) (int, syscall.Errno), uid, gid, mode uint32) {
	_, errno := ctl(sys.IPCStat)
	m.call("IPC_STAT", errno)
	perm.UID, perm.GID, perm.Mode = uid, gid, mode
	_, errno = ctl(sys.IPCSet)
	m.call("IPC_SET", errno)
}

func (m *maker) ownQueue(id int, uid, gid, mode uint32) {
	var ds sys.MsqidDS
	m.own(&ds.Perm, func(cmd int) (int, syscall.Errno) { return sys.Msgctl(id, cmd, unsafe.Pointer(&ds)) }, uid, gid, mode)
}

func (m *maker) ownSet(id int, uid, gid, mode uint32) {
	var ds sys.SemidDS
	m.own(&ds.Perm, func(cmd int) (int, syscall.Errno) { return sys.Semctl(id, 0, cmd, 0, unsafe.Pointer(&ds)) }, uid, gid, mode)
}

func (m *maker) ownSegment(id int, uid, gid, mode uint32) {
	var ds sys.ShmidDS
	m.own(&ds.Perm, func(cmd int) (int, syscall.Errno) { return sys.Shmctl(id, cmd, unsafe.Pointer(&ds)) }, uid, gid, mode)
}

// write writes a limit, or the id of the next object.
func (m *maker) write(name, value string) {
	m.check("sysctl", os.WriteFile("/proc/sys/kernel/"+name, []byte(value), 0))
}

const shmNoreserve = 0o10000 // SHM_NORESERVE: a size that the memory need not have

// everySort makes objects of every sort that ipcs shows differently.
func (m *maker) everySort() {
	q := m.queue(0x2a, 0o644, "one", "three")
	_, _, err := kernel.System{}.Msgrcv(context.Background(), q, 0, make([]byte, 8), 0)
	m.check("msgrcv", err)
	m.queue(-1, 0o777)
	m.queue(ipc.Private, 0)
	m.ownQueue(m.queue(0x7fffffff, 0o600), 54321, 54322, 0o17)
	m.ownQueue(m.queue(ipc.Private, 0o600), 33, 33, 0o660)
	m.ownQueue(m.queue(ipc.Private, 0o600), 777, 777, 0o604)
	m.ownQueue(m.queue(ipc.Private, 0o600), 4294967294, 4294967294, 0o600)
	m.write("msg_next_id", "2147483647")
	m.queue(ipc.Private, 0o600)

	m.segment(0x2a, 1, 0o600)
	m.segment(-1, 1<<40, 0o777|shmNoreserve)
	m.shmctl("shmctl(IPC_RMID)", m.attachedSegment(4097), sys.IPCRmid)
	m.shmctl("shmctl(SHM_LOCK)", m.segment(ipc.Private, 5000, 0), sys.ShmLock)
	both := m.attachedSegment(1)
	m.shmctl("shmctl(IPC_RMID)", both, sys.IPCRmid)
	m.shmctl("shmctl(SHM_LOCK)", both, sys.ShmLock)
	m.check("shmdt", unix.SysvShmDetach(m.attach(m.segment(7, 100, 0o600))))
	m.attached = m.attached[:len(m.attached)-1]
	m.ownSegment(m.segment(8, 100, 0o600), 777, 778, 0o666)
	m.write("shm_next_id", "2147483647")
	m.segment(ipc.Private, 1, 0o600)

	s := m.set(0x2a, 4, 0o644)
	m.setval(s, 1, 32767)
	m.call("semop", semop(s, 2, 1))
	m.waitFor(s, 3, -1)
	m.waitFor(s, 1, 0)
	m.set(-1, 32000, 0o777)
	m.set(ipc.Private, 1, 0)
	m.ownSet(m.set(0x7fffffff, 1, 0o600), 777, 54321, 0o604)
	m.write("sem_next_id", "2147483647")
	m.set(ipc.Private, 1, 0o600)
}

func (m *maker) attachedSegment(size int) int {
	id := m.segment(ipc.Private, size, 0o640)
	m.attach(id)
	return id
}

// end removes what would keep the namespace alive.
func (m *maker) end() {
	for _, id := range m.sets {
		sys.Semctl(id, 0, sys.IPCRmid, 0, nil)
	}
	for _, ended := range m.waiters {
		<-ended
	}
	for _, at := range m.attached {
		unix.SysvShmDetach(at)
	}
}
