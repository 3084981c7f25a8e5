//go:build linux

package listing_test

import (
	"syscall"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/ipc"
)

// A fakeSystem has the objects that a test puts there; it has no calls that
// change anything.
type fakeSystem struct {
	ipc.System
	ids      []int // of each kind
	queues   []ipc.MsqidDS
	segments []ipc.ShmidDS
	sets     []ipc.SemidDS
	sems     []host.Semaphore // of every set
	mqueues  []ipc.MqueueStat

	semErr, mqErr error
}

func (f *fakeSystem) MsgInfo() (ipc.MsgInfo, int, error) {
	return ipc.MsgInfo{Queues: len(f.queues), Messages: 7, Bytes: 42}, len(f.queues), nil
}

func (f *fakeSystem) MsgStatAny(index int) (int, ipc.MsqidDS, error) {
	return at(f.ids, f.queues, index)
}

func (f *fakeSystem) ShmInfo() (ipc.ShmInfo, int, error) {
	return ipc.ShmInfo{Segments: len(f.segments), Pages: 1, Resident: 2, Swapped: 3, SwapAttempts: 4, SwapSuccesses: 5}, len(f.segments), nil
}

func (f *fakeSystem) ShmStatAny(index int) (int, ipc.ShmidDS, error) {
	return at(f.ids, f.segments, index)
}

func (f *fakeSystem) SemInfo() (ipc.SemInfo, int, error) {
	return ipc.SemInfo{Sets: len(f.sets), Semaphores: len(f.sems)}, len(f.sets), f.semErr
}

func (f *fakeSystem) SemStatAny(index int) (int, ipc.SemidDS, error) {
	return at(f.ids, f.sets, index)
}

func (f *fakeSystem) SemctlGetval(id, num int) (int, error)  { return f.sems[num].Value, nil }
func (f *fakeSystem) SemctlGetncnt(id, num int) (int, error) { return f.sems[num].Ncnt, nil }
func (f *fakeSystem) SemctlGetzcnt(id, num int) (int, error) { return f.sems[num].Zcnt, nil }
func (f *fakeSystem) SemctlGetpid(id, num int) (int, error)  { return f.sems[num].PID, nil }

func (f *fakeSystem) MqList() ([]ipc.MqueueStat, error) { return f.mqueues, f.mqErr }

func (f *fakeSystem) Limits() (ipc.Limits, error) { return ipc.DefaultLimits(), nil }

func at[Object any](ids []int, objects []Object, index int) (int, Object, error) {
	if index >= len(objects) {
		var none Object
		return 0, none, syscall.EINVAL
	}
	return ids[index], objects[index], nil
}
