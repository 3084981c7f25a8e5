package userspace

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/ipc"
)

// Why a snapshot is refused.
var (
	ErrNotSnapshot = errors.New("this is not a snapshot of a namespace")
	ErrNewer       = errors.New("the snapshot is of a newer format")
	ErrTruncated   = errors.New("the snapshot ends too early")
	ErrDamaged     = errors.New("the snapshot is damaged")
	ErrTooLarge    = errors.New("the segments of the snapshot take more memory than they may")
)

// maxHeader is more than the first line of any version has.
const maxHeader = 1 << 16

// Restore makes the namespace that a snapshot is of, which r ends with. Of
// options, the limits are not looked at: those of the snapshot count.
//
// Processes that the snapshot has are there, with what they hold; see
// [Namespace.Resume]. A snapshot that is not whole and correct is refused with
// one of the errors above or that of r, and leaves nothing: it may come from
// anyone, and takes memory in proportion to its length, but for segments, of
// which [Options] limits the size.
func Restore(r io.Reader, options Options) (*Namespace, error) {
	options.Limits = nil
	x := &restorer{
		ns: New(options), in: bufio.NewReaderSize(r, maxHeader), limit: options.RestoreLimit,
		inodes: map[uint64]*mqueue{}, undone: map[*set]*process{},
	}
	if x.limit == 0 {
		x.limit = DefaultRestoreLimit
	}
	x.room = x.limit
	if err := x.restore(); err != nil {
		x.ns.free()
		return nil, fmt.Errorf("cannot restore: %w", err)
	}
	return x.ns, nil
}

// free lets go of the memory of a namespace that does not come to be.
func (ns *Namespace) free() {
	for n := ns.processes.first; n != nil; n = n.next {
		for _, a := range n.value.mapped {
			for range a.count {
				if a.uses--; a.uses == 0 {
					a.segment.memory.Unmap(a.memory) // of which nothing is left to do if it fails
				}
			}
		}
	}
	for s := range ns.segments.all() {
		s.memory.Free() // as above
	}
}

// A restorer reads records, and makes what they tell of.
type restorer struct {
	ns       *Namespace
	in       *bufio.Reader
	f        fields // of the record that is read
	frame    [frameSize]byte
	body     []byte
	checksum uint32
	records  uint64
	limit    uint64 // bytes that segments may take
	room     uint64 // of which are left

	tag    byte // of the record that was read
	before byte // of the record before it

	// What the records that follow an object's belong to.
	queue    *queue
	set      *set
	segment  *segment
	written  uint64 // where the segment's last contents end, of
	run      int    // so many bytes
	mqueue   *mqueue
	priority uint // of its last message
	task     *Task
	last     attachment // of the process

	inodes map[uint64]*mqueue
	undone map[*set]*process // the last one that gives something back to a set
}

func (x *restorer) restore() error {
	if err := x.header(); err != nil {
		return err
	}
	for x.tag != tagEnd {
		if err := x.read(); err != nil {
			return err
		}
		if err := x.take(); err != nil {
			return x.refusal(err)
		}
		x.records++
	}
	return x.nothingElse()
}

// errMemory is that of [Memory], for which the snapshot is not to blame.
var errMemory = errors.New("no memory for a segment")

// refusal says which record is refused.
func (x *restorer) refusal(err error) error {
	if errors.Is(err, ErrTooLarge) || errors.Is(err, errMemory) {
		return err
	}
	return fmt.Errorf("%w: record %d, %q: %w; %s", ErrDamaged, x.records+1, x.tag, err, again)
}

// again is what to do about a snapshot that is not what was written.
const again = "copy it again, or take another one"

// header reads the first line.
func (x *restorer) header() error {
	want := headerLine()
	line, err := x.in.ReadSlice('\n')
	if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
		return err
	}
	var got header
	switch {
	case err == io.EOF && len(line) > 0 && bytes.HasPrefix(want, line):
		return x.truncated()
	case err != nil || json.Unmarshal(line, &got) != nil || got.Format != formatName:
		return fmt.Errorf("%w: it begins with %.40q, not with %.40q", ErrNotSnapshot, line, want)
	case got.Version > formatVersion:
		return fmt.Errorf("%w, version %d: this program reads version %d; use the one that wrote it, or a newer one", ErrNewer, got.Version, formatVersion)
	case !bytes.Equal(line, want):
		return fmt.Errorf("%w: its first line is not that of version %d; %s", ErrDamaged, formatVersion, again)
	}
	x.sum(line)
	return nil
}

func (x *restorer) sum(p []byte) { x.checksum = crc32.Update(x.checksum, castagnoli(), p) }

func (x *restorer) truncated() error {
	return fmt.Errorf("%w, after %d whole records; %s", ErrTruncated, x.records, again)
}

// fill fills p.
func (x *restorer) fill(p []byte) error {
	_, err := io.ReadFull(x.in, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return x.truncated()
	}
	return err
}

// read reads the next record. It takes memory for no more than twice of what
// there is of it, whatever its length says.
func (x *restorer) read() error {
	const step = 1 << 16
	frame := x.frame[:]
	if err := x.fill(frame); err != nil {
		return err
	}
	x.sum(frame)
	x.before, x.tag = x.tag, frame[0]
	size := uint64(binary.LittleEndian.Uint32(frame[1:]))
	body := x.body[:0]
	for uint64(len(body)) < size {
		at := len(body)
		n := int(min(size-uint64(at), uint64(max(at, step))))
		body = slices.Grow(body, n)[:at+n]
		if err := x.fill(body[at:]); err != nil {
			return err
		}
	}
	x.body, x.f = body, fields{pass: reading, body: body}
	if x.tag != tagEnd { // of which the checksum is a part
		x.sum(body)
	}
	return nil
}

// A kind of record may follow others, and is taken by a method.
type kind struct {
	follows string
	take    func(*restorer) error
}

// kinds are what records there are. Those of objects follow what belongs to
// the objects before, among which a set without a semaphore is not.
var kinds = map[byte]kind{
	tagNamespace:  {"\x00", (*restorer).namespace},
	tagQueue:      {"NQq", (*restorer).addQueue},
	tagMessage:    {"Qq", (*restorer).addMessage},
	tagSet:        {"NQqs", (*restorer).addSet},
	tagSemaphore:  {"Ss", (*restorer).addSemaphore},
	tagSegment:    {"NQqsMm", (*restorer).addSegment},
	tagBlocks:     {"Mm", (*restorer).addBlocks},
	tagMqueue:     {"NQqsMmPp", (*restorer).addMqueue},
	tagMqMessage:  {"Pp", (*restorer).addMqMessage},
	tagProcess:    {"NQqsMmPpTucad", (*restorer).addProcess},
	tagUndo:       {"Tu", (*restorer).addUndo},
	tagCreated:    {"Tuc", (*restorer).addCreated},
	tagAttachment: {"Tuca", (*restorer).addAttachment},
	tagDescriptor: {"Tucad", (*restorer).addDescriptor},
	tagEnd:        {"NQqsMmPpTucad", (*restorer).end},
}

// take takes the record that has been read.
func (x *restorer) take() error {
	kind, known := kinds[x.tag]
	switch {
	case !known:
		return errors.New("there is no such record")
	case strings.IndexByte(kind.follows, x.before) < 0:
		return fmt.Errorf("it may not follow %q", x.before)
	}
	return kind.take(x)
}

// all reports what is wrong with the fields that were read.
func (f *fields) all() error {
	if f.err == nil && len(f.body) > 0 {
		return fmt.Errorf("it has %d bytes too many", len(f.body))
	}
	return f.err
}

func (x *restorer) namespace() error {
	x.f.namespace(x.ns)
	return x.f.all()
}

// place puts a System V object into its table.
func place[O object](t *table[O], o O) error {
	perm := o.permissions()
	if *o.index() < len(t.at) {
		return fmt.Errorf("its index %d is not above the last one's", *o.index())
	}
	if _, taken := t.keys[perm.Key]; taken {
		return fmt.Errorf("its key %s is another one's", perm.Key)
	}
	t.put(o)
	return nil
}

func (x *restorer) addQueue() error {
	q := newQueue(x.ns)
	x.f.queue(q)
	if err := x.f.all(); err != nil {
		return err
	}
	x.queue = q
	return place(&x.ns.queues, q)
}

func (x *restorer) addMessage() error {
	var typ int64
	var text []byte
	x.f.message(&typ, &text)
	if err := x.f.all(); err != nil {
		return err
	}
	x.queue.put(typ, text)
	return nil
}

func (x *restorer) addSet() error {
	s := &set{ns: x.ns}
	x.f.set(s)
	if err := x.f.all(); err != nil {
		return err
	}
	x.set = s
	return place(&x.ns.sets, s)
}

func (x *restorer) addSemaphore() error {
	var sem semaphore
	x.f.semaphore(&sem)
	x.set.sems = append(x.set.sems, sem)
	x.set.ds.Nsems++
	x.ns.semaphores++
	return x.f.all()
}

func (x *restorer) addSegment() error {
	ns := x.ns
	s := &segment{ns: ns}
	s.made.value = s
	x.f.segment(s)
	if err := x.f.all(); err != nil {
		return err
	}
	locked := s.ds.Perm.Mode&ipc.ShmLocked != 0
	switch {
	case s.ds.Perm.Mode&ipc.ShmDest != 0 && s.ds.Perm.Key != ipc.Private:
		return errors.New("it is to be destroyed, and has a key")
	case !locked && s.locker != 0:
		return errors.New("it is not locked, and was by somebody")
	case s.pages() > x.room/page:
		return fmt.Errorf("%w: %d bytes more, of at most %d; if you trust it, set RestoreLimit of Options", ErrTooLarge, s.ds.Segsz, x.limit)
	}
	x.room -= s.pages() * page
	memory, err := ns.memory.Allocate(s.pages() * page)
	if err != nil {
		return fmt.Errorf("%w of %d bytes: %w", errMemory, s.ds.Segsz, err)
	}
	s.memory = memory
	if err := place(&ns.segments, s); err != nil {
		memory.Free() // of which nothing is left to do if it fails
		return err
	}
	ns.pages += s.pages()
	if locked {
		ns.locked[s.locker] += s.pages()
	}
	x.segment, x.written, x.run = s, 0, maxRun
	return nil
}

// addBlocks takes a part of the contents of a segment. There is one way to
// write contents: without blocks of zeros, in records as long as can be.
func (x *restorer) addBlocks() error {
	var offset uint64
	var contents []byte
	x.f.blocks(&offset, &contents)
	if err := x.f.all(); err != nil {
		return err
	}
	size := x.segment.pages() * page
	switch {
	case len(contents) == 0 || len(contents)%blockSize != 0 || offset%blockSize != 0:
		return fmt.Errorf("it is not of whole blocks of %d bytes", blockSize)
	case offset > size || uint64(len(contents)) > size-offset:
		return errors.New("it is not within its segment")
	case offset < x.written || offset == x.written && x.run < maxRun:
		return errors.New("it does not begin behind the contents before it")
	}
	for block := range slices.Chunk(contents, blockSize) {
		if isZero(block) {
			return errors.New("it has a block of zeros")
		}
	}
	x.written, x.run = offset+uint64(len(contents)), len(contents)
	return x.segment.fill(offset, contents)
}

// fill writes to the memory of a segment that nobody has attached.
func (s *segment) fill(offset uint64, contents []byte) error {
	memory, err := s.memory.Map(false)
	if err != nil {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	copy(memory[offset:], contents)
	if err := s.memory.Unmap(memory); err != nil {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	return nil
}

func (x *restorer) addMqueue() error {
	m := &x.ns.mqueues
	q := &mqueue{ns: x.ns, messages: newLanes()}
	var name []byte
	x.f.mqueue(q, &name)
	if err := x.f.all(); err != nil {
		return err
	}
	q.name = string(name)
	if _, errno := mqName("/" + q.name); errno != 0 {
		return fmt.Errorf("its name %q is none: %w", name, errno)
	}
	switch {
	case q.inode > m.inode || x.mqueue != nil && q.inode <= x.mqueue.inode:
		return fmt.Errorf("its inode %d is not above the last one's and up to %d", q.inode, m.inode)
	case q.linked && m.byName[q.name] != nil:
		return fmt.Errorf("its name %q is another one's", name)
	case q.linked:
		m.byName[q.name] = q
	}
	q.charged = mqBytes(q.attr.Maxmsg, q.attr.Msgsize)
	m.bytes[q.uid] += q.charged
	m.count++
	x.inodes[q.inode] = q
	x.mqueue = q
	return nil
}

func (x *restorer) addMqMessage() error {
	var priority uint
	var text []byte
	x.f.mqMessage(&priority, &text)
	if err := x.f.all(); err != nil {
		return err
	}
	q := x.mqueue
	switch {
	case int64(len(text)) > q.attr.Msgsize:
		return fmt.Errorf("its text has %d bytes, of at most %d", len(text), q.attr.Msgsize)
	case q.attr.Curmsgs == q.attr.Maxmsg:
		return fmt.Errorf("its queue is full with %d messages", q.attr.Maxmsg)
	case q.attr.Curmsgs > 0 && priority > x.priority:
		return fmt.Errorf("its priority %d is above that of the message before it", priority)
	}
	x.priority = priority
	q.put(priority, text)
	return nil
}

func (x *restorer) addProcess() error {
	ns := x.ns
	var pid int
	x.f.process(&pid)
	if err := x.f.all(); err != nil {
		return err
	}
	if pid >= ns.nextPID || x.task != nil && pid <= x.task.pid {
		return fmt.Errorf("its pid %d is not above the last one's and below %d", pid, ns.nextPID)
	}
	x.task = ns.newProcess(pid, Credentials{})
	x.last = attachment{id: -1}
	ns.restored[pid] = x.task
	return nil
}

func (x *restorer) addUndo() error {
	var id int
	var adjustments []byte
	x.f.undo(&id, &adjustments)
	if err := x.f.all(); err != nil {
		return err
	}
	p, s := x.task.process, x.ns.sets.find(id)
	switch {
	case s == nil:
		return fmt.Errorf("there is no set %d", id)
	case x.undone[s] == p:
		return fmt.Errorf("set %d has been before", id)
	case len(adjustments) != 2*len(s.sems):
		return fmt.Errorf("set %d has %d semaphores, it has %d bytes", id, len(s.sems), len(adjustments))
	}
	x.undone[s] = p
	u := newUndo(p, s)
	for num := range u.adjustments {
		u.adjustments[num] = int32(int16(binary.LittleEndian.Uint16(adjustments[2*num:])))
	}
	p.undos.push(&u.ofProcess)
	return nil
}

func (x *restorer) addCreated() error {
	var id int
	x.f.created(&id)
	if err := x.f.all(); err != nil {
		return err
	}
	s := x.ns.segments.find(id)
	switch {
	case s == nil:
		return fmt.Errorf("there is no segment %d", id)
	case s.made.in != nil:
		return fmt.Errorf("segment %d has been created before", id)
	}
	x.task.made.push(&s.made)
	return nil
}

func (x *restorer) addAttachment() error {
	var a attachment
	x.f.attachment(&a)
	if err := x.f.all(); err != nil {
		return err
	}
	s := x.ns.segments.find(a.id)
	switch {
	case s == nil:
		return fmt.Errorf("there is no segment %d", a.id)
	case a.compare(x.last) < 0:
		return errors.New("it belongs before the attachment before it")
	}
	x.last = a
	if _, err := x.task.attach(s, a.readOnly); err != nil {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	s.ds.Nattch++
	return nil
}

func (x *restorer) addDescriptor() error {
	var inode uint64
	d := &Mqd{task: x.task, nonblock: new(bool)}
	x.f.descriptor(&inode, d)
	if err := x.f.all(); err != nil {
		return err
	}
	if d.queue = x.inodes[inode]; d.queue == nil {
		return fmt.Errorf("there is no POSIX queue %d", inode)
	}
	d.join()
	return nil
}

// end is the last record.
func (x *restorer) end() error {
	if len(x.body) == 2*wordSize {
		x.sum(x.body[:wordSize])
	}
	var records, checksum uint64
	x.f.end(&records, &checksum)
	if err := x.f.all(); err != nil {
		return err
	}
	if checksum != uint64(x.checksum) {
		return fmt.Errorf("the checksum is %08x, not %08x", x.checksum, checksum)
	}
	if records != x.records {
		return fmt.Errorf("there were %d records, not %d", x.records, records)
	}
	return x.kept()
}

// kept looks for an object that nobody keeps, and that would have ended.
func (x *restorer) kept() error {
	for s := range x.ns.segments.all() {
		if s.ds.Nattch > 0 {
			continue
		}
		if s.ds.Perm.Mode&ipc.ShmDest != 0 || x.ns.limits.ShmRmidForced != 0 && s.made.in == nil {
			return fmt.Errorf("nobody keeps segment %d, which is to be destroyed", id(s))
		}
	}
	for inode, q := range x.inodes {
		if !q.linked && q.open == 0 {
			return fmt.Errorf("nobody keeps POSIX queue %d, which has no name", inode)
		}
	}
	return nil
}

// nothingElse reports what follows the snapshot.
func (x *restorer) nothingElse() error {
	_, err := x.in.ReadByte()
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: something follows its end; give Restore the snapshot alone", ErrDamaged)
}
