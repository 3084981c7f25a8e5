// Package conformance says what an implementation of [ipc.System] does, case
// by case. The kernel is the oracle: every expectation was seen on it. Each
// case is named after the line of SEMANTICS that it proves.
package conformance

import (
	"testing"

	"github.com/ipcns/ipcns/ipc"
)

// An Implementation makes namespaces to try.
type Implementation interface {
	// NewWorld makes a fresh namespace and a process in it that has every
	// privilege, uid 0 and gid 0. Both end with the test.
	NewWorld(t testing.TB) World
}

// A World is a namespace and the processes in it.
type World interface {
	// Process starts another process in the namespace. It ends with the
	// test, if not before. The test is skipped if there cannot be one with
	// these credentials.
	Process(t testing.TB, who Credentials) Process
	// Root is the process that NewWorld has started.
	Root() Process
	// SetLimit writes a limit as root does; the error holds the errno.
	SetLimit(name string, value int64) error
	// SetNextID writes msg_next_id, sem_next_id or shm_next_id; kind is msg,
	// sem or shm.
	SetNextID(kind string, id int) error
	// NextID reads it.
	NextID(kind string) (int, error)
	// Lacks returns why a case cannot be tried here, "" if it can. What is
	// one of the constants below.
	Lacks(what string) string
}

// What a case may need.
const (
	Addresses      = "memory at an address of one's choice"
	CapSysResource = "CAP_SYS_RESOURCE"
	HugePages      = "huge pages"
	MsgCopy        = "MSG_COPY"
	NextID         = "msg_next_id, sem_next_id and shm_next_id"
	Users          = "other users"
)

// Credentials are those of a process.
type Credentials struct {
	UID, GID uint32 // real, effective, saved and file system ids
	Groups   []uint32
	// Capabilities, by their numbers in capabilities(7), that a process
	// with a UID other than 0 has all the same.
	Capabilities []int
	// Rlimits, by their numbers in getrlimit(2), that are lower than those
	// of Root.
	Rlimits map[int]uint64
}

// A Process makes calls in a namespace. Its methods may be called from any
// goroutine; each call that sleeps does so on a thread of its own.
type Process interface {
	ipc.System
	PID() int
	// Fork starts a child of the process; see SEM_UNDO in semop(2).
	Fork(t testing.TB) Process
	// Exit ends the process, as exit(2) does, and returns when its parent
	// could have waited for it.
	Exit()
	// Kill is Exit by SIGKILL.
	Kill()
	// Peek and Poke read and write memory that Shmat has returned. For a
	// process elsewhere, that slice is only a handle. A fault is EFAULT.
	Peek(memory []byte, offset, n int) ([]byte, error)
	Poke(memory []byte, offset int, data []byte) error
	// Sleeping returns how many calls of the process sleep now.
	Sleeping() int
}

// A Case is one behaviour.
type Case struct {
	// Name begins with the lines of SEMANTICS that the case proves, such as
	// "A.4.6 a receiver with too small a buffer gets E2BIG and the next one
	// is asked".
	Name string
	Run  func(t *testing.T, w World)
}

// Run tries all cases, each in a namespace of its own, and logs how many
// lines of SEMANTICS they prove.
func Run(t *testing.T, implementation Implementation) {
	t.Parallel()
	proven := newCoverage()
	t.Cleanup(func() { t.Log(proven) })
	for _, group := range [][]Case{idCases, permissions, limits, messageQueues, semaphores, segments, mqueues} {
		for _, c := range group {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				proves := linesOf(t, c.Name)
				c.Run(t, implementation.NewWorld(t))
				if !t.Failed() {
					proven.add(proves)
				}
			})
		}
	}
}
