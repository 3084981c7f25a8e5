//go:build linux

package host

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// Attached returns the processes in an IPC namespace that have attached a
// segment; see proc_pid_maps(5). If there are none, it returns the others that
// have: one that has left a namespace keeps what it has attached there, and
// the kernel does not tell whose it is.
func (proc Proc) Attached(inode uint64) ([]int, error) {
	pids, err := numericEntries(string(proc))
	if err != nil {
		return nil, err
	}
	var members, others []int
	for _, pid := range pids {
		dir := filepath.Join(string(proc), strconv.Itoa(pid))
		maps, err := os.ReadFile(filepath.Join(dir, "maps"))
		if err != nil || !bytes.Contains(maps, []byte(" /SYSV")) {
			continue // it has ended, or may not be looked at
		}
		if its, err := ipcInode(dir); err == nil && its == inode {
			members = append(members, pid)
		} else {
			others = append(others, pid)
		}
	}
	if len(members) > 0 {
		return members, nil
	}
	return others, nil
}
