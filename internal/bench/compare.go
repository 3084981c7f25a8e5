//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A comparison is of two command lines that do the same.
type comparison struct {
	ours, theirs string
	wanted       string
}

// compare runs the two in turns, as the user, and prints how they compare.
// What theirs cannot do here is skipped. Ours must work.
func (t tools) compare(c comparison, pairs int, user *syscall.Credential) error {
	fmt.Printf("%s\n%s\n", c.ours, c.theirs)
	ours, theirs := t.command(c.ours, user), t.command(c.theirs, user)
	if err := theirs.try(); err != nil {
		fmt.Printf("    skipped: %v\n\n", err)
		return nil
	}
	if err := ours.try(); err != nil {
		return err
	}
	var ourTimes, theirTimes, ratios []float64
	for i := range pairs {
		// What one leaves to the kernel to clean up may slow the next, so
		// they take turns in going first.
		order := []*command{ours, theirs}
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, command := range order {
			if err := command.time(); err != nil {
				return err
			}
		}
		ourTimes, theirTimes, ratios = append(ourTimes, ours.took), append(theirTimes, theirs.took), append(ratios, ours.took/theirs.took)
	}
	fmt.Printf("    %.2f (%.2f to %.2f, %d pairs)   %.2f ms / %.2f ms", quartile(2, ratios), quartile(1, ratios), quartile(3, ratios), pairs, quartile(2, ourTimes), quartile(2, theirTimes))
	if c.wanted != "" {
		fmt.Printf("   wanted: %s", c.wanted)
	}
	fmt.Print("\n\n")
	return nil
}

// quartile returns one of the quartiles; the second is the median.
func quartile(n int, numbers []float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	return sorted[(len(sorted)-1)*n/4]
}

// A command is a program to be run over and over.
type command struct {
	line string
	args []string
	user *syscall.Credential
	took float64 // the last time, in milliseconds
}

func (t tools) command(line string, user *syscall.Credential) *command {
	return &command{line: line, args: t.resolve(strings.Fields(line)), user: user}
}

// resolve replaces the names of programs by their paths, so that no search
// is measured.
func (t tools) resolve(words []string) []string {
	args := slices.Clone(words)
	for i, word := range args {
		if path, ok := t[word]; ok {
			args[i] = path
		} else if path, err := exec.LookPath(word); i == 0 && err == nil {
			args[i] = path
		}
	}
	return args
}

// try runs the command once and returns why it failed.
func (c *command) try() error {
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w %s", c.line, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// time runs the command and takes the time from before its process is made
// until it has ended. It does with two calls what package os/exec takes
// goroutines for.
func (c *command) time() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), null.Fd(), os.Stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Credential: c.user},
	}
	start := time.Now()
	pid, err := syscall.ForkExec(c.args[0], c.args, attr)
	if err != nil {
		return fmt.Errorf("%s: %w", c.line, err)
	}
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	c.took = time.Since(start).Seconds() * 1000
	if err == nil && status != 0 {
		err = fmt.Errorf("wait status %#x", int(status))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.line, err)
	}
	return nil
}
