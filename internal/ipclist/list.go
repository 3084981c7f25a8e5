//go:build linux

// Package ipclist reads the kernel's own list of IPC namespaces, and what holds
// them, with programs that run in the kernel; see bpf(2). They only read.
package ipclist

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Namespace is one of the kernel's list.
type Namespace struct {
	ID      uint64
	Inode   uint32
	Mqueues uint32 // how many POSIX message queues it has
}

// newIPC is CLONE_NEWIPC.
const newIPC = unix.CLONE_NEWIPC

// structures are those whose offsets are wanted.
var structures = []string{
	"task_struct", "nsproxy", "ipc_namespace", "ns_common", "pid",
	"file", "inode", "super_block", "dentry", "seq_file", "ipc_proc_iter", "fs_context", "file_system_type", "mqueue_fs_context",
	"vm_area_struct", "shm_file_data",
	"bpf_iter_task_file", "bpf_iter_task_vma",
}

// A Kernel is what is known of the running kernel's structures.
type Kernel struct {
	types   *types
	missing error
	level   uint32
}

// Open reads how the running kernel's structures are laid out.
func Open() (*Kernel, error) {
	types, err := readTypes(structures...)
	if err != nil {
		return nil, err
	}
	return &Kernel{types: types}, nil
}

// at returns the offset of a member.
func (k *Kernel) at(structure, member string) int16 {
	offset, err := k.types.offset(structure, member)
	if err != nil && k.missing == nil {
		k.missing = err
	}
	return offset
}

// A record is a Namespace as the program writes it.
const recordSize = 16

// Namespaces returns all IPC namespaces that there are.
func (k *Kernel) Namespaces() ([]Namespace, error) {
	for capacity := 4096; ; capacity *= 4 {
		all, count, err := k.list(capacity)
		if err != nil {
			return nil, fmt.Errorf("cannot read the kernel's list of namespaces: %w", err)
		}
		if count <= capacity {
			return all, nil
		}
	}
}

func (k *Kernel) list(capacity int) ([]Namespace, int, error) {
	value := make([]byte, capacity*recordSize+16)
	m, err := bpf(mapCreate, &struct{ kind, key, value, entries, flags uint32 }{kind: 2, key: 4, value: uint32(len(value)), entries: 1})
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(m)
	p := k.listProgram(m, capacity)
	if k.missing != nil {
		return nil, 0, k.missing
	}
	const rawTracepoint = 17
	fd, err := p.submit(rawTracepoint, 0, 0)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(fd)
	// It is run once, here, and attached to nothing.
	if _, err := bpf(progRun, &struct {
		program uint32
		_       [76]byte // data and context, of which it has none
	}{program: uint32(fd)}); err != nil {
		return nil, 0, err
	}
	var key uint32
	lookup := struct {
		m, pad     uint32
		key, value uint64
		flags      uint64
	}{m: uint32(m), key: uint64(uintptr(unsafe.Pointer(&key))), value: address(value)}
	_, err = bpf(mapLookup, &lookup)
	runtime.KeepAlive(&key)
	runtime.KeepAlive(value)
	if err != nil {
		return nil, 0, err
	}
	order := binary.NativeEndian
	count := int(order.Uint64(value))
	k.level = order.Uint32(value[8:])
	var all []Namespace
	for i := range min(count, capacity) {
		record := value[16+i*recordSize:]
		all = append(all, Namespace{order.Uint64(record), order.Uint32(record[8:]), order.Uint32(record[12:])})
	}
	return all, count, nil
}

// listProgram goes round the list of the namespaces, from that of this thread.
// The list's head is no namespace: its operations are not those of one.
func (k *Kernel) listProgram(m, capacity int) *program {
	const records, first, node, count = 6, 7, 8, 9
	const operations, others, next = -16, -24, -32
	p := newProgram()
	p.wide(records, 2, int32(m), 0) // the map's value
	p.call(helperCurrentTask)
	p.copy(first, 0)
	p.follow(node, first, k.at("task_struct", "thread_pid"))
	p.follow32(0, node, k.at("pid", "level"))
	p.store32(records, 0, 8)
	p.follow(first, first, k.at("task_struct", "nsproxy"))
	p.follow(first, first, k.at("nsproxy", "ipc_ns"))
	p.plus(first, int32(k.at("ipc_namespace", "ns")))
	p.read(operations, 8, first, k.at("ns_common", "ops"))
	p.copy(node, first)
	p.label("loop")
	p.orEndLoop("end")
	p.read(others, 8, node, k.at("ns_common", "ops"))
	p.load(1, stack, operations)
	p.load(2, stack, others)
	p.jumpIfSame(1, notEqual, 2, "next")
	// In memory, the kernel's checks take the count for any number, and need not
	// go through the loop again for each.
	p.load(count, records, 0)
	p.jumpIf(count, atLeast, int32(capacity), "full")
	for _, field := range []struct {
		at   int32
		size int32
		from int16
	}{
		{0, 8, k.at("ns_common", "ns_id")},
		{8, 4, k.at("ns_common", "inum")},
		{12, 4, k.at("ipc_namespace", "mq_queues_count") - k.at("ipc_namespace", "ns")},
	} {
		p.copy(1, count)
		p.times(1, recordSize)
		p.sum(1, records)
		p.plus(1, 16+field.at)
		p.set(2, field.size)
		p.copy(3, node)
		p.plus(3, int32(field.from))
		p.call(helperRead)
	}
	p.label("full")
	p.plus(count, 1)
	p.store(records, count, 0)
	p.label("next")
	p.follow(node, node, k.at("ns_common", "ns_list_node.next"))
	p.plus(node, -int32(k.at("ns_common", "ns_list_node")))
	p.jumpIfSame(node, notEqual, first, "loop")
	p.label("end")
	p.end()
	return p
}
