//go:build linux

// Package registry gives IPC namespaces names: it makes namespaces that stay
// without a program in them, finds them again, nests them and ends them.
//
// Names are those of a user. Root's are under /run/ipcns, where each is a
// directory with the record of its namespace, the namespace itself bound to
// the file .ipc, and a directory for each namespace inside it. Other users'
// are in the directory ipcns of $XDG_RUNTIME_DIR, where a process keeps the
// namespace, since an ordinary user cannot mount. A name comes and goes with
// one rename(2) of its directory, so it is there or it is not.
package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// A Registry is the names of the user who calls. Its methods may be called
// from any goroutine, and by several processes at a time.
type Registry struct {
	// Waiting, unless it is nil, is called when another process has kept a
	// method waiting for a second. Pid is that process, 0 if that does not
	// show.
	Waiting func(pid int)

	dir      string
	mounted  bool  // namespaces are kept by mounts, not by processes
	unplaced error // why there is no place for names
}

const rootDir = "/run/ipcns"

// What a registry holds besides names, which do not begin with a dot.
const (
	lockFile  = ".lock"
	homeFile  = ".home"   // the mount namespace that the mounts are in
	mountsDir = ".mnt"    // a mount namespace is bound to a file here, named after its inode
	indexDir  = ".inodes" // the records, each named after its namespace's inode
	makingDir = ".making" // what is to become a name
	endingDir = ".ending" // what has been one
)

// What the directory of a name holds besides the names inside it.
const (
	recordFile = ".record"
	ipcFile    = ".ipc" // what the namespace is bound to
)

// Open returns the registry of the user who calls. There need not be any name
// in it yet, nor a place for one.
func Open() *Registry {
	var st unix.Stat_t
	// Root in a user namespace of an ordinary user does not own /run.
	if os.Geteuid() == 0 && unix.Stat(filepath.Dir(rootDir), &st) == nil && st.Uid == 0 {
		return &Registry{dir: rootDir, mounted: sys.Capable(unix.CAP_SYS_ADMIN)}
	}
	base := os.Getenv("XDG_RUNTIME_DIR")
	if base == "" {
		return &Registry{unplaced: errors.New("there is no place for names, since XDG_RUNTIME_DIR is not set; set it to a directory that is yours alone, such as /run/user/" + fmt.Sprint(os.Geteuid()))}
	}
	if !filepath.IsAbs(base) {
		return &Registry{unplaced: fmt.Errorf("there is no place for names, since XDG_RUNTIME_DIR is %q; set it to an absolute path", base)}
	}
	return &Registry{dir: filepath.Join(base, "ipcns")}
}

func (r *Registry) path(elements ...string) string {
	return filepath.Join(append([]string{r.dir}, elements...)...)
}

// Path returns the file that an existing name's namespace is bound to, which
// other programs may use; "" if a process keeps the namespace.
func (r *Registry) Path(ns *Namespace) string {
	if ns.Holder != nil {
		return ""
	}
	return r.path(ns.Name, ipcFile)
}

// exists reports whether there is a registry, and refuses one that somebody
// else could have written.
func (r *Registry) exists() (bool, error) {
	if r.unplaced != nil {
		return false, r.unplaced
	}
	var st unix.Stat_t
	err := unix.Lstat(r.dir, &st)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look at the names in %s: %w", r.dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return false, fmt.Errorf("cannot trust the names in %s: it is not a directory that only this user (%d) may write; remove it, or set that right", r.dir, os.Geteuid())
	}
	return true, nil
}

// prepare makes the registry, if it is not there yet.
func (r *Registry) prepare() error {
	there, err := r.exists()
	if err != nil {
		return err
	}
	if there {
		return nil
	}
	mode := fs.FileMode(0o700)
	if r.dir == rootDir {
		mode = 0o755 // everyone may see root's names, as those of ip-netns(8)
	}
	if err := os.Mkdir(r.dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make a place for names: %w; it takes a directory %s that this user may write", cause(err, r.dir), filepath.Dir(r.dir))
	}
	_, err = r.exists()
	return err
}

// cause returns what failed on which file, without the call.
func cause(err error, path string) error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Errorf("%s: %w", path, errno)
	}
	return err
}
