//go:build linux

package host_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

const private, made = 0, ipc.Creat | 0o600

// attachNew makes a process attach a new segment, which ends with it.
func (p *process) attachNew(bytes int) (id int) {
	p.t.Helper()
	id = p.call(unix.SYS_SHMGET, private, bytes, made)
	p.call(unix.SYS_SHMAT, id, 0, 0)
	return id
}

// enter makes a process enter a namespace.
func (p *process) enter(ns *ipcns.Namespace) {
	p.t.Helper()
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.File().Fd())
	fd := p.call(unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_RDONLY)
	p.call(unix.SYS_SETNS, fd, unix.CLONE_NEWIPC)
	p.call(unix.SYS_CLOSE, fd)
}

// TestSegmentsOfTheSameID has segment 0 in two namespaces.
func TestSegmentsOfTheSameID(t *testing.T) {
	a, b := ipctest.New(t), ipctest.New(t)
	names := namesOf(a, b)
	inA, inB := startInside(t, a), startInside(t, b)
	inA.attachNew(8192)
	inB.attachNew(8192)
	inB.call(unix.SYS_SHMAT, 0, 0, ipc.ShmRdonly)
	within := knowledge(t, a, b)
	wantUse(t, look(t, inA.pid, within...), names, "A: segment 0, 8192 bytes in 1 mappings")
	wantUse(t, look(t, inB.pid, within...), names, "B: segment 0, 16384 bytes in 2 mappings")
}

// TestSegmentOfANamespaceThatWasLeft has processes in one namespace that have
// attached segment 0: that of it, and that of another which they were in before.
func TestSegmentOfANamespaceThatWasLeft(t *testing.T) {
	a, b := ipctest.New(t), ipctest.New(t)
	names := namesOf(a, b)
	stays, leaves := startInside(t, a), startInside(t, b)
	leaves.attachNew(8192)
	leaves.enter(a)
	within := knowledge(t, a, b)
	wantUse(t, look(t, leaves.pid, within...), names, "B: segment 0, 8192 bytes in 1 mappings")
	wantUse(t, look(t, leaves.pid, within[0]), names, "unknown: segment 0, 8192 bytes in 1 mappings")

	stays.attachNew(8192)
	within = knowledge(t, a, b)
	for _, known := range [][]host.Within{within, {within[1], within[0]}} {
		wantUse(t, look(t, stays.pid, known...), names, "A: segment 0, 8192 bytes in 1 mappings")
		wantUse(t, look(t, leaves.pid, known...), names, "B: segment 0, 8192 bytes in 1 mappings")
	}
	if got := look(t, leaves.pid, within...).Namespaces; !slices.Equal(got, []uint64{a.Inode()}) {
		t.Errorf("it is in %v, want %d", got, a.Inode())
	}

	leaves.call(unix.SYS_SHMAT, 0, 0, 0) // that of the other too
	wantUse(t, look(t, leaves.pid, knowledge(t, a, b)...), names,
		"A: segment 0, 8192 bytes in 1 mappings", "B: segment 0, 8192 bytes in 1 mappings")
}

// TestSegmentThatIsMarkedForRemoval has lost its key.
func TestSegmentThatIsMarkedForRemoval(t *testing.T) {
	ns := ipctest.New(t)
	p := startInside(t, ns)
	id := p.call(unix.SYS_SHMGET, 0x70777, 100, made)
	p.call(unix.SYS_SHMAT, id, 0, 0)
	p.call(unix.SYS_SHMCTL, id, unix.IPC_RMID, 0)
	wantUse(t, look(t, p.pid, knowledge(t, ns)...), namesOf(ns), "A: segment 0, 4096 bytes in 1 mappings")
}

// TestQueuesOfTheSameName has /jobs in two namespaces, listed and unlinked.
func TestQueuesOfTheSameName(t *testing.T) {
	a, b := ipctest.New(t), ipctest.New(t)
	names := namesOf(a, b)
	p := startInside(t, a)
	p.call(unix.SYS_MQ_OPEN, "jobs", unix.O_CREAT|unix.O_RDWR, 0o600, 0)
	p.enter(b)
	p.call(unix.SYS_MQ_OPEN, "jobs", unix.O_CREAT|unix.O_RDWR, 0o600, 0)
	wantUse(t, look(t, p.pid, knowledge(t, a, b)...), names, "A: queue /jobs, descriptor 3", "B: queue /jobs, descriptor 4")
	p.call(unix.SYS_MQ_UNLINK, "jobs")
	wantUse(t, look(t, p.pid, knowledge(t, a, b)...), names, "A: queue /jobs, descriptor 3", "B: queue /jobs, descriptor 4 unlinked")
	wantUse(t, look(t, p.pid), names, "unknown: queue /jobs, descriptor 3", "unknown: queue /jobs, descriptor 4 unlinked")
}

func TestWhatQueuesAreOpenFor(t *testing.T) {
	ns := ipctest.New(t)
	p := startInside(t, ns)
	p.call(unix.SYS_MQ_OPEN, "jobs", unix.O_CREAT|unix.O_RDONLY|unix.O_NONBLOCK, 0o600, 0)
	p.call(unix.SYS_MQ_OPEN, "jobs", unix.O_WRONLY, 0, 0)
	wantUse(t, look(t, p.pid, knowledge(t, ns)...), namesOf(ns),
		"A: queue /jobs, descriptor 3 only to receive", "A: queue /jobs, descriptor 4 only to send")
}

// sembufs is operations in memory.
func sembufs(ops ...ipc.Sembuf) []byte {
	var memory []byte
	for _, op := range ops {
		for _, field := range []uint16{op.Num, uint16(op.Op), uint16(op.Flg)} {
			memory = binary.NativeEndian.AppendUint16(memory, field)
		}
	}
	return memory
}

// longTime returns a timespec, an hour after a second.
func longTime(second int64) []byte {
	return append(binary.NativeEndian.AppendUint64(nil, uint64(second)+3600), make([]byte, 8)...)
}

// sleepers are processes that each sleep in another call.
var sleepers = []struct {
	begin func(p *process)
	want  string
}{
	{func(p *process) {
		p.begin(unix.SYS_MSGRCV, p.call(unix.SYS_MSGGET, private, made), make([]byte, 24), 16, -5, 0)
	}, "A: msgrcv 0 type -5 bytes 16 []"},
	{func(p *process) {
		id := p.call(unix.SYS_MSGGET, private, made)
		message := binary.NativeEndian.AppendUint64(nil, 7)
		p.call(unix.SYS_MSGSND, id, append(message, make([]byte, 8192)...), 8192, 0)
		p.call(unix.SYS_MSGSND, id, append(message, make([]byte, 8000)...), 8000, 0)
		p.begin(unix.SYS_MSGSND, id, append(message, make([]byte, 1000)...), 1000, 0)
	}, "A: msgsnd 0 type 7 bytes 1000 []"},
	{func(p *process) {
		id := p.call(unix.SYS_SEMGET, private, 3, made)
		p.begin(unix.SYS_SEMOP, id, sembufs(ipc.Sembuf{Num: 2, Op: -1, Flg: ipc.SemUndo}), 1)
	}, "A: semop 0 type 0 bytes 0 [{2 -1 4096}]"},
	{func(p *process) {
		id := p.call(unix.SYS_SEMGET, private, 3, made)
		p.begin(unix.SYS_SEMTIMEDOP, id, sembufs(ipc.Sembuf{Num: 0, Op: 1}, ipc.Sembuf{Num: 1, Op: -3}), 2, 0)
	}, "A: semop 0 type 0 bytes 0 [{0 1 0} {1 -3 0}]"},
	{func(p *process) {
		id := p.call(unix.SYS_SEMGET, private, 1, made)
		p.begin(unix.SYS_SEMTIMEDOP, id, sembufs(ipc.Sembuf{Op: -1}), 1, longTime(0))
	}, "A: semop 0 type 0 bytes 0 [{0 -1 0}] timed"},
	{func(p *process) {
		fd := p.call(unix.SYS_MQ_OPEN, "later", unix.O_CREAT|unix.O_RDWR, 0o600, 0)
		p.begin(unix.SYS_MQ_TIMEDRECEIVE, fd, make([]byte, 8192), 8192, 0, longTime(time.Now().Unix()))
	}, "unknown: queue /later, descriptor 3\nunknown: mq_timedreceive 3/later type 0 bytes 8192 [] timed"},
	{func(p *process) {
		fd := p.call(unix.SYS_MQ_OPEN, "jobs", unix.O_CREAT|unix.O_RDWR, 0o600, 0)
		p.begin(unix.SYS_MQ_TIMEDRECEIVE, fd, make([]byte, 8192), 8192, 0, 0)
	}, "unknown: queue /jobs, descriptor 3\nunknown: mq_timedreceive 3/jobs type 0 bytes 8192 []"},
	{func(p *process) {
		attr := []byte{}
		for _, field := range []uint64{0, 1, 10, 0, 0, 0, 0, 0} {
			attr = binary.NativeEndian.AppendUint64(attr, field)
		}
		fd := p.call(unix.SYS_MQ_OPEN, "full", unix.O_CREAT|unix.O_RDWR, 0o600, attr)
		p.call(unix.SYS_MQ_TIMEDSEND, fd, make([]byte, 10), 10, 0, 0)
		p.begin(unix.SYS_MQ_TIMEDSEND, fd, make([]byte, 3), 3, 0, 0)
	}, "unknown: queue /full, descriptor 3\nunknown: mq_timedsend 3/full type 0 bytes 3 []"},
}

// TestWaitsAreToldWithTheirOperands also expects that who has slept for longer is
// said to have. All are on one CPU, as the clocks of two may differ.
func TestWaitsAreToldWithTheirOperands(t *testing.T) {
	var cpus, first unix.CPUSet
	ipctest.Must(t, unix.SchedGetaffinity(0, &cpus))
	for cpu := range 1024 {
		if cpus.IsSet(cpu) {
			first.Set(cpu)
			break
		}
	}
	var started []*process
	for _, sleeper := range sleepers {
		p := startAlone(t)
		ipctest.Must(t, unix.SchedSetaffinity(p.pid, &first))
		sleeper.begin(p)
		ipctest.Eventually(t, "it sleeps", func() bool { return len(look(t, p.pid).Waiting) == 1 })
		time.Sleep(5 * time.Millisecond) // so that there is a difference
		started = append(started, p)
	}
	all, err := host.Proc("/proc").Processes(nil)
	ipctest.Must(t, err)
	before := time.Duration(1 << 62)
	for i, p := range started {
		found := all[slices.IndexFunc(all, func(found host.Process) bool { return found.PID == p.pid })]
		wantUse(t, found, map[uint64]string{0: "unknown", inodeOf(t, p.pid): "A"}, strings.Split(sleepers[i].want, "\n")...)
		w := found.Waiting[0]
		if w.TID != p.pid || w.Since <= 0 || w.Since >= before {
			t.Errorf("thread %d of process %d sleeps for %v, and the one before for %v", w.TID, p.pid, w.Since, before)
		}
		before = w.Since
	}
}

func inodeOf(t *testing.T, pid int) uint64 {
	t.Helper()
	inode, err := host.Proc("/proc").Inode(pid)
	ipctest.Must(t, err)
	return inode
}

// TestProcessesThatDoNotWait have slept in a call before.
func TestProcessesThatDoNotWait(t *testing.T) {
	p := startAlone(t)
	id := p.call(unix.SYS_SEMGET, private, 1, made)
	p.call(unix.SYS_SEMOP, id, sembufs(ipc.Sembuf{Op: 1}), 1)
	if got := look(t, p.pid); len(got.Waiting) > 0 || got.UID != uint32(os.Geteuid()) || got.Unseen {
		t.Errorf("got %+v", got)
	}
}

// TestStoppedProcessDoesNotWait, as its call has ended.
func TestStoppedProcessDoesNotWait(t *testing.T) {
	p := startAlone(t)
	sleepers[0].begin(p)
	ipctest.Eventually(t, "it sleeps", func() bool { return len(look(t, p.pid).Waiting) == 1 })
	ipctest.Must(t, unix.Kill(p.pid, unix.SIGSTOP))
	ipctest.Eventually(t, "it has stopped", func() bool { return len(look(t, p.pid).Waiting) == 0 })
	ipctest.Must(t, unix.Kill(p.pid, unix.SIGCONT))
	ipctest.Eventually(t, "it sleeps again", func() bool { return len(look(t, p.pid).Waiting) == 1 })
}

// TestProcessesOfFixtures has what no test can make the kernel write.
func TestProcessesOfFixtures(t *testing.T) {
	sleeping := "7 (a) S) S" + strings.Repeat(" 0", 36)
	disk := "7 (a) S) D" + strings.Repeat(" 0", 36)
	receives := strconv.Itoa(unix.SYS_MSGRCV) + " 0x8003 0x7ffc 0x10 0xffffffffffffffff 0x0 0x0 0x7ffc 0x7fb5\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a mapping of a segment, and of what is like one": {map[string]string{
			"maps": "7f00-9f00 r--s 00000000 00:01 32770                      /SYSV00abcdef (deleted)\n" +
				"a000-b000 rw-s 00000000 fe:00 7 /SYSV00abcdef\n" +
				"b000-c000 rw-s 00000000 fe:00 7 /SYSVnothing0 (deleted)\n" +
				"c000-d000 rw-s 00000000 fe:00 7 /home/SYSV00abcdef (deleted)\n" +
				"9f00-af00 r--s 00002000 00:01 32770 /SYSV00abcdef (deleted)",
		}, "unknown: segment 32770, 12288 bytes in 2 mappings read-only\n"},
		"a thread that waits": {map[string]string{
			"task/7/syscall": receives, "task/7/stat": sleeping, "task/7/wchan": "do_msgrcv",
		}, "A: msgrcv 32771 type -1 bytes 16 []\n"},
		"one that is stopped there": {map[string]string{
			"task/7/syscall": receives, "task/7/stat": disk, "task/7/wchan": "do_msgrcv",
		}, ""},
		"one that a supervisor has stopped": {map[string]string{
			"task/7/syscall": receives, "task/7/stat": sleeping, "task/7/wchan": "seccomp_do_user_notification",
		}, ""},
		"one that runs":       {map[string]string{"task/7/syscall": "running\n", "task/7/stat": sleeping, "task/7/wchan": "0"}, ""},
		"one that is in none": {map[string]string{"task/7/syscall": "-1 0x7ffc 0x7fb5\n", "task/7/stat": sleeping, "task/7/wchan": "0"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"7/task/7/ns/ipc": "ipc:[5]", "7/cmdline": "it\x00"}
			for file, content := range c.files {
				files["7/"+file] = content
			}
			processes, err := newProc(t, files).Processes(nil)
			if err != nil || len(processes) != 1 {
				t.Fatalf("got %v, %v", processes, err)
			}
			if got := describeUse(processes[0], map[uint64]string{0: "unknown", 5: "A"}); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}
