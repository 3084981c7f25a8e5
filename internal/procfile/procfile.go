//go:build linux

// Package procfile has what the files of /proc say of an IPC namespace, made
// from the system calls on it: for namespaces of which /proc does not know. See
// proc_sysvipc(5), proc_sys_kernel(5) and mq_overview(7).
package procfile

import (
	"io/fs"
	"path"
	"sync"

	"github.com/ipcns/ipcns/ipc"
)

// NextIDs returns what the file msg_next_id, sem_next_id or shm_next_id holds,
// for kind msg, sem or shm.
type NextIDs func(kind string) (int, error)

// A file is one of the namespace's.
type file struct {
	mode    fs.FileMode
	content func(ipc.System, NextIDs) ([]byte, error)
}

// files returns the files by path.
var files = sync.OnceValue(func() map[string]file {
	return map[string]file{
		"/proc/sysvipc/msg": {0o444, messageQueues},
		"/proc/sysvipc/sem": {0o444, semaphoreSets},
		"/proc/sysvipc/shm": {0o444, segments},

		"/proc/sys/kernel/msgmax":          {0o644, limits("msgmax")},
		"/proc/sys/kernel/msgmnb":          {0o644, limits("msgmnb")},
		"/proc/sys/kernel/msgmni":          {0o644, limits("msgmni")},
		"/proc/sys/kernel/auto_msgmni":     {0o644, autoMsgmni},
		"/proc/sys/kernel/sem":             {0o644, limits("semmsl", "semmns", "semopm", "semmni")},
		"/proc/sys/kernel/shmmax":          {0o644, limits("shmmax")},
		"/proc/sys/kernel/shmall":          {0o644, limits("shmall")},
		"/proc/sys/kernel/shmmni":          {0o644, limits("shmmni")},
		"/proc/sys/kernel/shm_rmid_forced": {0o644, limits("shm_rmid_forced")},
		// Not even root's bits show that a capability may write to them.
		"/proc/sys/kernel/msg_next_id": {0o444, nextID("msg")},
		"/proc/sys/kernel/sem_next_id": {0o444, nextID("sem")},
		"/proc/sys/kernel/shm_next_id": {0o444, nextID("shm")},

		"/proc/sys/fs/mqueue/queues_max":      {0o644, limits("queues_max")},
		"/proc/sys/fs/mqueue/msg_max":         {0o644, limits("msg_max")},
		"/proc/sys/fs/mqueue/msgsize_max":     {0o644, limits("msgsize_max")},
		"/proc/sys/fs/mqueue/msg_default":     {0o644, limits("msg_default")},
		"/proc/sys/fs/mqueue/msgsize_default": {0o644, limits("msgsize_default")},
	}
})

// bases returns the last components of their paths.
var bases = sync.OnceValue(func() map[string]bool {
	bases := map[string]bool{}
	for name := range files() {
		bases[path.Base(name)] = true
	}
	return bases
})

// Contents returns what a file of /proc holds. The path is clean and absolute.
// It is not ok if the file is none of the namespace's. Next is asked only for
// the files that it is about.
func Contents(path string, system ipc.System, next NextIDs) (content []byte, ok bool, err error) {
	file, ok := files()[path]
	if !ok {
		return nil, false, nil
	}
	content, err = file.content(system, next)
	return content, true, err
}

// Known reports whether the path, clean and absolute, is that of one of the
// namespace's files.
func Known(path string) bool {
	_, known := files()[path]
	return known
}

// KnownBase reports whether that is the last component of the path of one of
// the namespace's files.
func KnownBase(name string) bool { return bases()[name] }

// Mode returns the permissions that stat(2) shows for one of the namespace's
// files, which are root's; 0 if the file is none of them.
func Mode(path string) fs.FileMode { return files()[path].mode }
