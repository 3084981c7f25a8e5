package ipc

// SemUndo is SEM_UNDO in a sembuf: give the operation back when the process ends.
const SemUndo = 0o10000

// SemidDS is struct semid_ds: the state of a semaphore set. Times are whole
// seconds since the Unix epoch, 0 for never. See semctl(2).
type SemidDS struct {
	Perm  Perm
	Otime int64  // last semop
	Ctime int64  // creation, last IPC_SET, SETVAL or SETALL
	Nsems uint64 // semaphores in the set
}

// Sem is one semaphore of a set, as GETVAL, GETPID, GETNCNT and GETZCNT of
// semctl(2) show it.
type Sem struct {
	Value int   // semval, 0 to 32767
	Ncnt  int   // processes that wait for the value to grow
	Zcnt  int   // processes that wait for it to be 0
	PID   int32 // sempid: process of the last operation
}

// SemInfo is what SEM_INFO of semctl(2) tells of a namespace.
type SemInfo struct {
	Sets       int // semaphore sets that exist
	Semaphores int // semaphores in all of them
}
