//go:build linux

package mqueue_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/mqueue"
)

func ExampleQueue() {
	queue, err := mqueue.Create(kernel.System{}, "/jobs", mqueue.ReadWrite, 0o600, mqueue.Attributes{Maxmsg: 4, Msgsize: 64})
	if err != nil {
		log.Fatal(err)
	}
	defer mqueue.Unlink(kernel.System{}, "/jobs")
	defer queue.Close()

	ctx := context.Background()
	const routine, urgent = 1, 2 // priorities
	if err := queue.Send(ctx, []byte("sweep the floor"), routine); err != nil {
		log.Fatal(err)
	}
	if err := queue.Send(ctx, []byte("put out the fire"), urgent); err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 64)
	for range 2 {
		n, priority, err := queue.Receive(ctx, buffer)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("priority %d: %s\n", priority, buffer[:n])
	}
	// Output:
	// priority 2: put out the fire
	// priority 1: sweep the floor
}

func ExampleQueue_Receive_timeout() {
	queue, err := mqueue.Create(kernel.System{}, "/jobs", mqueue.ReadOnly, 0o600, mqueue.Attributes{Maxmsg: 4, Msgsize: 64})
	if err != nil {
		log.Fatal(err)
	}
	defer mqueue.Unlink(kernel.System{}, "/jobs")
	defer queue.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, _, err = queue.Receive(ctx, make([]byte, 64))
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

// Receive until the queue is empty, then wait for a message and for other
// work at the same time.
func ExampleQueue_Notify() {
	queue, err := mqueue.Create(kernel.System{}, "/jobs", mqueue.ReadWrite|mqueue.Nonblock, 0o600, mqueue.Attributes{Maxmsg: 4, Msgsize: 64})
	if err != nil {
		log.Fatal(err)
	}
	defer mqueue.Unlink(kernel.System{}, "/jobs")
	defer queue.Close()

	ctx := context.Background()
	ticks := time.NewTicker(10 * time.Millisecond) // the other work
	defer ticks.Stop()
	buffer := make([]byte, 64)
	for done := false; !done; {
		// Ask first: a message that comes after the last Receive is told of.
		arrived, stop, err := queue.Notify()
		if err != nil {
			log.Fatal(err)
		}
		for {
			n, _, err := queue.Receive(ctx, buffer)
			if errors.Is(err, syscall.EAGAIN) {
				break
			}
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("received %s\n", buffer[:n])
			done = true
		}
		if !done {
			select {
			case <-arrived:
			case <-ticks.C:
				if err := queue.Send(ctx, []byte("a tick"), 0); err != nil {
					log.Fatal(err)
				}
			}
		}
		if err := stop(); err != nil {
			log.Fatal(err)
		}
	}
	// Output: received a tick
}
