//go:build linux

package leak

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// mounts returns the mounts of the process's mount namespace.
func mounts() []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines {
		lines[i] = "the mount " + line
	}
	return lines
}

// objects returns the objects of the thread's IPC namespace. A kernel without
// a mechanism has none, and one that this user may not list is left out.
func objects() (names []string) {
	system := kernel.System{}
	queues, _ := host.MessageQueues(system)
	for _, q := range queues {
		names = append(names, fmt.Sprintf("message queue %d with key %s", q.ID, q.Perm.Key))
	}
	sets, _ := host.SemaphoreSets(system)
	for _, s := range sets {
		names = append(names, fmt.Sprintf("semaphore set %d with key %s", s.ID, s.Perm.Key))
	}
	segments, _ := host.Segments(system)
	for _, s := range segments {
		if !ofAnother(s) {
			names = append(names, fmt.Sprintf("segment %d with key %s", s.ID, s.Perm.Key))
		}
	}
	mqueues, _ := system.MqList()
	for _, q := range mqueues {
		names = append(names, "POSIX message queue "+q.Name)
	}
	return names
}

// ofAnother reports whether the creator of a segment is alive and not this
// process: then it is none that the tests have left, as desktop programs make
// and remove them all the time.
func ofAnother(s host.Segment) bool {
	creator := int(s.Cpid)
	return creator != 0 && creator != os.Getpid() && unix.Kill(creator, 0) != unix.ESRCH
}

// sharedMemory returns the files in /dev/shm: POSIX shared memory objects and
// named semaphores.
func sharedMemory() (files []string) {
	for _, name := range entries("/dev/shm") {
		files = append(files, "the file /dev/shm/"+name)
	}
	return files
}

// limits returns the limits of the thread's IPC namespace by name.
func limits() map[string]uint64 {
	values, err := kernel.System{}.Limits()
	if err != nil {
		return nil
	}
	byName := map[string]uint64{}
	for _, limit := range ipc.AllLimits {
		byName[limit.Name] = *limit.Of(&values)
	}
	return byName
}

// entries returns the names in a directory, none if it cannot be read.
func entries(dir string) (names []string) {
	list, _ := os.ReadDir(dir)
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
