//go:build linux

package launch

import (
	"runtime"
	"unsafe"
)

// InNewUser is [InNew] as it is for a user without CAP_SYS_ADMIN.
func InNewUser(ns Namespace, p Program) error {
	runtime.LockOSThread()
	return inUserNamespace(ns, p)
}

const CodeSize = codeSize

// StubSize returns the size of the stub's code as the linker has it, with
// what fills it up to the next function.
func StubSize() int {
	begin := stubCode()
	size := 0
	for runtime.FuncForPC(uintptr(unsafe.Add(begin, size))) == runtime.FuncForPC(uintptr(begin)) {
		size++
	}
	return size
}

// StubName returns the name of the function that the stub's code begins.
func StubName() string { return runtime.FuncForPC(uintptr(stubCode())).Name() }

// Forsake closes what the holder waits for, as the end of its maker does.
func (h *Holder) Forsake() { h.side.goOn.Close() }
