//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A comparison is of two command lines that do the same. A line may be several,
// with && between, which run one after another.
type comparison struct {
	ours, theirs string
	wanted       string

	undoOurs, undoTheirs string  // what takes that back, if anything has to; it is not measured
	times                float64 // theirs does so many times less than ours, and is scaled; 0 is once
}

// compare runs the two in turns, as the user, and prints how they compare.
// What theirs cannot do here is skipped. Ours must work. The ratio is that
// which is printed, and 0 if there is none.
func (t tools) compare(c comparison, pairs int, user *syscall.Credential) (ratio float64, err error) {
	fmt.Printf("%s\n%s\n", c.ours, c.theirs)
	ours, theirs := t.command(c.ours, c.undoOurs, user), t.command(c.theirs, c.undoTheirs, user)
	if err := theirs.try(); err != nil {
		fmt.Printf("    skipped: %v\n\n", err)
		return 0, nil
	}
	if err := ours.try(); err != nil {
		return 0, err
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
				return 0, err
			}
		}
		our, their := ours.took, theirs.took*max(c.times, 1)
		ourTimes, theirTimes, ratios = append(ourTimes, our), append(theirTimes, their), append(ratios, our/their)
	}
	fmt.Printf("    %.2f (%.2f to %.2f, %d pairs)   %.2f ms / %.2f ms", quartile(2, ratios), quartile(1, ratios), quartile(3, ratios), pairs, quartile(2, ourTimes), quartile(2, theirTimes))
	if c.times > 0 {
		fmt.Printf(", theirs times %.0f", c.times)
	}
	if c.wanted != "" {
		fmt.Printf("   wanted: %s", c.wanted)
	}
	fmt.Print("\n\n")
	return quartile(2, ratios), nil
}

// quartile returns one of the quartiles; the second is the median.
func quartile(n int, numbers []float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	return sorted[(len(sorted)-1)*n/4]
}

// A command is what is run over and over.
type command struct {
	line  string
	steps [][]string // programs with their arguments
	undo  [][]string
	user  *syscall.Credential
	took  float64 // the last time, in milliseconds
}

func (t tools) command(line, undo string, user *syscall.Credential) *command {
	return &command{line: line, steps: t.steps(line), undo: t.steps(undo), user: user}
}

func (t tools) steps(line string) [][]string {
	var steps [][]string
	for step := range strings.SplitSeq(line, "&&") {
		if words := strings.Fields(step); len(words) > 0 {
			steps = append(steps, t.resolve(words))
		}
	}
	return steps
}

// resolve replaces the names of programs by their paths, so that no search
// is measured, and {1..N} by N words, as bash does.
func (t tools) resolve(words []string) []string {
	var args []string
	for i, word := range words {
		prefix, numbers, expand := strings.Cut(word, "{1..")
		if path, ok := t[word]; ok {
			args = append(args, path)
		} else if path, err := exec.LookPath(word); i == 0 && err == nil {
			args = append(args, path)
		} else if last, err := strconv.Atoi(strings.TrimSuffix(numbers, "}")); expand && err == nil {
			args = append(args, numbered(prefix, last)...)
		} else {
			args = append(args, word)
		}
	}
	return args
}

func numbered(prefix string, last int) []string {
	var words []string
	for i := range last {
		words = append(words, prefix+strconv.Itoa(i+1))
	}
	return words
}

// try runs the command once and returns why it failed.
func (c *command) try() error {
	for _, args := range slices.Concat(c.steps, c.undo) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w %s", c.line, err, bytes.TrimSpace(stderr.Bytes()))
		}
	}
	return nil
}

// time runs the command and takes the time from before its process is made
// until it has ended. Then it takes back what has been done.
func (c *command) time() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	start := time.Now()
	err = c.run(c.steps, null)
	c.took = time.Since(start).Seconds() * 1000
	if err == nil {
		err = c.run(c.undo, null)
	}
	return err
}

// run does with two calls a program what package os/exec takes goroutines for.
// What programs say is seen by try.
func (c *command) run(steps [][]string, null *os.File) error {
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
		Sys:   &syscall.SysProcAttr{Credential: c.user},
	}
	for _, args := range steps {
		pid, err := syscall.ForkExec(args[0], args, attr)
		if err != nil {
			return fmt.Errorf("%s: %w", c.line, err)
		}
		var status syscall.WaitStatus
		for {
			if _, err = syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
				break
			}
		}
		if err == nil && status != 0 {
			err = fmt.Errorf("wait status %#x", int(status))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.line, err)
		}
	}
	return nil
}
