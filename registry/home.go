//go:build linux

package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/internal/thread"
	"golang.org/x/sys/unix"
)

// The mounts that keep namespaces are in one mount namespace, the registry's
// home: that of the process that made the first name. A program in another
// one, such as that of a name, does not see them, and would make new ones
// that nobody else sees. So methods go home first.

// A home is a mount namespace as the kernel names it. The id is 0 where the
// kernel does not tell.
type home struct{ inode, id uint64 }

const ownMounts = "/proc/thread-self/ns/mnt"

func homeOf(path string) (home, error) {
	file, err := os.Open(path)
	if err != nil {
		return home{}, err
	}
	defer file.Close()
	return homeBehind(file)
}

func homeBehind(file *os.File) (home, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return home{}, err
	}
	id, err := sys.NamespaceID(int(file.Fd()))
	if err != nil {
		id = 0
	}
	return home{st.Ino, id}, nil
}

func (h home) String() string { return fmt.Sprintf("%d %d\n", h.inode, h.id) }

// recordedHome reads where the home is; there may be none yet.
func (r *Registry) recordedHome() (home, error) {
	var h home
	text, err := os.ReadFile(r.path(homeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("cannot read where the names are kept: %w", err)
	}
	inode, id, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	var errs [2]error
	h.inode, errs[0] = strconv.ParseUint(inode, 10, 64)
	h.id, errs[1] = strconv.ParseUint(id, 10, 64)
	if errors.Join(errs[:]...) != nil {
		return h, fmt.Errorf("cannot read where the names are kept: %s holds %q, which is no mount namespace; remove it if there are no names", r.path(homeFile), text)
	}
	return h, nil
}

// atHome calls f on a thread in the registry's home. If that is no more, the
// calling thread's mount namespace is as good as any.
func (r *Registry) atHome(f func() error) error {
	home, err := r.openHome()
	if err != nil {
		return err
	}
	if home == nil {
		return f()
	}
	defer home.Close()
	return thread.Do(func() error {
		if err := enterMounts(home); err != nil {
			return err
		}
		return f()
	})
}

// openHome opens the home, unless the calling thread is there, or there is none.
func (r *Registry) openHome() (*os.File, error) {
	if !r.mounted {
		return nil, nil
	}
	h, err := r.recordedHome()
	if err != nil || h.inode == 0 {
		return nil, err
	}
	own, err := homeOf(ownMounts)
	if err != nil || own == h {
		return nil, err
	}
	return h.open()
}

// open opens the mount namespace; nil if it is no more.
func (h home) open() (*os.File, error) {
	if h.id != 0 {
		return h.openByHandle()
	}
	paths, err := filepath.Glob("/proc/[1-9]*/ns/mnt")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if there, err := homeOf(path); err == nil && there == h {
			return os.Open(path)
		}
	}
	return nil, nil
}

// openByHandle opens the namespace by its numbers (SEMANTICS B.5), which finds
// it whatever it is that holds it.
func (h home) openByHandle() (*os.File, error) {
	const (
		nsfsRoot   = -10003 // FD_NSFS_ROOT of the kernel's linux/fcntl.h
		nsfsHandle = 0xf1   // FILEID_NSFS
	)
	var handle []byte
	handle = binary.NativeEndian.AppendUint64(handle, h.id)
	handle = binary.NativeEndian.AppendUint32(handle, unix.CLONE_NEWNS)
	handle = binary.NativeEndian.AppendUint32(handle, uint32(h.inode))
	fd, err := unix.OpenByHandleAt(nsfsRoot, unix.NewFileHandle(nsfsHandle, handle), unix.O_RDONLY|unix.O_CLOEXEC)
	if err == unix.ESTALE {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the mount namespace mnt:[%d], where the names are kept: %w", h.inode, err)
	}
	return os.NewFile(uintptr(fd), "home"), nil
}

// enterMounts puts the calling thread, which is to end, in a mount namespace.
func enterMounts(mounts *os.File) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("cannot enter the mount namespace where the names are kept: %w", err)
	}
	if err := unix.Setns(int(mounts.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot enter the mount namespace where the names are kept: %w", err)
	}
	return nil
}

// settle makes the calling thread's mount namespace the home, if there is
// none, and readies it for mounts: those of IPC namespaces end everywhere when
// they end at home, which takes a shared mount; mount namespaces are only
// bound where mounts are private.
func (r *Registry) settle() error {
	if err := bindItself(r.dir, unix.MS_SHARED); err != nil {
		return err
	}
	mounts := r.path(mountsDir)
	if err := os.Mkdir(mounts, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make a place for names: %w", cause(err, mounts))
	}
	if err := bindItself(mounts, unix.MS_PRIVATE); err != nil {
		return err
	}
	own, err := homeOf(ownMounts)
	if err != nil {
		return err
	}
	recorded, err := r.recordedHome()
	if err != nil || recorded == own {
		return err
	}
	return writeFile(r.path(homeFile), []byte(own.String()))
}

// bindItself makes a directory a mount point, of that propagation. What it has
// inherited from the mount around it goes first: where that is shared, every
// mount namespace of a name, which follows it, would get the mounts of all
// other names.
func bindItself(dir string, propagation uintptr) error {
	err := unix.Mount("", dir, "", propagation, "")
	if err == unix.EINVAL { // it is no mount point
		err = unix.Mount(dir, dir, "", unix.MS_BIND, "")
		for _, flags := range [...]uintptr{unix.MS_PRIVATE, propagation} {
			if err == nil {
				err = unix.Mount("", dir, "", flags, "")
			}
		}
	}
	if err != nil {
		return fmt.Errorf("cannot mount on %s, which is how names are kept: %w", dir, err)
	}
	return nil
}
