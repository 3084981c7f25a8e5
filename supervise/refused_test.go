//go:build linux

package supervise_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"golang.org/x/sys/unix"
)

// otherABIRole is that of a program that tries the calls of other ABIs.
const otherABIRole = "make the calls of other ABIs"

// tryOtherABIs makes calls that would make a queue, with the numbers of i386 and
// of x32, and prints what comes of each. Private keys leave nothing that another
// would find, and the last call removes what was made.
func tryOtherABIs() error {
	if compat == nil {
		return fmt.Errorf("there are no calls of 32 bits here")
	}
	const i386IPC, i386Msgget, i386Msgctl, ipcMsgget, x32 = 117, 399, 402, 13, 0x40000000
	for _, try := range []struct {
		name string
		call func() int
	}{
		{"msgget by int 0x80", func() int { return int(int32(compat(i386Msgget, 0, 0o600, 0, 0, 0))) }},
		{"ipc(2) by int 0x80", func() int { return int(int32(compat(i386IPC, ipcMsgget, 0, 0o600, 0, 0))) }},
		{"msgget of x32", func() int {
			id, _, errno := syscall.RawSyscall(x32|unix.SYS_MSGGET, 0, 0o600, 0)
			if errno != 0 {
				return -int(errno)
			}
			return int(id)
		}},
	} {
		result := try.call()
		if result >= 0 {
			compat(i386Msgctl, uintptr(result), 0, 0, 0, 0)
			result = 0
		}
		fmt.Printf("%s: %v\n", try.name, syscall.Errno(-result))
	}
	return nil
}

// TestOtherABIsHaveNoIPC is about calls with other numbers, which would get at the
// host's objects if nobody looked at the architecture first.
func TestOtherABIsHaveNoIPC(t *testing.T) {
	if compat == nil {
		t.Skip("a process of 64 bits cannot make the calls of 32 bits here")
	}
	const want = "msgget by int 0x80: function not implemented\nipc(2) by int 0x80: function not implemented\nmsgget of x32: function not implemented\n"
	got, err := playing(t, newSupervisor(t), otherABIRole).Output()
	if err != nil || string(got) != want {
		t.Errorf("under the supervisor (%v):\n%swant\n%s", err, got, want)
	}
	// Without one the kernel makes queues, if it can run programs of 32 bits at
	// all: in a namespace of their own.
	ns := ipctest.New(t)
	var free []byte
	ipctest.Do(t, ns, func() error {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), ipctest.Again(otherABIRole).Env[len(os.Environ()):]...)
		free, err = cmd.Output()
		return err
	})
	if string(free) == want {
		t.Skip("the kernel has no calls of 32 bits to keep programs from")
	}
}
