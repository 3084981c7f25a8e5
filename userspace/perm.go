package userspace

import (
	"slices"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
)

// Permissions, as in one digit of a mode.
const (
	mayExecute = 1 << iota
	mayWrite
	mayRead
)

const modeBits = 0o777

// may reports whether the task has permissions on a System V object (SEMANTICS
// A.2.1, A.2.4). Its class, and no other, decides.
func (t *Task) may(perm *ipc.Perm, wanted uint32) bool {
	granted := perm.Mode
	switch {
	case t.owns(perm):
		granted >>= 6
	case t.inGroup(perm.GID), t.inGroup(perm.CGID):
		granted >>= 3
	}
	return wanted&^granted&7 == 0 || t.Capabilities&CapIPCOwner != 0
}

// owns reports whether the task is the owner or the creator.
func (t *Task) owns(perm *ipc.Perm) bool { return t.EUID == perm.UID || t.EUID == perm.CUID }

func (t *Task) inGroup(gid uint32) bool { return t.FSGID == gid || slices.Contains(t.Groups, gid) }

// mayControl reports whether the task may change or remove an object
// (SEMANTICS A.2.5).
func (t *Task) mayControl(perm *ipc.Perm) bool {
	return t.owns(perm) || t.Capabilities&CapSysAdmin != 0
}

// asked returns what the flags of a get call ask of an object that exists
// (SEMANTICS A.2.2).
func asked(flags int) uint32 { return uint32(flags>>6 | flags>>3 | flags) }

// newPerm returns the permissions of a new object.
func (t *Task) newPerm(key ipc.Key, flags int) ipc.Perm {
	return ipc.Perm{Key: key, UID: t.EUID, GID: t.EGID, CUID: t.EUID, CGID: t.EGID, Mode: uint32(flags & modeBits)}
}

// change is IPC_SET of permissions (SEMANTICS A.2.6).
func (t *Task) change(perm *ipc.Perm, set ipc.PermSet) syscall.Errno {
	uid, known := t.Users.uidInside(set.UID)
	gid, alsoKnown := t.Users.gidInside(set.GID)
	if !known || !alsoKnown {
		return syscall.EINVAL
	}
	perm.UID, perm.GID = uid, gid
	perm.Mode = perm.Mode&^modeBits | set.Mode&modeBits
	return 0
}

// show returns permissions as the task sees them.
func (t *Task) show(perm ipc.Perm) ipc.Perm {
	u := t.Users
	perm.UID, perm.GID, perm.CUID, perm.CGID = u.uidShown(perm.UID), u.gidShown(perm.GID), u.uidShown(perm.CUID), u.gidShown(perm.CGID)
	return perm
}

// A UserNamespace shows the ids of a namespace as others; see
// user_namespaces(7). Nil shows each as itself.
type UserNamespace struct {
	UIDs, GIDs []IDRange
}

// An IDRange is a line of /proc/PID/uid_map.
type IDRange struct{ Inside, Outside, Count uint32 }

// overflowID is what an id without a place is shown as.
const overflowID = 65534

// noID is the id that nobody has.
const noID = 1<<32 - 1

func (u *UserNamespace) uidShown(id uint32) uint32 {
	if u == nil {
		return id
	}
	return shown(u.UIDs, id)
}

func (u *UserNamespace) gidShown(id uint32) uint32 {
	if u == nil {
		return id
	}
	return shown(u.GIDs, id)
}

func shown(ranges []IDRange, id uint32) uint32 {
	for _, r := range ranges {
		if id-r.Outside < r.Count {
			return id - r.Outside + r.Inside
		}
	}
	return overflowID
}

func (u *UserNamespace) uidInside(id uint32) (uint32, bool) {
	if u == nil {
		return id, id != noID
	}
	return meant(u.UIDs, id)
}

func (u *UserNamespace) gidInside(id uint32) (uint32, bool) {
	if u == nil {
		return id, id != noID
	}
	return meant(u.GIDs, id)
}

func meant(ranges []IDRange, id uint32) (uint32, bool) {
	for _, r := range ranges {
		if id-r.Inside < r.Count {
			return id - r.Inside + r.Outside, true
		}
	}
	return 0, false
}
