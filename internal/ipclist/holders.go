//go:build linux

package ipclist

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Holder is what a process has that keeps an IPC namespace.
type Holder struct {
	Kind  Kind
	PID   int // of the process, or of a thread that has a table of descriptors of its own
	FD    int // -1 for what is no descriptor
	Inode uint32
}

// A Kind is a kind of holder.
type Kind uint32

// The kinds of holders.
const (
	Descriptor Kind = 1 + iota // of the namespace
	Table                      // an open file of /proc/sysvipc
	Context                    // of fsopen(2) for a file system of POSIX queues
	Attachment                 // of a segment, by a process that is not in the namespace
)

// Magic numbers of file systems, in statfs(2).
const (
	nsfsMagic  = 0x6e736673
	procMagic  = 0x9fa0
	anonMagic  = 0x09041934
	tmpfsMagic = 0x01021994
	hugeMagic  = 0x958458f6
)

// Descriptors returns all descriptors that hold an IPC namespace, of the
// processes that this one has ids for.
func (k *Kernel) Descriptors() ([]Holder, error) {
	holders, err := k.iterate("bpf_iter_task_file", k.fileProgram())
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel's list of descriptors: %w", err)
	}
	return holders, nil
}

// Attachments returns who has attached segments of a namespace without being in
// it, of the processes that this one has ids for. A process that has attached
// several is there several times.
func (k *Kernel) Attachments() ([]Holder, error) {
	holders, err := k.iterate("bpf_iter_task_vma", k.mappingProgram())
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel's list of mappings: %w", err)
	}
	return holders, nil
}

// iterate runs a program for each thing of a kind.
func (k *Kernel) iterate(kind string, p *program) ([]Holder, error) {
	number, err := k.types.number(kind)
	if err := errors.Join(k.missing, err); err != nil {
		return nil, err
	}
	const tracing, iterator = 26, 28
	fd, err := p.submit(tracing, iterator, number)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	link, err := bpf(linkCreate, &struct{ program, target, attach, flags uint32 }{uint32(fd), 0, iterator, 0})
	if err != nil {
		return nil, err
	}
	defer unix.Close(link)
	reader, err := bpf(iterCreate, &struct{ link, flags uint32 }{uint32(link), 0})
	if err != nil {
		return nil, err
	}
	defer unix.Close(reader)
	data, err := readAll(reader)
	if err != nil {
		return nil, err
	}
	return parseHolders(data), nil
}

// readAll reads what a program writes. The kernel interrupts that when the
// program has seen a million things and written of none.
func readAll(fd int) (data []byte, err error) {
	buffer := make([]byte, 1<<15)
	for {
		n, err := unix.Read(fd, buffer)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			continue
		case err != nil || n == 0:
			return data, err
		}
		data = append(data, buffer[:n]...)
	}
}

const holderSize = 16

func parseHolders(data []byte) []Holder {
	order := binary.NativeEndian
	var holders []Holder
	for ; len(data) >= holderSize; data = data[holderSize:] {
		holders = append(holders, Holder{
			Kind:  Kind(order.Uint32(data)),
			PID:   int(order.Uint32(data[4:])),
			FD:    int(int32(order.Uint32(data[8:]))),
			Inode: order.Uint32(data[12:]),
		})
	}
	return holders
}

// Registers of the programs below, and where their record is on the stack.
const (
	context  register = 6
	found    register = 7 // the file, and then the namespace in it
	where    register = 8 // what leads from one to the other
	kind     register = 9
	record            = -32
	argTask           = 8 // in the context
	argFD             = 16
	argFile           = 24
	argVMA            = 16
	nameSize          = 8
)

// word is the beginning of a name, as a number.
func word(name string) uint64 {
	var bytes [nameSize]byte
	copy(bytes[:], name)
	return binary.NativeEndian.Uint64(bytes[:])
}

// fileProgram writes a record for each file that holds an IPC namespace.
func (k *Kernel) fileProgram() *program {
	p := newProgram()
	p.copy(context, 1)
	p.load(found, context, argFile)
	p.jumpIf(found, equal, 0, "end")
	p.follow(where, found, k.at("file", "f_inode"))
	p.follow(1, where, k.at("inode", "i_sb"))
	p.follow(1, 1, k.at("super_block", "s_magic"))
	p.jumpIf(1, equal, nsfsMagic, "namespace")
	p.jumpIf(1, equal, procMagic, "proc")
	p.jumpIf(1, equal, anonMagic, "anonymous")
	p.jump("end")

	p.label("namespace")
	p.follow(found, where, k.at("inode", "i_private"))
	p.set(kind, int32(Descriptor))
	p.jump("found")

	p.label("proc") // a file of a directory sysvipc
	p.follow(where, found, k.at("file", "f_path.dentry"))
	p.follow(where, where, k.at("dentry", "d_parent"))
	k.jumpUnlessNamed(p, where, "sysvipc", "end")
	p.follow(found, found, k.at("file", "private_data"))
	p.follow(found, found, k.at("seq_file", "private"))
	p.follow(found, found, k.at("ipc_proc_iter", "ns"))
	p.plus(found, int32(k.at("ipc_namespace", "ns")))
	p.set(kind, int32(Table))
	p.jump("found")

	p.label("anonymous") // what fsopen returns, for this file system
	p.follow(where, found, k.at("file", "f_path.dentry"))
	k.jumpUnlessNamed(p, where, "[fsconte", "end")
	p.follow(found, found, k.at("file", "private_data"))
	p.follow(where, found, k.at("fs_context", "fs_type"))
	p.follow(where, where, k.at("file_system_type", "name"))
	p.follow32(where, where, 0)
	p.jumpIf(where, notEqual, int32(word("mque")), "end")
	p.follow(found, found, k.at("fs_context", "fs_private"))
	p.follow(found, found, k.at("mqueue_fs_context", "ipc_ns"))
	p.plus(found, int32(k.at("ipc_namespace", "ns")))
	p.set(kind, int32(Context))

	p.label("found")
	p.load(where, context, argTask)
	p.jumpIf(where, equal, 0, "end")
	p.load(1, context, argFD)
	p.store32(stack, 1, record+8)
	k.writeRecord(p)
	return p
}

// mappingProgram writes a record for each mapping of a segment by a process
// that is in another namespace.
func (k *Kernel) mappingProgram() *program {
	p := newProgram()
	p.copy(context, 1)
	p.load(found, context, argVMA)
	p.jumpIf(found, equal, 0, "end")
	p.follow(found, found, k.at("vm_area_struct", "vm_file"))
	p.jumpIf(found, equal, 0, "end")
	p.follow(where, found, k.at("file", "f_inode"))
	p.follow(1, where, k.at("inode", "i_sb"))
	p.follow(1, 1, k.at("super_block", "s_magic"))
	p.jumpIf(1, equal, tmpfsMagic, "segment")
	p.value(2, hugeMagic)
	p.jumpIfSame(1, notEqual, 2, "end")

	p.label("segment")
	p.follow(where, found, k.at("file", "f_path.dentry"))
	p.follow(where, where, k.at("dentry", "d_name.name"))
	p.follow32(where, where, 0)
	p.jumpIf(where, notEqual, int32(word("SYSV")), "end")
	p.follow(found, found, k.at("file", "private_data"))
	p.follow(found, found, k.at("shm_file_data", "ns"))
	p.load(where, context, argTask)
	p.jumpIf(where, equal, 0, "end")
	p.follow(where, where, k.at("task_struct", "group_leader"))
	p.follow(1, where, k.at("task_struct", "nsproxy"))
	p.follow(1, 1, k.at("nsproxy", "ipc_ns"))
	p.jumpIfSame(1, equal, found, "end")
	p.plus(found, int32(k.at("ipc_namespace", "ns")))
	p.set(kind, int32(Attachment))
	p.set(1, -1)
	p.store32(stack, 1, record+8)
	k.writeRecord(p)
	return p
}

// jumpUnlessNamed looks at the beginning of the name of a directory's entry.
func (k *Kernel) jumpUnlessNamed(p *program, entry register, name, label string) {
	p.follow(entry, entry, k.at("dentry", "d_name.name"))
	p.follow(entry, entry, 0)
	p.value(1, word(name))
	p.jumpIfSame(entry, notEqual, 1, label)
}

// writeRecord ends a program that has found a namespace and, where the register
// says, its task. The record has a descriptor already.
func (k *Kernel) writeRecord(p *program) {
	p.follow32(1, found, k.at("ns_common", "ns_type"))
	p.jumpIf(1, notEqual, newIPC, "end")
	p.follow(where, where, k.at("task_struct", "thread_pid"))
	const ofLevel, number = 16, 0 // struct upid
	p.follow32(1, where, k.at("pid", "numbers")+int16(k.level)*ofLevel+number)
	p.store32(stack, 1, record+4)
	p.follow32(1, found, k.at("ns_common", "inum"))
	p.store32(stack, 1, record+12)
	p.store32(stack, kind, record)
	p.load(1, context, 0)
	p.load(1, 1, 0) // of the first argument, the file to write to
	p.copy(2, stack)
	p.plus(2, record)
	p.set(3, holderSize)
	p.call(helperWrite)
	p.label("end")
	p.end()
}
