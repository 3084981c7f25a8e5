//go:build linux

package registry

import (
	"errors"
	"fmt"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/launch"
	"github.com/ipcns/ipcns/internal/server"
	"github.com/ipcns/ipcns/ipc"
)

// A served is the server of a namespace that is to get a name.
type served struct{ conn *server.Conn }

// Release lets the server outlive this process.
func (s served) Release() error {
	defer s.conn.Close()
	return s.conn.Keep()
}

// End ends the server, which nobody uses yet.
func (s served) End() { s.conn.Close() }

// serve makes a namespace of ours: a server.
func (r *Registry) serve(ns *Namespace, spec Spec) (*Namespace, holder, error) {
	if spec.ShareMqueue {
		return nil, nil, errors.New("cannot share mqueue in a namespace that is not the kernel's; leave --share out")
	}
	conn, status, err := server.Start(r.dir)
	if err == nil {
		err = conn.SetLimits(spec.Limits)
	}
	if err != nil {
		return nil, nil, errors.Join(err, closeConn(conn))
	}
	start, err := host.Proc("/proc").StartTime(status.PID)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("the server (process %d) has ended at once", status.PID)
	}
	ns.Holder = &Holder{status.PID, start}
	return ns, served{conn}, nil
}

func closeConn(conn *server.Conn) error {
	if conn == nil {
		return nil
	}
	return conn.Close()
}

// served returns nil if the server of the namespace is there.
func (ns *Namespace) served() error {
	if boot, err := bootID(); err == nil && boot != ns.Boot {
		return errors.New("the machine has been started anew since")
	}
	if ns.Holder == nil {
		return errors.New("its record names no server")
	}
	if ns.Holder.alive() != nil {
		return fmt.Errorf("its server, process %d, has ended, and its programs get ENOSYS", ns.Holder.PID)
	}
	return nil
}

// Status asks the server of a namespace, which has one, what is in it.
func (ns *Namespace) Status() (server.Status, error) {
	conn, err := server.Dial(ns.Holder.PID)
	if err != nil {
		return server.Status{}, err
	}
	defer conn.Close()
	return conn.Status()
}

// Picture asks the server of a namespace, which has one, what is in it, and who
// uses that.
func (ns *Namespace) Picture() (server.Picture, error) {
	conn, err := server.Dial(ns.Holder.PID)
	if err != nil {
		return server.Picture{}, err
	}
	defer conn.Close()
	return conn.Picture()
}

// SetLimits changes the limits of a namespace that has a server.
func (ns *Namespace) SetLimits(settings []ipc.LimitSetting) error {
	conn, err := server.Dial(ns.Holder.PID)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.SetLimits(settings)
}

// Become turns the process into a program that the server of the namespace
// serves. It returns only if that failed.
func (ns *Namespace) Become(p launch.Program) error {
	conn, err := server.Dial(ns.Holder.PID)
	if err != nil {
		return err
	}
	return ns.become(conn, p, false)
}

// become is Become, by a connection.
func (ns *Namespace) become(conn *server.Conn, p launch.Program, root bool) error {
	defer conn.Close()
	if root {
		return fmt.Errorf("cannot run %s as root of a user namespace: %s has none, as it is not the kernel's; leave --root out", p.Args[0], ns.Name)
	}
	if pid, number, within := server.Within(); within && pid == ns.Holder.PID && number == 0 {
		return launch.Become(p)
	}
	if err := conn.Join(); err != nil {
		return fmt.Errorf("cannot enter %s: %w", ns.Name, err)
	}
	return launch.Become(p)
}

// servedIn returns that of names whose server has the caller, nil if that is
// none. It is not ok if no server has the caller.
func servedIn(names func() ([]*Namespace, error)) (ns *Namespace, ok bool, err error) {
	pid, number, within := server.Within()
	if !within {
		return nil, false, nil
	}
	all, err := names()
	for _, ns := range all {
		if ns.Engine == Userspace && ns.State == Alive && ns.Holder.PID == pid && number == 0 {
			return ns, true, err
		}
	}
	return nil, true, err
}
