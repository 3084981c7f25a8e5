//go:build linux

package host

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/thread"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// waitingCalls are the calls that wait for others, by their numbers.
var waitingCalls = map[uint64]string{
	unix.SYS_MSGRCV: "msgrcv", unix.SYS_MSGSND: "msgsnd",
	unix.SYS_SEMOP: "semop", unix.SYS_SEMTIMEDOP: "semop",
	unix.SYS_MQ_TIMEDRECEIVE: "mq_timedreceive", unix.SYS_MQ_TIMEDSEND: "mq_timedsend",
}

// sleepingPlaces are the functions of the kernel that threads sleep in, and the
// calls that they belong to.
var sleepingPlaces = map[string]string{"do_msgrcv": "msgrcv", "do_msgsnd": "msgsnd", "__do_semtimedop": "semop", "do_semtimedop": "semop", "wq_sleep": "mq"}

// findWait finds out whether a thread of the process sleeps in a call that waits
// for others.
func (p *used) findWait(dir string, t inhabitant, buffer *fileBuffer) {
	task := dir + "/task/" + strconv.Itoa(t.tid)
	text, err := buffer.read(task + "/syscall")
	if errors.Is(err, fs.ErrPermission) {
		p.findHiddenWait(task, t, buffer)
		return
	}
	if err != nil {
		return // it has ended
	}
	number, args, ok := parseCall(string(text))
	if !ok || waitingCalls[number] == "" {
		return
	}
	last, ok := sleepsIn(task, buffer)
	if !ok {
		return
	}
	w := Wait{TID: t.tid, Namespace: t.namespace, Call: waitingCalls[number], ID: int(int32(args[0]))}
	w.Timed = timed(number, args)
	w.readOperands(p.PID, args)
	p.Waiting = append(p.Waiting, w)
	p.asleep = append(p.asleep, last)
}

// findHiddenWait is findWait of a thread that this user may look at, but not
// trace; see ptrace(2). Where it sleeps may be known all the same.
func (p *used) findHiddenWait(task string, t inhabitant, buffer *fileBuffer) {
	text, err := buffer.read(task + "/wchan")
	call := sleepingPlaces[string(text)]
	if err != nil || call == "" {
		return
	}
	if last, ok := sleepsIn(task, buffer); ok {
		p.Waiting = append(p.Waiting, Wait{TID: t.tid, Namespace: t.namespace, Call: call, ID: -1})
		p.asleep = append(p.asleep, last)
	}
}

// parseCall reads what /proc/PID/task/TID/syscall holds: the number and the
// arguments of the call that the thread is in. It is not ok if it is in none.
func parseCall(text string) (number uint64, args [6]uint64, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 1+len(args) {
		return 0, args, false // "running"
	}
	number, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		return 0, args, false // -1, in no call
	}
	for i := range args {
		if args[i], err = strconv.ParseUint(fields[1+i], 0, 64); err != nil {
			return 0, args, false
		}
	}
	return number, args, true
}

// timed reports whether a call has a timeout.
func timed(number uint64, args [6]uint64) bool {
	switch number {
	case unix.SYS_SEMTIMEDOP:
		return args[3] != 0
	case unix.SYS_MQ_TIMEDSEND, unix.SYS_MQ_TIMEDRECEIVE:
		return args[4] != 0
	}
	return false
}

// readOperands reads what the arguments of the call point to.
func (w *Wait) readOperands(pid int, args [6]uint64) {
	switch w.Call {
	case "msgrcv":
		w.Bytes, w.Type = args[2], int64(args[3])
	case "msgsnd":
		w.Bytes = args[2]
		if !readMemory(pid, args[1], unsafe.Slice((*byte)(unsafe.Pointer(&w.Type)), unsafe.Sizeof(w.Type))) {
			w.Type = 0
		}
	case "semop":
		const most = 1 << 16 // which no limit semopm is set to
		sops := make([]ipc.Sembuf, min(args[2], most))
		size := len(sops) * int(unsafe.Sizeof(ipc.Sembuf{}))
		if size > 0 && readMemory(pid, args[1], unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(sops))), size)) {
			w.Operations = sops
		}
	case "mq_timedsend", "mq_timedreceive":
		w.Bytes = args[2]
	}
}

// readMemory reads all of the memory of a process at an address, or nothing that
// is of use.
func readMemory(pid int, address uint64, into []byte) bool {
	local := []unix.Iovec{{Base: unsafe.SliceData(into)}}
	local[0].SetLen(len(into))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(into)}}, 0)
	return err == nil && n == len(into)
}

// nameWaits fills in what the process's descriptors tell of the queues that it
// waits for.
func (p *used) nameWaits() {
	for i := range p.Waiting {
		w := &p.Waiting[i]
		if w.Call != "mq_timedsend" && w.Call != "mq_timedreceive" {
			continue
		}
		for _, queue := range p.Open {
			if queue.FD == w.ID {
				w.Name, w.Namespace = queue.Name, queue.Namespace
			}
		}
	}
}

// A lastRun is when a thread ran last, by the clock of its CPU, which every CPU has
// its own of; see sched_clock in the kernel. At is 0 if that is not known.
type lastRun struct {
	cpu int
	at  time.Duration
}

// sleepsIn reports whether the thread sleeps in a call of the kernel's own, and
// since when. One that a supervisor answers waits for that.
func sleepsIn(task string, buffer *fileBuffer) (last lastRun, ok bool) {
	text, err := buffer.read(task + "/wchan")
	if err != nil || bytes.HasPrefix(text, []byte("seccomp")) {
		return lastRun{}, false
	}
	text, err = buffer.read(task + "/stat")
	if err != nil {
		return lastRun{}, false
	}
	const state, processor = 0, 36
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= processor || fields[state] != "S" {
		return lastRun{}, false
	}
	if last.cpu, err = strconv.Atoi(fields[processor]); err == nil {
		last.at = ranLast(task, buffer)
	}
	return last, true
}

// ranLast returns when the thread began or went on to run the last time, 0 if that
// is not known.
func ranLast(task string, buffer *fileBuffer) time.Duration {
	text, err := buffer.read(task + "/sched")
	if err != nil {
		return 0 // a kernel without CONFIG_SCHED_DEBUG
	}
	_, rest, _ := bytes.Cut(text, []byte("\nse.exec_start"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	_, value, _ := bytes.Cut(line, []byte(":"))
	milliseconds, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
	if err != nil {
		return 0
	}
	return time.Duration(milliseconds * float64(time.Millisecond))
}

// tellAges fills in how long threads have slept. A thread of this process runs on
// each of their CPUs for a moment, and its clock is read there.
func tellAges(all []*used) {
	now := map[int]time.Duration{}
	for _, p := range all {
		for _, last := range p.asleep {
			now[last.cpu] = 0
		}
	}
	if len(now) == 0 {
		return
	}
	thread.Do(func() error {
		var buffer fileBuffer
		for cpu := range now {
			now[cpu] = clockOf(cpu, &buffer)
		}
		return nil
	})
	for _, p := range all {
		for i, last := range p.asleep {
			if at := now[last.cpu]; at > 0 && last.at > 0 {
				p.Waiting[i].Since = max(at-last.at, 1)
			}
		}
	}
}

// clockOf returns the time of a CPU's clock, 0 if it may not be known.
func clockOf(cpu int, buffer *fileBuffer) time.Duration {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return 0 // it is not for this process
	}
	unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // so that the kernel notes the time
	return ranLast("/proc/thread-self", buffer)
}
