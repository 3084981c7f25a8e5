//go:build linux

package launch

import (
	"encoding/binary"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A call is one system call of a plan.
type call struct {
	number uintptr
	args   []arg
	pass   bool          // its result is the first argument of the next call
	spend  bool          // run closes the first argument, which was passed; execve does where the stub makes the call
	result []byte        // its result is stored here, in 8 bytes
	except syscall.Errno // an error that is none
	step   step          // what the call is for
}

// An arg is an argument of a call: a number, a pointer to a string that ends
// in a NUL, or a pointer to memory that the call fills.
type arg struct {
	number uintptr
	text   string
	memory []byte
}

func number[N ~int | ~uintptr](n N) arg { return arg{number: uintptr(n)} }

func text(s string) arg { return arg{text: s + "\x00"} }

func memory(b []byte) arg { return arg{memory: b} }

func (a arg) value() uintptr {
	if a.memory != nil {
		return uintptr(unsafe.Pointer(unsafe.SliceData(a.memory)))
	}
	if a.text != "" {
		return uintptr(unsafe.Pointer(unsafe.StringData(a.text)))
	}
	return a.number
}

// run makes the calls on the calling thread and stops at the first that
// fails.
func run(calls []call) error {
	var passed []arg
	for _, c := range calls {
		var args [6]uintptr
		for i, a := range append(passed, c.args[len(passed):]...) {
			args[i] = a.value()
		}
		result, _, errno := syscall.RawSyscall6(c.number, args[0], args[1], args[2], args[3], args[4], args[5])
		runtime.KeepAlive(c)
		if c.spend && len(passed) > 0 {
			unix.Close(int(passed[0].number))
		}
		passed = nil
		if errno != 0 && errno != c.except {
			return c.step.failure(errno)
		}
		if c.pass && errno == 0 {
			passed = []arg{number(result)}
		}
		if c.result != nil && errno == 0 {
			binary.NativeEndian.PutUint64(c.result, uint64(result))
		}
	}
	return nil
}
