//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
)

// onlyUserspace is the part of this program that compares the implementation
// in Go with the kernel, in one process; it has to be in a namespace of its
// own.
const onlyUserspace = "userspace"

func (t tools) compareUserspace() error {
	again, err := t.again(onlyUserspace, "ipcns", "run", "--root", "--share", "mqueue,shm", "--")
	if err != nil {
		return err
	}
	return again.Run()
}

// newTask returns a task of a namespace in memory.
func newTask() *userspace.Task {
	return userspace.New(userspace.Options{}).Start(userspace.User(0, 0))
}

// compareUserspaceHere compares in this namespace.
func compareUserspaceHere() error {
	fmt.Printf("The namespace in Go and the kernel's calls, both from Go, %d times in a run:\n\n", callsInRun)
	for _, w := range []struct {
		what string
		make func(ipc.System) (once func() error, err error)
	}{
		{"msgsnd and msgrcv of 64 bytes", sendAndReceive},
		{"semop up and down", upAndDown},
		{"msgget of a key that there is", lookUp},
		{"mq_send and mq_receive of 64 bytes", mqSendAndReceive},
	} {
		ours, err := w.make(newTask())
		if err != nil {
			return err
		}
		theirs, err := w.make(kernel.System{})
		if err != nil {
			return err
		}
		if err := compareInTurns(w.what, ours, theirs); err != nil {
			return err
		}
	}
	fmt.Println()
	return compareWaiters()
}

// compareInTurns times two ways to do the same thing.
func compareInTurns(what string, ours, theirs func() error) error {
	var our, their, ratios []float64
	for range callRuns {
		o, err := timeOf(ours)
		if err != nil {
			return err
		}
		t, err := timeOf(theirs)
		if err != nil {
			return err
		}
		our, their, ratios = append(our, o), append(their, t), append(ratios, o/t)
	}
	fmt.Printf("%-40s %.2f (%.2f to %.2f)  %6.0f ns / %6.0f ns   wanted: 0.33 at most\n", what, quartile(2, ratios), quartile(1, ratios), quartile(3, ratios), quartile(2, our), quartile(2, their))
	return nil
}

// timeOf returns how many nanoseconds a thing takes, done many times.
func timeOf(once func() error) (float64, error) {
	start := time.Now()
	for range callsInRun {
		if err := once(); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start)) / callsInRun, nil
}

func sendAndReceive(system ipc.System) (func() error, error) {
	id, err := system.Msgget(ipc.Private, 0o600)
	text, ctx := make([]byte, 64), context.Background()
	return func() error {
		if err := system.Msgsnd(ctx, id, 1, text, 0); err != nil {
			return err
		}
		_, _, err := system.Msgrcv(ctx, id, 0, text, 0)
		return err
	}, err
}

func upAndDown(system ipc.System) (func() error, error) {
	id, err := system.Semget(ipc.Private, 1, 0o600)
	ctx, up, down := context.Background(), []ipc.Sembuf{{Op: 1}}, []ipc.Sembuf{{Op: -1}}
	return func() error {
		if err := system.Semop(ctx, id, up); err != nil {
			return err
		}
		return system.Semop(ctx, id, down)
	}, err
}

func lookUp(system ipc.System) (func() error, error) {
	_, err := system.Msgget(0x2a, ipc.Creat|0o600)
	return func() error {
		_, err := system.Msgget(0x2a, 0)
		return err
	}, err
}

func mqSendAndReceive(system ipc.System) (func() error, error) {
	q, err := system.MqOpen("/bench", unix.O_CREAT|unix.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 1, Msgsize: 64})
	text, ctx := make([]byte, 64), context.Background()
	return func() error {
		if err := q.Timedsend(ctx, text, 0); err != nil {
			return err
		}
		_, _, err := q.Timedreceive(ctx, text)
		return err
	}, err
}

// compareWaiters sends to receivers that sleep, each for a type of its own.
func compareWaiters() error {
	fmt.Println("A message to each of the receivers that sleep in one queue, each for a type of its own, in random order:")
	fmt.Println()
	debug.SetMaxThreads(40000) // of which the kernel's receivers take one each
	for _, receivers := range []int{10, 100, 1000, 10000} {
		task := newTask()
		ours, err := sendToAll(task, receivers, func() bool { return task.Sleeping() == receivers })
		if err != nil {
			return err
		}
		theirs, err := sendToAll(kernel.System{}, receivers, func() bool { return inMsgrcv() == receivers })
		if err != nil {
			fmt.Printf("%6d receivers  %6.0f ns a msgsnd / skipped: %v\n", receivers, ours, err)
			continue
		}
		fmt.Printf("%6d receivers  %.2f  %6.0f ns a msgsnd / %6.0f ns\n", receivers, ours/theirs, ours, theirs)
	}
	fmt.Println()
	return nil
}

// sendToAll returns how many nanoseconds a msgsnd takes that finds its receiver.
func sendToAll(system ipc.System, receivers int, asleep func() bool) (float64, error) {
	id, err := system.Msgget(ipc.Private, 0o600)
	if err != nil {
		return 0, err
	}
	defer system.MsgctlRmid(id)
	ctx := context.Background()
	var all sync.WaitGroup
	for typ := range receivers {
		all.Go(func() {
			if _, _, err := system.Msgrcv(ctx, id, int64(typ)+1, make([]byte, 8), 0); err != nil {
				fmt.Fprintf(os.Stderr, "bench: %v\n", err)
			}
		})
	}
	for !asleep() {
		time.Sleep(time.Millisecond)
	}
	var sending time.Duration
	for _, typ := range rand.Perm(receivers) {
		start := time.Now()
		if err := system.Msgsnd(ctx, id, int64(typ)+1, make([]byte, 8), 0); err != nil {
			return 0, err
		}
		sending += time.Since(start)
	}
	all.Wait()
	return float64(sending) / float64(receivers), nil
}

// inMsgrcv returns how many threads of this process sleep in msgrcv; see
// proc_pid_syscall(5).
func inMsgrcv() (threads int) {
	files, err := filepath.Glob("/proc/self/task/*/syscall")
	if err != nil {
		return 0
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(text), strconv.Itoa(unix.SYS_MSGRCV)+" ") {
			threads++
		}
	}
	return threads
}
