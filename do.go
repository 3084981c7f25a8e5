//go:build linux

package ipcns

import (
	"fmt"

	"github.com/ipcns/ipcns/internal/thread"
	"golang.org/x/sys/unix"
)

// Do runs f on a thread in the namespace and returns its error. The thread is
// f's alone and ends with it: f may change what belongs to a thread. Other
// goroutines, also those that f starts, stay where they are. Do may be called
// from any goroutine, also inside another Do.
//
// It takes CAP_SYS_ADMIN in the user namespace that owns the namespace, and
// in the caller's own (EPERM).
//
// Two things outlive f: a segment that it attaches, and a descriptor of a
// POSIX queue that it opens; every goroutine may use them. One thing does
// not: an operation with SEM_UNDO is undone soon after f has returned, when the
// thread ends. The undo list of the process is not touched (SEMANTICS A.5.11).
func (ns *Namespace) Do(f func() error) error {
	return thread.Do(func() error {
		err := ns.control(func(fd int) error { return unix.Setns(fd, unix.CLONE_NEWIPC) })
		if err != nil {
			return ns.enterFailure(err)
		}
		return f()
	})
}

func (ns *Namespace) enterFailure(err error) error {
	if err == unix.EPERM {
		return fail(err, "cannot enter %s: it takes CAP_SYS_ADMIN there and here", ns)
	}
	return fmt.Errorf("cannot enter %s: %w", ns, err)
}
