//go:build linux

package host

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory is the memory of a segment, as a process that has attached it has it.
// Reading it attaches nothing, and changes nothing that the kernel tells of the
// segment.
type Memory struct {
	file    *os.File // all of it; nil if this user may not open that
	process *os.File // the memory of the process, from begin to end
	pages   *os.File // what the process has of that; see proc_pid_pagemap(5)

	begin, end uint64
	offset     uint64 // of begin, in the segment
}

// OpenMemory opens the memory of what a process has attached. Root, with
// CAP_CHECKPOINT_RESTORE, opens the segment's file. Others read the memory of the
// process, as far as the first mapping of the attachment goes, and what the
// process has used of it: reading the rest would allocate it. EPERM or EACCES: that
// takes the right to trace the process too.
func (proc Proc) OpenMemory(pid int, a Attachment) (*Memory, error) {
	dir := string(proc) + "/" + strconv.Itoa(pid)
	m, name, err := findMapping(dir, a.Address)
	if err != nil {
		return nil, err
	}
	if fd, err := unix.Open(dir+"/map_files/"+name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOATIME, 0); err == nil {
		m.file = os.NewFile(uintptr(fd), name)
		return m, nil
	}
	if m.process, err = os.Open(dir + "/mem"); err != nil {
		return nil, err
	}
	if m.pages, err = os.Open(dir + "/pagemap"); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// findMapping finds the mapping at an address, and its name in map_files.
func findMapping(dir string, address uint64) (m *Memory, name string, err error) {
	maps, err := os.ReadFile(dir + "/maps")
	if err != nil {
		return nil, "", err
	}
	for line := range bytes.Lines(maps) {
		var begin, end, offset uint64
		var permissions string
		if _, err := fmt.Sscanf(string(line), "%x-%x %s %x", &begin, &end, &permissions, &offset); err == nil && begin == address {
			name, _, _ := strings.Cut(string(line), " ")
			return &Memory{begin: begin, end: end, offset: offset}, name, nil
		}
	}
	return nil, "", os.ErrNotExist // it has been detached
}

// Close closes what was opened.
func (m *Memory) Close() error {
	for _, file := range []*os.File{m.file, m.process, m.pages} {
		if file != nil {
			file.Close()
		}
	}
	return nil
}

// Each calls f with the memory, piece by piece, and where it begins in the segment.
// What the process has not used is left out, if it takes that.
func (m *Memory) Each(f func(offset uint64, memory []byte) error) error {
	piece := make([]byte, os.Getpagesize())
	if m.file != nil {
		return eachPiece(m.file, piece, f)
	}
	for at := m.begin; at < m.end; at += uint64(len(piece)) {
		if used, err := m.used(at); err != nil {
			return err
		} else if !used {
			continue
		}
		if _, err := m.process.ReadAt(piece, int64(at)); err != nil {
			return err
		}
		if err := f(m.offset+at-m.begin, piece); err != nil {
			return err
		}
	}
	return nil
}

func eachPiece(file io.Reader, piece []byte, f func(offset uint64, memory []byte) error) error {
	for offset := uint64(0); ; {
		n, err := io.ReadFull(file, piece)
		if n > 0 {
			if err := f(offset, piece[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
		offset += uint64(n)
	}
}

// used reports whether the page at an address is in the process's memory.
func (m *Memory) used(address uint64) (bool, error) {
	const present = 1 << 63
	var entry [8]byte
	_, err := m.pages.ReadAt(entry[:], int64(address/uint64(os.Getpagesize())*uint64(len(entry))))
	return binary.NativeEndian.Uint64(entry[:])&present != 0, err
}

// Whole reports whether nothing of the memory is left out.
func (m *Memory) Whole() bool { return m.file != nil }
