//go:build linux

package server

import (
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/conformance"
	"golang.org/x/sys/unix"
)

// A World is the servers of a namespace. To be a [conformance.World] it takes
// what writes limits.
type World struct {
	Server  *Process // the first, which starts the others
	OneUser bool     // it is root of a user namespace without others
}

// Root implements [conformance.World].
func (w *World) Root() conformance.Process { return w.Server }

// Process implements [conformance.World].
func (w *World) Process(t testing.TB, who conformance.Credentials) conformance.Process {
	t.Helper()
	credentials := &who
	if w.OneUser {
		if who.UID != 0 || who.GID != 0 || who.Groups != nil {
			t.Skip("needs other users: ", w.Lacks(conformance.Users))
		}
		credentials = nil
	}
	p := w.Server.start(t, credentials)
	for resource, value := range who.Rlimits {
		if err := p.do("Setrlimit", resource, value); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Lacks implements [conformance.World], for what has to do with users.
func (w *World) Lacks(what string) string {
	switch {
	case what == conformance.CapSysResource:
		return w.lacksSysResource()
	case what == conformance.Users && w.OneUser:
		return "an ordinary user's user namespace has no other"
	}
	return ""
}

// lacksSysResource looks for what the kernel asks for: the capability in the
// first user namespace, the only one that has all users.
func (w *World) lacksSysResource() string {
	if w.OneUser || Users() != math.MaxUint32 {
		return "not in the machine's first user namespace"
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err.Error()
	}
	if sets[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		return "root here does not have it"
	}
	return ""
}

// Users returns how many users this process's user namespace has.
func Users() (count uint64) {
	text, _ := os.ReadFile("/proc/self/uid_map") // there is one where there are user namespaces
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 {
			n, _ := strconv.ParseUint(fields[2], 10, 32)
			count += n
		}
	}
	return count
}
