//go:build linux

package programs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	suiteWorkers = 16 // most of the tests sleep
	suiteRetries = 4  // of a test that the kernel judges otherwise
	suiteDoubts  = 12 // if more tests are judged otherwise, none is tried again
)

// suiteLimits are what 43 of the tests take for granted.
var suiteLimits = []string{"--limit", "msg_max=1024"}

// TestPOSIXTestSuite compares the verdicts of the suite's tests of message
// queues. Some of them race with themselves, and have several on the kernel
// too; any of these will do.
func TestPOSIXTestSuite(t *testing.T) {
	t.Parallel()
	skipWithoutNamespaces(t)
	tests := buildSuite(t, suiteSource(t))
	right := judged(t, engines[0], tests)
	t.Logf("on the %s: %v", engines[0].name, tally(right))
	if tally(right)["PASS"] == 0 {
		t.Error("no test passes: the suite does not work here")
	}
	for _, e := range engines[1:] {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			verdicts := judged(t, e, tests)
			t.Logf("on the %s: %v", e.name, tally(verdicts))
			doubtful := slices.DeleteFunc(slices.Clone(tests), func(test suiteTest) bool { return verdicts[test] == right[test] })
			tries := suiteRetries
			if len(doubtful) > suiteDoubts {
				tries = 0
			}
			for _, test := range doubtful {
				compareVerdicts(t, test, e, right[test], verdicts[test], tries)
			}
		})
	}
}

// judged runs all tests on an engine and returns their verdicts.
func judged(t *testing.T, e engine, tests []suiteTest) map[suiteTest]string {
	verdicts := map[suiteTest]string{}
	var mutex sync.Mutex
	var workers sync.WaitGroup
	dir := t.TempDir()
	next := make(chan suiteTest)
	for range suiteWorkers {
		workers.Go(func() {
			for test := range next {
				verdict, _ := judge(dir, e, test)
				mutex.Lock()
				verdicts[test] = verdict
				mutex.Unlock()
			}
		})
	}
	for _, test := range tests {
		next <- test
	}
	close(next)
	workers.Wait()
	return verdicts
}

// compareVerdicts runs a test again on both engines, one at a time, until they
// have agreed once.
func compareVerdicts(t *testing.T, test suiteTest, e engine, right, other string, tries int) {
	rights, others := map[string]bool{right: true}, map[string]bool{other: true}
	var printed string
	for range tries {
		right, _ = judge(t.TempDir(), engines[0], test)
		other, printed = judge(t.TempDir(), e, test)
		rights[right], others[other] = true, true
		if others[right] || rights[other] {
			return
		}
	}
	t.Errorf("%s: %s, on the %s %s\n%s", test.name, names(others), engines[0].name, names(rights), printed)
}

func names(verdicts map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(verdicts)), " or ")
}

// judge runs one test and returns its verdict and what it has printed.
func judge(dir string, e engine, test suiteTest) (verdict, printed string) {
	o := runIn(dir, e.command(suiteLimits, []string{test.program}))
	// See posixtest.h.
	switch o.status {
	case "0":
		return "PASS", o.output
	case "1":
		return "FAIL", o.output
	case "2":
		return "UNRESOLVED", o.output
	case "4":
		return "UNSUPPORTED", o.output
	case "5":
		return "UNTESTED", o.output
	}
	return fmt.Sprintf("ended with %s", o.status), o.output
}

// tally counts verdicts.
func tally(verdicts map[suiteTest]string) map[string]int {
	counts := map[string]int{}
	for _, verdict := range verdicts {
		counts[verdict]++
	}
	return counts
}
