//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// onlyInside is the part of this program that has to be in the namespace
// whose queues are listed.
const onlyInside = "inside"

const wantedOfLists = "0.33 at most"

// compareListings compares lists of the queues of a namespace, in it and
// from outside.
func (t tools) compareListings() error {
	fmt.Printf("Listing %d message queues:\n\n", *queues)
	inside, err := t.again(onlyInside, "ipcns", "run", "--root", "--share", "mqueue,shm", "--")
	if err != nil {
		return err
	}
	leave, err := inside.StdinPipe()
	if err != nil {
		return err
	}
	ready, done, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	inside.ExtraFiles = []*os.File{done}
	if err := inside.Start(); err != nil {
		return err
	}
	done.Close()
	if n, _ := ready.Read(make([]byte, 1)); n > 0 {
		enter := "nsenter -i"
		if os.Geteuid() != 0 {
			enter = "nsenter -U -i --preserve-credentials"
		}
		pid := inside.Process.Pid
		_, err = t.compare(comparison{
			ours:   fmt.Sprintf("ipcns ipcs -q -n pid:%d", pid),
			theirs: fmt.Sprintf("%s -t %d ipcs -q", enter, pid),
			wanted: wantedOfLists,
		}, *listings, nil)
	}
	leave.Close()
	return errors.Join(err, inside.Wait())
}

// listInside makes the queues, compares lists of them, says so on descriptor
// 3, and keeps the namespace until there is no more input.
func (t tools) listInside() error {
	ready := os.NewFile(3, "ready")
	for range *queues {
		if _, errno := sys.Msgget(unix.IPC_PRIVATE, unix.IPC_CREAT|0o600); errno != 0 {
			return fmt.Errorf("msgget: %w", errno)
		}
	}
	c := comparison{ours: "ipcns ipcs -q", theirs: "ipcs -q", wanted: wantedOfLists}
	if err := t.sameOutput(c); err != nil {
		return err
	}
	if _, err := t.compare(c, *listings, nil); err != nil {
		return err
	}
	if _, err := ready.Write([]byte{0}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// sameOutput checks that there is something to compare.
func (t tools) sameOutput(c comparison) error {
	var outputs [2][]byte
	for i, line := range []string{c.ours, c.theirs} {
		args := t.resolve(strings.Fields(line))
		var err error
		if outputs[i], err = exec.Command(args[0], args[1:]...).Output(); errors.Is(err, exec.ErrNotFound) {
			return nil // it will be skipped
		} else if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	if !bytes.Equal(outputs[0], outputs[1]) {
		return fmt.Errorf("%q and %q print different lists", c.ours, c.theirs)
	}
	return nil
}
