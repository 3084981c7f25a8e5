//go:build linux

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// A Within is what is known of a namespace from within, by which is told what of
// it processes use.
type Within struct {
	Namespace uint64 // the inode number
	Contents  *Contents
	// Device returns the device number of the file system of its POSIX queues. It
	// is asked for only when the names of queues do not tell.
	Device func() (uint64, error)
}

// A used is a process, with what tells whose the objects are that it uses.
type used struct {
	Process
	files   []segmentFile // of what is attached
	devices []uint64      // of the open queues
	asleep  []lastRun     // of the threads that wait
}

// Processes returns what each process uses and waits for, by process id. What it
// has attached, and the queues that it has open, may be of a namespace that it has
// left, and are found among those that are given; the namespace is 0 if it is none
// of them, or cannot be told.
func (proc Proc) Processes(within []Within) ([]Process, error) {
	pids, err := numericEntries(string(proc))
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	all := proc.lookAtAll(pids)
	placeSegments(all, within)
	placeQueues(all, within)
	tellAges(all)
	processes := make([]Process, len(all))
	for i := range all {
		processes[i] = all[i].Process
	}
	return processes, nil
}

// lookAtAll looks at processes, some at a time, and leaves out those that have
// ended.
func (proc Proc) lookAtAll(pids []int) []*used {
	found := make([]*used, len(pids))
	const batch = 16
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			var buffer fileBuffer
			for first := range next {
				for i := first; i < min(first+batch, len(pids)); i++ {
					found[i] = proc.lookAt(pids[i], &buffer)
				}
			}
		})
	}
	for first := 0; first < len(pids); first += batch {
		next <- first
	}
	close(next)
	workers.Wait()
	return slices.DeleteFunc(found, func(p *used) bool { return p == nil })
}

// Who returns the user of a process and its command line. An error says that the
// process has ended.
func (proc Proc) Who(pid int) (uid uint32, command string, err error) {
	var st unix.Stat_t
	if err := unix.Stat(string(proc)+"/"+strconv.Itoa(pid), &st); err != nil {
		return 0, "", err
	}
	return st.Uid, proc.Command(pid), nil
}

// lookAt returns what a process uses, nil if it has ended.
func (proc Proc) lookAt(pid int, buffer *fileBuffer) *used {
	dir := string(proc) + "/" + strconv.Itoa(pid)
	uid, command, err := proc.Who(pid)
	if err != nil {
		return nil
	}
	p := &used{Process: Process{PID: pid, UID: uid, Command: command, Attached: []Attachment{}, Open: []OpenQueue{}, Waiting: []Wait{}}}
	threads, err := p.findThreads(dir)
	if errors.Is(err, fs.ErrPermission) {
		p.Unseen = true
		return p
	}
	if len(threads) == 0 {
		return nil
	}
	p.findSegments(dir, buffer)
	p.findQueues(dir)
	for _, t := range threads {
		p.findWait(dir, t, buffer)
	}
	return p
}

// An inhabitant is a thread, and the inode number of the namespace that it is in.
type inhabitant struct {
	tid       int
	namespace uint64
}

// findThreads returns the threads of the process, and notes in which namespaces
// they are. Of this process only the first counts: others are where they look.
func (p *used) findThreads(dir string) (threads []inhabitant, err error) {
	tids, err := numericEntries(dir + "/task")
	if err != nil {
		return nil, err
	}
	if leader := slices.Index(tids, p.PID); leader > 0 {
		tids = slices.Insert(slices.Delete(tids, leader, leader+1), 0, p.PID)
	}
	if p.PID == os.Getpid() {
		tids = tids[:min(1, len(tids))]
	}
	for _, tid := range tids {
		inode, err := ipcInode(dir + "/task/" + strconv.Itoa(tid))
		if errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if err != nil {
			continue // it has ended
		}
		threads = append(threads, inhabitant{tid, inode})
		if !slices.Contains(p.Namespaces, inode) {
			p.Namespaces = append(p.Namespaces, inode)
		}
	}
	return threads, nil
}

// A fileBuffer is memory for the contents of one file after the other.
type fileBuffer struct{ memory []byte }

// read returns what a file holds, until the next is read. It does without what
// package os does for files that one could wait for, which takes as long as the
// rest.
func (b *fileBuffer) read(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if b.memory == nil {
		b.memory = make([]byte, 1<<16)
	}
	for n := 0; ; {
		got, err := unix.Read(fd, b.memory[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || got == 0 {
			return b.memory[:n], err
		}
		if n += got; n == len(b.memory) {
			b.memory = append(b.memory, make([]byte, n)...)
		}
	}
}
