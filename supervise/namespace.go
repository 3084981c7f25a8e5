//go:build linux

package supervise

import (
	"syscall"

	"github.com/ipcns/ipcns/userspace"
)

// A namespace is one of package userspace, with what the supervisor has to
// know of it: the outermost, or one that a program inside has made.
type namespace struct {
	ns     *userspace.Namespace
	marker uint16          // 0 for the outermost
	keeper *userspace.Task // whose the open POSIX queues are, which several processes may share

	queues map[uint64][]*description // that are open, by the queue's inode
}

func newNamespace(ns *userspace.Namespace, marker uint16) *namespace {
	return &namespace{ns: ns, marker: marker, keeper: ns.StartPID(keeperPID, userspace.Credentials{}), queues: map[uint64][]*description{}}
}

func (in *namespace) close() { in.ns.Close() }

// keeperPID is that of no process.
const keeperPID = 0

// whichNamespace returns the namespace of a thread that is not known yet. Nil:
// the call is answered.
func (c *call) whichNamespace() *namespace { return c.s.outermost }

func (c *call) unshare() { c.fail(syscall.ENOSYS) }

func (c *call) setns() { c.proceed() }
