//go:build linux

package host

// A Holder is what keeps a namespace, besides the threads that are in it; see
// SEMANTICS B.3.
type Holder struct {
	Kind HolderKind `json:"kind"`
	PID  int        `json:"pid,omitempty"`  // of the process that has it, or of a thread that has its own descriptors; for a mount, of one that sees it, or 0
	FD   int        `json:"fd"`             // its descriptor, -1 if it is none
	Path string     `json:"path,omitempty"` // where a mount is, in its mount namespace
	// MountNamespace is the kernel's id of the mount namespace that a mount is in;
	// see statmount(2).
	MountNamespace uint64 `json:"mount_namespace,omitempty"`
}

// A HolderKind is how a holder keeps a namespace.
type HolderKind string

// The kinds of holders.
const (
	HeldByDescriptor HolderKind = "descriptor" // of the namespace, as /proc/PID/ns/ipc is opened
	HeldByMount      HolderKind = "mount"      // of the namespace, bound to a file
	HeldByAttachment HolderKind = "attachment" // a segment of the namespace, attached by a process that has left it
	HeldByTable      HolderKind = "table"      // an open file of /proc/sysvipc
	HeldByContext    HolderKind = "context"    // of fsopen(2), for a mount of mqueue
	HeldUnseen       HolderKind = "unseen"     // the kernel says that it is there, and nothing shows why
)
