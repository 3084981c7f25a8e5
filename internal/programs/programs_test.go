//go:build linux

package programs

import (
	"regexp"
	"strings"
	"testing"
)

// python is Debian's. One that is first in the search path may lack ctypes.
const python = "/usr/bin/python3"

func TestPrograms(t *testing.T) {
	for _, p := range []trial{
		{
			name:  "fakeroot remembers owners",
			needs: []string{"fakeroot-sysv"}, command: []string{"sh", "fakeroot.sh"},
		},
		{
			name:  "two fakeroots with one key do not notice each other",
			needs: []string{"fakeroot-sysv"}, command: []string{"sh", "fakeroot-twice.sh"}, copies: 2,
		},
		{
			name:  "PostgreSQL serves",
			needs: []string{"postgres", "pgbench"}, command: []string{"sh", "postgresql.sh"}, ordinary: true,
		},
		{
			name:  "two PostgreSQL servers on one port do not notice each other",
			needs: []string{"postgres"}, command: []string{"sh", "postgresql-twice.sh"}, ordinary: true, copies: 2,
		},
		{
			name:  "PostgreSQL comes back after it was killed",
			needs: []string{"postgres"}, command: []string{"sh", "postgresql-killed.sh"}, ordinary: true, print: withoutJobs,
		},
		{
			name:  "Perl has message queues",
			needs: []string{"perl"}, module: "IPC::SysV", command: []string{"perl", "msg.pl"},
		},
		{
			name:  "Perl has semaphore sets",
			needs: []string{"perl"}, module: "IPC::SysV", command: []string{"perl", "sem.pl"},
		},
		{
			name:  "Perl has shared memory",
			needs: []string{"perl"}, module: "IPC::SysV", command: []string{"perl", "shm.pl"},
		},
		{
			name:  "Python calls all of System V IPC",
			needs: []string{python}, command: []string{python, "sysv.py"},
		},
		{
			name:  "Python has POSIX message queues",
			needs: []string{python}, command: []string{python, "mqueue.py"},
		},
		{
			name:  "Python is notified of messages",
			needs: []string{python}, command: []string{python, "notify.py"},
		},
		{
			name:  "util-linux makes, shows and removes",
			needs: []string{"lsipc", "lsns"}, command: []string{"sh", "util-linux.sh"}, print: withoutTimes,
		},
		stress("message queues", "--msg", "2", "--msg-ops", "2000"),
		stress("semaphore sets", "--sem-sysv", "2", "--sem-sysv-ops", "2000"),
		stress("segments", "--shm-sysv", "1", "--shm-sysv-ops", "20"),
		stress("POSIX message queues", "--mq", "2", "--mq-ops", "2000", "--mq-size", "2"),
		stress("everything at once", "--msg", "2", "--msg-ops", "2000", "--sem-sysv", "2", "--sem-sysv-ops", "2000",
			"--shm-sysv", "1", "--shm-sysv-ops", "20", "--mq", "2", "--mq-ops", "2000", "--mq-size", "2"),
	} {
		t.Run(p.name, p.compare)
	}
}

// withoutJobs leaves out what a shell says of a child that was killed, at times.
func withoutJobs(output string) string { return strings.ReplaceAll(output, "Killed\n", "") }

// stress is a run of stress-ng, which checks what it reads. Two of its stressors
// of segments would draw the same keys, and each take the other's segment for a
// fault at times, on the kernel as well.
func stress(name string, stressors ...string) trial {
	return trial{
		name:    "stress-ng finds no fault in " + name,
		needs:   []string{"stress-ng"},
		command: append([]string{"stress-ng", "--verify", "--no-rand-seed", "--timeout", "60s"}, stressors...),
		print:   faults,
	}
}

// faults are what stress-ng has found.
func faults(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		_, text, _ := strings.Cut(line, "] ")
		if strings.Contains(line, "fail:") || strings.Contains(line, "error:") || strings.HasPrefix(text, "skipp") {
			lines = append(lines, text)
		}
	}
	return strings.Join(lines, "")
}

var (
	times = regexp.MustCompile(`\b(?:(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d(?::\d\d(?: \d{4})?)?|\d\d:\d\d(?::\d\d)?|[A-Z][a-z]{2}\d\d(?:/\d\d:\d\d)?|\d{4}-\d\d-\d\d[T ]\S+)`)
	keys  = regexp.MustCompile(`\b0x0*[1-9a-f][0-9a-f]{4,7}\b`) // that ipcmk has drawn
	space = regexp.MustCompile(` {2,}`)
)

// withoutTimes hides times and drawn keys, and the widths of their columns.
func withoutTimes(output string) string {
	return space.ReplaceAllString(keys.ReplaceAllString(times.ReplaceAllString(output, "TIME"), "KEY"), " ")
}
