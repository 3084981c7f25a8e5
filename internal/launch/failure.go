//go:build linux

package launch

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// Exit statuses when the program was not started.
const (
	StatusFailed      = 125 // what it takes was refused
	StatusNotRunnable = 126 // the program was found but cannot be run
	StatusNotFound    = 127
)

// An Error is why the program was not started: one line that says what failed
// and what to do, and the exit status for that.
type Error struct {
	Status int
	step   step
	errno  syscall.Errno
	text   string
}

func (e *Error) Error() string { return e.text }

func (e *Error) Unwrap() error { return e.errno }

// refused reports whether err is the kernel's word that s is not allowed.
func refused(err error, s step) bool {
	var e *Error
	return errors.As(err, &e) && e.step == s && (e.errno == syscall.EPERM || e.errno == syscall.EACCES)
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

// FailureCommand is the command of ours that the stub becomes when a call has
// failed. Its arguments are for [Failure].
const FailureCommand = "launch-failed"

// Failure returns the error behind the arguments of [FailureCommand]: a step, and
// a byte that is the error number. Behind these are the arguments with which
// ipcns is to go on otherwise; they are returned if the kernel gave no user
// namespace, and nothing has been changed.
func Failure(args []string) (otherwise []string, err error) {
	if len(args) < 2 || len(args[1]) != 1 {
		return nil, errors.New(FailureCommand + " is ipcns's own and takes what ipcns gives it")
	}
	s := step(args[0])
	if s == stepUser {
		otherwise = args[2:]
	}
	return otherwise, s.failure(syscall.Errno(args[1][0]))
}

// Refused reports whether err is that this user gets no namespace of the
// kernel's, with whatever mounts.
func Refused(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.step {
	case stepIPC, stepUser, stepMap, stepMemfd:
		return true
	}
	return false
}

// Refusal returns why the kernel would give this user no namespace, as far as
// that shows beforehand; nil if it does not.
func Refusal() error {
	// Programs would get nothing from a kernel without System V IPC.
	if _, _, err := (kernel.System{}).MsgInfo(); errors.Is(err, syscall.ENOSYS) {
		return errors.New("this kernel has no System V IPC")
	}
	if sys.Capable(unix.CAP_SYS_ADMIN) {
		return nil
	}
	if knob := userNamespaceKnob(); knob != "" {
		return errors.New("it takes CAP_SYS_ADMIN, which this user lacks, or a user namespace" + knob)
	}
	return nil
}

// A step is what a call is for: a word, and what it is about.
type step string

const (
	stepIPC          step = "ipc"
	stepUser         step = "user"
	stepMap          step = "map"
	stepMount        step = "mount-namespace"
	stepSlave        step = "slave"
	stepEnterUser    step = "enter-user"
	stepEnterIPC     step = "enter-ipc"
	stepEnterMount   step = "enter-mount"
	stepCapabilities step = "capabilities"
	stepLook         step = "look"
	stepEmpty        step = "empty"
	stepMemfd        step = "memfd"
	stepSelf         step = "self"
)

const (
	limitWord = "limit "
	mountWord = "mount "
	execWord  = "exec "
	dirWord   = "directory "
)

func limitStep(s ipc.LimitSetting) step {
	return step(limitWord + s.Name + " " + strconv.FormatUint(s.Value, 10))
}

// stepDev is a call of what gives the program a /dev with a place for mqueue.
const stepDev = step(mountWord + devPath)

func mountStep(at string) step      { return step(mountWord + at) }
func execStep(path string) step     { return step(execWord + path) }
func directoryStep(dir string) step { return step(dirWord + dir) }

// failure returns the error for errno at the step.
func (s step) failure(errno syscall.Errno) error {
	e := &Error{Status: StatusFailed, step: s, errno: errno}
	word, subject, _ := strings.Cut(string(s), " ")
	switch word + " " {
	case limitWord:
		e.text = limitFailure(subject, errno)
	case mountWord:
		e.text = mountFailure(subject, errno)
	case dirWord:
		e.text = fmt.Sprintf("cannot enter the working directory %s in the namespace: %v; go to one that is there, such as /", subject, errno)
	case execWord:
		e.Status, e.text = execFailure(subject, errno)
	default:
		e.text = namespaceFailure(s, errno)
	}
	return e
}

func limitFailure(subject string, errno syscall.Errno) string {
	name, text, _ := strings.Cut(subject, " ")
	limit, err := ipc.LimitByName(name)
	if err != nil {
		return err.Error()
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return err.Error()
	}
	return ipc.LimitSetting{Limit: limit, Value: value}.Failure(errno).Error()
}

func mountFailure(at string, errno syscall.Errno) string {
	share := "mqueue"
	if at == shmPath {
		share = "shm"
	}
	if at == devPath {
		return fmt.Sprintf("cannot give the program a /dev with a place for its own /dev/mqueue: %v; make that directory, or use --share mqueue", errno)
	}
	if errno == syscall.ENOENT {
		return fmt.Sprintf("cannot give the program its own %s: there is no such directory to mount it on; make one, or use --share %s", at, share)
	}
	return fmt.Sprintf("cannot give the program its own %s: %v; use --share %s to leave the host's", at, errno, share)
}

func execFailure(path string, errno syscall.Errno) (int, string) {
	switch errno {
	case syscall.ENOENT:
		return StatusNotFound, fmt.Sprintf("cannot run %s: the interpreter that it names does not exist", path)
	case syscall.EACCES:
		return StatusNotRunnable, fmt.Sprintf("cannot run %s: %v; look at its permissions, its interpreter's, and whether its file system is mounted noexec", path, errno)
	}
	return StatusNotRunnable, fmt.Sprintf("cannot run %s: %v", path, errno)
}

func namespaceFailure(s step, errno syscall.Errno) string {
	switch s {
	case stepIPC:
		if errno == syscall.ENOSPC {
			return "cannot make an IPC namespace: there are as many as " + knob("user/max_ipc_namespaces") + " allows; end some, or raise it"
		}
		return fmt.Sprintf("cannot make an IPC namespace: the kernel refuses unshare(CLONE_NEWIPC) to this user (%v); run as root, or in a container with CAP_SYS_ADMIN", errno)
	case stepUser:
		return userNamespaceFailure(errno)
	case stepMap:
		if errno == syscall.EPERM {
			// No user is mapped here, so whether this one is root does not show.
			return fmt.Sprintf("cannot map this user into a user namespace: %v%s; run as root, who needs CAP_SETFCAP for it, or CAP_SYS_ADMIN to do without", errno, userNamespaceKnob())
		}
		return fmt.Sprintf("cannot map this user into a user namespace: %v%s; run as root", errno, userNamespaceKnob())
	case stepMount:
		if errno == syscall.ENOSPC {
			return "cannot make a mount namespace: there are as many as " + knob("user/max_mnt_namespaces") + " allows; use --share mqueue,shm to do without"
		}
		return fmt.Sprintf("cannot make a mount namespace: %v; use --share mqueue,shm to do without", errno)
	case stepSlave:
		return fmt.Sprintf("cannot keep the program's mounts to itself: %v (in a chroot, / is no mount point); use --share mqueue,shm to do without", errno)
	case stepEnterUser:
		return fmt.Sprintf("cannot enter the user namespace that owns the IPC namespace: %v; run as root", errno)
	case stepEnterIPC:
		return fmt.Sprintf("cannot enter the IPC namespace: %v; run as root", errno)
	case stepEnterMount:
		return fmt.Sprintf("cannot enter the mount namespace: %v; run as root", errno)
	case stepLook:
		return fmt.Sprintf("cannot look into the IPC namespace: %v", errno)
	case stepEmpty:
		return fmt.Sprintf("cannot destroy what is in the IPC namespace: %v", errno)
	case stepCapabilities:
		return fmt.Sprintf("cannot keep the capabilities of the user namespace: %v; run as root", errno)
	case stepMemfd:
		return fmt.Sprintf("cannot make a user namespace: the kernel refuses to run a program from memory (%v, see sysctl vm.memfd_noexec); run as root", errno)
	}
	return fmt.Sprintf("cannot run ipcns again: %v; is /proc mounted?", errno)
}

func userNamespaceFailure(errno syscall.Errno) string {
	const without = "cannot make an IPC namespace: it takes CAP_SYS_ADMIN, which this user lacks, or a user namespace, and "
	switch errno {
	case syscall.ENOSPC, syscall.EUSERS:
		limit := knob("user/max_user_namespaces")
		if !strings.Contains(limit, "=") { // the user namespace is a nested one, and may be nested too deeply
			return without + "there are as many of those as " + limit + " allows, or 32 one inside the other; do this further outside, or run as root"
		}
		return without + "there are as many of those as " + limit + " allows; raise it, or run as root"
	case syscall.EINVAL, syscall.ENOSYS:
		return without + "this kernel has none; run as root"
	}
	return without + fmt.Sprintf("the kernel refuses that (%v%s); allow user namespaces, run as root, or give the container CAP_SYS_ADMIN", errno, userNamespaceKnob())
}

// userNamespaceKnob names the setting that keeps user namespaces from an
// ordinary user, if it is one that shows.
func userNamespaceKnob() string {
	for name, refuses := range map[string]string{
		"kernel/unprivileged_userns_clone":                 "0",
		"kernel/apparmor_restrict_unprivileged_userns":     "1",
		"kernel/apparmor_restrict_unprivileged_unconfined": "1",
	} {
		if value, err := os.ReadFile("/proc/sys/" + name); err == nil && strings.TrimSpace(string(value)) == refuses {
			return ", " + knob(name)
		}
	}
	return ""
}

// knob returns a sysctl and its value, as sysctl(8) writes them. A user
// namespace of its own has the highest there is, and it is one of those above
// that refuses.
func knob(name string) string {
	text := "sysctl " + strings.ReplaceAll(name, "/", ".")
	value, err := os.ReadFile("/proc/sys/" + name)
	if err != nil || strings.TrimSpace(string(value)) == strconv.Itoa(math.MaxInt32) {
		return text
	}
	return text + " = " + strings.TrimSpace(string(value))
}
