package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// lines are the lines of SEMANTICS that say what a call does. Those of A.3
// have names instead of numbers: that of a limit, or what the line is about.
var lines = slices.Concat(
	numbered("A.1", 13),
	numbered("A.2", 13),
	named("A.3", "fresh",
		"msgmax", "msgmnb", "msgmni", "auto_msgmni",
		"semmsl", "semmns", "semopm", "semmni",
		"shmmax", "shmall", "shmmni", "shm_rmid_forced",
		"queues_max", "msg_max", "msgsize_max",
		"sem", "full", "msgsnd", "semop", "shmget", "info", "rlimit_msgqueue", "memcg"),
	numbered("A.4", 11),
	numbered("A.5", 11),
	numbered("A.6", 10),
	numbered("A.7", 18),
)

// unseen is what lines are about that no call of ipc.System shows.
var unseen = map[string]string{
	"A.1.11":    "a boot option",
	"A.2.9":     "mprotect(2)",
	"A.2.11":    "another user namespace",
	"A.2.12":    "security modules",
	"A.2.13":    "who may write to /proc/sys",
	"A.3.sem":   "the text of /proc/sys/kernel/sem",
	"A.3.memcg": "memory cgroups",
	"A.4.4":     "a buffer that cannot be written",
	"A.4.11":    "PID namespaces",
	"A.6.8":     "/proc/PID/maps",
	"A.6.9":     "setns(2)",
	"A.7.8":     "nice(2)",
	"A.7.9":     "receivers on a thread, which package kernel parks instead",
	"A.7.10":    "signal handlers",
	"A.7.12":    "read(2) and poll(2)",
	"A.7.15":    "signals",
	"A.7.16":    "netlink sockets",
	"A.7.17":    "mount(2)",
	"A.7.18":    "another process's descriptors",
}

func numbered(section string, last int) []string {
	names := make([]string, last)
	for i := range names {
		names[i] = fmt.Sprintf("%s.%d", section, i+1)
	}
	return names
}

func named(section string, names ...string) []string {
	for i := range names {
		names[i] = section + "." + names[i]
	}
	return names
}

var leadingLines = regexp.MustCompile(`^A\.\d\.\w+(, ?A\.\d\.\w+)* `)

// linesOf returns the lines that a case proves, from the beginning of its name.
func linesOf(t *testing.T, name string) []string {
	proves := strings.FieldsFunc(leadingLines.FindString(name), func(r rune) bool { return r == ',' || r == ' ' })
	if len(proves) == 0 {
		t.Errorf("the case's name does not begin with a line of SEMANTICS")
	}
	for _, line := range proves {
		if !slices.Contains(lines, line) {
			t.Errorf("SEMANTICS has no line %s", line)
		}
	}
	return proves
}

// A coverage counts the lines of SEMANTICS that cases have proven.
type coverage struct {
	mu    sync.Mutex
	cases int
	lines map[string]bool
}

func newCoverage() *coverage { return &coverage{lines: map[string]bool{}} }

func (c *coverage) add(proves []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cases++
	for _, line := range proves {
		c.lines[line] = true
	}
}

func (c *coverage) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing, hidden []string
	for _, line := range lines {
		switch about := unseen[line]; {
		case c.lines[line]:
		case about != "":
			hidden = append(hidden, line+" ("+about+")")
		default:
			missing = append(missing, line)
		}
	}
	text := fmt.Sprintf("%d cases prove %d of %d lines of A.1 to A.7", c.cases, len(c.lines), len(lines))
	if len(missing) > 0 {
		text += "; not covered: " + strings.Join(missing, " ")
	}
	return text + "; no call shows " + strings.Join(hidden, ", ")
}
