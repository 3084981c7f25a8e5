//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Ways to start a program in an IPC namespace of its own, with the host's
// /dev/mqueue and /dev/shm. The letters are for start-in-c.
var (
	rootStarts = []comparison{
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "true"},
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "unshare -i true", wanted: "1.4 at most"},
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "start-in-c - true"},
	}
	userStarts = []comparison{
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "true"},
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "unshare -i --map-current-user true"},
		{ours: "ipcns run --root --share mqueue,shm -- true", theirs: "unshare -i --map-root-user true"},
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "start-in-c u true"},
	}
)

// privateStarts are ways to start a program with a /dev/mqueue and a /dev/shm
// of its own too, which the first that it is compared with does without.
func privateStarts(letters string) []comparison {
	same := "--mqueue /dev/mqueue --tmpfs /dev/shm"
	if !hasMqueueDir() {
		same = "--dev /dev --mqueue /dev/mqueue" // a /dev with few devices
	}
	return []comparison{
		{ours: "ipcns run -- true", theirs: "bwrap --dev-bind / / --unshare-ipc true", wanted: "less than 1"},
		{ours: "ipcns run -- true", theirs: "bwrap --dev-bind / / " + same + " --unshare-ipc true"},
		{ours: "ipcns run -- true", theirs: "start-in-c " + letters + " true"},
	}
}

func hasMqueueDir() bool {
	_, err := os.Stat("/dev/mqueue")
	return err == nil
}

// onlyPrivate is the part of this program that compares starts in a place
// that has a /dev/mqueue.
const onlyPrivate = "private"

func (t tools) compareStarts() error {
	if err := t.compareAsBoth("", rootStarts, userStarts); err != nil {
		return err
	}
	if err := t.comparePrivateStarts(); err != nil {
		return err
	}
	if hasMqueueDir() || os.Geteuid() != 0 {
		return nil
	}
	again, err := t.again(onlyPrivate, "ipcns", "run", "--share", "shm", "--")
	if err != nil {
		return err
	}
	return again.Run()
}

func (t tools) comparePrivateStarts() error {
	place := ", where there is a /dev/mqueue"
	if !hasMqueueDir() {
		place = ", where there is no /dev/mqueue, and a whole /dev is made to have one"
	}
	return t.compareAsBoth(place, privateStarts("p"), privateStarts("up"))
}

var ordinaryUser = &syscall.Credential{Uid: 65534, Gid: 65534}

// compareAsBoth compares as root, if it may, and as an ordinary user.
func (t tools) compareAsBoth(place string, root, user []comparison) error {
	var nobody *syscall.Credential
	if os.Geteuid() == 0 {
		fmt.Printf("Starting a program as root%s:\n\n", place)
		for _, c := range root {
			if _, err := t.compare(c, *starts, nil); err != nil {
				return err
			}
		}
		nobody = ordinaryUser
	}
	fmt.Printf("Starting a program as an ordinary user%s:\n\n", place)
	for _, c := range user {
		if _, err := t.compare(c, *starts, nobody); err != nil {
			return err
		}
	}
	return nil
}

//go:embed testdata/start-in-c.c
var startInCSource []byte

// compile makes the program start-in-c in the directory.
func compile(dir string) (string, error) {
	program := filepath.Join(dir, startInC)
	return program, compileC(startInCSource, program)
}

// compileC makes a program of a source.
func compileC(source []byte, program string) error {
	if err := os.WriteFile(program+".c", source, 0o644); err != nil {
		return err
	}
	if output, err := exec.Command("cc", "-O2", "-static", "-pthread", "-o", program, program+".c").CombinedOutput(); err != nil {
		return fmt.Errorf("cc: %w %s", err, output)
	}
	return nil
}
