//go:build linux

package supervise

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// What a filter does with a call; see seccomp(2).
const (
	retAllow  = 0x7fff0000
	retNotify = 0x7fc00000
	retErrno  = 0x00050000
)

// Offsets in struct seccomp_data. The low half of an argument comes first, on
// every machine that Go knows with these calls.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArg0   = 16
	offsetArg5   = 56
)

// bySupervisor, as the last argument of a call that has fewer, lets the filter
// leave it to the kernel. For a program that knows it too there is nothing to
// gain: unshare(2) of an IPC namespace that is the kernel's.
const bySupervisor = 0x69706373

const (
	x32Bit     = 0x40000000 // in the number of a call of the x32 ABI
	noCall     = 0xffffffff // the number that a debugger gives a call that is not to be made
	enosys     = retErrno | uint32(unix.ENOSYS)
	eperm      = retErrno | uint32(unix.EPERM)
	loadWord   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpAbove  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	jumpHasBit = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	answer     = unix.BPF_RET | unix.BPF_K
)

// filter returns the program that decides which calls come to the supervisor.
// The architecture is looked at first: the same number means other calls
// there, with which a program would get at the host's objects.
func filter() []unix.SockFilter {
	var f []unix.SockFilter
	add := func(code uint16, k uint32, yes, no uint8) {
		f = append(f, unix.SockFilter{Code: code, K: k, Jt: yes, Jf: no})
	}
	when := func(code uint16, k, result uint32) {
		add(code, k, 0, 1)
		add(answer, result, 0, 0)
	}
	add(loadWord, offsetArch, 0, 0)
	native := compatFilter()
	add(jumpEqual, nativeArch, uint8(len(native)), 0)
	f = append(f, native...)

	add(loadWord, offsetNumber, 0, 0)
	when(jumpEqual, noCall, retAllow)
	when(jumpAbove, x32Bit, enosys)
	for _, number := range trapped() {
		if number != unix.SYS_UNSHARE {
			when(jumpEqual, uint32(number), retNotify)
		}
	}
	// Of unshare, what makes an IPC namespace, or a user namespace, in which who
	// calls is another. The supervisor makes that call in the program's place.
	add(jumpEqual, unix.SYS_UNSHARE, 0, 7)
	add(loadWord, offsetArg5, 0, 0)
	when(jumpEqual, bySupervisor, retAllow)
	add(loadWord, offsetArg0, 0, 0)
	when(jumpHasBit, unix.CLONE_NEWIPC|unix.CLONE_NEWUSER, retNotify)
	add(answer, retAllow, 0, 0)
	// The flags of clone3 are in memory, where a filter cannot see them. A
	// program then uses clone.
	when(jumpEqual, unix.SYS_CLONE3, enosys)
	add(jumpEqual, unix.SYS_CLONE, 0, 3)
	add(loadWord, offsetArg0, 0, 0)
	when(jumpHasBit, unix.CLONE_NEWIPC, eperm)
	add(answer, retAllow, 0, 0)
	return f
}

// compatFilter is the part for programs of 32 bits, whose IPC is answered as
// where there is none.
func compatFilter() []unix.SockFilter {
	f := []unix.SockFilter{
		{Code: jumpEqual, K: compatArch, Jt: 1},
		{Code: answer, K: enosys},
		{Code: loadWord, K: offsetNumber},
	}
	for _, number := range compatIPC {
		f = append(f, unix.SockFilter{Code: jumpEqual, K: number, Jf: 1}, unix.SockFilter{Code: answer, K: enosys})
	}
	for _, number := range slices.Sorted(maps.Keys(compatHandlers())) {
		f = append(f, unix.SockFilter{Code: jumpEqual, K: number, Jf: 1}, unix.SockFilter{Code: answer, K: retNotify})
	}
	return append(f,
		unix.SockFilter{Code: jumpEqual, K: compatClone3, Jf: 1}, unix.SockFilter{Code: answer, K: enosys},
		unix.SockFilter{Code: jumpEqual, K: compatClone, Jf: 3},
		unix.SockFilter{Code: loadWord, K: offsetArg0},
		unix.SockFilter{Code: jumpHasBit, K: unix.CLONE_NEWIPC, Jf: 1}, unix.SockFilter{Code: answer, K: eperm},
		unix.SockFilter{Code: answer, K: retAllow})
}

// marker returns a filter that answers one call, which the kernel does not
// have, with a number. Threads pass filters on as they pass on namespaces, so it
// tells which namespace one is in.
func marker(number uint16) []unix.SockFilter {
	return []unix.SockFilter{
		{Code: loadWord, K: offsetNumber},
		{Code: jumpEqual, K: markerCall, Jf: 1},
		{Code: answer, K: retErrno | uint32(number)},
		{Code: answer, K: retAllow},
	}
}

// markerCall is the number of a call that the kernel does not have.
const markerCall = 0x3fffff00
