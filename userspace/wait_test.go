package userspace_test

import (
	"context"
	"reflect"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// TestWaitsAreTheCallsThatSleep lets each call that can sleep do so, a second
// apart, on the clock of a bubble.
func TestWaitsAreTheCallsThatSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, wake := context.WithCancel(t.Context())
		ns := userspace.New(userspace.Options{})
		task := ns.StartPID(70, userspace.User(1000, 1000))
		thread := task.ThreadTID(71)
		empty := must(task.Msgget(1, ipc.Creat|0o600))(t)
		full := must(task.Msgget(2, ipc.Creat|0o600))(t)
		noError(t, task.MsgctlSet(full, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: 1}))
		noError(t, task.Msgsnd(ctx, full, 1, []byte("f"), 0))
		set := must(task.Semget(3, 3, ipc.Creat|0o600))(t)
		noError(t, task.SemctlSetval(set, 1, 1))
		jobs := must(task.MqOpen("/jobs", syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 1, Msgsize: 8}))(t)
		done := must(task.MqOpen("/done", syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 1, Msgsize: 8}))(t)
		noError(t, done.Timedsend(ctx, []byte("f"), 0))

		one, several := []ipc.Sembuf{{Num: 2, Op: -1}}, []ipc.Sembuf{{Num: 1, Op: 0}, {Num: 2, Op: 1}}
		for _, sleep := range []func(){
			func() { thread.Msgrcv(ctx, empty, -5, make([]byte, 9), 0) },
			func() { task.Msgsnd(ctx, full, 7, []byte("more"), 0) },
			func() { task.Semop(ctx, set, one) },
			func() { task.Semop(ctx, set, several) },
			func() { task.Semop(ctx, set, several[:1]) },
			func() { jobs.Timedreceive(ctx, make([]byte, 8)) },
			func() { done.Timedsend(ctx, []byte("more"), 0) },
		} {
			go sleep()
			synctest.Wait()
			time.Sleep(time.Second)
		}
		want := []userspace.Wait{
			{PID: 70, TID: 71, Call: "msgrcv", ID: empty, Type: -5, Bytes: 9, For: 7 * time.Second},
			{PID: 70, TID: 70, Call: "msgsnd", ID: full, Type: 7, Bytes: 4, For: 6 * time.Second},
			{PID: 70, TID: 70, Call: "semop", ID: set, Sops: one, For: 5 * time.Second},
			{PID: 70, TID: 70, Call: "semop", ID: set, Sops: several, For: 4 * time.Second},
			{PID: 70, TID: 70, Call: "semop", ID: set, Sops: several[:1], For: 3 * time.Second},
			{PID: 70, TID: 70, Call: "mq_timedreceive", Name: "/jobs", For: 2 * time.Second},
			{PID: 70, TID: 70, Call: "mq_timedsend", Name: "/done", Bytes: 4, For: time.Second},
		}
		if got := ns.Waits(); !reflect.DeepEqual(got, want) {
			t.Errorf("these sleep:\n%+v\nand these should:\n%+v", got, want)
		}
		wake()
		synctest.Wait()
		if left := ns.Waits(); len(left) > 0 {
			t.Errorf("these still sleep: %+v", left)
		}
		ns.Close()
	})
}
