//go:build linux

package ipctest

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Asleep returns when that many threads of this process sleep in the system
// call of that number.
func Asleep(t testing.TB, call uintptr, threads int) {
	t.Helper()
	Eventually(t, strconv.Itoa(threads)+" threads sleep in system call "+strconv.Itoa(int(call)), func() bool {
		files, _ := filepath.Glob("/proc/self/task/*/syscall")
		asleep := 0
		for _, file := range files {
			text, _ := os.ReadFile(file) // none for a thread that has ended
			if number, _, _ := strings.Cut(string(text), " "); number == strconv.Itoa(int(call)) {
				asleep++
			}
		}
		return asleep == threads
	})
}

// Parked returns when that many goroutines wait, in the function of that name,
// for a descriptor to become ready.
func Parked(t testing.TB, function string, goroutines int) {
	t.Helper()
	Eventually(t, strconv.Itoa(goroutines)+" goroutines wait in "+function, func() bool {
		buffer := make([]byte, 1<<20)
		buffer = buffer[:runtime.Stack(buffer, true)]
		parked := 0
		for stack := range bytes.SplitSeq(buffer, []byte("\n\n")) {
			if bytes.Contains(stack, []byte("[IO wait")) && bytes.Contains(stack, []byte(function+"(")) {
				parked++
			}
		}
		return parked == goroutines
	})
}

// Racing reports whether the race detector is on.
func Racing() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// NoAllocations expects that a call allocates nothing, unless the race detector
// makes it do so.
func NoAllocations(t *testing.T, name string, call func()) {
	t.Helper()
	if Racing() {
		t.Skip("the race detector allocates")
	}
	if n := testing.AllocsPerRun(1000, call); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}
