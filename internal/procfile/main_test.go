//go:build linux

package procfile_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/procfile"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
)

// An ordinary user runs the tests as root of a user namespace.
func TestMain(m *testing.M) { ipctest.MainInNew(m, nil) }

// A world is a namespace, of the kernel or not.
type world struct {
	ipc.System
	setNextID func(kind string, id int) error
	attached  [][]byte
}

func (w *world) detachAll() error {
	var errs []error
	for _, memory := range w.attached {
		errs = append(errs, w.Shmdt(memory))
	}
	return errors.Join(errs...)
}

// A scenario is what is done to a fresh namespace.
type scenario struct {
	name    string
	limits  map[string]string // by path of their files
	objects func(*world) error
}

var scenarios = []scenario{
	{name: "nothing"},
	{name: "objects of all kinds", objects: objectsOfAllKinds},
	{name: "objects that have been used", objects: usedObjects},
	{name: "segments that are locked and removed", objects: removedSegments},
	{name: "a hundred objects of each kind, less every third", objects: aHundredWithGaps},
	{name: "sequence numbers that wrap", objects: wrappedIDs},
	{name: "ids that are chosen", objects: chosenIDs},
	{name: "limits that have been changed", limits: map[string]string{
		"/proc/sys/kernel/msgmax":             "2147483647",
		"/proc/sys/kernel/msgmnb":             "0",
		"/proc/sys/kernel/msgmni":             "32768",
		"/proc/sys/kernel/auto_msgmni":        "1",
		"/proc/sys/kernel/sem":                "1 2147483647 3 4",
		"/proc/sys/kernel/shmmax":             "18446744073709551615",
		"/proc/sys/kernel/shmall":             "0",
		"/proc/sys/kernel/shmmni":             "5",
		"/proc/sys/kernel/shm_rmid_forced":    "1",
		"/proc/sys/fs/mqueue/queues_max":      "2147483647",
		"/proc/sys/fs/mqueue/msg_max":         "65536",
		"/proc/sys/fs/mqueue/msgsize_max":     "16777216",
		"/proc/sys/fs/mqueue/msg_default":     "1",
		"/proc/sys/fs/mqueue/msgsize_default": "128",
	}},
	{name: "limits below 0", limits: map[string]string{
		"/proc/sys/kernel/sem":           "-1 -2147483648 -3 0",
		"/proc/sys/fs/mqueue/queues_max": "-5",
	}},
}

func oneOfEach(w *world, key ipc.Key, size, flags int) error {
	_, err1 := w.Msgget(key, flags)
	_, err2 := w.Semget(key, size, flags)
	_, err3 := w.Shmget(key, uint64(size)*3000, flags)
	return errors.Join(err1, err2, err3)
}

// objectsOfAllKinds have different keys, sizes, permissions and owners.
func objectsOfAllKinds(w *world) error {
	for i, object := range []struct {
		key  ipc.Key
		mode int
	}{{1, 0}, {math.MaxInt32, 0o7}, {-1, 0o44}, {math.MinInt32, 0o600}, {ipc.Private, 0o777}} {
		if err := oneOfEach(w, object.key, i+1, object.mode|ipc.Creat); err != nil {
			return err
		}
	}
	return giveAway(w, 4)
}

// giveAway gives the objects at an index to a user and a group with long
// numbers, if this user namespace has them.
func giveAway(w *world, index int) error {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || !strings.Contains(string(users), "4294967295") {
		return err
	}
	queue, ds, err1 := w.MsgStatAny(index)
	set, _, err2 := w.SemStatAny(index)
	segment, _, err3 := w.ShmStatAny(index)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	to := ipc.PermSet{UID: 1234567, GID: math.MaxUint32 - 1, Mode: 0o640}
	return errors.Join(
		w.MsgctlSet(queue, ipc.MsqidSet{PermSet: to, Qbytes: ds.Qbytes}),
		w.SemctlSet(set, to),
		w.ShmctlSet(segment, to))
}

// usedObjects have times and processes.
func usedObjects(w *world) error {
	queue, err1 := w.Msgget(5, ipc.Creat|0o600)
	set, err2 := w.Semget(5, 3, ipc.Creat|0o600)
	segment, err3 := w.Shmget(5, 10000, ipc.Creat|0o600)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	ctx := context.Background()
	for _, text := range []string{"", "a", "message"} {
		if err := w.Msgsnd(ctx, queue, 1, []byte(text), ipc.NoWait); err != nil {
			return err
		}
	}
	_, _, err1 = w.Msgrcv(ctx, queue, 0, make([]byte, 10), ipc.NoWait)
	err2 = w.Semop(ctx, set, []ipc.Sembuf{{Num: 1, Op: 5, Flg: ipc.NoWait}})
	memory, err3 := w.Shmat(segment, 0, 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return w.Shmdt(memory)
}

// removedSegments are one that is locked, one that is removed while it is
// attached, and one that is both.
func removedSegments(w *world) error {
	for i, deeds := range [][]func(id int) error{{w.ShmctlLock}, {w.ShmctlRmid}, {w.ShmctlLock, w.ShmctlRmid}} {
		id, err := w.Shmget(ipc.Key(20+i), 5000, ipc.Creat|0o640)
		if err != nil {
			return err
		}
		memory, err := w.Shmat(id, 0, 0)
		if err != nil {
			return err
		}
		w.attached = append(w.attached, memory)
		for _, deed := range deeds {
			if err := deed(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func aHundredWithGaps(w *world) error {
	for i := range 100 {
		if err := oneOfEach(w, ipc.Key(100+i), 1, ipc.Creat|0o600); err != nil {
			return err
		}
	}
	for index := 0; index < 100; index += 3 {
		queue, _, err1 := w.MsgStatAny(index)
		set, _, err2 := w.SemStatAny(index)
		segment, _, err3 := w.ShmStatAny(index)
		if err := errors.Join(err1, err2, err3, w.MsgctlRmid(queue), w.SemctlRmid(set), w.ShmctlRmid(segment)); err != nil {
			return err
		}
	}
	return nil
}

// wrappedIDs makes objects whose ids are about the highest, and then others
// whose ids start again at the bottom.
func wrappedIDs(w *world) error {
	if err := oneOfEach(w, 30, 1, ipc.Creat); err != nil {
		return err
	}
	for _, kind := range kinds {
		if err := w.setNextID(kind, math.MaxInt32&^0x7fff|1); err != nil {
			return err
		}
	}
	return errors.Join(oneOfEach(w, 31, 1, ipc.Creat), oneOfEach(w, 32, 1, ipc.Creat))
}

// hugeSegment has no memory until somebody writes to it, in the kernel.
func hugeSegment(w *world) error {
	_, err := w.Shmget(1, 1<<42-5, ipc.Creat|ipc.ShmNoReserve)
	return err
}

var kinds = [...]string{"msg", "sem", "shm"}

func chosenIDs(w *world) error {
	return errors.Join(w.setNextID("msg", 0), w.setNextID("sem", 12), w.setNextID("shm", math.MaxInt32))
}

func nextIDFile(kind string) string { return "/proc/sys/kernel/" + kind + "_next_id" }

func setKernelNextID(kind string, id int) error {
	return os.WriteFile(nextIDFile(kind), []byte(strconv.Itoa(id)), 0)
}

// kernelNextID is a [procfile.NextIDs].
func kernelNextID(kind string) (int, error) {
	text, err := os.ReadFile(nextIDFile(kind))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// contents returns the content of every file, made from the system.
func contents(system ipc.System, next procfile.NextIDs) (map[string]string, error) {
	all := map[string]string{}
	for _, path := range procfile.Paths() {
		content, ok, err := procfile.Contents(path, system, next)
		if err != nil || !ok {
			return nil, fmt.Errorf("%s is known: %v, error %w", path, ok, err)
		}
		all[path] = string(content)
	}
	return all, nil
}

// inKernel does the scenario in a new namespace of the kernel. It returns what
// is made of it, what /proc says of it, and its limits.
func inKernel(t *testing.T, s scenario) (got, want map[string]string, limits ipc.Limits) {
	t.Helper()
	want = map[string]string{}
	ipctest.InNew(t, func() (err error) {
		w := &world{System: kernel.System{}, setNextID: setKernelNextID}
		defer func() { err = errors.Join(err, w.detachAll()) }()
		for path, value := range s.limits {
			if err := os.WriteFile(path, []byte(value), 0); err != nil {
				return err
			}
		}
		if s.objects != nil {
			if err := s.objects(w); err != nil {
				return err
			}
		}
		for _, path := range procfile.Paths() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			want[path] = string(content)
		}
		if limits, err = w.Limits(); err != nil {
			return err
		}
		got, err = contents(w, kernelNextID)
		return err
	})
	return got, want, limits
}
