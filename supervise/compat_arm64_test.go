//go:build linux

package supervise_test

// mapLow is the flag of mmap(2) for memory below 4 GiB, which is for compat.
const mapLow = 0

// compat is nil, as a process of 64 bits cannot make the calls of one of 32 bits
// there.
var compat func(number, a, b, c, d, e uintptr) uintptr
