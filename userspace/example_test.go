package userspace_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/sysv"
	"github.com/ipcns/ipcns/userspace"
)

// A Counter counts in a message queue, as a program does that is to be tested.
// It takes the system that it works on.
type Counter struct{ jobs *sysv.MessageQueue }

func NewCounter(system ipc.System) (*Counter, error) {
	jobs, err := sysv.CreateMessageQueue(system, 0x2a, 0o600)
	return &Counter{jobs}, err
}

func (c *Counter) Add(ctx context.Context, job string) error {
	return c.jobs.Send(ctx, 1, []byte(job), 0)
}

// A program's test gives it a namespace in memory instead of the kernel's: no
// key is taken, no privilege needed, and nothing left behind.
func Example() {
	ns := userspace.New(userspace.Options{})
	program := ns.Start(userspace.User(1000, 1000))

	counter, err := NewCounter(program)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := counter.Add(context.Background(), "print"); err != nil {
		fmt.Println(err)
	}
	info, _, err := program.MsgInfo()
	fmt.Println(info.Messages, "message,", err)

	// A stranger is refused, as the kernel would.
	stranger := ns.Start(userspace.User(1001, 1001))
	jobs, err := sysv.OpenMessageQueue(stranger, 0x2a)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = jobs.Receive(context.Background(), 0, make([]byte, 100), 0)
	fmt.Println(errors.Is(err, syscall.EACCES))
	// Output:
	// 1 message, <nil>
	// true
}
