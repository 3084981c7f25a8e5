//go:build linux

package cli

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/ipc"
)

// A segmentAccount is what inspect tells of a segment.
type segmentAccount struct {
	objectHead
	State    any        `json:"segment"`
	Shmmax   uint64     `json:"shmmax"`
	Creator  *actor     `json:"created_by"`
	LastUser *actor     `json:"last_attached_or_detached_by"`
	Attached []attacher `json:"attached"`

	*viewing
	segment host.Segment
}

// An attacher is a process that has a segment attached.
type attacher struct {
	PID      int    `json:"pid"`
	Command  string `json:"command"`
	Address  string `json:"address"`
	Bytes    uint64 `json:"bytes"`
	Mappings int    `json:"mappings"`
	ReadOnly bool   `json:"read_only"`

	attachment host.Attachment
}

func (v *viewing) segment(s host.Segment) *segmentAccount {
	a := &segmentAccount{
		objectHead: v.headOf(objectName{kind: "shm", id: s.ID}, s.Perm.Mode, "read", "write"),
		State:      v.names.SegmentFacts(s), Shmmax: v.ns.Contents.Limits.Shmmax,
		Creator: v.actor(int(s.Cpid), s.Ctime), LastUser: v.actor(int(s.Lpid), max(s.Atime, s.Dtime)),
		Attached: []attacher{},
		viewing:  v, segment: s,
	}
	for _, p := range v.ns.Processes {
		for _, its := range p.Attached {
			if its.Namespace == v.ns.Inode && its.ID == s.ID {
				a.Attached = append(a.Attached, attacher{p.PID, p.Command, fmt.Sprintf("%#x", its.Address), its.Bytes, its.Mappings, its.ReadOnly, its})
			}
		}
	}
	return a
}

func (a *segmentAccount) lines() [][2]string {
	s := &a.segment
	state := ""
	if s.Perm.Mode&ipc.ShmDest != 0 {
		state = "removed: it ends when the last process has detached it"
	} else if s.Perm.Mode&ipc.ShmLocked != 0 {
		state = "locked into memory"
	}
	last := "never"
	if at := max(s.Atime, s.Dtime); at != 0 {
		last = a.LastUser.String()
	}
	return append(a.heading(&a.objectHead, "segment", s.ID, s.Perm), [][2]string{
		{"holds", fmt.Sprintf("%d bytes, of which this namespace allows %d (shmmax)", s.Segsz, a.Shmmax)},
		{"state", state},
		{"created by", a.Creator.String()},
		{"last changed", a.when(s.Ctime)},
		{"last attached", a.when(s.Atime)},
		{"last detached", a.when(s.Dtime)},
		{"last used by", last},
		{"attached", times(s.Nattch)},
	}...)
}

func times(n uint64) string {
	switch n {
	case 0:
		return "nowhere"
	case 1:
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (a *segmentAccount) detail(w io.Writer) error {
	if len(a.Attached) > 0 {
		t := table{rightAligned: []bool{true, true, true, false, false}}
		t.add("PID", "ADDRESS", "BYTES", "ACCESS", "COMMAND")
		for _, p := range a.Attached {
			access := "read, write"
			if p.ReadOnly {
				access = "read"
			}
			t.add(strconv.Itoa(p.PID), p.Address, strconv.FormatUint(p.Bytes, 10), access, oneline.Of(p.Command))
		}
		if err := writeBelow(w, &t); err != nil {
			return err
		}
	}
	if len(a.Attached) == 0 && a.segment.Nattch > 0 {
		_, err := fmt.Fprintln(w, "\nby processes that are not known here")
		return err
	}
	return nil
}

// dump prints the memory, which it takes an attacher to see without attaching it.
func (a *segmentAccount) dump(w io.Writer) error {
	if len(a.Attached) == 0 {
		return fmt.Errorf("cannot see the memory of segment %d: no process that this user may look at has it attached, and attaching it changes what the kernel tells of it; \"ipcns shm cat id:%d%s\" does that", a.segment.ID, a.segment.ID, a.option())
	}
	from := &a.Attached[0]
	memory, err := host.Proc("/proc").OpenMemory(from.PID, from.attachment)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("cannot see the memory of segment %d: process %d, which has it attached, may not be traced by this user; root may", a.segment.ID, from.PID)
	}
	if err != nil {
		return fmt.Errorf("cannot see the memory of segment %d: %w", a.segment.ID, err)
	}
	defer memory.Close()
	if _, err := fmt.Fprintf(w, "\n%s\n", memorySource(from, memory.Whole())); err != nil {
		return err
	}
	d := hexDump{w: w, end: a.segment.Segsz}
	if err := memory.Each(d.piece); err != nil {
		return err
	}
	return d.finish()
}

func memorySource(from *attacher, whole bool) string {
	who := fmt.Sprintf("process %d", from.PID)
	if whole {
		return "as it is in the file that " + who + " has mapped"
	}
	return "as far as " + who + " has used it, and without the rest"
}

// A hexDump prints memory as hexdump -C does: lines like the one before are a star.
type hexDump struct {
	w    io.Writer
	end  uint64 // what is behind is no more of it
	next uint64 // what comes, if nothing is left out
	last []byte
	star bool
}

// piece prints a piece of the memory.
func (d *hexDump) piece(offset uint64, memory []byte) error {
	if offset >= d.end {
		return nil
	}
	memory = memory[:min(uint64(len(memory)), d.end-offset)]
	if offset > d.next {
		if _, err := fmt.Fprintf(d.w, "%08x  not seen here: %d bytes\n", d.next, offset-d.next); err != nil {
			return err
		}
		d.last, d.star = nil, false
	}
	const width = 16
	for at := 0; at < len(memory); at += width {
		if err := d.line(offset+uint64(at), memory[at:min(at+width, len(memory))]); err != nil {
			return err
		}
	}
	d.next = offset + uint64(len(memory))
	return nil
}

func (d *hexDump) line(offset uint64, line []byte) (err error) {
	if bytes.Equal(line, d.last) {
		if !d.star {
			_, err = fmt.Fprintln(d.w, "*")
		}
		d.star = true
		return err
	}
	d.last, d.star = bytes.Clone(line), false
	_, rest, _ := bytes.Cut([]byte(hex.Dump(line)), []byte(" "))
	_, err = fmt.Fprintf(d.w, "%08x %s", offset, rest)
	return err
}

// finish prints where the memory ends.
func (d *hexDump) finish() error {
	if d.next < d.end {
		if _, err := fmt.Fprintf(d.w, "%08x  not seen here: %d bytes\n", d.next, d.end-d.next); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(d.w, "%08x\n", d.end)
	return err
}
