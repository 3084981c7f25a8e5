//go:build linux

package launch

import (
	"syscall"
	_ "unsafe" // for go:linkname
)

// afterForkInChild is the part of the runtime that readies a forked process
// for execve: it takes the runtime's signal handlers away and gives the
// thread the signal mask that the process was started with. The runtime keeps
// it stable, as other programs use it too.
//
//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// exec is execve(2) with the signal mask that the process was started with.
// The Go runtime has unblocked some signals, and syscall.Exec leaves it at
// that. What it has also done, and what nobody can undo, is to forget which
// signals the process was started to ignore, but for SIGHUP and SIGINT.
func exec(path string, args, env []string) error {
	afterForkInChild()
	return syscall.Exec(path, args, env)
}
