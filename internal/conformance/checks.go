package conformance

// What cases are written with:
//
//	must            the call succeeds
//	wantErrno       the call fails with that errno
//	errorOf         the error of a call that has other results; errorOf2 of two
//	equal           two values are the same
//	asleep          start a call on a goroutine, return when it sleeps
//	outcome         the error of such a call, once it is over
//	stillAsleep     it has not ended
//	eventually      a condition comes true
//	msgget …        calls that succeed, on one line
//	msgStat …       the state of an object
//	need            skip what cannot be tried here
//
// The flags create and exclusive are those of most get calls.

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

const (
	create    = ipc.Creat | 0o600
	exclusive = ipc.Creat | ipc.Excl | 0o600
)

// hang is how long a call that has to end may take: a bound that only a
// broken implementation reaches.
const hang = 30 * time.Second

// ctx is the context of calls that nothing ends.
var ctx = context.Background()

// need skips a case that cannot be tried here.
func need(t *testing.T, w World, what ...string) {
	t.Helper()
	for _, what := range what {
		if why := w.Lacks(what); why != "" {
			t.Skipf("needs %s: %s", what, why)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErrno checks that err is errno; 0 is no error.
func wantErrno(t *testing.T, err error, errno syscall.Errno) {
	t.Helper()
	switch {
	case errno == 0 && err == nil:
	case err == nil:
		t.Errorf("no error, want %q", errno)
	case errno == 0 || !errors.Is(err, errno):
		t.Errorf("error %q, want %q", err, errno)
	}
}

func errorOf[T any](_ T, err error) error { return err }

func errorOf2[T, U any](_ T, _ U, err error) error { return err }

// equal checks that what is as it should be.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// eventually waits until the condition is true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !condition(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", hang, what)
		}
	}
}

// asleep starts a call of p on a goroutine of its own, and returns when it
// sleeps. Of calls that begin or end in p meanwhile it knows nothing.
func asleep(t *testing.T, p Process, call func() error) <-chan error {
	t.Helper()
	before := p.Sleeping()
	over := make(chan error, 1)
	go func() { over <- call() }()
	eventually(t, "the call sleeps", func() bool {
		if len(over) > 0 {
			t.Fatalf("the call did not sleep: it returned %v", <-over)
		}
		return p.Sleeping() > before
	})
	return over
}

// outcome returns the error of a call that was asleep, when it is over.
func outcome(t *testing.T, over <-chan error) error {
	t.Helper()
	select {
	case err := <-over:
		return err
	case <-time.After(hang):
		t.Fatal("the call still sleeps")
		return nil
	}
}

// stillAsleep checks that a call is not over. To mean something, it comes
// after another event that would have come later.
func stillAsleep(t *testing.T, over <-chan error) {
	t.Helper()
	select {
	case err := <-over:
		t.Errorf("the call returned %v, want it asleep", err)
	default:
	}
}

func msgget(t *testing.T, p Process, key ipc.Key, flags int) int {
	t.Helper()
	id, err := p.Msgget(key, flags)
	must(t, err)
	return id
}

// msgsnd sends without sleeping.
func msgsnd(t *testing.T, p Process, id int, typ int64, text string) {
	t.Helper()
	must(t, p.Msgsnd(ctx, id, typ, []byte(text), ipc.NoWait))
}

// msgrcv receives without sleeping.
func msgrcv(t *testing.T, p Process, id int, typ int64, flags int) (int64, string) {
	t.Helper()
	buffer := make([]byte, 8192)
	got, n, err := p.Msgrcv(ctx, id, typ, buffer, flags|ipc.NoWait)
	must(t, err)
	return got, string(buffer[:n])
}

func msgStat(t *testing.T, p Process, id int) ipc.MsqidDS {
	t.Helper()
	ds, err := p.MsgctlStat(id)
	must(t, err)
	return ds
}

func semget(t *testing.T, p Process, key ipc.Key, nsems, flags int) int {
	t.Helper()
	id, err := p.Semget(key, nsems, flags)
	must(t, err)
	return id
}

// semop does operations on semaphores, which may sleep.
func semop(t *testing.T, p Process, id int, ops ...ipc.Sembuf) {
	t.Helper()
	must(t, p.Semop(ctx, id, ops))
}

func getval(t *testing.T, p Process, id, num int) int {
	t.Helper()
	value, err := p.SemctlGetval(id, num)
	must(t, err)
	return value
}

func semStat(t *testing.T, p Process, id int) ipc.SemidDS {
	t.Helper()
	ds, err := p.SemctlStat(id)
	must(t, err)
	return ds
}

func shmget(t *testing.T, p Process, key ipc.Key, size uint64, flags int) int {
	t.Helper()
	id, err := p.Shmget(key, size, flags)
	must(t, err)
	return id
}

func shmat(t *testing.T, p Process, id, flags int) []byte {
	t.Helper()
	memory, err := p.Shmat(id, 0, flags)
	must(t, err)
	return memory
}

func shmStat(t *testing.T, p Process, id int) ipc.ShmidDS {
	t.Helper()
	ds, err := p.ShmctlStat(id)
	must(t, err)
	return ds
}

// mqOpen opens a POSIX queue, which ends with the namespace. Give small
// attributes: RLIMIT_MSGQUEUE is one for all queues of the user.
func mqOpen(t *testing.T, p Process, name string, flags int, mode uint32, attr *ipc.MqAttr) ipc.Mqd {
	t.Helper()
	mqd, err := p.MqOpen(name, flags, mode, attr)
	must(t, err)
	return mqd
}
