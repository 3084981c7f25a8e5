//go:build linux

package registry

import (
	"errors"
	"fmt"
	"os"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/server"
	"golang.org/x/sys/unix"
)

// Become turns the process into the program at a path in the namespace of a
// full name. Root lets a program see itself as root where a user namespace is
// entered. Become returns only if that failed.
func (r *Registry) Become(name, path string, args, env []string, root bool) error {
	// Before the thread goes where that may be another, or none.
	dir, noDir := os.Getwd()
	program := launch.Program{Path: path, Args: args, Env: env}
	var ns *Namespace
	var conn *server.Conn
	err := r.read(func(lock *os.File) (err error) {
		if ns, err = r.living(name); err != nil {
			return err
		}
		if ns.Engine == Userspace {
			conn, err = server.Dial(ns.Holder.PID)
			return err
		}
		parts, err := r.parts(ns)
		if err != nil {
			return fmt.Errorf("cannot enter %s: %w", name, err)
		}
		if root {
			parts.User = nil
		}
		if parts.Mount != nil && noDir != nil {
			return fmt.Errorf("cannot tell the working directory: %w; go to one that is there, such as /", cause(noDir, "."))
		}
		parts.Dir = dir
		return launch.InKept(parts, program, lock)
	})
	if conn == nil {
		return err
	}
	// Not in there, which may be in another mount namespace.
	return ns.become(conn, program, root)
}

// parts opens what a program enters. Who is in the IPC namespace already may
// not be able to enter anything, and need not.
func (r *Registry) parts(ns *Namespace) (parts launch.Parts, err error) {
	own, err := ipcns.Current()
	if err != nil {
		return parts, err
	}
	defer own.Close()
	if own.Inode() == ns.Inode && ns.Holder != nil {
		return parts, nil
	}
	opened, err := ns.open(r.path(ns.Name))
	if err != nil {
		return parts, err
	}
	parts.IPC = opened.File()
	if ns.Mount != 0 {
		if parts.Mount, err = r.openMounts(ns); err != nil {
			return parts, err
		}
	}
	if ns.Holder == nil {
		return parts, nil
	}
	if parts.Owner, err = enterable(opened); err != nil {
		return parts, err
	}
	parts.User, err = userBelow(ns.Holder.namespace("user"), opened)
	return parts, err
}

// openMounts opens the mount namespace of a namespace.
func (r *Registry) openMounts(ns *Namespace) (*os.File, error) {
	path := r.mountsOf(ns)
	if ns.Holder != nil {
		path = ns.Holder.namespace("mnt")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, cause(err, path)
	}
	h, err := homeBehind(file)
	if err == nil && h.inode != ns.Mount {
		err = errors.New("its mount namespace is gone; end it with \"ipcns rm\"")
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// userBelow opens the user namespace at a path, that of a process, if it is
// another than the one that owns the IPC namespace.
func userBelow(path string, opened *ipcns.Namespace) (*os.File, error) {
	user, err := os.Open(path)
	if err != nil {
		return nil, cause(err, path)
	}
	owner, err := opened.Owner()
	if err != nil {
		user.Close()
		return nil, err
	}
	defer owner.Close()
	var its, owners unix.Stat_t
	if err := errors.Join(unix.Fstat(int(user.Fd()), &its), unix.Fstat(int(owner.Fd()), &owners)); err != nil {
		user.Close()
		return nil, err
	}
	if its.Ino == owners.Ino {
		return nil, user.Close()
	}
	return user, nil
}
