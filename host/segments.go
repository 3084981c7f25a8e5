//go:build linux

package host

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// A segmentFile tells one segment from another: what the kernel tells of the file
// that its memory is, which is the same in all processes that have attached it.
type segmentFile struct {
	id  int
	key ipc.Key // that it was made with

	handle string // of the file, of which no two are the same; "" if that may not be known
	bytes  uint64 // how large it was made
	born   int64  // when, in seconds since the Unix epoch

	// scope tells those without a handle apart, as far as that goes: the first
	// namespace of the process.
	scope uint64
}

// findSegments finds the segments that the process has attached; see
// proc_pid_maps(5).
func (p *used) findSegments(dir string, buffer *fileBuffer) {
	maps, err := buffer.read(dir + "/maps")
	if err != nil {
		return // it has ended, or become another program
	}
	for len(maps) > 0 {
		at := bytes.Index(maps, []byte(segmentName))
		if at < 0 {
			return
		}
		begin := bytes.LastIndexByte(maps[:at], '\n') + 1
		line, rest, _ := bytes.Cut(maps[begin:], []byte("\n"))
		if m, ok := parseMapping(string(line)); ok {
			m.identify(dir)
			if m.file.handle == "" {
				m.file.scope = p.Namespaces[0]
			}
			p.attach(m)
		}
		maps = rest
	}
}

// segmentName is how the name of a segment's file begins: the rest is its key.
const segmentName = "/SYSV"

// A mapping is one of a segment's, or a part of one.
type mapping struct {
	begin, end uint64
	readOnly   bool
	file       segmentFile
	name       string // in the process's directory map_files
}

// parseMapping reads a line of /proc/PID/maps, which is of a segment or of a file
// whose name is like that of one.
func parseMapping(line string) (m mapping, ok bool) {
	fields := strings.Fields(line) // address perms offset dev inode path (deleted)
	if len(fields) != 7 || fields[6] != "(deleted)" {
		return mapping{}, false
	}
	m.name = fields[0]
	begin, end, _ := strings.Cut(fields[0], "-")
	m.readOnly = !strings.Contains(fields[1], "w")
	key, named := strings.CutPrefix(fields[5], segmentName)
	var errs [4]error
	var bits uint64
	m.begin, errs[0] = strconv.ParseUint(begin, 16, 64)
	m.end, errs[1] = strconv.ParseUint(end, 16, 64)
	bits, errs[2] = strconv.ParseUint(key, 16, 32)
	m.file.id, errs[3] = strconv.Atoi(fields[4])
	m.file.key = ipc.Key(bits)
	return m, named && errs == [4]error{}
}

// identify finds out which segment the mapping is of, if this user may know that,
// which takes CAP_CHECKPOINT_RESTORE.
func (m *mapping) identify(dir string) {
	path := dir + "/map_files/" + m.name
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_SIZE|unix.STATX_BTIME, &st); err != nil {
		return
	}
	m.file.handle, m.file.bytes, m.file.born = string(handle.Bytes()), st.Size, st.Btime.Sec
}

// attach adds a mapping to what the process has attached.
func (p *used) attach(m mapping) {
	for i, file := range p.files {
		if file == m.file {
			a := &p.Attached[i]
			a.Address = min(a.Address, m.begin)
			a.Bytes += m.end - m.begin
			a.Mappings++
			a.ReadOnly = a.ReadOnly && m.readOnly
			return
		}
	}
	p.files = append(p.files, m.file)
	p.Attached = append(p.Attached, Attachment{ID: m.file.id, Address: m.begin, Bytes: m.end - m.begin, Mappings: 1, ReadOnly: m.readOnly})
}
