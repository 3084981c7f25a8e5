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

// Ways to start a program with IPC of its own: first those that leave the
// host's /dev/mqueue and /dev/shm to it, then those that do not. bwrap always
// leaves them.
var (
	rootStarts = []comparison{
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "true"},
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "unshare -i true", wanted: "1.4 at most"},
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "start-in-c - true"},
	}
	rootPrivateStarts = []comparison{
		{ours: "ipcns run -- true", theirs: "bwrap --dev-bind / / --unshare-ipc true", wanted: "less than 1"},
		{ours: "ipcns run -- true", theirs: "start-in-c p true"},
	}
	userStarts = []comparison{
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "true"},
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "unshare -i --map-current-user true"},
		{ours: "ipcns run --root --share mqueue,shm -- true", theirs: "unshare -i --map-root-user true"},
		{ours: "ipcns run --share mqueue,shm -- true", theirs: "start-in-c u true"},
	}
	userPrivateStarts = []comparison{
		{ours: "ipcns run -- true", theirs: "bwrap --dev-bind / / --unshare-ipc true", wanted: "less than 1"},
		{ours: "ipcns run -- true", theirs: "start-in-c up true"},
	}
)

// onlyPrivate is the part of this program that compares starts in a place
// that has a /dev/mqueue.
const onlyPrivate = "private"

const mqueuePath = "/dev/mqueue"

func (t tools) compareStarts() error {
	if err := t.compareAsBoth("", rootStarts, userStarts); err != nil {
		return err
	}
	if err := t.comparePrivateStarts(); err != nil {
		return err
	}
	if _, err := os.Stat(mqueuePath); err == nil || os.Geteuid() != 0 {
		return nil
	}
	again, err := t.again(onlyPrivate, "ipcns", "run", "--share", "shm", "--")
	if err != nil {
		return err
	}
	return again.Run()
}

func (t tools) comparePrivateStarts() error {
	place := ", where there is a " + mqueuePath
	if _, err := os.Stat(mqueuePath); err != nil {
		place = ", where there is no " + mqueuePath + " and ipcns makes a whole /dev to have one"
	}
	return t.compareAsBoth(place, rootPrivateStarts, userPrivateStarts)
}

// compareAsBoth compares as root, if it may, and as an ordinary user.
func (t tools) compareAsBoth(place string, root, user []comparison) error {
	var nobody *syscall.Credential
	if os.Geteuid() == 0 {
		fmt.Printf("Starting a program as root%s:\n\n", place)
		for _, c := range root {
			if err := t.compare(c, *starts, nil); err != nil {
				return err
			}
		}
		nobody = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	fmt.Printf("Starting a program as an ordinary user%s:\n\n", place)
	for _, c := range user {
		if err := t.compare(c, *starts, nobody); err != nil {
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
	if output, err := exec.Command("cc", "-O2", "-static", "-o", program, program+".c").CombinedOutput(); err != nil {
		return fmt.Errorf("cc: %w %s", err, output)
	}
	return nil
}
