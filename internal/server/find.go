//go:build linux

package server

import (
	"bytes"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// All returns the process ids of the servers of this user, in ascending order.
// They are found by where they listen, which is faster than to look at every
// process.
func All() []int {
	sockets, err := os.ReadFile("/proc/self/net/unix")
	if err != nil {
		return nil
	}
	var pids []int
	for line := range bytes.Lines(sockets) {
		_, name, found := bytes.Cut(line, []byte(" @"+socketPrefix))
		if !found {
			continue
		}
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(name))); err == nil && isServer(pid) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids) // each connection has the name too
}

// isServer reports whether a process is a server of this user.
func isServer(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	args, err := os.ReadFile(dir + "/cmdline")
	if err != nil || !bytes.HasPrefix(args, []byte(Name+"\x00")) {
		return false
	}
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && int(st.Uid) == os.Geteuid()
}

// Of returns the server, of this user's, that serves a process. It is not ok if
// none does, or none knows of the process yet.
func Of(pid int) (server int, ok bool) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil || !bytes.Contains(status, []byte("\nSeccomp:\t2\n")) {
		return 0, false
	}
	for _, server := range All() {
		conn, err := Dial(server)
		if err != nil {
			continue // it is about to end
		}
		status, err := conn.Status()
		conn.Close()
		if err == nil && slices.Contains(status.Members, pid) {
			return server, true
		}
	}
	return 0, false
}
