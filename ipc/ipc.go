// Package ipc is the vocabulary of IPC namespaces: the types, flags and limits
// of System V message queues, semaphore sets and shared memory segments, and
// of POSIX message queues. It makes no system call and builds on every
// operating system.
//
// Names are those of the manual pages: msgget(2), semget(2), shmget(2),
// mq_overview(7) and sysvipc(7).
package ipc

import "fmt"

// Key names a System V object inside one namespace. Any 32-bit value is a
// key; [Private] is the one that never finds an object.
type Key int32

// Private is IPC_PRIVATE: a get with it always creates an object, which can
// then be reached by its id alone.
const Private Key = 0

// String returns the key as ipcs(1) prints it: 0x and eight hexadecimal digits.
func (k Key) String() string { return fmt.Sprintf("0x%08x", uint32(k)) }

// Flags of the get calls, combined with nine permission bits. The umask is
// not applied to these (SEMANTICS A.1.6).
const (
	Creat  = 0o1000 // IPC_CREAT: create the object if the key has none
	Excl   = 0o2000 // IPC_EXCL: with Creat, fail with EEXIST if the key has one
	NoWait = 0o4000 // IPC_NOWAIT: fail with EAGAIN or ENOMSG instead of sleeping
)

// Perm is struct ipc_perm: who owns a System V object and who may use it.
// User and group ids are those that the calling thread's user namespace
// shows; 65534 stands for one that it does not map.
type Perm struct {
	Key  Key
	UID  uint32 // owner; IPC_SET changes it
	GID  uint32
	CUID uint32 // creator; never changes
	CGID uint32
	Mode uint32 // permission bits, and for a segment ShmDest and ShmLocked
	Seq  uint16 // the part of the id above its index
}

// PermSet is what IPC_SET changes of every System V object.
type PermSet struct {
	UID, GID uint32
	Mode     uint32 // the nine permission bits
}

// Set returns what IPC_SET takes to leave an object as it is.
func (p Perm) Set() PermSet { return PermSet{UID: p.UID, GID: p.GID, Mode: p.Mode & 0o777} }
