package sys

// SemidDS is struct semid64_ds.
type SemidDS struct {
	Perm  IPCPerm
	Otime int64
	Ctime int64
	Nsems uint64
	_     [2]uint64
}
