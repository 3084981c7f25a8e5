//go:build linux

package supervise_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// userRole is that of a program that uses all there is, and has a child that has
// made no call.
const userRole = "use all there is"

func useAll() error {
	queue, err := kernel.System{}.Msgget(1, ipc.Creat|0o600)
	if err != nil {
		return err
	}
	set, err := kernel.System{}.Semget(2, 2, ipc.Creat|0o600)
	if err != nil {
		return err
	}
	if err := attachTwice(); err != nil {
		return err
	}
	fd, err := ipctest.MqOpen("jobs", unix.O_CREAT|unix.O_RDWR, 0o600, nil)
	if err != nil {
		return err
	}
	if err := unix.Dup3(fd, 20, 0); err != nil { // which the child has too
		return err
	}
	child := exec.Command("cat")
	child.Stdin = os.Stdin
	if err := child.Start(); err != nil {
		return err
	}
	mqd, err := kernel.System{}.MqOpen("/jobs", unix.O_RDWR, 0, nil)
	if err != nil {
		return err
	}
	go kernel.System{}.Msgrcv(context.Background(), queue, -5, make([]byte, 10), 0)
	go kernel.System{}.Semop(context.Background(), set, []ipc.Sembuf{{Num: 1, Op: -1}, {Num: 0, Op: 2}})
	go mqd.Timedreceive(context.Background(), make([]byte, 8192))
	return child.Wait()
}

// attachTwice attaches a segment as it is made, and another to be read.
func attachTwice() error {
	for key, flags := range []int{0, ipc.ShmRdonly} {
		id, err := kernel.System{}.Shmget(ipc.Key(3+key), 8192, ipc.Creat|0o600)
		if err != nil {
			return err
		}
		if _, err := (kernel.System{}).Shmat(id, 0, flags); err != nil {
			return err
		}
	}
	return nil
}

// TestUses expects of a program what package host tells of one that the kernel
// serves (TestProcesses there).
func TestUses(t *testing.T) {
	s := newSupervisor(t)
	cmd := playing(t, s, userRole)
	end, err := cmd.StdinPipe()
	ipctest.Must(t, err)
	ipctest.Must(t, cmd.Start())
	defer cmd.Wait()
	defer end.Close()
	want := []string{
		"child: open /jobs 20 receives true sends true",
		"program: attached 0 8192 bytes in 1 read-only false",
		"program: attached 1 8192 bytes in 1 read-only true",
		"program: mq_timedreceive /jobs type 0 bytes 0 []",
		"program: msgrcv type -5 bytes 10 []",
		"program: open /jobs 20 receives true sends true",
		"program: semop type 0 bytes 0 [{1 -1 0} {0 2 0}]",
	}
	var uses []host.Process
	ipctest.Eventually(t, "three calls slept", func() bool {
		uses = s.Uses()
		return slices.ContainsFunc(uses, func(p host.Process) bool { return len(p.Waiting) == 3 })
	})
	if got := describeUses(uses, cmd.Process.Pid); !slices.Equal(got, want) {
		t.Errorf("these are the uses:\n%s\nand these should be:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// describeUses has a line for each use, without what differs from run to run: of
// descriptors, all but those that were given a number.
func describeUses(processes []host.Process, program int) (lines []string) {
	for _, p := range processes {
		who := "child"
		if p.PID == program {
			who = "program"
		}
		for _, a := range p.Attached {
			lines = append(lines, fmt.Sprintf("%s: attached %d %d bytes in %d read-only %v", who, a.ID, a.Bytes, a.Mappings, a.ReadOnly))
		}
		for _, queue := range p.Open {
			if queue.FD == 20 && !queue.Unlinked {
				lines = append(lines, fmt.Sprintf("%s: open %s %d receives %t sends %t", who, queue.Name, queue.FD, queue.Receives, queue.Sends))
			}
		}
		for _, w := range p.Waiting {
			lines = append(lines, fmt.Sprintf("%s: %s type %d bytes %d %v", who, strings.TrimSpace(w.Call+" "+w.Name), w.Type, w.Bytes, w.Operations))
		}
	}
	slices.Sort(lines)
	return lines
}
