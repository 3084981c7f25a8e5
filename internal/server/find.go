//go:build linux

package server

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// All returns the process ids of the servers of this user.
func All() []int {
	files, _ := filepath.Glob("/proc/[1-9]*/cmdline") // the pattern is a right one
	var pids []int
	for _, file := range files {
		args, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(args, []byte(Name+"\x00")) {
			continue
		}
		dir := filepath.Dir(file)
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil || int(st.Uid) != os.Geteuid() {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
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
