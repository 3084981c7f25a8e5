// Package properties checks implementations of [ipc.System] against models of
// what they implement: with random calls, one after the other, after each of
// which all that can be seen is compared; and with random calls from several
// goroutines, whose results have to be those of some order of these calls.
//
// RAPID_CHECKS=100000 makes it take its time, and so does -rapid.checks.
package properties

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
	"pgregory.net/rapid"
)

// An implementation makes namespaces to try.
type implementation struct {
	// alone calls f, for which fresh makes a new namespace and a process in
	// it: on the goroutine of f, which lasts until the next call of fresh.
	alone func(t *testing.T, f func(fresh func(test) process))
	// together makes a new namespace, which ends with the test.
	together func(test) namespace
}

// A process makes calls as root.
type process struct {
	ipc.System
	// end undoes what was done with SEM_UNDO, as the end of a process does.
	// The next call is the first of another process.
	end func()
}

// A namespace calls a function in a namespace, as root. It may be called from
// several goroutines at once.
type namespace func(f func(ipc.System))

// A test is a [*testing.T] or a [*rapid.T].
type test interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// check looks for random values with which a process alone in a fresh
// namespace does not have the property.
func check(t *testing.T, property func(*rapid.T, process)) {
	t.Parallel()
	for name, implementation := range implementations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			implementation.alone(t, func(fresh func(test) process) {
				rapid.Check(t, func(t *rapid.T) { property(t, fresh(t)) })
			})
		})
	}
}

// ctx is the context of calls that do not sleep.
var ctx = context.Background()

func must(t test, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErrno checks that err is errno; 0 is no error.
func wantErrno(t test, err error, errno syscall.Errno) {
	t.Helper()
	if got := errnoOf(t, err); got != errno {
		t.Fatalf("error %d (%v), want %d (%v)", got, got, errno, errno)
	}
}

// errnoOf returns the errno in err, 0 for none.
func errnoOf(t test, err error) syscall.Errno {
	t.Helper()
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		t.Fatalf("there is no errno in the error %v", err)
	}
	return errno
}

// equal checks that what is as the model says.
func equal[T comparable](t test, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s is %v, want %v", what, got, want)
	}
}
