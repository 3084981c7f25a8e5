//go:build linux

package supervise_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// The roles of programs that make calls at random: one that starts and ends the
// others, and one of those.
const (
	fuzzRole     = "have others make random calls"
	fuzzLeafRole = "make random calls"
)

// fuzz starts processes that make random calls, stops, continues and kills them,
// until the time is over. The arguments are a duration, a seed, and a file in
// which the calls are counted.
func fuzz() error {
	duration, err := time.ParseDuration(os.Args[1])
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err != nil {
		return err
	}
	const atATime = 3
	ends := make(chan error, atATime)
	deadline := time.Now().Add(duration)
	for i := range atATime {
		go func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			var err error
			for time.Now().Before(deadline) && err == nil {
				err = fuzzFor(random, time.Duration(random.IntN(1500))*time.Millisecond)
			}
			ends <- err
		}()
	}
	for range atATime {
		if err := <-ends; err != nil {
			return err
		}
	}
	return nil
}

// fuzzFor has one process, and those that it starts, make random calls for so
// long.
func fuzzFor(random *rand.Rand, life time.Duration) error {
	cmd := ipctest.Again(fuzzLeafRole, strconv.FormatUint(random.Uint64(), 10), os.Args[3])
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start another: %w", err)
	}
	defer cmd.Wait()
	defer unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	for range random.IntN(3) {
		time.Sleep(life / 4)
		unix.Kill(-cmd.Process.Pid, unix.SIGSTOP)
		time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
		unix.Kill(-cmd.Process.Pid, unix.SIGCONT)
	}
	time.Sleep(life / 2)
	return nil
}

// fuzzLeaf makes random calls until it is killed: in threads, which end, and in
// processes that it forks.
func fuzzLeaf() error {
	seed, err := strconv.ParseUint(os.Args[1], 10, 64)
	if err != nil {
		return err
	}
	calls, err := sharedCounter(os.Args[2])
	if err != nil {
		return err
	}
	// Not for ever, if it should be missed.
	unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Value: unix.Timeval{Sec: 30}})
	const threads = 8
	for i := range uint64(threads) {
		go func() {
			for life := i; ; life += threads {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					// Which ends with its goroutine.
					runtime.LockOSThread()
					newFuzzer(seed, life, calls).run(500)
				}()
				<-ended
			}
		}()
	}
	for i := uint64(1 << 20); ; i++ {
		newFuzzer(seed, i, calls).forked()
	}
}

// sharedCounter maps a file that begins with a counter.
func sharedCounter(path string) (*atomic.Int64, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	memory, err := unix.Mmap(int(file.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*atomic.Int64)(unsafe.Pointer(&memory[0])), nil
}

// A fuzzer is a thread that makes random calls. It allocates nothing once it is
// there, so that a forked child can go on with it.
type fuzzer struct {
	random      *rand.Rand
	calls       *atomic.Int64
	arena       uintptr     // memory of which pages can be written, read, and neither
	results     [32]uintptr // of calls before, which may be ids, descriptors and addresses
	descriptors [8]uintptr  // that are open
	next        int         // of the results
	alone       bool        // there is no other thread
	names       [16]uintptr // addresses of strings
	times       [6]uintptr  // addresses of struct timespec
	operations  [4]uintptr  // addresses of struct sembuf
	events      [4]uintptr  // addresses of struct sigevent
}

// The arena's pages.
const (
	fuzzPage     = 4096
	writablePart = 24 * fuzzPage
	readOnlyPart = writablePart
	nothingThere = readOnlyPart + fuzzPage
	stringsPart  = nothingThere + fuzzPage
	arenaSize    = stringsPart + 4*fuzzPage
)

var fuzzNames = [16]string{
	"a", "b", "a/b", "", "\xff", "mqueue", "/proc/sysvipc/msg", "/proc/self/root/proc/sysvipc/shm", "//proc/./sysvipc/../sysvipc/sem",
	"/dev/mqueue/a", "msg", "/proc/sys/kernel/msgmax", "/dev/null", "/proc/sysvipc/supervisor", "/proc/self/cwd/msg", "/nonexistent/sem",
}

func newFuzzer(seed, stream uint64, calls *atomic.Int64) *fuzzer {
	f := &fuzzer{random: rand.New(rand.NewPCG(seed, stream)), calls: calls}
	arena, _, errno := syscall.Syscall6(unix.SYS_MMAP, 0, arenaSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|mapLow, ^uintptr(0), 0)
	if errno != 0 {
		unix.Exit(1) // as there is no room for another
	}
	f.arena = arena
	memory := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&arena))), arenaSize)
	at := stringsPart
	put := func(data []byte) uintptr {
		begin := at
		at += copy(memory[at:], data) + 8&^7
		at = (at + 7) &^ 7
		return arena + uintptr(begin)
	}
	for i, name := range fuzzNames {
		f.names[i] = put(append([]byte(name), 0))
	}
	now := time.Now()
	for i, ts := range []unix.Timespec{{}, {Nsec: 1e6}, {Sec: -1}, {Sec: 1<<63 - 1, Nsec: 999999999}, {Sec: now.Unix(), Nsec: 1e9}, {Sec: now.Unix() + 1}} {
		f.times[i] = put(unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts)))
	}
	for i, ops := range [][]ipctest.Sembuf{{{Op: 1}}, {{Op: -1, Flg: ipc.SemUndo}}, {{Op: 1}, {Num: 1, Op: -1}}, {{Op: 2, Flg: ipc.SemUndo}, {Num: 2}}} {
		f.operations[i] = put(unsafe.Slice((*byte)(unsafe.Pointer(&ops[0])), len(ops)*6))
	}
	cookie := f.names[0]
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		f.descriptors[0] = uintptr(socket)
	}
	for i, event := range [][2]uint64{{1, 0 | 0<<32}, {2, uint64(unix.SIGURG)}, {3, 1 << 32}, {uint64(cookie), uint64(socket) | 2<<32}} {
		f.events[i] = put(unsafe.Slice((*byte)(unsafe.Pointer(&event)), 16))
	}
	syscall.Syscall(unix.SYS_MPROTECT, arena+readOnlyPart, fuzzPage, unix.PROT_READ)
	syscall.Syscall(unix.SYS_MPROTECT, arena+nothingThere, fuzzPage, unix.PROT_NONE)
	return f
}

// run makes so many calls.
func (f *fuzzer) run(calls int) {
	defer syscall.Syscall(unix.SYS_MUNMAP, f.arena, arenaSize, 0)
	for range calls {
		f.call()
	}
	for _, fd := range f.descriptors {
		if fd > 2 {
			unix.Close(int(fd))
		}
	}
}

// forked makes calls in a child, which cannot do much else: it has no other
// thread of the runtime's.
func (f *fuzzer) forked() {
	ends := f.random.IntN(4)
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		time.Sleep(time.Millisecond)
		return
	}
	if pid == 0 {
		f.alone = true
		for range 300 {
			f.call()
		}
		if ends == 0 {
			f.raw(unix.SYS_KILL, f.raw(unix.SYS_GETPID, 0, 0, 0, 0, 0), uintptr(unix.SIGKILL), 0, 0, 0)
		}
		if ends == 1 {
			path := [...]byte{'/', 'b', 'i', 'n', '/', 't', 'r', 'u', 'e', 0}
			argv := [2]*byte{&path[0]}
			syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(&path)), uintptr(unsafe.Pointer(&argv)), 0)
		}
		for {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	time.Sleep(time.Duration(ends*5) * time.Millisecond)
	if ends == 2 {
		unix.Kill(int(pid), unix.SIGKILL)
	}
	go unix.Wait4(int(pid), nil, 0, nil) // it may sleep until all are killed
	syscall.Syscall(unix.SYS_MUNMAP, f.arena, arenaSize, 0)
	unix.Close(int(f.descriptors[0]))
}

// What an argument is to be.
type argument int

const (
	anything argument = iota
	identifier
	key
	address
	size
	flags
	command
	descriptor
	name
	moment
	operations
	event
	semctlArgument
	attachAt
)

// fuzzCalls are the calls that are made, with what their arguments are meant to
// be. Those that make IPC come more often.
var fuzzCalls = []struct {
	number    uintptr
	arguments [5]argument
	weight    int
}{
	{unix.SYS_MSGGET, [5]argument{key, flags}, 3},
	{unix.SYS_MSGSND, [5]argument{identifier, address, size, flags}, 6},
	{unix.SYS_MSGRCV, [5]argument{identifier, address, size, anything, flags}, 6},
	{unix.SYS_MSGCTL, [5]argument{identifier, command, address}, 6},
	{unix.SYS_SEMGET, [5]argument{key, size, flags}, 3},
	{unix.SYS_SEMOP, [5]argument{identifier, operations, size}, 6},
	{unix.SYS_SEMTIMEDOP, [5]argument{identifier, operations, size, moment}, 6},
	{unix.SYS_SEMCTL, [5]argument{identifier, size, command, semctlArgument}, 8},
	{unix.SYS_SHMGET, [5]argument{key, size, flags}, 3},
	{unix.SYS_SHMAT, [5]argument{identifier, attachAt, flags}, 4},
	{unix.SYS_SHMDT, [5]argument{attachAt}, 4},
	{unix.SYS_SHMCTL, [5]argument{identifier, command, address}, 6},
	{unix.SYS_MQ_OPEN, [5]argument{name, flags, flags, address}, 4},
	{unix.SYS_MQ_UNLINK, [5]argument{name}, 2},
	{unix.SYS_MQ_NOTIFY, [5]argument{descriptor, event}, 4},
	{unix.SYS_MQ_TIMEDSEND, [5]argument{descriptor, address, size, anything, moment}, 6},
	{unix.SYS_MQ_TIMEDRECEIVE, [5]argument{descriptor, address, size, address, moment}, 6},
	{unix.SYS_MQ_GETSETATTR, [5]argument{descriptor, address, address}, 4},
	{unix.SYS_OPENAT, [5]argument{descriptor, name, flags, flags}, 4},
	{unix.SYS_OPENAT2, [5]argument{descriptor, name, address, size}, 3},
	{unix.SYS_SETNS, [5]argument{descriptor, anything}, 1},
	{unix.SYS_FSOPEN, [5]argument{name, anything}, 1},
	{unix.SYS_CAPSET, [5]argument{address, address}, 1},
	{unix.SYS_SETREUID, [5]argument{identifier, identifier}, 1},
	{unix.SYS_SETRESGID, [5]argument{identifier, identifier, identifier}, 1},
	{unix.SYS_SETFSUID, [5]argument{identifier}, 1},
	{unix.SYS_SETGROUPS, [5]argument{size, address}, 1},
	{unix.SYS_UNSHARE, [5]argument{}, 1},
	{unix.SYS_CLONE3, [5]argument{address, size}, 1},
	{unix.SYS_GETRANDOM, [5]argument{address, size}, 3},
	{unix.SYS_CLOSE, [5]argument{descriptor}, 2},
	{unix.SYS_MPROTECT, [5]argument{attachAt, size, anything}, 1},
}

// fuzzCompatCalls are the numbers of calls of i386 that are made: IPC, and what
// opens files and changes who calls.
var fuzzCompatCalls = []uintptr{
	117, 117, 393, 394, 395, 396, 397, 398, 399, 400, 401, 402, 277, 278, 279, 280, 281, 282, 418, 419, 420,
	5, 295, 437, 11, 358, 23, 46, 70, 71, 81, 138, 139, 164, 170, 203, 204, 206, 208, 210, 213, 214, 215, 216, 185, 346, 435,
}

var fuzzWeight = func() (sum int) {
	for _, c := range fuzzCalls {
		sum += c.weight
	}
	return sum
}()

// call makes a random call.
func (f *fuzzer) call() {
	f.calls.Add(1)
	at := f.random.IntN(fuzzWeight)
	i := 0
	for ; at >= fuzzCalls[i].weight; i++ {
		at -= fuzzCalls[i].weight
	}
	c := &fuzzCalls[i]
	var args [5]uintptr
	for i, kind := range c.arguments {
		args[i] = f.argument(kind)
	}
	switch c.number {
	case unix.SYS_UNSHARE:
		args[0] = f.unshared()
	case unix.SYS_MPROTECT:
		args[1] = fuzzPage // or all that a process has could be lost
	case unix.SYS_GETRANDOM:
		args[1] &= 0xfff
	}
	if compat != nil && f.random.IntN(64) == 0 {
		compat(pick(f, fuzzCompatCalls), uintptr(uint32(args[0])), uintptr(uint32(args[1])), uintptr(uint32(args[2])), uintptr(uint32(args[3])), uintptr(uint32(args[4])))
		return
	}
	result := f.raw(c.number, args[0], args[1], args[2], args[3], args[4])
	if ^result < 4096 { // a failure
		return
	}
	f.results[f.next%len(f.results)] = result
	f.next++
	switch c.number {
	case unix.SYS_MQ_OPEN, unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_FSOPEN:
		f.keep(result)
	}
}

// unshared is what to unshare. A namespace costs more than other calls, and a
// process with threads gets no user namespace.
func (f *fuzzer) unshared() uintptr {
	if f.random.IntN(20) != 0 {
		return f.below(1 << 10)
	}
	if f.alone && f.random.IntN(2) == 0 {
		return unix.CLONE_NEWUSER | unix.CLONE_NEWIPC
	}
	return unix.CLONE_NEWIPC
}

// keep keeps a descriptor, and closes another.
func (f *fuzzer) keep(fd uintptr) {
	i := 1 + f.random.IntN(len(f.descriptors)-1)
	if before := f.descriptors[i]; before > 2 {
		f.raw(unix.SYS_CLOSE, before, 0, 0, 0, 0)
	}
	f.descriptors[i] = fd
}

// raw makes a call. In a process with threads the runtime has to know of it.
func (f *fuzzer) raw(number, a, b, c, d, e uintptr) uintptr {
	if f.alone {
		r, _, errno := syscall.RawSyscall6(number, a, b, c, d, e, 0)
		return r | -uintptr(errno)
	}
	r, _, errno := syscall.Syscall6(number, a, b, c, d, e, 0)
	return r | -uintptr(errno)
}

func (f *fuzzer) below(n uintptr) uintptr { return uintptr(f.random.Uint64N(uint64(n))) }

func pick[T any](f *fuzzer, from []T) T { return from[f.random.IntN(len(from))] }

var edges = []uintptr{
	0, 1, 2, 3, 8, 255, 256, 4095, 4096, 4097, 8192, 8193, 32767, 32768, 65535, 65536, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32,
	1 << 40, 1 << 47, 1<<63 - 1, 1 << 63, ^uintptr(0), ^uintptr(1), ^uintptr(99), ^uintptr(4095),
}

// argument returns a random argument, mostly of a kind.
func (f *fuzzer) argument(kind argument) uintptr {
	switch f.random.IntN(16) {
	case 0:
		return pick(f, edges)
	case 1:
		return uintptr(f.random.Uint64())
	}
	switch kind {
	case identifier:
		return f.identifier()
	case key:
		return f.below(6)
	case address:
		return f.address()
	case size:
		return f.size()
	case flags:
		return f.flags()
	case command:
		return f.below(24) | f.below(2)<<8
	case descriptor:
		return pick(f, f.descriptors[:])
	case name:
		return pick(f, f.names[:])
	case moment:
		return pick(f, f.times[:])
	case operations:
		return pick(f, f.operations[:])
	case event:
		return pick(f, f.events[:])
	case semctlArgument:
		if f.random.IntN(2) == 0 {
			return f.below(4)
		}
		return f.address()
	case attachAt:
		return f.attachAt()
	}
	return f.below(9) - 4
}

func (f *fuzzer) identifier() uintptr {
	if f.random.IntN(2) == 0 {
		return pick(f, f.results[:])
	}
	return f.below(4) | f.below(3)<<15
}

// address returns an address in the arena, often where a part ends.
func (f *fuzzer) address() uintptr {
	switch f.random.IntN(8) {
	case 0:
		return f.arena + readOnlyPart - f.below(128)
	case 1:
		return f.arena + nothingThere - f.below(128)
	case 2:
		return f.arena + nothingThere
	}
	return f.arena + f.below(writablePart)&^7
}

func (f *fuzzer) size() uintptr {
	if f.random.IntN(2) == 0 {
		return pick(f, edges)
	}
	return f.below(64)
}

// flags returns some: known ones, which mean something else to each call, and
// any.
func (f *fuzzer) flags() uintptr {
	all := pick(f, []uintptr{0, 0o600, 0o666, 0o777})
	for range f.random.IntN(4) {
		all |= pick(f, []uintptr{0o1000, 0o2000, 0o4000, 0o10000, 0o20000, 0o40000, 0o100000, 1, 2, 0o100, unix.O_NONBLOCK, unix.O_CLOEXEC, 1 << f.random.UintN(40)})
	}
	if f.random.IntN(8) > 0 {
		return all | 0o4000 // IPC_NOWAIT, SHM_HUGETLB, O_NONBLOCK
	}
	return all
}

func (f *fuzzer) attachAt() uintptr {
	switch f.random.IntN(4) {
	case 0:
		return 0
	case 1:
		return f.arena + f.below(writablePart)
	case 2:
		return f.arena + f.below(writablePart)&^(fuzzPage-1)
	}
	return pick(f, f.results[:])
}
