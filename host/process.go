//go:build linux

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Parent returns the process that a process is a child of; see
// proc_pid_stat(5).
func (proc Proc) Parent(pid int) (int, error) {
	text, err := os.ReadFile(filepath.Join(string(proc), strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The name may hold anything, also parentheses.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const parent = 1
	if len(fields) <= parent {
		return 0, fmt.Errorf("%s/%d/stat holds %q", proc, pid, text)
	}
	return strconv.Atoi(fields[parent])
}

// Inode returns the inode number of the IPC namespace of a process.
func (proc Proc) Inode(pid int) (uint64, error) {
	return ipcInode(filepath.Join(string(proc), strconv.Itoa(pid)))
}
