//go:build linux

package supervise

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/ipcns/ipcns/internal/inject"
	"github.com/ipcns/ipcns/internal/procfile"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// open is open(2), which newer machines do without.
func (c *call) open() {
	c.openPath(int32(unix.AT_FDCWD), c.args[0], func() (uint64, syscall.Errno) { return c.args[1], 0 })
}

// creat is creat(2), which newer machines do without.
func (c *call) creat() {
	c.openPath(unix.AT_FDCWD, c.args[0], func() (uint64, syscall.Errno) { return unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, 0 })
}

// name is a call that makes or removes the name of a file, of which the path is
// the first argument.
func (c *call) name() { c.changeName(unix.AT_FDCWD, c.args[0]) }

// nameAt is one of which the path is the second.
func (c *call) nameAt() { c.changeName(int32(c.args[0]), c.args[1]) }

// changeName keeps a program from making and removing queues of the host by
// their names.
func (c *call) changeName(dirfd int32, address uint64) {
	name, errno := c.readString(address)
	if errno == 0 && within(c.ours(dirfd, name), mqueueDir) {
		c.fail(syscall.ENOENT)
		return
	}
	c.proceed()
}

// openat is openat(2) and openat2(2).
func (c *call) openat() {
	c.openPath(int32(c.args[0]), c.args[1], func() (uint64, syscall.Errno) {
		if c.number != unix.SYS_OPENAT2 { // which is the same on all machines
			return c.args[2], 0
		}
		var how unix.OpenHow
		return how.Flags, readStruct(c, c.args[2], &how)
	})
}

// openPath opens a file that tells of the namespace, and lets the kernel open
// all others.
func (c *call) openPath(dirfd int32, address uint64, flags func() (uint64, syscall.Errno)) {
	name, errno := c.readString(address)
	if errno != 0 {
		c.proceed()
		return
	}
	if path.Base(name) == "userfaultfd" { // as /dev has it too
		c.s.careful = true
	}
	full := c.ours(dirfd, name)
	if full == "" {
		c.proceed()
		return
	}
	if within(full, mqueueDir) {
		c.fail(syscall.ENOENT) // those there are the host's
		return
	}
	how, errno := flags()
	if errno != 0 {
		c.fail(errno)
		return
	}
	if how&unix.O_ACCMODE != unix.O_RDONLY && how&unix.O_PATH == 0 {
		c.fail(syscall.EACCES) // as for who is not root; there is no way to tell of a bad value
		return
	}
	c.openContents(full, int(how))
}

// shmFile tells of mappings.
const shmFile = "/proc/sysvipc/shm"

// mqueueDir is where the kernel's POSIX queues are seen; see mq_overview(7).
const mqueueDir = "/dev/mqueue"

func within(full, dir string) bool { return full == dir || strings.HasPrefix(full, dir+"/") }

// ours returns the path of a file that the kernel is not to open, "" for one
// that it is. Most are told by their last component.
func (c *call) ours(dirfd int32, name string) string {
	known := procfile.KnownBase(path.Base(name)) || path.Base(name) == path.Base(sys.SupervisorFile) || strings.Contains(name, "mqueue")
	if !known && strings.HasPrefix(name, "/") {
		return ""
	}
	full := c.absolute(dirfd, name)
	if isOurs(full) {
		return full
	}
	if !known {
		return ""
	}
	if full = c.resolved(dirfd, name); isOurs(full) {
		return full
	}
	return ""
}

func isOurs(full string) bool {
	return procfile.Known(full) || within(full, mqueueDir) || full == sys.SupervisorFile || full == sys.MqueuesFile
}

// absolute returns the clean path that a program means.
func (c *call) absolute(dirfd int32, name string) string {
	if strings.HasPrefix(name, "/") {
		return path.Clean(name)
	}
	dir, err := os.Readlink(c.directory(dirfd))
	if err != nil {
		return ""
	}
	return path.Join(dir, name)
}

// resolved returns a path without symbolic links in its directories, such as
// /proc/self/root, "" if there is none. Files of /proc and of the kernel's queues
// have the path that they have there, wherever else that is mounted.
func (c *call) resolved(dirfd int32, name string) string {
	dir, base := path.Split(name)
	fd, err := c.openDirectory(dirfd, dir)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	real, err := os.Readlink("/proc/self/fd/" + itoa(fd))
	if err != nil {
		return ""
	}
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return ""
	}
	const mqueueMagic = 0x19800202
	switch st.Type {
	case mqueueMagic:
		return mqueueDir + "/" + base
	case unix.PROC_SUPER_MAGIC:
		for _, known := range []string{"/sysvipc", "/sys/kernel", "/sys/fs/mqueue"} {
			if strings.HasSuffix(real, known) {
				return "/proc" + known + "/" + base
			}
		}
	}
	return path.Join(real, base)
}

// openDirectory opens a directory as the program sees it. With its root as root,
// links lead where they lead there, but those of /proc lead nowhere.
func (c *call) openDirectory(dirfd int32, dir string) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	root, err := unix.Open(procPath(c.tid, "root"), flags, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	link, rest := c.begin(dirfd, dir)
	from, err := os.Readlink(link)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Openat2(root, from+"/"+rest, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_IN_ROOT})
	if err == nil {
		return fd, nil
	}
	return unix.Open(link+"/"+rest, flags, 0)
}

// begin returns the link in /proc to where a path begins, and the rest of it.
func (c *call) begin(dirfd int32, dir string) (link, rest string) {
	if !strings.HasPrefix(dir, "/") {
		return c.directory(dirfd), dir
	}
	for _, own := range []string{"/proc/self/", "/proc/thread-self/", "/dev/"} {
		after, found := strings.CutPrefix(path.Clean(dir), own)
		first, rest, _ := strings.Cut(after, "/")
		switch {
		case !found:
		case first == "fd":
			number, rest, _ := strings.Cut(rest, "/")
			return procPath(c.tid, "fd/"+number), rest
		case first == "cwd", first == "root":
			return procPath(c.tid, first), rest
		}
	}
	return procPath(c.tid, "root"), dir
}

// directory returns the link to where a relative path begins.
func (c *call) directory(dirfd int32) string {
	if dirfd == unix.AT_FDCWD {
		return procPath(c.tid, "cwd")
	}
	return procPath(c.tid, "fd/"+itoa(int(dirfd)))
}

// openContents gives the program a file that holds what one of /proc would.
func (c *call) openContents(full string, flags int) {
	c.s.reap()
	t := c.task()
	if t == nil {
		return
	}
	if full == shmFile {
		c.s.countAll()
	}
	content, err := c.contents(full, t)
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	fd, err := sys.MemoryFile(path.Base(full), content)
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	c.answerFD(fd, flags&unix.O_CLOEXEC, func(theirs int) {
		if theirs >= 0 {
			c.send(int64(theirs))
		}
	})
}

func (c *call) contents(full string, t *userspace.Task) ([]byte, error) {
	switch full {
	case sys.SupervisorFile:
		return fmt.Appendf(nil, "%d %d\n", c.s.pid, c.thread.in.marker), nil
	case sys.MqueuesFile:
		for _, r := range c.s.registrations {
			c.s.endFallen(r)
		}
		queues, err := t.MqList()
		if err != nil {
			return nil, err
		}
		return json.Marshal(queues)
	}
	content, _, err := procfile.Contents(full, t, c.thread.in.ns.NextID)
	return content, err
}

// answerFD answers the call with a descriptor, in two steps. In one, with
// SECCOMP_ADDFD_FLAG_SEND, the call would return 0 when a signal came to this
// thread meanwhile, and the runtime sends some. It takes the descriptor over;
// done makes the second step, or gets -1 where the first fails.
func (c *call) answerFD(fd, flags int, done func(theirs int)) {
	c.later(c.thread.process.pid, func(*inject.Tracer) {
		defer unix.Close(fd)
		theirs, errno := sys.SeccompAddFD(c.fd, c.id, fd, flags)
		if errno != 0 { // EMFILE, or the program is gone
			theirs = -1
			c.fail(errno)
		}
		done(theirs)
	})
}
