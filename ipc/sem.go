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

// Sembuf is struct sembuf of semop(2): one operation on one semaphore. Above
// 0, Op is added to its value; below, -Op is taken away, once the value is at
// least that; 0 waits for the value 0.
type Sembuf struct {
	Num uint16 `json:"num"` // the semaphore's number in the set
	Op  int16  `json:"op"`
	Flg int16  `json:"flags"` // NoWait and SemUndo
}

// SemMaxValue is SEMVMX, the highest value of a semaphore.
const SemMaxValue = 32767

// Seminfo is struct seminfo, what IPC_INFO of semctl(2) tells of a namespace:
// four limits, and constants.
type Seminfo struct {
	Semmsl, Semmns, Semopm, Semmni                 int
	Semmap, Semmnu, Semume, Semusz, Semvmx, Semaem int
}

// SemInfo is what SEM_INFO of semctl(2) tells of a namespace.
type SemInfo struct {
	Sets       int // semaphore sets that exist
	Semaphores int // semaphores in all of them
}
