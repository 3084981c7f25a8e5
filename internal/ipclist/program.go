//go:build linux

package ipclist

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A register of the kernel's virtual machine: 0 has results, 1 to 5 the
// arguments of calls, which change them; 6 to 9 keep what they hold, and 10
// points behind the stack.
type register = uint8

const stack register = 10

// Helpers of the kernel, of linux/bpf.h.
const (
	helperCurrentTask = 35
	helperRead        = 113 // bpf_probe_read_kernel
	helperWrite       = 127 // bpf_seq_write
)

// Conditions of jumps.
const (
	equal    = unix.BPF_JEQ
	notEqual = 0x50
	atLeast  = unix.BPF_JGE
)

// A program is code for the kernel's virtual machine; see
// Documentation/bpf/standardization/instruction-set.rst of the kernel.
type program struct {
	code   []byte
	labels map[string]int // where they are, in instructions
	jumps  map[int]string // where there are jumps, and to which labels
}

func newProgram() *program {
	return &program{labels: map[string]int{}, jumps: map[int]string{}}
}

func (p *program) add(op, to, from uint8, offset int16, value int32) {
	p.code = append(p.code, op, from<<4|to)
	p.code = binary.NativeEndian.AppendUint16(p.code, uint16(offset))
	p.code = binary.NativeEndian.AppendUint32(p.code, uint32(value))
}

// wide begins an instruction of sixteen bytes, with a value of 64 bits.
func (p *program) wide(to, kind register, low, high int32) {
	p.add(unix.BPF_LD|0x18, to, kind, 0, low)
	p.add(0, 0, 0, 0, high)
}

func (p *program) set(to register, value int32)    { p.add(0xb7, to, 0, 0, value) }
func (p *program) copy(to, from register)          { p.add(0xbf, to, from, 0, 0) }
func (p *program) plus(to register, value int32)   { p.add(0x07, to, 0, 0, value) }
func (p *program) times(to register, value int32)  { p.add(0x27, to, 0, 0, value) }
func (p *program) sum(to, from register)           { p.add(0x0f, to, from, 0, 0) }
func (p *program) call(helper int32)               { p.add(0x85, 0, 0, 0, helper) }
func (p *program) load(to, from register, o int16) { p.add(0x79, to, from, o, 0) }
func (p *program) load32(to, from register, o int16) {
	p.add(0x61, to, from, o, 0)
}
func (p *program) store(to, from register, o int16)   { p.add(0x7b, to, from, o, 0) }
func (p *program) store32(to, from register, o int16) { p.add(0x63, to, from, o, 0) }

// value sets a register to any value.
func (p *program) value(to register, value uint64) {
	p.wide(to, 0, int32(value), int32(value>>32))
}

func (p *program) label(name string) { p.labels[name] = len(p.code) / 8 }

func (p *program) jump(label string) {
	p.jumps[len(p.code)/8] = label
	p.add(0x05, 0, 0, 0, 0)
}

// jumpIf compares a register with a value.
func (p *program) jumpIf(a register, condition uint8, value int32, label string) {
	p.jumps[len(p.code)/8] = label
	p.add(0x05|condition, a, 0, 0, value)
}

// jumpIfSame compares two registers.
func (p *program) jumpIfSame(a register, condition uint8, b register, label string) {
	p.jumps[len(p.code)/8] = label
	p.add(0x0d|condition, a, b, 0, 0)
}

// orEndLoop leaves a loop that has gone on for too long, and lets the kernel see
// that every loop ends.
func (p *program) orEndLoop(label string) {
	p.jumps[len(p.code)/8] = label
	p.add(0xe5, 0, 0, 0, 0)
}

// read copies kernel memory at a register and an offset to the stack. What
// cannot be read is zeros there.
func (p *program) read(at int16, size int32, from register, offset int16) {
	p.copy(3, from)
	p.plus(3, int32(offset))
	p.copy(1, stack)
	p.plus(1, int32(at))
	p.set(2, size)
	p.call(helperRead)
}

// follow sets a register to the pointer that is at a register and an offset.
func (p *program) follow(to, from register, offset int16) {
	const scratch = -8
	p.read(scratch, 8, from, offset)
	p.load(to, stack, scratch)
}

// follow32 sets a register to the number of 32 bits that is at a register and an
// offset.
func (p *program) follow32(to, from register, offset int16) {
	const scratch = -8
	p.read(scratch, 4, from, offset)
	p.load32(to, stack, scratch)
}

func (p *program) end() {
	p.set(0, 0)
	p.add(0x95, 0, 0, 0, 0)
}

// resolved returns the code with its jumps.
func (p *program) resolved() []byte {
	for at, label := range p.jumps {
		binary.NativeEndian.PutUint16(p.code[8*at+2:], uint16(p.labels[label]-at-1))
	}
	return p.code
}

// Commands of bpf(2).
const (
	mapCreate  = 0
	mapLookup  = 1
	progLoad   = 5
	progRun    = 10
	linkCreate = 28
	iterCreate = 33
)

// bpf makes a call of bpf(2).
func bpf[Attr any](command uintptr, attr *Attr) (int, error) {
	for {
		result, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
		switch errno {
		case 0:
			return int(result), nil
		case unix.EAGAIN, unix.EINTR: // a signal has come while the program was checked
			continue
		}
		return 0, errno
	}
}

// submit gives a program to the kernel.
func (p *program) submit(kind, attach, function uint32) (int, error) {
	code, license := p.resolved(), []byte("GPL\x00") // which the helpers are for
	attr := struct {                                 // of union bpf_attr, what is for BPF_PROG_LOAD
		kind, count   uint32
		code, license uint64
		_             [44]byte // log, version, flags, name, network device
		attach        uint32
		_             [36]byte // of types of its own
		function      uint32
	}{kind: kind, count: uint32(len(code) / 8), code: address(code), license: address(license), attach: attach, function: function}
	defer runtime.KeepAlive(code)
	defer runtime.KeepAlive(license)
	return bpf(progLoad, &attr)
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }
