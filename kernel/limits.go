//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// limitFiles are the files that hold the limits, each with its limits in the
// order in which they stand there.
var limitFiles = [...]struct {
	path  string
	names []string
}{
	{"/proc/sys/kernel/msgmax", []string{"msgmax"}},
	{"/proc/sys/kernel/msgmnb", []string{"msgmnb"}},
	{"/proc/sys/kernel/msgmni", []string{"msgmni"}},
	{"/proc/sys/kernel/sem", []string{"semmsl", "semmns", "semopm", "semmni"}},
	{"/proc/sys/kernel/shmmax", []string{"shmmax"}},
	{"/proc/sys/kernel/shmall", []string{"shmall"}},
	{"/proc/sys/kernel/shmmni", []string{"shmmni"}},
	{"/proc/sys/kernel/shm_rmid_forced", []string{"shm_rmid_forced"}},
	{"/proc/sys/fs/mqueue/queues_max", []string{"queues_max"}},
	{"/proc/sys/fs/mqueue/msg_max", []string{"msg_max"}},
	{"/proc/sys/fs/mqueue/msgsize_max", []string{"msgsize_max"}},
	{"/proc/sys/fs/mqueue/msg_default", []string{"msg_default"}},
	{"/proc/sys/fs/mqueue/msgsize_default", []string{"msgsize_default"}},
}

// Limits reads the limits. One that this kernel does not have is 0; one that
// somebody has made negative is its two's complement.
//
// As far as a call tells them, no file of /proc/sys is read: the kernel keeps those
// of all namespaces in one list, which takes longer to search the more there are.
// That of POSIX queues is searched once.
func (s System) Limits() (ipc.Limits, error) {
	limits, err := s.limitsOfCalls()
	if err != nil {
		return limits, err
	}
	if err := readLimit(&limits, unix.AT_FDCWD, "/proc/sys/kernel/shm_rmid_forced", "shm_rmid_forced"); err != nil {
		return limits, err
	}
	dir, err := unix.Open("/proc/sys/fs/mqueue", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return limits, nil
	}
	if err != nil {
		return limits, &os.PathError{Op: "open", Path: "/proc/sys/fs/mqueue", Err: err}
	}
	defer unix.Close(dir)
	for _, name := range [...]string{"queues_max", "msg_max", "msgsize_max", "msg_default", "msgsize_default"} {
		if err := readLimit(&limits, dir, name, name); err != nil {
			return limits, err
		}
	}
	return limits, nil
}

// limitsOfCalls returns what IPC_INFO tells. ENOSYS is no error: this kernel has no
// System V IPC.
func (s System) limitsOfCalls() (ipc.Limits, error) {
	msg, _, msgErr := s.MsgctlInfo()
	sem, _, semErr := s.SemctlInfo()
	shm, _, shmErr := s.ShmctlInfo()
	for _, err := range [...]error{msgErr, semErr, shmErr} {
		if err != nil && !errors.Is(err, unix.ENOSYS) {
			return ipc.Limits{}, err
		}
	}
	return ipc.Limits{
		Msgmax: uint64(msg.Msgmax), Msgmnb: uint64(msg.Msgmnb), Msgmni: uint64(msg.Msgmni),
		Semmsl: uint64(sem.Semmsl), Semmns: uint64(sem.Semmns), Semopm: uint64(sem.Semopm), Semmni: uint64(sem.Semmni),
		Shmmax: shm.Shmmax, Shmall: shm.Shmall, Shmmni: shm.Shmmni,
	}, nil
}

// readLimit reads the limit of that name from a file, if there is one.
func readLimit(limits *ipc.Limits, dir int, path, name string) error {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var text [32]byte
	n, err := unix.Read(fd, text[:])
	if err != nil {
		return &os.PathError{Op: "read", Path: path, Err: err}
	}
	if err := setLimit(limits, name, strings.TrimSpace(string(text[:n]))); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func setLimit(limits *ipc.Limits, name, text string) error {
	limit, err := ipc.LimitByName(name)
	if err != nil {
		return err
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if strings.HasPrefix(text, "-") {
		var negative int64
		negative, err = strconv.ParseInt(text, 10, 64)
		value = uint64(negative)
	}
	*limit.Of(limits) = value
	return err
}

// SetLimit changes a limit of the namespace. That is up to uid 0 of the user
// namespace that owns it (EACCES, EPERM; SEMANTICS A.2.13). EINVAL or ERANGE:
// the value is out of range.
func (s System) SetLimit(setting ipc.LimitSetting) error {
	limits, err := s.Limits()
	if err != nil {
		return err
	}
	*setting.Of(&limits) = setting.Value
	path, content, err := LimitFile(setting.Name, &limits)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0)
}

// LimitFile returns the file that holds the limit of that name and what to
// write there for the values in limits. Limits that share the file are
// written together.
func LimitFile(name string, limits *ipc.Limits) (path, content string, err error) {
	for _, file := range limitFiles {
		if !slices.Contains(file.names, name) {
			continue
		}
		values := make([]string, len(file.names))
		for i, other := range file.names {
			limit, err := ipc.LimitByName(other)
			if err != nil {
				return "", "", err
			}
			values[i] = strconv.FormatUint(*limit.Of(limits), 10)
		}
		return file.path, strings.Join(values, " "), nil
	}
	return "", "", fmt.Errorf("no file holds the limit %q", name)
}
