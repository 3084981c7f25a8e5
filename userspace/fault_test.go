package userspace_test

import (
	"runtime/debug"
	"syscall"
)

// faulting runs f, of which a fault is EFAULT.
func faulting(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = syscall.EFAULT
		}
	}()
	f()
	return nil
}
