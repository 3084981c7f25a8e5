//go:build linux

package supervise_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// A blockingCall is one that sleeps.
type blockingCall struct {
	kind   callKind
	number int
	make   func(n int) (object int, errno syscall.Errno) // on which the call sleeps
	call   func(object int) syscall.Errno
	let    func(object int) syscall.Errno // lets the call go on
}

// A callKind is what the calls of one mechanism have in common.
type callKind int

const (
	messageCall callKind = iota
	semaphoreCall
	mqueueCall
)

const (
	briefly = 200 * time.Millisecond // a timeout that passes
	longer  = time.Hour              // one that does not
)

var blockingCalls = map[string]blockingCall{
	"msgrcv":             {messageCall, unix.SYS_MSGRCV, emptyQueue, msgrcv, msgsnd},
	"msgsnd":             {messageCall, unix.SYS_MSGSND, fullQueue, msgsnd, msgrcv},
	"semop":              {semaphoreCall, unix.SYS_SEMOP, semaphoreSet, semop, semPost},
	"semtimedop":         {semaphoreCall, unix.SYS_SEMTIMEDOP, semaphoreSet, semtimedop(longer), semPost},
	"mq_receive":         {mqueueCall, unix.SYS_MQ_TIMEDRECEIVE, emptyMqueue, mqReceive(0), mqSend(0)},
	"mq_send":            {mqueueCall, unix.SYS_MQ_TIMEDSEND, fullMqueue, mqSend(0), mqReceive(0)},
	"mq_timedreceive":    {mqueueCall, unix.SYS_MQ_TIMEDRECEIVE, emptyMqueue, mqReceive(longer), mqSend(0)},
	"mq_timedsend":       {mqueueCall, unix.SYS_MQ_TIMEDSEND, fullMqueue, mqSend(longer), mqReceive(0)},
	"brief semtimedop":   {semaphoreCall, unix.SYS_SEMTIMEDOP, semaphoreSet, semtimedop(briefly), semPost},
	"brief mq_receive":   {mqueueCall, unix.SYS_MQ_TIMEDRECEIVE, emptyMqueue, mqReceive(briefly), mqSend(0)},
	"brief mq_timedsend": {mqueueCall, unix.SYS_MQ_TIMEDSEND, fullMqueue, mqSend(briefly), mqReceive(0)},
}

const ipcCreate = 0o1600

// longest is the longest message, two of which fill a queue.
const longest = 8192

type message struct {
	typ  int64
	text [longest]byte
}

func emptyQueue(int) (int, syscall.Errno) { return sys.Msgget(0, ipcCreate) }

func fullQueue(int) (int, syscall.Errno) {
	id, errno := sys.Msgget(0, ipcCreate)
	for range 2 {
		if errno == 0 {
			errno = msgsnd(id)
		}
	}
	return id, errno
}

func msgsnd(id int) syscall.Errno {
	return sys.Msgsnd(id, unsafe.Pointer(&message{typ: 1}), longest, 0)
}

func msgrcv(id int) syscall.Errno {
	_, errno := sys.Msgrcv(id, unsafe.Pointer(new(message)), longest, 0, 0)
	return errno
}

func semaphoreSet(int) (int, syscall.Errno) { return sys.Semget(0, 1, ipcCreate) }

func semop(id int) syscall.Errno {
	_, _, errno := syscall.Syscall(unix.SYS_SEMOP, uintptr(id), uintptr(unsafe.Pointer(&ipctest.Sembuf{Op: -1})), 1)
	return errno
}

func semtimedop(timeout time.Duration) func(id int) syscall.Errno {
	return func(id int) syscall.Errno {
		spec := unix.NsecToTimespec(int64(timeout))
		return sys.Semtimedop(id, unsafe.Pointer(&ipctest.Sembuf{Op: -1}), 1, &spec)
	}
}

func semPost(id int) syscall.Errno {
	_, errno := sys.Semctl(id, 0, sys.SemSetVal, 1, nil)
	return errno
}

func emptyMqueue(n int) (int, syscall.Errno) {
	fd, errno := openMqueue(n)
	unix.Close(fd)
	return n, errno
}

func fullMqueue(n int) (int, syscall.Errno) {
	if _, errno := emptyMqueue(n); errno != 0 {
		return n, errno
	}
	return n, mqSend(0)(n)
}

func openMqueue(n int) (fd int, errno syscall.Errno) {
	return sys.MqOpen(strconv.Itoa(n), unix.O_RDWR|unix.O_CREAT, 0o600, &sys.MqAttr{Maxmsg: 1, Msgsize: 8})
}

func mqSend(timeout time.Duration) func(n int) syscall.Errno {
	return inMqueue(timeout, func(fd int, until *unix.Timespec) syscall.Errno {
		return sys.MqSend(fd, make([]byte, 8), 0, until)
	})
}

func mqReceive(timeout time.Duration) func(n int) syscall.Errno {
	return inMqueue(timeout, func(fd int, until *unix.Timespec) syscall.Errno {
		_, _, errno := sys.MqReceive(fd, make([]byte, 8), until)
		return errno
	})
}

func inMqueue(timeout time.Duration, call func(fd int, until *unix.Timespec) syscall.Errno) func(n int) syscall.Errno {
	return func(n int) syscall.Errno {
		fd, errno := openMqueue(n)
		if errno != 0 {
			return errno
		}
		defer unix.Close(fd)
		if timeout == 0 {
			return call(fd, nil)
		}
		until := unix.NsecToTimespec(time.Now().Add(timeout).UnixNano())
		return call(fd, &until)
	}
}

// A disturbance is what happens to a call that sleeps.
type disturbance struct {
	handler string // of SIGUSR1 in the process: one of the constants below
	ticks   bool   // the process has a timer that sends it
	do      func(s *sleepingProcess) error
	want    [mqueueCall + 1]string // what becomes of the call, by its kind
}

const (
	noHandler  = "none"
	interrupts = "without SA_RESTART"
	restarts   = "with SA_RESTART"
	ignores    = "SIG_IGN"
)

// What becomes of a call.
const (
	interrupted = "EINTR"
	goesOn      = "sleeps again"
)

// disturbances are those of SEMANTICS A.4.9, A.5.9 and A.7.10.
var disturbances = map[string]disturbance{
	"a handler without SA_RESTART":     {interrupts, false, (*sleepingProcess).signal, [...]string{interrupted, interrupted, interrupted}},
	"a handler with SA_RESTART":        {restarts, false, (*sleepingProcess).signal, [...]string{interrupted, interrupted, goesOn}},
	"a signal that is ignored":         {ignores, false, (*sleepingProcess).signalUnheard, [...]string{goesOn, goesOn, goesOn}},
	"a timer's handler":                {interrupts, true, (*sleepingProcess).hearTicks, [...]string{interrupted, interrupted, interrupted}},
	"a timer's handler, of SA_RESTART": {restarts, true, (*sleepingProcess).hearTicks, [...]string{interrupted, interrupted, goesOn}},
	"SIGSTOP and SIGCONT":              {noHandler, false, (*sleepingProcess).stopAndGoOn, [...]string{goesOn, interrupted, goesOn}},
	"a debugger":                       {noHandler, false, (*sleepingProcess).attachAndDetach, [...]string{goesOn, interrupted, goesOn}},
}

// A sleepCase is a call that is disturbed in its sleep.
type sleepCase struct{ call, how, want string }

func sleepCases() (cases []sleepCase) {
	for name, call := range blockingCalls {
		if strings.HasPrefix(name, "brief") {
			continue
		}
		for how, d := range disturbances {
			cases = append(cases, sleepCase{name, how, d.want[call.kind]})
		}
	}
	const restarted = "a timer's handler, of SA_RESTART"
	return append(cases,
		sleepCase{"brief semtimedop", "", "EAGAIN"},
		sleepCase{"brief mq_receive", "", "ETIMEDOUT"},
		sleepCase{"brief mq_receive", restarted, "ETIMEDOUT"},
		sleepCase{"brief mq_timedsend", "", "ETIMEDOUT"},
		sleepCase{"brief mq_timedsend", restarted, "ETIMEDOUT"},
	)
}

// The roles of the process that disturbs others, of one of those, and of one
// that looks what ended processes have left.
const (
	disturbRole = "disturb processes in their sleep"
	sleepRole   = "sleep"
	endRole     = "look what ended processes have left"
)

// TestSignals disturbs calls that sleep: on the kernel, which has to do what the
// table says, and under the supervisor.
func TestSignals(t *testing.T) {
	cases := sleepCases()
	var args []string
	for _, c := range cases {
		args = append(args, c.call, c.how)
	}
	onBoth(t, disturbRole, args, func(t *testing.T, output string) {
		for i, got := range strings.Split(strings.TrimSpace(output), "\n") {
			if c := cases[i]; got != c.want {
				t.Errorf("%s, %s: %s, want %s", c.call, c.how, got, c.want)
			}
		}
	})
}

// TestWhatEndedProcessesLeave expects nothing, by the time that their parent has
// waited for them.
func TestWhatEndedProcessesLeave(t *testing.T) {
	onBoth(t, endRole, nil, func(t *testing.T, output string) {
		if output != "" {
			t.Error(output)
		}
	})
}

// onBoth runs a role in a namespace of the kernel's, unless this user may have
// none, and under a supervisor.
func onBoth(t *testing.T, role string, args []string, check func(t *testing.T, output string)) {
	t.Helper()
	t.Parallel()
	run := func(t *testing.T, cmd *exec.Cmd) {
		var diagnosis bytes.Buffer
		cmd.Stderr = &diagnosis
		output, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s%s%v", output, &diagnosis, err)
		}
		check(t, string(output))
	}
	t.Run("kernel", func(t *testing.T) {
		t.Parallel()
		run(t, ipctest.Apart(t, ipctest.Again(role, args...)))
	})
	t.Run("supervised", func(t *testing.T) {
		t.Parallel()
		run(t, playing(t, newSupervisor(t), role, args...))
	})
}

// disturb disturbs the calls that the arguments name, as they say, all at the
// same time, and prints what becomes of each.
func disturb() error {
	cases := os.Args[1:]
	results, failures := make([]string, len(cases)/2), make([]error, len(cases)/2)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i], failures[i] = becomesOf(i, cases[2*i], cases[2*i+1]) })
	}
	all.Wait()
	fmt.Println(strings.Join(results, "\n"))
	return errors.Join(failures...)
}

// becomesOf returns what becomes of a call.
func becomesOf(n int, name, how string) (string, error) {
	call, d := blockingCalls[name], disturbances[how]
	object, errno := call.make(n)
	if errno != 0 {
		return "", fmt.Errorf("%s: cannot make what it sleeps on: %w", name, errno)
	}
	s, err := fallAsleep(name, object, d)
	if err != nil {
		return "", err
	}
	defer s.end()
	if strings.HasPrefix(name, "brief") {
		return s.over(), nil
	}
	if err := d.do(s); err != nil {
		return "", fmt.Errorf("%s, %s: %w", name, how, err)
	}
	if result := s.settled(); result != goesOn {
		return result, nil
	}
	if errno := call.let(object); errno != 0 {
		return "", errno
	}
	if result := s.over(); result != done {
		return goesOn + " until " + result, nil
	}
	return goesOn, nil
}

// rounds are how many processes are killed in a call, and undoRounds how many
// end that have something to undo.
const (
	rounds     = 20
	undoRounds = 3000
)

// lookWhatIsLeft prints what is left of processes that have been waited for.
func lookWhatIsLeft() error {
	for name, left := range map[string]func(object int) bool{
		"semop":      func(id int) bool { return waiting(id) != 0 },
		"msgrcv":     func(id int) bool { return msgsnd(id) != 0 || messages(id) != 1 },
		"msgsnd":     func(id int) bool { return msgrcv(id) != 0 || messages(id) != 1 },
		"mq_receive": func(n int) bool { return mqSend(0)(n) != 0 || mqMessages(n) != 1 },
		"mq_send":    func(n int) bool { return mqReceive(0)(n) != 0 || mqMessages(n) != 0 },
	} {
		for round := range rounds {
			if err := killAsleep(name, round, left); err != nil {
				return err
			}
		}
	}
	return lookWhatIsUndone()
}

// killAsleep kills a process in a call.
func killAsleep(name string, n int, left func(object int) bool) error {
	object, errno := blockingCalls[name].make(n)
	if errno != 0 {
		return errno
	}
	defer sys.MqUnlink(strconv.Itoa(n))
	s, err := fallAsleep(name, object, disturbance{handler: noHandler})
	if err != nil {
		return err
	}
	s.end()
	if left(object) {
		fmt.Println(name, "has not ended with its process")
	}
	return nil
}

func waiting(id int) int {
	n, _ := sys.Semctl(id, 0, sys.SemGetNcnt, 0, nil)
	return n
}

func messages(id int) uint64 {
	var ds sys.MsqidDS
	sys.Msgctl(id, sys.IPCStat, unsafe.Pointer(&ds))
	return ds.Qnum
}

func mqMessages(n int) int64 {
	fd, errno := openMqueue(n)
	if errno != 0 {
		return -1
	}
	defer unix.Close(fd)
	var attr sys.MqAttr
	sys.MqGetattr(fd, &attr)
	return attr.Curmsgs
}

// lookWhatIsUndone looks at a semaphore to which processes add that then end.
func lookWhatIsUndone() error {
	id, errno := semaphoreSet(0)
	if errno != 0 {
		return errno
	}
	stale := 0
	for range undoRounds {
		pid, errno := forkAndAdd(id, &ipctest.Sembuf{Op: 1, Flg: 0x1000}) // SEM_UNDO
		if errno != 0 {
			return os.NewSyscallError("clone", errno)
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			return err
		}
		value, errno := sys.Semctl(id, 0, sys.SemGetVal, 0, nil)
		if errno != 0 {
			return errno
		}
		if value != 0 {
			stale++
		}
	}
	if stale > 0 {
		fmt.Printf("%d of %d times what a process has done was not undone when it had been waited for\n", stale, undoRounds)
	}
	return nil
}

// forkAndAdd starts a process that makes a call of semop(2) and ends. It is only
// one of the threads of this one, without a runtime.
//
//go:norace
//go:nosplit
func forkAndAdd(id int, op *ipctest.Sembuf) (pid int, errno syscall.Errno) {
	child, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if child != 0 || errno != 0 {
		return int(child), errno
	}
	syscall.RawSyscall(unix.SYS_SEMOP, uintptr(id), uintptr(unsafe.Pointer(op)), 1)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
