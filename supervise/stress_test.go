//go:build linux

package supervise_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// The roles of a process that has others send and receive, and of one of those.
const (
	countRole    = "count messages"
	exchangeRole = "send or receive"
)

// TestSoakOfMessages has processes send and receive that are interrupted, with and
// without SA_RESTART, and killed at any time. What a sender was told that it has
// sent is received once, or still there; of what a receiver has taken that was
// killed in its call, nobody can know. IPCNS_SOAK=1h goes on for an hour.
func TestSoakOfMessages(t *testing.T) {
	duration := os.Getenv("IPCNS_SOAK")
	if duration == "" {
		duration = "2s"
	}
	onBoth(t, countRole, []string{duration}, func(t *testing.T, output string) { t.Log(strings.TrimSpace(output)) })
}

// A record is what a process that sends or receives has noted, which outlives it.
type record struct {
	tid    atomic.Int32 // of the thread that makes the calls, once it does
	inCall atomic.Bool  // it makes one, and has not noted what came of it
	count  atomic.Int64 // messages that it has sent or received
	got    [1 << 18]int64
}

// records are one for each process of a round, in memory that all share.
type records [96]record

func mapRecords(fd int) (*records, error) {
	address, _, errno := syscall.Syscall6(unix.SYS_MMAP, 0, unsafe.Sizeof(records{}), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, uintptr(fd), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("mmap", errno)
	}
	return *(**records)(unsafe.Pointer(&address)), nil
}

// A channel is a queue, as processes know it that send and receive.
type channel interface {
	// make makes a queue that is soon full. Others know it by the same number,
	// or get the file.
	make() (object int, shared *os.File, errno syscall.Errno)
	send(object int, id int64) syscall.Errno
	receive(object int, wait bool) (id int64, errno syscall.Errno)
}

var channels = map[string]channel{"System V": sysvChannel{}, "POSIX": posixChannel{}}

type sysvChannel struct{}

const idSize = 8

func (sysvChannel) make() (int, *os.File, syscall.Errno) {
	id, errno := emptyQueue(0)
	if errno == 0 {
		ds := sys.MsqidDS{Perm: sys.IPCPerm{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Mode: 0o600}, Qbytes: 16 * idSize}
		_, errno = sys.Msgctl(id, sys.IPCSet, unsafe.Pointer(&ds))
	}
	return id, nil, errno
}

// send sends messages of three types, and a receiver takes those of any.
func (sysvChannel) send(object int, id int64) syscall.Errno {
	m := message{typ: 1 + id%3}
	binary.NativeEndian.PutUint64(m.text[:], uint64(id))
	return sys.Msgsnd(object, unsafe.Pointer(&m), idSize, 0)
}

func (sysvChannel) receive(object int, wait bool) (int64, syscall.Errno) {
	const noWait = 0o4000
	var m message
	flags := 0
	if !wait {
		flags = noWait
	}
	_, errno := sys.Msgrcv(object, unsafe.Pointer(&m), idSize, -3, flags)
	return int64(binary.NativeEndian.Uint64(m.text[:])), errno
}

// A posixChannel is a queue of which each process has one descriptor.
type posixChannel struct{}

func (posixChannel) make() (int, *os.File, syscall.Errno) {
	const name = "exchange"
	fd, errno := sys.MqOpen(name, unix.O_RDWR|unix.O_CREAT, 0o600, &sys.MqAttr{Maxmsg: 4, Msgsize: idSize})
	if errno != 0 {
		return -1, nil, errno
	}
	return fd, os.NewFile(uintptr(fd), name), sys.MqUnlink(name)
}

// patience is how long a process waits for a queue before it tries again.
const patience = 3 * time.Millisecond

func (posixChannel) send(object int, id int64) syscall.Errno {
	until := unix.NsecToTimespec(time.Now().Add(patience).UnixNano())
	return sys.MqSend(object, binary.NativeEndian.AppendUint64(nil, uint64(id)), uint(id%3), &until)
}

func (posixChannel) receive(object int, wait bool) (int64, syscall.Errno) {
	var until *unix.Timespec
	if !wait {
		until = new(unix.Timespec)
	}
	buffer := make([]byte, idSize)
	_, _, errno := sys.MqReceive(object, buffer, until)
	return int64(binary.NativeEndian.Uint64(buffer)), errno
}

// recordsFD is where a process that sends or receives has the records, and
// objectFD the queue, if that is a descriptor.
const (
	recordsFD = 3
	objectFD  = 4
)

// sendOrReceive does so until it is killed: in what channel, which of both, with
// which handler, with which record and on which object, the arguments say.
func sendOrReceive() error {
	through, sends, handler := channels[os.Args[1]], os.Args[2] == "send", os.Args[3]
	slot, err1 := strconv.Atoi(os.Args[4])
	object, err2 := strconv.Atoi(os.Args[5])
	all, err3 := mapRecords(recordsFD)
	runtime.LockOSThread()
	if err := errors.Join(err1, err2, err3, handle(handler, func() {})); err != nil {
		return err
	}
	r := &all[slot]
	r.tid.Store(int32(unix.Gettid()))
	if sends {
		return r.send(through, object, slot)
	}
	return r.receive(through, object)
}

// again reports whether a call has to be made once more.
func again(errno syscall.Errno) bool { return errno == unix.EINTR || errno == unix.ETIMEDOUT }

func (r *record) send(through channel, object, slot int) error {
	for {
		r.inCall.Store(true)
		errno := through.send(object, idOf(slot, r.count.Load()))
		if errno == 0 {
			r.count.Add(1)
		}
		r.inCall.Store(false)
		if errno != 0 && !again(errno) {
			return errno
		}
	}
}

func (r *record) receive(through channel, object int) error {
	for int(r.count.Load()) < len(r.got) {
		r.inCall.Store(true)
		id, errno := through.receive(object, true)
		if errno == 0 {
			r.got[r.count.Load()] = id
			r.count.Add(1)
		}
		r.inCall.Store(false)
		if errno != 0 && !again(errno) {
			return errno
		}
	}
	time.Sleep(time.Hour) // there is no room for more
	return nil
}

// idOf returns the id of a message, by the record of its sender and by how many
// that has sent before.
func idOf(slot int, before int64) int64 { return int64(slot)<<40 | before }

func senderOf(id int64) (slot int, before int64) { return int(id >> 40), id & (1<<40 - 1) }

// A round is some processes that exchange messages through a channel.
type round struct {
	name    string
	through channel
	memory  *os.File // of records
	records *records
	object  int      // as this process knows it, and
	shared  *os.File // as the others do; nil for the same number

	sends   []bool // by slot
	running map[int]*exec.Cmd
}

// tally is what has become of messages.
type tally struct{ sent, received, left, doubtful, lost, killed int }

// countMessages has rounds until the time is over that the argument says.
func countMessages() error {
	duration, err := time.ParseDuration(os.Args[1])
	if err != nil {
		return err
	}
	totals := map[string]*tally{}
	for began := time.Now(); ; {
		for name, through := range channels {
			if totals[name] == nil {
				totals[name] = &tally{}
			}
			if err := exchangeMessages(name, through, min(duration/2, time.Second), totals[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if time.Since(began) >= duration {
			break
		}
	}
	for name, total := range totals {
		fmt.Printf("%s: %+v\n", name, *total)
	}
	return nil
}

// exchangeMessages has a round of that length, and adds to the tally.
func exchangeMessages(name string, through channel, duration time.Duration, total *tally) error {
	r, err := newRound(name, through)
	if err != nil {
		return err
	}
	defer r.end()
	for i := range 6 {
		if err := r.start(i%2 == 0); err != nil {
			return err
		}
	}
	if err := r.disturb(duration, total); err != nil {
		return err
	}
	for slot := range r.running {
		if err := r.kill(slot); err != nil {
			return err
		}
	}
	return r.check(total)
}

func newRound(name string, through channel) (*round, error) {
	fd, err := unix.MemfdCreate("records", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	r := &round{name: name, through: through, memory: os.NewFile(uintptr(fd), "records"), running: map[int]*exec.Cmd{}}
	if err := r.memory.Truncate(int64(unsafe.Sizeof(records{}))); err != nil {
		return nil, err
	}
	if r.records, err = mapRecords(fd); err != nil {
		return nil, err
	}
	var errno syscall.Errno
	if r.object, r.shared, errno = through.make(); errno != 0 {
		return nil, errno
	}
	return r, nil
}

// end ends the processes and the queue.
func (r *round) end() {
	for slot := range r.running {
		r.kill(slot)
	}
	syscall.Syscall(unix.SYS_MUNMAP, uintptr(unsafe.Pointer(r.records)), unsafe.Sizeof(*r.records), 0)
	r.memory.Close()
	if r.shared != nil {
		r.shared.Close()
		return
	}
	sys.Msgctl(r.object, sys.IPCRmid, nil)
}

// start starts a process that sends or receives, with one or the other handler.
func (r *round) start(sends bool) error {
	slot, what, handler, object := len(r.sends), "receive", interrupts, r.object
	if sends {
		what = "send"
	}
	if slot%4 >= 2 {
		handler = restarts
	}
	files := []*os.File{r.memory}
	if r.shared != nil {
		files, object = append(files, r.shared), objectFD
	}
	cmd := ipctest.Again(exchangeRole, r.name, what, handler, strconv.Itoa(slot), strconv.Itoa(object))
	cmd.Stderr, cmd.ExtraFiles, cmd.SysProcAttr.Pdeathsig = os.Stderr, files, unix.SIGKILL
	if err := cmd.Start(); err != nil {
		return err
	}
	r.sends, r.running[slot] = append(r.sends, sends), cmd
	return nil
}

// kill kills a process, which has not ended by itself, and waits for it.
func (r *round) kill(slot int) error {
	cmd := r.running[slot]
	delete(r.running, slot)
	cmd.Process.Kill()
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
		return fmt.Errorf("process %d has ended before: %v", slot, cmd.ProcessState)
	}
	return nil
}

// disturb sends signals to the processes, and kills some and starts others in
// their place.
func (r *round) disturb(duration time.Duration, total *tally) error {
	const killEach = 40 * time.Millisecond
	kill := time.Now().Add(killEach)
	for deadline := time.Now().Add(duration); time.Now().Before(deadline); {
		time.Sleep(rand.N(500 * time.Microsecond))
		slot := r.anyRunning()
		if tid := r.records[slot].tid.Load(); tid != 0 {
			unix.Tgkill(r.running[slot].Process.Pid, int(tid), unix.SIGUSR1)
		}
		if time.Now().Before(kill) || len(r.sends) == len(r.records) {
			continue
		}
		kill = time.Now().Add(killEach)
		total.killed++
		if err := errors.Join(r.kill(slot), r.start(r.sends[slot])); err != nil {
			return err
		}
	}
	return nil
}

func (r *round) anyRunning() int {
	for {
		if slot := rand.IntN(len(r.sends)); r.running[slot] != nil {
			return slot
		}
	}
}

// check looks for every message.
func (r *round) check(total *tally) error {
	seen, err := r.seen(total)
	if err != nil {
		return err
	}
	doubtful, missing := 0, 0
	for slot, sends := range r.sends {
		record := &r.records[slot]
		if !sends {
			if record.inCall.Load() {
				doubtful++
			}
			continue
		}
		total.sent += int(record.count.Load())
		for before := range record.count.Load() {
			if !seen[idOf(slot, before)] {
				missing++
			}
		}
	}
	total.doubtful += doubtful
	total.lost += missing
	if missing > doubtful {
		return fmt.Errorf("%d messages are lost, and only %d receivers were killed in a call", missing, doubtful)
	}
	return nil
}

// seen returns the messages that were received or are still there.
func (r *round) seen(total *tally) (seen map[int64]bool, err error) {
	seen = map[int64]bool{}
	for slot, sends := range r.sends {
		record := &r.records[slot]
		for i := range record.count.Load() {
			if sends {
				break
			}
			if err := r.see(record.got[i], seen); err != nil {
				return nil, err
			}
			total.received++
		}
	}
	for {
		id, errno := r.through.receive(r.object, false)
		if errno == unix.ENOMSG || errno == unix.ETIMEDOUT {
			return seen, nil
		}
		if errno != 0 {
			return nil, errno
		}
		if err := r.see(id, seen); err != nil {
			return nil, err
		}
		total.left++
	}
}

// see notes that a message was seen. The one that a sender was killed in the
// middle of may have been sent.
func (r *round) see(id int64, seen map[int64]bool) error {
	slot, before := senderOf(id)
	if slot < 0 || slot >= len(r.sends) || !r.sends[slot] {
		return fmt.Errorf("message %#x has no sender", id)
	}
	record := &r.records[slot]
	if sent := record.count.Load(); before > sent || before == sent && !record.inCall.Load() {
		return fmt.Errorf("message %d of process %d was received, which has sent %d", before, slot, sent)
	}
	if seen[id] {
		return fmt.Errorf("message %d of process %d was received twice", before, slot)
	}
	seen[id] = true
	return nil
}
