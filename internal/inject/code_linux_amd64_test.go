package inject

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	keepsRegisters = "keep all registers"
	runsCode       = "make a call in a page of code"
	changesCode    = "make calls in a page of code that another thread changes"
	countsSignals  = "count signals"
)

// codeRoles are those of targets that have machine code of their own.
var codeRoles = map[string]func() error{
	keepsRegisters: keepRegisters,
	runsCode:       runCode,
	changesCode:    changeCode,
	countsSignals:  countSignals,
}

// newCode returns code that may be run and changed.
func newCode(code []byte) ([]byte, error) {
	page, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	copy(page, code)
	return page, err
}

// A routine is what a func value points to: the address of code, which gets
// that of the routine in rdx, and its data.
type routine struct {
	code      unsafe.Pointer
	registers [13]uint64 // rax rbx rsi rdi rbp r8 r9 r10 r12 r13 r14 r15 rdx
	flags     uint64
}

func (r *routine) call() uintptr {
	return (*(*func() uintptr)(unsafe.Pointer(&r)))()
}

// callWithRegisters loads the registers of its routine, makes the call, and
// stores them.
var callWithRegisters = []byte{
	0x55,       // push rbp
	0x41, 0x56, // push r14
	0x52,                   // push rdx
	0x48, 0x8b, 0x42, 0x08, // mov rax, [rdx+8]
	0x48, 0x8b, 0x5a, 0x10, // mov rbx, [rdx+16]
	0x48, 0x8b, 0x72, 0x18, // mov rsi, [rdx+24]
	0x48, 0x8b, 0x7a, 0x20, // mov rdi, [rdx+32]
	0x48, 0x8b, 0x6a, 0x28, // mov rbp, [rdx+40]
	0x4c, 0x8b, 0x42, 0x30, // mov r8, [rdx+48]
	0x4c, 0x8b, 0x4a, 0x38, // mov r9, [rdx+56]
	0x4c, 0x8b, 0x52, 0x40, // mov r10, [rdx+64]
	0x4c, 0x8b, 0x62, 0x48, // mov r12, [rdx+72]
	0x4c, 0x8b, 0x6a, 0x50, // mov r13, [rdx+80]
	0x4c, 0x8b, 0x72, 0x58, // mov r14, [rdx+88]
	0x4c, 0x8b, 0x7a, 0x60, // mov r15, [rdx+96]
	0x48, 0x8b, 0x52, 0x68, // mov rdx, [rdx+104]
	0xf9,       // stc
	0xfd,       // std
	0x0f, 0x05, // syscall
	0x48, 0x87, 0x14, 0x24, // xchg rdx, [rsp]
	0x48, 0x89, 0x42, 0x08, // mov [rdx+8], rax
	0x48, 0x89, 0x5a, 0x10, // mov [rdx+16], rbx
	0x48, 0x89, 0x72, 0x18, // mov [rdx+24], rsi
	0x48, 0x89, 0x7a, 0x20, // mov [rdx+32], rdi
	0x48, 0x89, 0x6a, 0x28, // mov [rdx+40], rbp
	0x4c, 0x89, 0x42, 0x30, // mov [rdx+48], r8
	0x4c, 0x89, 0x4a, 0x38, // mov [rdx+56], r9
	0x4c, 0x89, 0x52, 0x40, // mov [rdx+64], r10
	0x4c, 0x89, 0x62, 0x48, // mov [rdx+72], r12
	0x4c, 0x89, 0x6a, 0x50, // mov [rdx+80], r13
	0x4c, 0x89, 0x72, 0x58, // mov [rdx+88], r14
	0x4c, 0x89, 0x7a, 0x60, // mov [rdx+96], r15
	0x58,                   // pop rax
	0x48, 0x89, 0x42, 0x68, // mov [rdx+104], rax
	0x9c,                   // pushfq
	0x58,                   // pop rax
	0x48, 0x89, 0x42, 0x70, // mov [rdx+112], rax
	0xfc,       // cld
	0x41, 0x5e, // pop r14
	0x5d, // pop rbp
	0xc3, // ret
}

func keepRegisters() error {
	code, err := newCode(callWithRegisters)
	if err != nil {
		return err
	}
	if err := beTarget(); err != nil {
		return err
	}
	for range 100 {
		r := routine{code: unsafe.Pointer(&code[0])}
		for i := range r.registers {
			r.registers[i] = rand.Uint64()
		}
		r.registers[0] = trapped
		want := r.registers
		r.call()
		want[0] = ^uint64(unix.ENOANO) + 1
		if r.registers != want {
			return fmt.Errorf("the registers are %x\nwant %x", r.registers, want)
		}
		const carry, direction = 1 << 0, 1 << 10
		if r.flags&(carry|direction) != carry|direction {
			return fmt.Errorf("the flags are %#x", r.flags)
		}
	}
	return nil
}

func TestOnlyTheResultChangesOfTheRegisters(t *testing.T) {
	x := start(t, keepsRegisters)
	for n := x.receive(); n != nil; n = x.receive() {
		err := x.do(n, func(th *Thread) int64 {
			address := mapPage(th)
			if _, errno := th.Call(unix.SYS_MUNMAP, uintptr(address), pageSize); errno != 0 {
				t.Error("munmap: ", errno)
			}
			return -int64(unix.ENOANO)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	x.succeeds()
}

// The code of the role runsCode, and what the tests make of it.
var (
	someCode = []byte{
		0xb8, trapped, 0, 0, 0, // mov eax, trapped
		0x0f, 0x05, // syscall
		0xc3, 0x90, 0x90, // ret
		0x0f, 0x05, // syscall, for codeOtherCall
		0xc3, // ret
	}
	codeLoop      = []byte{0xeb, 0xfe} // jmp to itself
	codeIllegal   = []byte{0x0f, 0x0b} // ud2
	codeOtherCall = []byte{0xeb, 0x03} // jmp to the other call
	codeTrap      = []byte{0xcc, 0xcc} // int3
)

const (
	someCall     = 5 // where the instruction is in someCode
	resultOfCode = 12321
)

// runCode makes a call with someCode, which is changed meanwhile.
func runCode() error {
	code, err := newCode(someCode)
	if err != nil {
		return err
	}
	if err := beTarget(); err != nil {
		return err
	}
	r := routine{code: unsafe.Pointer(&code[0])}
	if result := r.call(); result != resultOfCode {
		return fmt.Errorf("the call returned %d", int(result))
	}
	return nil
}

// TestCodeThatChangesDoesNotHang changes the code of the target as another
// thread of it could. The target gets its result.
func TestCodeThatChangesDoesNotHang(t *testing.T) {
	for name, c := range map[string]struct {
		code []byte
		want error
	}{
		"a loop":       {codeLoop, unix.ETIMEDOUT},
		"no code":      {codeIllegal, unix.EFAULT},
		"a breakpoint": {codeTrap, unix.EFAULT},
		"another call": {codeOtherCall, unix.EFAULT},
	} {
		t.Run(name, func(t *testing.T) {
			x := start(t, runsCode)
			err := x.next(func(th *Thread) int64 {
				if errno := th.Write(callAddress(&th.registers), c.code); errno != 0 {
					t.Error("write: ", errno)
				}
				if page := mapPage(th); page >= 0 {
					t.Errorf("mmap has returned %#x", page)
				}
				return resultOfCode
			})
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			x.succeeds()
		})
	}
}

func TestCodeThatHasChangedIsNotRun(t *testing.T) {
	x := start(t, runsCode)
	n := x.receive()
	answer := func() error {
		local := []unix.Iovec{{Base: &codeLoop[0], Len: uint64(len(codeLoop))}}
		remote := []unix.RemoteIovec{{Base: uintptr(n.ip) - 2, Len: len(codeLoop)}}
		if _, err := unix.ProcessVMWritev(int(n.tid), local, remote, 0); err != nil {
			t.Error(err)
		}
		return x.send(n.id, 0)
	}
	began := time.Now()
	err := x.tracer.Do(int(n.tid), answer, func(th *Thread) int64 {
		if page := mapPage(th); page != -int64(unix.EFAULT) {
			t.Errorf("mmap has returned %#x", page)
		}
		return resultOfCode
	})
	if !errors.Is(err, unix.EFAULT) {
		t.Errorf("error %v, want EFAULT", err)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("Do took %v", took)
	}
	x.succeeds()
}

// changeCode makes calls with someCode, which another thread changes all the
// time. Its own calls are late by that, and no more.
func changeCode() error {
	code, err := newCode(someCode)
	if err != nil {
		return err
	}
	instruction := (*atomic.Uint32)(unsafe.Pointer(&code[someCall&^3])) // with its neighbours
	call := instruction.Load()
	loop := call&^(0xffff<<8) | 0xfeeb<<8
	go func() {
		for {
			instruction.Store(loop)
			instruction.Store(call)
		}
	}()
	if err := beTarget(); err != nil {
		return err
	}
	r := routine{code: unsafe.Pointer(&code[0])}
	for range 1000 {
		if result := r.call(); result != resultOfCode {
			return fmt.Errorf("the call returned %d", int(result))
		}
	}
	return nil
}

func TestCodeThatAnotherThreadChangesDoesNotHang(t *testing.T) {
	x := start(t, changesCode)
	for n := x.receive(); n != nil; n = x.receive() {
		err := x.do(n, func(th *Thread) int64 {
			th.Call(unix.SYS_GETPID)
			return resultOfCode
		})
		if err != nil && !errors.Is(err, unix.EFAULT) && !errors.Is(err, unix.ETIMEDOUT) {
			t.Error(err)
		}
	}
	x.succeeds()
}

// TestCodeThatIsGoneDoesNotHang lets the target die of its own doing.
func TestCodeThatIsGoneDoesNotHang(t *testing.T) {
	x := start(t, runsCode)
	x.cmd.Stderr = nil
	err := x.next(func(th *Thread) int64 {
		if _, errno := th.Call(unix.SYS_MUNMAP, callAddress(&th.registers)&^(pageSize-1), pageSize); errno != 0 {
			t.Error("munmap: ", errno)
		}
		if page := mapPage(th); page != -int64(unix.EFAULT) {
			t.Errorf("mmap has returned %#x", page)
		}
		return resultOfCode
	})
	if !errors.Is(err, unix.EFAULT) {
		t.Errorf("error %v, want EFAULT", err)
	}
	if err := x.wait(); err == nil {
		t.Error("the target has got over it")
	}
}

// signalled is a real-time signal: each one is delivered.
const signalled = 40

// counter is a signal handler that counts in memory after it, and the code
// that returns from it.
var counter = []byte{
	0xf0, 0x48, 0xff, 0x05, 0x18, 0, 0, 0, // lock inc qword [rip+24]
	0xc3,                   // ret
	0xb8, 0x0f, 0x00, 0, 0, // mov eax, SYS_rt_sigreturn
	0x0f, 0x05, // syscall
}

const (
	counterRestorer = 9
	counterValue    = 32
)

// countCalls is how many calls are made under signals.
const countCalls = 5000

// countSignals makes calls while the test and a timer send signals, and checks
// that each one was handled.
func countSignals() error {
	handled, err := handle(signalled)
	if err != nil {
		return err
	}
	ticks, err := handle(unix.SIGALRM)
	if err != nil {
		return err
	}
	if err := beTarget(); err != nil {
		return err
	}
	interval := syscall.Timeval{Usec: 1000}
	timer := [2]syscall.Timeval{interval, interval}
	if _, _, errno := syscall.Syscall(unix.SYS_SETITIMER, unix.ITIMER_REAL, uintptr(unsafe.Pointer(&timer)), 0); errno != 0 {
		return errno
	}
	for i := range countCalls {
		if err := useMapping(); err != nil {
			return fmt.Errorf("call %d: %w", i, err)
		}
	}
	var sent uint64
	if _, err := unix.Read(socket, unsafe.Slice((*byte)(unsafe.Pointer(&sent)), 8)); err != nil {
		return err
	}
	if *handled != sent || *ticks == 0 {
		return fmt.Errorf("%d of %d signals were handled, and %d ticks", *handled, sent, *ticks)
	}
	return nil
}

// handle counts a signal.
func handle(signal syscall.Signal) (*uint64, error) {
	code, err := newCode(counter)
	if err != nil {
		return nil, err
	}
	const restart, onStack, restorer = 0x10000000, 0x08000000, 0x04000000 // SA_*
	action := struct {                                                    // struct sigaction, as rt_sigaction(2) has it
		handler  unsafe.Pointer
		flags    uint64
		restorer unsafe.Pointer
		mask     uint64
	}{unsafe.Pointer(&code[0]), restart | onStack | restorer, unsafe.Pointer(&code[counterRestorer]), 0}
	if _, _, errno := syscall.Syscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
		return nil, errno
	}
	return (*uint64)(unsafe.Pointer(&code[counterValue])), nil
}

func TestNoSignalIsLost(t *testing.T) {
	x := start(t, countsSignals)
	n := x.receive()
	stop, sent := make(chan bool), make(chan uint64)
	go func(tid int) { sent <- sendSignals(x.cmd.Process.Pid, tid, stop) }(int(n.tid))
	for range countCalls - 1 {
		if err := x.do(n, mapPage); err != nil {
			t.Fatal(err)
		}
		n = x.receive()
	}
	close(stop)
	count := <-sent
	if err := x.do(n, mapPage); err != nil {
		t.Error(err)
	}
	if _, err := unix.Write(x.socket, unsafe.Slice((*byte)(unsafe.Pointer(&count)), 8)); err != nil {
		t.Error(err)
	}
	x.succeeds()
	if count == 0 {
		t.Error("no signal was sent")
	}
}

// sendSignals sends signals to a thread until it is told to stop, sometimes
// two at once.
func sendSignals(pid, tid int, stop <-chan bool) (sent uint64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		for range 1 + rand.N(2) {
			if unix.Tgkill(pid, tid, signalled) == nil {
				sent++
			}
		}
		select {
		case <-stop:
			return sent
		case <-time.After(rand.N(2 * time.Millisecond)):
		}
	}
}
