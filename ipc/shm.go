package ipc

// Bits of a segment's Perm.Mode above the nine permission bits.
const (
	ShmDest   = 0o1000 // SHM_DEST: destroyed when the last process detaches
	ShmLocked = 0o2000 // SHM_LOCKED: not swapped out
)

// Flags of shmget(2), combined with [Creat], [Excl] and permission bits.
const (
	ShmHugetlb   = 0o4000  // SHM_HUGETLB: of huge pages
	ShmNoReserve = 0o10000 // SHM_NORESERVE: reserve no swap space
)

// Flags of shmat(2).
const (
	ShmRdonly = 0o10000  // SHM_RDONLY: attach for reading only
	ShmRnd    = 0o20000  // SHM_RND: round the address down to a multiple of SHMLBA
	ShmRemap  = 0o40000  // SHM_REMAP: replace what is mapped at the address
	ShmExec   = 0o100000 // SHM_EXEC: the contents may be executed
)

// Shminfo is struct shminfo, what IPC_INFO of shmctl(2) tells of a namespace:
// three limits, and two constants.
type Shminfo struct {
	Shmmax uint64 // bytes in one segment
	Shmall uint64 // pages in all segments
	Shmmni uint64 // segments
	Shmmin uint64 // always 1
	Shmseg uint64 // Shmmni again
}

// ShmidDS is struct shmid_ds: the state of a shared memory segment. Times
// are whole seconds since the Unix epoch, 0 for never. See shmctl(2).
type ShmidDS struct {
	Perm   Perm
	Segsz  uint64 // bytes, as asked for; a mapping is whole pages
	Atime  int64  // last attach
	Dtime  int64  // last detach
	Ctime  int64  // creation or last IPC_SET
	Cpid   int32  // process that created it
	Lpid   int32  // process of the last attach or detach
	Nattch uint64 // mappings of it, not processes (SEMANTICS A.6.2)
}

// ShmInfo is what SHM_INFO of shmctl(2) tells of a namespace.
type ShmInfo struct {
	Segments      int    // segments that exist
	Pages         uint64 // pages of all of them, as asked for
	Resident      uint64 // pages in memory
	Swapped       uint64 // pages swapped out
	SwapAttempts  uint64 // always 0 since Linux 2.4
	SwapSuccesses uint64 // always 0 since Linux 2.4
}
