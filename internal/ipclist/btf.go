//go:build linux

package ipclist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Where the kernel says how its structures are laid out, see
// Documentation/bpf/btf.rst of the kernel.
const kernelTypes = "/sys/kernel/btf/vmlinux"

// Kinds of types that have something behind their twelve bytes, or are wanted.
const (
	kindInt       = 1
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindTypedef   = 8
	kindVolatile  = 9
	kindConst     = 10
	kindRestrict  = 11
	kindFunc      = 12
	kindFuncProto = 13
	kindVar       = 14
	kindDatasec   = 15
	kindDeclTag   = 17
	kindTypeTag   = 18
	kindEnum64    = 19
)

// types are the types of the kernel.
type types struct {
	data    []byte   // the types
	names   []byte   // their names, each with a NUL
	offsets []uint32 // in data, by the number of a type
	wanted  map[uint32]string
	found   map[string]uint32 // numbers of the types whose names are wanted
}

// readTypes reads the types of the running kernel. Those of these names can be
// found afterwards: there are 100,000 others.
//
// A new kernel lets the file be mapped, which is faster than to read it: a read
// gives a page at most. Mapped, it stays: the types point into it.
func readTypes(names ...string) (*types, error) {
	file, err := os.Open(kernelTypes)
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel's types: %w", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel's types: %w", err)
	}
	data, err := unix.Mmap(int(file.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		data, err = io.ReadAll(file)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel's types: %w", err)
	}
	return parseTypes(data, names)
}

var errTypes = errors.New("the kernel's types are not what they should be")

func parseTypes(data []byte, names []string) (*types, error) {
	const header, magic = 24, 0xeb9f
	order := binary.NativeEndian
	if len(data) < header || order.Uint16(data) != magic {
		return nil, errTypes
	}
	sections := data[min(order.Uint32(data[4:]), uint32(len(data))):]
	section := func(at int) []byte {
		offset, size := uint64(order.Uint32(data[at:])), uint64(order.Uint32(data[at+4:]))
		if offset+size > uint64(len(sections)) {
			return nil
		}
		return sections[offset : offset+size]
	}
	t := &types{data: section(8), names: section(16), wanted: map[uint32]string{}, found: map[string]uint32{}}
	for _, name := range names {
		if at := bytes.Index(t.names, []byte("\x00"+name+"\x00")); at >= 0 {
			t.wanted[uint32(at)+1] = name
		}
	}
	return t, t.index()
}

// index notes where each type is, and which of them have the names.
func (t *types) index() error {
	order := binary.NativeEndian
	t.offsets = append(make([]uint32, 0, len(t.data)/40), 0) // type 0 is void, which is not written down
	for at := 0; at < len(t.data); {
		if at+12 > len(t.data) {
			return errTypes
		}
		info := order.Uint32(t.data[at+4:])
		kind, count := int(info>>24&31), int(info&0xffff)
		if kind == kindStruct || kind == kindFunc {
			if name, wanted := t.wanted[order.Uint32(t.data[at:])]; wanted {
				t.found[name] = uint32(len(t.offsets))
			}
		}
		t.offsets = append(t.offsets, uint32(at))
		at += 12 + behind(kind, count)
	}
	return nil
}

// behind returns how many bytes a type has behind the first twelve.
func behind(kind, count int) int {
	switch kind {
	case kindInt, kindVar, kindDeclTag:
		return 4
	case kindArray:
		return 12
	case kindStruct, kindUnion, kindDatasec, kindEnum64:
		return 12 * count
	case kindEnum, kindFuncProto:
		return 8 * count
	}
	return 0
}

// number returns the number of a function or structure.
func (t *types) number(name string) (uint32, error) {
	number, found := t.found[name]
	if !found {
		return 0, fmt.Errorf("the kernel has no %s", name)
	}
	return number, nil
}

// offset returns where in a structure a member is, in bytes: "f_path.dentry"
// is that of the structure f_path. What has no name is looked through.
func (t *types) offset(structure, path string) (int16, error) {
	number, err := t.number(structure)
	if err != nil {
		return 0, err
	}
	total := uint32(0)
	for name := range strings.SplitSeq(path, ".") {
		bits, member, found := t.member(number, name)
		if !found {
			return 0, fmt.Errorf("the kernel's %s has no %s", structure, path)
		}
		total += bits / 8
		number = member
	}
	if total > 1<<15-1 {
		return 0, errTypes
	}
	return int16(total), nil
}

// member returns the offset of a member, in bits, and its type.
func (t *types) member(structure uint32, name string) (bits, kind uint32, found bool) {
	order := binary.NativeEndian
	data := t.data[t.offsets[t.plain(structure)]:]
	info := order.Uint32(data[4:])
	if k := info >> 24 & 31; k != kindStruct && k != kindUnion {
		return 0, 0, false
	}
	for i := range int(info & 0xffff) {
		field := data[12+12*i:]
		at, number := order.Uint32(field[8:]), order.Uint32(field[4:])
		if info>>31 != 0 {
			at &= 1<<24 - 1 // above it is the size of a bit field
		}
		switch own := t.name(order.Uint32(field)); own {
		case name:
			return at, number, true
		case "":
			if bits, kind, found := t.member(number, name); found {
				return at + bits, kind, true
			}
		}
	}
	return 0, 0, false
}

// plain returns a type without what qualifies it.
func (t *types) plain(number uint32) uint32 {
	order := binary.NativeEndian
	for {
		data := t.data[t.offsets[number]:]
		switch order.Uint32(data[4:]) >> 24 & 31 {
		case kindTypedef, kindVolatile, kindConst, kindRestrict, kindTypeTag:
			number = order.Uint32(data[8:])
		default:
			return number
		}
	}
}

func (t *types) name(offset uint32) string {
	end := bytes.IndexByte(t.names[offset:], 0)
	return string(t.names[offset : int(offset)+end])
}
