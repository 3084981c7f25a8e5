package sys

// SemidDS is struct semid64_ds; x86 pads its times.
type SemidDS struct {
	Perm  IPCPerm
	Otime int64
	_     uint64
	Ctime int64
	_     uint64
	Nsems uint64
	_     [2]uint64
}
