//go:build unix

package sysv

import (
	"fmt"
	"os"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// Ftok makes a key of a file and a project number as ftok(3) does: 16 bits of
// the inode number, 8 of the device's and the project's 8.
//
// It is weak: two files may well have the same key, one in 65,536 of those on
// a file system, and a file that is replaced, as editors and package managers
// do, gets another one. A fixed number in a namespace of one's own clashes with
// nobody.
func Ftok(path string, project byte) (ipc.Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("ftok: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("ftok %s: %w", path, syscall.ENOTSUP)
	}
	return ipc.Key(int32(uint32(st.Ino)&0xffff | uint32(st.Dev)&0xff<<16 | uint32(project)<<24)), nil
}
