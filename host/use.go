//go:build linux

package host

import (
	"fmt"
	"strings"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// A Process is one that uses IPC, or could: what it has attached and opened, and
// what its threads wait for.
type Process struct {
	PID        int          `json:"pid"`
	UID        uint32       `json:"uid"` // the effective one
	Command    string       `json:"command"`
	Namespaces []uint64     `json:"namespaces"` // the inode numbers of those that its threads are in, the leader's first
	Attached   []Attachment `json:"attached"`
	Open       []OpenQueue  `json:"open"`
	Waiting    []Wait       `json:"waiting"`
	// Unseen says that the process may not be looked at: of the above only its
	// PID, UID and Command are known.
	Unseen bool `json:"unseen,omitempty"`
}

// An Attachment is a segment that a process has attached, all or a part of it.
type Attachment struct {
	Namespace uint64 `json:"namespace"` // the inode number, 0 if it is not known
	ID        int    `json:"id"`
	Address   uint64 `json:"address"` // of the first of its mappings
	Bytes     uint64 `json:"bytes"`   // of all its mappings
	Mappings  int    `json:"mappings"`
	ReadOnly  bool   `json:"read_only"`
}

// An OpenQueue is a descriptor of a POSIX message queue.
type OpenQueue struct {
	Namespace uint64 `json:"namespace"` // the inode number, 0 if it is not known
	Name      string `json:"name"`      // with its leading slash
	Inode     uint64 `json:"inode"`     // of the queue, in the namespace's file system
	FD        int    `json:"fd"`
	Unlinked  bool   `json:"unlinked"`
	Receives  bool   `json:"receives"` // it is open to receive, or to look
	Sends     bool   `json:"sends"`    // it is open to send
}

// A Wait is a call in which a thread sleeps until others have done something.
type Wait struct {
	TID       int    `json:"tid"`
	Namespace uint64 `json:"namespace"`      // the inode number
	Call      string `json:"call"`           // msgrcv, msgsnd, semop, mq_timedreceive, mq_timedsend, or mq for one of these two
	ID        int    `json:"id"`             // of the queue or set; the descriptor of a POSIX queue; -1 if it may not be known
	Name      string `json:"name,omitempty"` // of a POSIX queue
	Type      int64  `json:"type,omitempty"` // that msgrcv asks for, and of the message of msgsnd
	Bytes     uint64 `json:"bytes,omitempty"`
	// Operations are those of semop. Nil if the process's memory may not be read.
	Operations []ipc.Sembuf `json:"operations,omitempty"`
	// Timed says that the call has a timeout, which ends it.
	Timed bool `json:"timed,omitempty"`
	// Since is how long the thread has slept, at least; 0 if that is not known.
	Since time.Duration `json:"nanoseconds"`
}

// Semops returns the operations of a semop as "ipcns sem op" takes them, of many the
// first: [0:-1 2:0 1:+3 4:0 and 3 more].
func (w Wait) Semops() string {
	const most = 4
	var words []string
	for _, op := range w.Operations[:min(most, len(w.Operations))] {
		sign := ""
		if op.Op > 0 {
			sign = "+"
		}
		words = append(words, fmt.Sprintf("%d:%s%d", op.Num, sign, op.Op))
	}
	if more := len(w.Operations) - most; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return "[" + strings.Join(words, " ") + "]"
}
