//go:build linux

package sysv_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/sysv"
)

func ExampleMessageQueue() {
	queue, err := sysv.CreateMessageQueue(kernel.System{}, 0x2a, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	defer queue.Remove()

	ctx := context.Background()
	const routine, urgent = 1, 2 // types, which are above 0
	if err := queue.Send(ctx, routine, []byte("sweep the floor"), 0); err != nil {
		log.Fatal(err)
	}
	if err := queue.Send(ctx, urgent, []byte("put out the fire"), 0); err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 100)
	typ, n, err := queue.Receive(ctx, urgent, buffer, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("type %d: %s\n", typ, buffer[:n])
	// Output: type 2: put out the fire
}

func ExampleMessageQueue_Receive_timeout() {
	queue, err := sysv.CreateMessageQueue(kernel.System{}, ipc.Private, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	defer queue.Remove()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, _, err = queue.Receive(ctx, 0, make([]byte, 100), 0)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

func ExampleMessageQueue_Messages() {
	queue, err := sysv.CreateMessageQueue(kernel.System{}, ipc.Private, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	defer queue.Remove()
	for _, text := range []string{"first", "second"} {
		if err := queue.Send(context.Background(), 1, []byte(text), ipc.NoWait); err != nil {
			log.Fatal(err)
		}
	}

	for message, err := range queue.Messages() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("type %d: %s\n", message.Type, message.Text)
	}
	state, err := queue.Stat()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("still there:", state.Qnum)
	// Output:
	// type 1: first
	// type 1: second
	// still there: 2
}

func ExampleSemaphoreSet() {
	// Two semaphores: a lock, and the free places of a buffer.
	const lock, places = 0, 1
	ctx := context.Background()
	set, err := sysv.CreateSemaphoreSet(ctx, kernel.System{}, 0x2a, []uint16{lock: 1, places: 10}, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	defer set.Remove()

	if err := set.Acquire(ctx, lock); err != nil {
		log.Fatal(err)
	}
	err = set.TryAcquire(lock)
	fmt.Println("taken:", errors.Is(err, syscall.EAGAIN))
	if err := set.Release(lock); err != nil {
		log.Fatal(err)
	}

	// Take both at once. Should the process die, the kernel gives them back.
	err = set.Op(ctx, []ipc.Sembuf{
		{Num: lock, Op: -1, Flg: ipc.SemUndo},
		{Num: places, Op: -3, Flg: ipc.SemUndo},
	})
	if err != nil {
		log.Fatal(err)
	}
	values, err := set.Values()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(values)
	// Output:
	// taken: true
	// [0 7]
}

func ExampleSegment() {
	segment, err := sysv.CreateSegment(kernel.System{}, 0x2a, 1000, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	defer segment.Remove()
	attachment, err := segment.Attach(0)
	if err != nil {
		log.Fatal(err)
	}
	defer attachment.Detach()

	err = attachment.Use(func(memory []byte) error {
		binary.NativeEndian.PutUint32(memory[8:], 42)
		hits := (*atomic.Int64)(unsafe.Pointer(&memory[0]))
		fmt.Println("hits:", hits.Add(1))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: hits: 1
}

func ExampleAttachment_ReadAt() {
	segment, err := sysv.CreateSegment(kernel.System{}, ipc.Private, 5, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	defer segment.Remove()
	attachment, err := segment.Attach(0)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := attachment.WriteAt([]byte("hello"), 0); err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 4)
	n, err := attachment.ReadAt(buffer, 1)
	fmt.Printf("%s, %v\n", buffer[:n], err)

	// What is detached is no memory any more, but no fault either.
	if err := attachment.Detach(); err != nil {
		log.Fatal(err)
	}
	_, err = attachment.ReadAt(buffer, 0)
	fmt.Println(errors.Is(err, sysv.ErrDetached))
	// Output:
	// ello, <nil>
	// true
}

func ExampleFtok() {
	file, err := os.CreateTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(file.Name())
	defer file.Close()

	first, err := sysv.Ftok(file.Name(), 'A')
	if err != nil {
		log.Fatal(err)
	}
	again, err := sysv.Ftok(file.Name(), 'A')
	if err != nil {
		log.Fatal(err)
	}
	another, err := sysv.Ftok(file.Name(), 'B')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first == again, first == another)
	// Output: true false
}
