//go:build linux

package host

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// findQueues finds the POSIX queues that the process has open. The link of such a
// descriptor looks like the path of a file.
func (p *used) findQueues(dir string) {
	fds, err := numericEntries(dir + "/fd")
	if err != nil {
		return // it has ended
	}
	for _, fd := range fds {
		path := dir + "/fd/" + strconv.Itoa(fd)
		link, err := os.Readlink(path)
		if err != nil || !mayBeQueue(link) {
			continue
		}
		var fs unix.Statfs_t
		var st unix.Stat_t
		if unix.Statfs(path, &fs) != nil || fs.Type != mqueueMagic || unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		unlinked := st.Nlink == 0
		open := OpenQueue{Name: queueName(link, unlinked), Inode: st.Ino, FD: fd, Unlinked: unlinked}
		open.Receives, open.Sends = accessOf(dir + "/fdinfo/" + strconv.Itoa(fd))
		p.Open = append(p.Open, open)
		p.devices = append(p.devices, st.Dev)
	}
}

// accessOf returns what a descriptor is open for, by its file in fdinfo; see
// proc_pid_fdinfo(5). It is neither if that has been closed since.
func accessOf(fdinfo string) (reads, writes bool) {
	text, _ := os.ReadFile(fdinfo)
	_, flags, found := strings.Cut(string(text), "\nflags:\t")
	if !found {
		return false, false
	}
	flags, _, _ = strings.Cut(flags, "\n")
	mode, _ := strconv.ParseUint(flags, 8, 64)
	mode &= unix.O_ACCMODE
	return mode != unix.O_WRONLY, mode != unix.O_RDONLY
}

// mqueueMagic is MQUEUE_MAGIC of the kernel's ipc/mqueue.c, in statfs(2).
const mqueueMagic = 0x19800202

// mayBeQueue reports whether a descriptor may be of a queue, by its link. Other
// file systems, some of which would wait for a network, are not asked: a queue
// that mq_open has opened has one slash, and one that open(2) has is below a mount
// that is called as it always is.
func mayBeQueue(link string) bool {
	return strings.LastIndexByte(link, '/') == 0 || strings.Contains(link, "/mqueue/")
}

// queueName returns the name of a queue whose descriptor has that link.
func queueName(link string, unlinked bool) string {
	name := link[strings.LastIndexByte(link, '/'):]
	if unlinked {
		return strings.TrimSuffix(name, " (deleted)")
	}
	return name
}

// A queueKey tells one queue from all others of the machine: the kernel counts
// the inodes of such file systems in one row.
type queueKey struct {
	inode uint64
	name  string
}

// placeQueues fills in the namespaces of the queues that processes have open.
func placeQueues(all []*used, within []Within) {
	devices := map[uint64]uint64{} // namespaces, by the devices of their queues
	listed := map[queueKey]uint64{}
	for _, w := range within {
		if w.Contents == nil {
			continue
		}
		for _, queue := range w.Contents.Mqueues {
			listed[queueKey{queue.Inode, queue.Name}] = w.Namespace
		}
	}
	eachQueue(all, func(queue *OpenQueue, device uint64) {
		if inode, found := listed[queueKey{queue.Inode, queue.Name}]; found {
			devices[device] = inode
		}
	})
	askForDevices(all, within, devices)
	eachQueue(all, func(queue *OpenQueue, device uint64) { queue.Namespace = devices[device] })
	for _, p := range all {
		p.nameWaits()
	}
}

func eachQueue(all []*used, f func(queue *OpenQueue, device uint64)) {
	for _, p := range all {
		for i := range p.Open {
			f(&p.Open[i], p.devices[i])
		}
	}
}

// askForDevices finds the namespaces of the queues that are not listed, since
// they are unlinked, or as this user may not list them. Those that who has them
// open is in are asked first.
func askForDevices(all []*used, within []Within, devices map[uint64]uint64) {
	missing, likely := map[uint64]bool{}, map[uint64]bool{}
	for _, p := range all {
		for _, device := range p.devices {
			if _, known := devices[device]; known {
				continue
			}
			missing[device] = true
			for _, inode := range p.Namespaces {
				likely[inode] = true
			}
		}
	}
	rank := func(w Within) int {
		if likely[w.Namespace] {
			return 0
		}
		return 1
	}
	for _, w := range slices.SortedStableFunc(slices.Values(within), func(a, b Within) int { return cmp.Compare(rank(a), rank(b)) }) {
		if len(missing) == 0 {
			return
		}
		if w.Device == nil {
			continue
		}
		if device, err := w.Device(); err == nil && missing[device] {
			devices[device] = w.Namespace
			delete(missing, device)
		}
	}
}
