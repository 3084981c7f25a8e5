//go:build linux

package supervise_test

import (
	"os/exec"
	"testing"

	"github.com/ipcns/ipcns/supervise"
)

// newSupervisor returns one that ends with the test.
func newSupervisor(t testing.TB) *supervise.Supervisor {
	t.Helper()
	s, err := supervise.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestStressorsFindNothingWrong runs programs that verify what they get. Two of
// --shm-sysv would take each other's segments for a fault at times.
func TestStressorsFindNothingWrong(t *testing.T) {
	if _, err := exec.LookPath("stress-ng"); err != nil {
		t.Skip("stress-ng is not installed")
	}
	for _, args := range [][]string{
		{"--msg", "2", "--msg-ops", "20000"},
		{"--sem-sysv", "2", "--sem-sysv-ops", "20000"},
		{"--shm-sysv", "1", "--shm-sysv-ops", "40"},
		{"--mq", "2", "--mq-ops", "20000"},
	} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			s := newSupervisor(t)
			cmd := supervised(t, s, append([]string{"stress-ng", "--verify", "--timeout", "60s"}, args...)...)
			if output, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s%v", output, err)
			}
		})
	}
}
