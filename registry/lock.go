//go:build linux

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// read calls f while no other process changes the registry. The lock is let go
// of when the file is closed, also by execve. There may be no registry.
func (r *Registry) read(f func(lock *os.File) error) error {
	there, err := r.exists()
	if err != nil {
		return err
	}
	if !there {
		return f(nil)
	}
	lock, err := os.Open(r.path(lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return f(nil) // nothing has ever been there
	}
	if err != nil {
		return fmt.Errorf("cannot lock the names: %w", cause(err, r.path(lockFile)))
	}
	return r.locked(lock, unix.LOCK_SH, f)
}

// change calls f while no other process reads or changes the registry.
func (r *Registry) change(f func() error) error {
	if err := r.prepare(); err != nil {
		return err
	}
	lock, err := os.OpenFile(r.path(lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("cannot lock the names: %w", cause(err, r.path(lockFile)))
	}
	return r.locked(lock, unix.LOCK_EX, func(*os.File) error { return f() })
}

func (r *Registry) locked(lock *os.File, how int, f func(lock *os.File) error) error {
	defer lock.Close()
	if err := r.flock(int(lock.Fd()), how); err != nil {
		return fmt.Errorf("cannot lock the names: %w", cause(err, lock.Name()))
	}
	return r.atHome(func() error { return f(lock) })
}

func (r *Registry) flock(fd, how int) error {
	err := unix.Flock(fd, how|unix.LOCK_NB)
	if err != unix.EWOULDBLOCK {
		return err
	}
	if r.Waiting != nil {
		defer time.AfterFunc(time.Second, func() { r.Waiting(lockedBy(fd)) }).Stop()
	}
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}

// lockedBy returns the process that has locked the file, 0 if that does not
// show; see proc_locks(5).
func lockedBy(fd int) int {
	var st unix.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Fstat(fd, &st) != nil {
		return 0
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK ADVISORY WRITE 4242 fe:00:131 0 EOF; who waits has -> in it.
		const kind, process, which = 1, 4, 5
		if fields := strings.Fields(line); len(fields) > which && fields[kind] == "FLOCK" && fields[which] == file {
			pid, err := strconv.Atoi(fields[process])
			if err == nil {
				return pid
			}
		}
	}
	return 0
}
