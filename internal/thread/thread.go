//go:build linux

// Package thread runs functions on threads of their own, which may change what
// belongs to a thread: its namespaces, its working directory.
package thread

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// errExited is what f's runtime.Goexit becomes for the goroutine that waits.
var errExited = errors.New("the function called runtime.Goexit")

// Do runs f on a thread that ends when f returns, and returns its error. A
// panic of f is passed on. It may be called from any goroutine.
func Do(f func() error) error {
	var panicked any
	err := errExited
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		// A goroutine that ends locked takes its thread along.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end: the runtime would park it for
			// ever, where /proc/PID/ns/ipc shows it as the process. Hold it
			// while f runs on another.
			defer runtime.UnlockOSThread()
			err = Do(f)
			return
		}
		err = f()
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}
