//go:build linux

// Package differential makes the same calls on the kernel and on package
// userspace, step by step, and compares all that can be seen after each: what
// the calls return, which sleep, which are woken and with what, and a picture
// of the namespace. The kernel is right.
//
// Programs are random; one that shows a difference shrinks to a few lines, which
// belong in the table of found_test.go. RAPID_CHECKS=N tries N of them, and
// DIFFERENTIAL=5m tries them for so long.
//
// Not compared is what the kernel does not determine: which of several senders
// that one receive has woken is first (SEMANTICS A.4.8), and in which order
// receivers sleep that IPC_SET has woken (A.2.10). Steps that would have to
// decide that are left out: see undetermined. Nor are times compared, but for
// whether they are set.
package differential

import (
	"flag"
	"os"
	"testing"

	"github.com/ipcns/ipcns/internal/conformance/server"
	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
)

func TestMain(m *testing.M) {
	if _, set := os.LookupEnv("RAPID_CHECKS"); !set {
		flag.Set("rapid.checks", "60")
	}
	flag.Set("rapid.shrinktime", "0s") // program.shrink knows better
	ipctest.Play(server.Roles())
	leak.Main(m)
}
