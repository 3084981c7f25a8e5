//go:build linux

package launch

import (
	"os"
	"runtime"

	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// Make makes a namespace that has no process, and returns what keeps it as
// long as it is open: the IPC namespace and, unless the program is to share
// everything, the mount namespace. The calling thread is in them then, and
// should end. Hidden, if it is not empty, is a mount point that the mount
// namespace goes without. It takes CAP_SYS_ADMIN.
func Make(ns Namespace, hidden string) (ipc, mount *os.File, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := run([]call{newIPC}); err != nil {
		return nil, nil, err
	}
	for _, setting := range ns.Limits {
		if err := (kernel.System{}).SetLimit(setting); err != nil {
			return nil, nil, limitStep(setting).failure(errnoOf(err))
		}
	}
	if ipc, err = openThread("ipc"); err != nil {
		return nil, nil, err
	}
	if !ns.Mqueue && !ns.Shm {
		return ipc, nil, nil
	}
	if mount, err = makeMounts(ns, hidden); err != nil {
		ipc.Close()
	}
	return ipc, mount, err
}

// makeMounts puts the calling thread in a mount namespace and opens that.
func makeMounts(ns Namespace, hidden string) (*os.File, error) {
	mounts, release, err := planMounts(ns, false)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := run(mounts); err != nil {
		return nil, err
	}
	return openMountsWithout(hidden)
}

// MountsWithout makes a mount namespace like the caller's, without a mount
// point, for [Make] to be called in. The calling thread is in it then, and
// should end.
func MountsWithout(hidden string) (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := run(newMount); err != nil {
		return nil, err
	}
	return openMountsWithout(hidden)
}

// openMountsWithout opens the calling thread's mount namespace, when a mount
// point is none there any more.
func openMountsWithout(hidden string) (*os.File, error) {
	if hidden != "" {
		if err := unix.Unmount(hidden, unix.MNT_DETACH); err != nil && err != unix.EINVAL {
			return nil, mountStep(hidden).failure(errnoOf(err))
		}
	}
	return openThread("mnt")
}

func openThread(namespace string) (*os.File, error) {
	file, err := os.Open("/proc/thread-self/ns/" + namespace)
	if err != nil {
		return nil, stepSelf.failure(errnoOf(err))
	}
	return file, nil
}

// A Holder is a process that does nothing but be in a namespace, which ends
// with it. It is the stub, without a thread or a heap. Until Release it ends
// with the caller, whose goroutine stays on its thread.
type Holder struct {
	PID  int
	side *side
}

// Hold makes a namespace as [InNew] does in a user namespace, and starts a
// process that holds it. There the holder sees itself as root if ns.Root, and
// with its own user id in a user namespace below otherwise. The limits can be
// changed later, in either case. Whose is the argument of the holder's command
// line, for its caller to know it by.
func Hold(ns Namespace, whose string) (*Holder, error) {
	calls, release, err := planInUser(ns, true)
	if err != nil {
		return nil, err
	}
	defer release()
	return hold(whose, calls)
}

func hold(whose string, calls []call, files ...*os.File) (*Holder, error) {
	const all = 1<<32 - 1
	// Programs in its user namespace, which have no capabilities, may look at
	// a process that has none either.
	calls = append(calls, setCapabilities(0))
	after := []call{
		{number: unix.SYS_PRCTL, args: []arg{number(unix.PR_SET_NAME), text(HolderName)}, step: stepSelf},
		{number: unix.SYS_PRCTL, args: []arg{number(unix.PR_SET_PDEATHSIG), {}}, step: stepSelf},
		doneCall,
		{number: unix.SYS_CLOSE_RANGE, args: []arg{{}, number(uintptr(all)), {}}, except: unix.ENOSYS},
		{number: unix.SYS_PPOLL},
	}
	s, err := startSide([]string{HolderName, whose}, calls, after, nil, files...)
	if err != nil {
		return nil, err
	}
	return &Holder{PID: s.process.Pid, side: s}, nil
}

// Release lets the holder outlive the caller.
func (h *Holder) Release() error {
	h.side.goOn.Write([]byte{0}) // which fails only where reading does
	if err := h.side.read(nil); err != nil {
		h.side.end()
		return err
	}
	h.side.close()
	runtime.UnlockOSThread()
	h.reap()
	return nil
}

// reap waits for the process, which may end before the caller does. It takes no
// thread, of which many holders would take many.
func (h *Holder) reap() {
	pidfd, err := unix.PidfdOpen(h.PID, unix.PIDFD_NONBLOCK)
	if err != nil { // before Linux 5.10
		go h.side.process.Wait()
		return
	}
	h.side.process.Release()
	file := os.NewFile(uintptr(pidfd), "holder")
	go func() {
		defer file.Close()
		if conn, err := file.SyscallConn(); err == nil {
			conn.Read(func(fd uintptr) bool {
				return unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED, nil) != unix.EAGAIN
			})
		}
	}()
}

// End ends the holder before it is released.
func (h *Holder) End() { h.side.end() }
