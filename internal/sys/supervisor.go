package sys

// Files that are there for a program which a supervisor of ours serves, and for
// no other.
const (
	// SupervisorFile has the process id of the supervisor, and a number for the
	// namespace of the thread that opens it, 0 for the outermost.
	SupervisorFile = "/proc/sysvipc/supervisor"
	// MqueuesFile has the POSIX queues of the namespace, as JSON of
	// []ipc.MqueueStat: a directory of them takes a file system.
	MqueuesFile = "/proc/sysvipc/mqueues"
)
