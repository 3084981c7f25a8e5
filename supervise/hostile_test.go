//go:build linux

package supervise_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// hostileRole is that of a program that means harm to others.
const hostileRole = "mean harm"

// TestHostileProgramsHarmNobodyElse runs each hostile program beside one that
// verifies what its calls return, and how soon.
func TestHostileProgramsHarmNobodyElse(t *testing.T) {
	for name := range hostilities {
		t.Run(name, func(t *testing.T) {
			s := newSupervisor(t)
			hostile := playingBelow(t, s, hostileRole, name)
			hostile.Dir = t.TempDir()
			ready, err := hostile.StdoutPipe()
			ipctest.Must(t, err)
			output := newTail(t)
			hostile.Stderr = output
			ipctest.Must(t, hostile.Start())
			if _, err := ready.Read(make([]byte, 1)); err != nil {
				hostile.Wait()
				t.Fatalf("the hostile program has ended: %v", err)
			}
			const while = time.Second
			report, err := playingBelow(t, s, checkRole, while.String()).CombinedOutput()
			t.Logf("%s", report)
			if err != nil {
				t.Errorf("the other program: %v", err)
			}
			for _, pid := range s.Members() {
				unix.Kill(pid, unix.SIGKILL)
			}
			hostile.Wait()
			awaitUnused(t, s)
			empty(t, s)
		})
	}
}

// meanHarm does so until it is killed.
func meanHarm() error {
	unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Value: unix.Timeval{Sec: 60}}) // or missed
	ready := func() { os.Stdout.Write([]byte{'.'}) }
	if err := hostilities[os.Args[1]](ready); err != nil {
		return err
	}
	select {}
}

// hostilities are what hostile programs do. They call ready once it is done, or
// goes on.
var hostilities = map[string]func(ready func()) error{
	"nothing, to compare with":    func(ready func()) error { ready(); return nil },
	"change what is being read":   changeArguments,
	"fill everything":             fillEverything,
	"do not stop":                 neverStop,
	"many mappings":               mapMuch,
	"leave its pages to be asked": leavePages,
	"many registrations":          registerMuch,
}

// changeArguments changes and unmaps the memory of calls in other threads.
func changeArguments(ready func()) error {
	set, err := ipctest.Semget(0, 4, 0o600)
	if err != nil {
		return err
	}
	queue, _, errno := syscall.RawSyscall(unix.SYS_MSGGET, 0, 0o600, 0)
	if errno != 0 {
		return errno
	}
	page := newPage()
	sops := unsafe.Slice((*ipctest.Sembuf)(page), 500)
	for range 3 {
		go func() {
			for i := 0; ; i++ {
				syscall.Syscall6(unix.SYS_SEMTIMEDOP, uintptr(set), uintptr(page), uintptr(1+i%500), uintptr(unsafe.Pointer(&unix.Timespec{})), 0, 0)
				syscall.Syscall6(unix.SYS_MSGSND, queue, uintptr(page), uintptr(i%5000), ipc.NoWait, 0, 0)
				syscall.Syscall6(unix.SYS_MSGRCV, queue, uintptr(page), uintptr(i%5000), 0, ipc.NoWait|ipc.MsgNoError, 0)
			}
		}()
	}
	go func() {
		for i := 0; ; i++ {
			sop := &sops[i%500]
			sop.Num, sop.Op, sop.Flg = uint16(i%7), int16(i%5-2), int16(i%3)*ipc.SemUndo
			if i%1000 == 0 {
				syscall.Syscall6(unix.SYS_MMAP, uintptr(page), 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uintptr(0), 0)
			}
		}
	}()
	ready()
	return nil
}

func newPage() unsafe.Pointer {
	memory, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic(err)
	}
	return unsafe.Pointer(&memory[0])
}

// fillEverything takes all that there is, and has many calls sleep.
func fillEverything(ready func()) error {
	message := struct {
		typ  int64
		text [8192]byte
	}{typ: 1}
	for {
		id, _, errno := syscall.RawSyscall(unix.SYS_MSGGET, 0, 0o600, 0)
		if errno != 0 {
			break
		}
		for id < 64 && errno == 0 {
			_, _, errno = syscall.RawSyscall6(unix.SYS_MSGSND, id, uintptr(unsafe.Pointer(&message)), 100, ipc.NoWait, 0, 0)
		}
	}
	for {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SHMGET, 0, 4096, 0o600); errno != 0 {
			break
		}
	}
	for {
		if _, err := ipctest.MqOpen("q", unix.O_CREAT|unix.O_RDWR, 0o600, nil); err != nil {
			break
		}
	}
	const sleepers = 1000
	for range sleepers {
		go syscall.Syscall6(unix.SYS_MSGRCV, 0, uintptr(unsafe.Pointer(&message)), 100, 77, 0, 0)
	}
	ready()
	return nil
}

// neverStop has many processes attach a segment with code that another thread
// changes to a loop, so that the thread never comes back.
func neverStop(ready func()) error {
	const processes = 10
	if len(os.Args) == 2 {
		for range processes {
			cmd := ipctest.Again(hostileRole, os.Args[1], "one of them")
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				return err
			}
		}
		ready()
		return nil
	}
	return attachInLoop()
}

// mapMuch has mappings that are as many as a process may have, besides that of a
// segment.
func mapMuch(ready func()) error {
	id, _, errno := syscall.RawSyscall(unix.SYS_SHMGET, 0, 4096, 0o600)
	if errno != 0 {
		return errno
	}
	if _, _, errno := syscall.Syscall(unix.SYS_SHMAT, id, 0, 0); errno != 0 {
		return errno
	}
	const mappings = 60000
	begin, _, errno := syscall.Syscall6(unix.SYS_MMAP, 0, mappings*4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	for i := uintptr(0); i < mappings; i += 2 {
		syscall.Syscall(unix.SYS_MPROTECT, begin+i*4096, 4096, unix.PROT_NONE)
	}
	go func() {
		for {
			var ds sys.ShmidDS
			syscall.Syscall(unix.SYS_SHMCTL, id, sys.IPCStat, uintptr(unsafe.Pointer(&ds)))
		}
	}()
	ready()
	return nil
}

// leavePages makes calls with memory that userfaultfd(2) is to provide, and never
// does.
func leavePages(ready func()) error {
	fd, _, errno := syscall.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		ready() // who has no privilege gets none for what others do with its memory
		return nil
	}
	page := newPage()
	const api, register, missing = 0xc018aa3f, 0xc020aa00, 1
	if _, _, errno := syscall.Syscall(unix.SYS_IOCTL, fd, api, uintptr(unsafe.Pointer(&[3]uint64{0xaa}))); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.Syscall(unix.SYS_IOCTL, fd, register, uintptr(unsafe.Pointer(&[4]uint64{uint64(uintptr(page)), 4096, missing}))); errno != 0 {
		return errno
	}
	queue, _, errno := syscall.RawSyscall(unix.SYS_MSGGET, 0, 0o600, 0)
	if errno != 0 {
		return errno
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		ready()
	}()
	for {
		if _, _, errno := syscall.Syscall6(unix.SYS_MSGSND, queue, uintptr(page), 100, 0, 0, 0); errno != syscall.EFAULT {
			return fmt.Errorf("msgsnd: %w", errno)
		}
		time.Sleep(time.Millisecond)
	}
}

// registerMuch is to be notified of many queues, with many descriptors.
func registerMuch(ready func()) error {
	var fds []int
	for i := range 200 {
		fd, err := ipctest.MqOpen("queue"+strconv.Itoa(i), unix.O_CREAT|unix.O_RDWR, 0o600, nil)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	for {
		if _, err := unix.Dup(0); err != nil {
			break
		}
	}
	event := [8]uint64{1: 1 << 32} // SIGEV_NONE
	go func() {
		for {
			for _, fd := range fds {
				syscall.Syscall(unix.SYS_MQ_NOTIFY, uintptr(fd), uintptr(unsafe.Pointer(&event)), 0)
			}
		}
	}()
	ready()
	return nil
}

// TestNoDescriptorsAreLeftOfClosedQueues opens and closes a queue more often than
// there are descriptors.
func TestNoDescriptorsAreLeftOfClosedQueues(t *testing.T) {
	s := newSupervisor(t)
	output, err := playing(t, s, openRole).CombinedOutput()
	if err != nil {
		t.Fatalf("%s%v", output, err)
	}
	awaitUnused(t, s)
}

// openRole is that of a program that opens and closes a queue.
const openRole = "open and close a queue"

func openOften() error {
	for range 5000 {
		fd, err := ipctest.MqOpen("q", unix.O_CREAT|unix.O_RDWR, 0o600, nil)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", os.Getppid()))
	if err == nil && len(entries) > 500 {
		return fmt.Errorf("the supervisor has %d descriptors", len(entries))
	}
	return err
}

// credentialsRole is that of a program whose credentials change.
const credentialsRole = "become another user"

// TestCredentialsAreThoseOfTheMoment drops privileges in every way there is, and
// expects that calls fail from then on.
func TestCredentialsAreThoseOfTheMoment(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become others")
	}
	for name := range waysToDrop {
		t.Run(name, func(t *testing.T) {
			if output, err := playing(t, newSupervisor(t), credentialsRole, name).CombinedOutput(); err != nil {
				t.Errorf("%s%v", output, err)
			}
		})
	}
}

var waysToDrop = map[string]func() syscall.Errno{
	"setresuid": func() syscall.Errno {
		return errnoOf(syscall.RawSyscall(unix.SYS_SETRESUID, ipctest.Nobody, ipctest.Nobody, ipctest.Nobody))
	},
	"setfsuid": func() syscall.Errno {
		return errnoOf(syscall.RawSyscall(unix.SYS_SETFSUID, ipctest.Nobody, 0, 0))
	},
	"setresuid of i386": func() syscall.Errno {
		if compat == nil {
			return 0
		}
		return syscall.Errno(-int32(compat(208, ipctest.Nobody, ipctest.Nobody, ipctest.Nobody, 0, 0)))
	},
}

func errnoOf(_, _ uintptr, errno syscall.Errno) syscall.Errno { return errno }

func becomeAnother() error {
	runtime.LockOSThread()
	queue, _, errno := syscall.RawSyscall(unix.SYS_MSGGET, 1, ipc.Creat, 0) // which only CAP_IPC_OWNER may use
	if errno != 0 {
		return errno
	}
	if errno := waysToDrop[os.Args[1]](); errno != 0 {
		return errno
	}
	if compat == nil {
		return nil
	}
	_, _, errno = syscall.RawSyscall(unix.SYS_MSGGET, 1, 0o600, 0)
	if os.Args[1] != "setfsuid" && errno != syscall.EACCES { // which takes capabilities for files alone
		return fmt.Errorf("msgget of a queue of root's: %w", errno)
	}
	other := make(chan syscall.Errno)
	go func() { // in a thread that is still root's
		runtime.LockOSThread()
		_, _, errno := syscall.RawSyscall(unix.SYS_MSGCTL, queue, sys.IPCRmid, 0)
		other <- errno
	}()
	if errno := <-other; errno != 0 {
		return fmt.Errorf("msgctl in another thread: %w", errno)
	}
	return nil
}

// undumpableRole is that of a program that nobody may look at.
const undumpableRole = "be not dumpable"

// TestWhoMayNotBeLookedAtGetsEPERM is about PR_SET_DUMPABLE. Privileged
// supervisors may look at everybody.
func TestWhoMayNotBeLookedAtGetsEPERM(t *testing.T) {
	output, err := playing(t, newSupervisor(t), undumpableRole).CombinedOutput()
	if err != nil {
		t.Errorf("%s%v", output, err)
	}
}

func beUndumpable() error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	queue, _, errno := syscall.RawSyscall(unix.SYS_MSGGET, 0, 0o600, 0)
	if errno != 0 {
		return errno
	}
	var want syscall.Errno
	if os.Geteuid() != 0 {
		want = syscall.EPERM
	}
	message := [2]int64{1}
	_, _, errno = syscall.Syscall6(unix.SYS_MSGSND, queue, uintptr(unsafe.Pointer(&message)), 8, 0, 0, 0)
	if errno != want {
		return fmt.Errorf("msgsnd: %w", errno)
	}
	return nil
}

// memfdRole is that of a program that looks for a segment's memfd.
const memfdRole = "change a segment's memfd"

// TestASegmentKeepsItsSize gets hold of the file of a segment while that is being
// attached, and tries to change what others have mapped.
func TestASegmentKeepsItsSize(t *testing.T) {
	output, err := exec.Command("true").CombinedOutput()
	if err == nil {
		output, err = playingBelow(t, newSupervisor(t), memfdRole).CombinedOutput()
	}
	if err != nil {
		t.Errorf("%s%v", output, err)
	}
}

func changeMemfd() error {
	id, _, errno := syscall.RawSyscall(unix.SYS_SHMGET, 0, 8192, 0o600)
	if errno != 0 {
		return errno
	}
	var once sync.Once
	found, done := make(chan int), make(chan struct{})
	go func() {
		for {
			for fd := 3; fd < 20; fd++ {
				link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
				if err != nil || link != "/memfd:SYSV (deleted)" {
					continue
				}
				if stolen, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 100); err == nil {
					once.Do(func() { found <- stolen })
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	defer close(done)
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		at, _, errno := syscall.Syscall(unix.SYS_SHMAT, id, 0, 0)
		if errno != 0 {
			return errno
		}
		syscall.Syscall(unix.SYS_SHMDT, at, 0, 0)
		select {
		case fd := <-found:
			return resized(fd)
		default:
		}
	}
	return nil // as nobody was fast enough
}

func resized(fd int) error {
	for _, size := range []int64{0, 4096, 1 << 20} {
		if err := unix.Ftruncate(fd, size); err != unix.EPERM {
			return fmt.Errorf("ftruncate to %d: %w", size, err)
		}
	}
	if err := unix.Fallocate(fd, 0, 0, 1<<20); err != unix.EPERM {
		return fmt.Errorf("fallocate: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err != unix.EPERM {
		return fmt.Errorf("F_ADD_SEALS: %w", err)
	}
	return nil
}
