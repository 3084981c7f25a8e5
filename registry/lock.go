//go:build linux

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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
		defer time.AfterFunc(time.Second, r.Waiting).Stop()
	}
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}
