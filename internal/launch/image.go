//go:build linux

package launch

import (
	"encoding/binary"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The memory of the stub program: one segment of code, which is the same for
// every plan, and one of data, which is the plan. Both start at multiples of
// the largest page size that Linux uses.
const (
	codeAddress  = 0x10000000
	dataAddress  = 0x10010000 // stub_*.s names it too
	dataOffset   = dataAddress - codeAddress
	segmentAlign = dataOffset
	codeOffset   = 0x100 // in the first page, behind the ELF header
	codeSize     = 0x100 // at least that of the stub
)

// The words of a record and of the header, as stub_*.s reads them.
const (
	recordWords = 10 // number, 6 arguments, place for the result, except, step
	headerWords = 4  // first call, calls after a failure, place of the errno, place of the step
)

// stub walks through the records at dataAddress and never returns. It can
// run only in the program that layOut makes.
//
//lint:ignore U1000 it is used as data, by stubCode
func stub()

// stubCode returns where the code of stub begins.
func stubCode() unsafe.Pointer

const unexplained = "ipcns: cannot start the program\n"

// A layout is data being laid out at dataAddress.
type layout struct {
	data   []byte
	memory map[*byte]uint64 // where the stub has what is memory here
}

func newLayout() *layout {
	l := &layout{memory: map[*byte]uint64{}}
	l.words(make([]uint64, headerWords)...)
	return l
}

// setHeader says which records the stub begins with, which it goes on with
// after a failure, and where it puts the error number and the step of that.
func (l *layout) setHeader(first, failure, errno, step uint64) {
	for i, w := range [headerWords]uint64{first, failure, errno, step} {
		l.setWord(dataAddress+uint64(i)*8, w)
	}
}

func (l *layout) end() uint64 { return dataAddress + uint64(len(l.data)) }

// words appends the words and returns the address of the first.
func (l *layout) words(words ...uint64) uint64 {
	for len(l.data)%8 != 0 {
		l.data = append(l.data, 0)
	}
	at := l.end()
	for _, w := range words {
		l.data = binary.NativeEndian.AppendUint64(l.data, w)
	}
	return at
}

func (l *layout) setWord(at, w uint64) { binary.NativeEndian.PutUint64(l.data[at-dataAddress:], w) }

// text appends a string with its NUL and returns its address.
func (l *layout) text(s string) uint64 {
	at := l.end()
	l.data = append(append(l.data, s...), 0)
	return at
}

// list appends a NULL-terminated array of strings, as execve takes it.
func (l *layout) list(items []string) uint64 {
	pointers := make([]uint64, len(items)+1)
	for i, item := range items {
		pointers[i] = l.text(item)
	}
	return l.words(pointers...)
}

// place returns the address of memory that calls fill.
func (l *layout) place(b []byte) uint64 {
	first := unsafe.SliceData(b)
	if l.memory[first] == 0 {
		l.memory[first] = l.words(make([]uint64, (len(b)+7)/8)...)
	}
	return l.memory[first]
}

func (l *layout) arg(a arg) uint64 {
	switch {
	case a.memory != nil:
		return l.place(a.memory)
	case a.text != "":
		return l.text(a.text)
	}
	return uint64(a.number)
}

// calls appends the records of the calls and returns the address of the first.
func (l *layout) calls(calls []call) uint64 {
	records := make([]uint64, 0, len(calls)*recordWords)
	for _, c := range calls {
		record := [recordWords]uint64{0: uint64(c.number), 8: uint64(c.except), 9: l.text(string(c.step))}
		for i, a := range c.args {
			record[1+i] = l.arg(a)
		}
		if c.result != nil {
			record[7] = l.place(c.result)
		}
		records = append(records, record[:]...)
	}
	first := l.words(records...)
	for i, c := range calls {
		if c.pass {
			next := first + uint64(i+1)*recordWords*8
			l.setWord(first+uint64(i*recordWords+7)*8, next+8)
		}
	}
	return first
}

// layOut returns the data of the stub for a plan. The stub makes the plan's
// calls and becomes p. If a call fails, it becomes the program behind the
// descriptor self with the arguments of explain, in which the step and the
// error number stand.
func layOut(calls []call, p Program, self int, otherwise []string) []byte {
	l := newLayout()
	environment := l.list(p.Env)

	// A file without a format that the kernel knows is a shell script, as
	// execvp(3) has it.
	shell := append([]string{shellPath, p.Path}, p.Args[1:]...)
	execStep := execStep(p.Path)
	first := l.calls(append(calls,
		call{number: unix.SYS_EXECVE, args: []arg{text(p.Path), number(uintptr(l.list(p.Args))), number(uintptr(environment))}, except: syscall.ENOEXEC, step: execStep},
		call{number: unix.SYS_EXECVE, args: []arg{text(shellPath), number(uintptr(l.list(shell))), number(uintptr(environment))}, step: execStep},
	))

	errno := l.words(0)
	arguments := []uint64{l.text("ipcns"), l.text(FailureCommand), 0, errno}
	for _, argument := range otherwise {
		arguments = append(arguments, l.text(argument))
	}
	explain := l.words(append(arguments, 0)...)
	failure := l.calls([]call{
		{number: unix.SYS_EXECVEAT, args: []arg{number(self), text(""), number(uintptr(explain)), number(uintptr(environment)), number(unix.AT_EMPTY_PATH)}},
		// Only if that failed too.
		{number: unix.SYS_WRITE, args: []arg{number(2), text(unexplained), number(len(unexplained))}},
		exitGroup(StatusFailed),
	})
	l.setHeader(first, failure, errno, explain+2*8)
	return l.data
}

func exitGroup(status int) call {
	return call{number: unix.SYS_EXIT_GROUP, args: []arg{number(status)}}
}

// program returns what stands before the data in the file: the ELF header,
// a program header for each segment, and the code. See elf(5).
func program(dataSize int) []byte {
	const (
		headerSize, segmentSize = 64, 56
		executable, version     = 2, 1    // ET_EXEC, EV_CURRENT
		load                    = 1       // PT_LOAD
		execute, write, read    = 1, 2, 4 // PF_X, PF_W, PF_R
	)
	le := binary.LittleEndian
	b := []byte("\x7fELF\x02\x01\x01") // 64 bits, little endian, version 1
	b = append(b, make([]byte, 16-len(b))...)
	b = le.AppendUint16(b, executable)
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, version)
	b = le.AppendUint64(b, codeAddress+codeOffset)
	b = le.AppendUint64(b, headerSize) // where the program headers are
	b = le.AppendUint64(b, 0)          // no sections
	b = le.AppendUint32(b, 0)
	for _, size := range [...]uint16{headerSize, segmentSize, 2, 0, 0, 0} {
		b = le.AppendUint16(b, size)
	}
	segment := func(flags uint32, offset, address, size uint64) {
		b = le.AppendUint32(b, load)
		b = le.AppendUint32(b, flags)
		for _, w := range [...]uint64{offset, address, address, size, size, segmentAlign} {
			b = le.AppendUint64(b, w)
		}
	}
	segment(read|execute, 0, codeAddress, codeOffset+codeSize)
	segment(read|write, dataOffset, dataAddress, uint64(dataSize))
	b = append(b, make([]byte, codeOffset-len(b))...)
	return append(b, unsafe.Slice((*byte)(stubCode()), codeSize)...)
}

// becomeStub replaces this process by the stub program for a plan.
func becomeStub(calls []call, p Program, self int, otherwise []string) error {
	file, err := stubFile(layOut(calls, p, self, otherwise))
	if err != nil {
		return err
	}
	defer unix.Close(file)
	err = exec(stubPath(file), []string{"ipcns"}, nil)
	return stepMemfd.failure(errnoOf(err))
}

// stubFile returns a descriptor of the stub program with the data.
func stubFile(data []byte) (int, error) {
	file, err := unix.MemfdCreate("ipcns", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3, which has MFD_EXEC
		file, err = unix.MemfdCreate("ipcns", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, stepMemfd.failure(errnoOf(err))
	}
	for _, part := range []struct {
		content []byte
		offset  int64
	}{{program(len(data)), 0}, {data, dataOffset}} {
		if _, err := unix.Pwrite(file, part.content, part.offset); err != nil {
			unix.Close(file)
			return -1, stepMemfd.failure(errnoOf(err))
		}
	}
	return file, nil
}

func stubPath(file int) string { return "/proc/self/fd/" + strconv.Itoa(file) }
