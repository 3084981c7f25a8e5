//go:build linux

package launch

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// MakeFrom makes a mount namespace in which /dev/mqueue shows the POSIX queues
// of the IPC namespace in parts, and /dev/shm is that of the mount namespace in
// parts, if there is one. For the rest see [Make].
func MakeFrom(parts Parts, hidden string) (mount *os.File, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	calls, release, err := planFrom(parts, number(parts.IPC.Fd()), fdOf(parts.Mount), false)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := run(calls); err != nil {
		return nil, err
	}
	return openMountsWithout(hidden)
}

// HoldFrom starts a process that holds an IPC namespace which is there, with a
// mount namespace as [MakeFrom] makes it. For the rest see [Hold].
func HoldFrom(parts Parts, whose string) (*Holder, error) {
	const owner, ipc, mount, user = sideFile, sideFile + 1, sideFile + 2, sideFile + 3
	calls, release, err := planFrom(parts, number(ipc), number(mount), true)
	if err != nil {
		return nil, err
	}
	defer release()
	calls = append([]call{{number: unix.SYS_SETNS, args: []arg{number(owner), number(unix.CLONE_NEWUSER)}, step: stepEnterUser}}, calls...)
	if parts.User != nil {
		calls = append(calls, call{number: unix.SYS_SETNS, args: []arg{number(user), number(unix.CLONE_NEWUSER)}, step: stepEnterUser})
	}
	return hold(whose, calls, parts.Owner, parts.IPC, parts.Mount, parts.User)
}

func fdOf(file *os.File) arg {
	if file == nil {
		return arg{}
	}
	return number(file.Fd())
}

// planFrom enters the IPC namespace and makes the mount namespace.
func planFrom(parts Parts, ipc, source arg, inUser bool) (calls []call, release func(), err error) {
	dev, releaseDev, err := planDev(inUser)
	if err != nil {
		return nil, nil, err
	}
	calls = []call{{number: unix.SYS_SETNS, args: []arg{ipc, number(unix.CLONE_NEWIPC)}, step: stepEnterIPC}}
	calls = append(append(append(calls, newMount...), dev...), mountMqueue(mqueuePath))
	if parts.Mount == nil {
		return calls, releaseDev, nil
	}
	fds, releaseFds, err := reserve(2)
	if err != nil {
		releaseDev()
		return nil, nil, err
	}
	release = func() {
		releaseDev()
		releaseFds()
	}
	return append(calls, takeShm(source, fds[0], fds[1])...), release, nil
}

// takeShm mounts the /dev/shm of another mount namespace on that of the
// calling thread's. The two descriptors are to be used.
func takeShm(source arg, own, tree int) []call {
	s := mountStep(shmPath)
	enter := func(fd arg) call {
		return call{number: unix.SYS_SETNS, args: []arg{fd, number(unix.CLONE_NEWNS)}, step: stepEnterMount}
	}
	return []call{
		{number: unix.SYS_OPENAT, args: []arg{number(unix.AT_FDCWD), text("/proc/thread-self/ns/mnt"), number(unix.O_RDONLY | unix.O_CLOEXEC)}, pass: true, step: s},
		{number: unix.SYS_DUP3, args: []arg{{}, number(own), number(unix.O_CLOEXEC)}, spend: true, step: s},
		enter(source),
		{number: unix.SYS_OPEN_TREE, args: []arg{number(unix.AT_FDCWD), text(shmPath), number(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)}, pass: true, step: s},
		{number: unix.SYS_DUP3, args: []arg{{}, number(tree), number(unix.O_CLOEXEC)}, spend: true, step: s},
		enter(number(own)),
		{number: unix.SYS_MOVE_MOUNT, args: []arg{number(tree), text(""), number(unix.AT_FDCWD), text(shmPath), number(unix.MOVE_MOUNT_F_EMPTY_PATH)}, step: s},
	}
}
