//go:build linux

package supervise_test

import "golang.org/x/sys/unix"

// changeCall lets a process go on to the beginning of a call, makes that msgget
// of the key outside, and returns what comes of it.
func changeCall(pid int) (int64, error) {
	var registers unix.PtraceRegs
	for begins := true; ; begins = !begins {
		if err := unix.PtraceSyscall(pid, 0); err != nil {
			return 0, err
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
			return 0, err
		}
		if err := unix.PtraceGetRegs(pid, &registers); err != nil {
			return 0, err
		}
		if !begins && registers.Orig_rax == unix.SYS_MSGGET {
			return int64(registers.Rax), nil
		}
		if begins {
			registers.Orig_rax, registers.Rdi, registers.Rsi = unix.SYS_MSGGET, outsideKey, 0
			if err := unix.PtraceSetRegs(pid, &registers); err != nil {
				return 0, err
			}
		}
	}
}
