//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
)

//go:embed testdata/notify-in-c.c
var notifyInCSource []byte

// A supervisedWork is one that calls-in-c does as a program that a supervisor
// serves.
type supervisedWork struct {
	name     string // as calls-in-c knows it
	what     string
	calls    int // that it makes
	sleepers int
	wanted   string
}

func supervisedWorks() []supervisedWork {
	return []supervisedWork{
		{"msg-64", "msgsnd and msgrcv of 64 bytes", 2, 0, "1.4 at most"},
		{"sem", "semop up and down", 2, 0, "1.4 at most"},
		{"mq-64", "mq_send and mq_receive of 64 bytes", 2, 0, ""},
		{"msgget", "msgget of a key that there is", 1, 0, ""},
		{"msg-64", "msgsnd and msgrcv, while 100 calls sleep", 2, 100, ""},
		{"msg-64", "msgsnd and msgrcv, while 1000 calls sleep", 2, 1000, ""},
	}
}

// compareSupervised compares starts of programs that are served, and their calls
// with what a filter of seccomp(2) takes that brings a call to another process.
// None of them is one of the kernel's IPC.
func (t tools) compareSupervised(dir string) error {
	if err := t.compareServedStarts(); err != nil {
		return err
	}
	caller, notifier := filepath.Join(dir, "calls-in-c"), filepath.Join(dir, "notify-in-c")
	for program, source := range map[string][]byte{caller: callsInCSource, notifier: notifyInCSource} {
		if err := compileC(source, program); err != nil {
			fmt.Printf("Calls of programs that are served: skipped: %v\n\n", err)
			return nil
		}
	}
	fmt.Printf("Calls of a program that is served, and as many notifications of seccomp(2) that a program in C\nanswers: without a look, and with a copy of 72 bytes, %d times in a run:\n\n", callsInRun)
	for _, w := range supervisedWorks() {
		if err := t.compareServed(w, caller, notifier); err != nil {
			return err
		}
	}
	fmt.Println()
	return t.printServerMemory(caller)
}

// compareServed compares one work.
func (t tools) compareServed(w supervisedWork, caller, notifier string) error {
	var ours, theirs, ratios, copyRatios []float64
	for range callRuns {
		our, err := printed(t.served(caller, w.name, strconv.Itoa(callsInRun), strconv.Itoa(w.sleepers)))
		if err != nil {
			return err
		}
		their, err := notified(notifier, "nothing", w.calls)
		if err != nil {
			return err
		}
		copied, err := notified(notifier, "copy", w.calls)
		if err != nil {
			return err
		}
		ours, theirs = append(ours, our), append(theirs, their)
		ratios, copyRatios = append(ratios, our/their), append(copyRatios, our/copied)
	}
	fmt.Printf("%-42s %5.2f (%.2f to %.2f), %5.2f with a copy  %6.0f ns / %6.0f ns", w.what, quartile(2, ratios), quartile(1, ratios), quartile(3, ratios), quartile(2, copyRatios), quartile(2, ours), quartile(2, theirs))
	if w.wanted != "" {
		fmt.Printf("   wanted: %s", w.wanted)
	}
	fmt.Println()
	return nil
}

// notified returns the nanoseconds that so many notifications take.
func notified(notifier, work string, calls int) (float64, error) {
	one, err := printed(exec.Command(notifier, work, strconv.Itoa(callsInRun)))
	return one * float64(calls), err
}

// served returns a command that runs a program on a namespace in Go.
func (t tools) served(args ...string) *exec.Cmd {
	return exec.Command(t["ipcns"], append([]string{"run", "--engine", "userspace", "--"}, args...)...)
}

// printServerMemory prints what a server takes of memory.
func (t tools) printServerMemory(caller string) error {
	for _, members := range []int{0, 1000} {
		kib, err := printed(t.served(caller, "memory", strconv.Itoa(members)))
		if err != nil {
			return err
		}
		fmt.Printf("%6d processes asleep: the server has %.1f MiB in memory\n", members, kib/1024)
	}
	fmt.Println()
	return nil
}

// compareServedStarts compares how programs start.
func (t tools) compareServedStarts() error {
	const ours = "ipcns run --engine userspace -- true"
	starts := []comparison{
		{ours: ours, theirs: "true"},
		{ours: ours, theirs: "ipcns run --engine kernel -- true"},
		{ours: ours, theirs: "ipcns run --engine kernel --share mqueue,shm -- true"},
	}
	return t.compareAsBoth(", served", starts, starts)
}
