package userspace

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"sync"

	"github.com/ipcns/ipcns/ipc"
)

// The format of snapshots; see docs/snapshot-format.md.
const (
	formatName    = "ipcns-namespace"
	formatVersion = 1
)

// Tags of records.
const (
	tagNamespace  = 'N'
	tagQueue      = 'Q'
	tagMessage    = 'q'
	tagSet        = 'S'
	tagSemaphore  = 's'
	tagSegment    = 'M'
	tagBlocks     = 'm'
	tagMqueue     = 'P'
	tagMqMessage  = 'p'
	tagProcess    = 'T'
	tagUndo       = 'u'
	tagCreated    = 'c'
	tagAttachment = 'a'
	tagDescriptor = 'd'
	tagEnd        = 'E'
)

const (
	frameSize = 1 + 4 // a tag, and the length of what follows
	wordSize  = 8     // every number's

	// blockSize is the unit of segment contents, whatever a page is here.
	blockSize = 4096
	// maxRun is how many bytes of a segment are in one record.
	maxRun = 256 * blockSize
)

// fields is a pass over the fields of a record, which describes, writes or
// reads them: a function that lists them once does for all three.
type fields struct {
	pass  pass
	body  []byte // what is written so far, or still to be read
	about []fieldDescription
	err   error
}

type pass int

const (
	writing pass = iota
	reading
	describing
)

// A fieldDescription is what the header tells of a field. Lowest and Highest
// are of a number; bytes have none, only a highest count.
type fieldDescription struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Lowest  any    `json:"lowest,omitempty"`
	Highest any    `json:"highest"`
}

type integer interface {
	~int | ~int32 | ~int64 | ~uint16 | ~uint32 | ~uint64 | ~uint
}

// number is a field of 8 bytes, within a range.
func number[T integer](f *fields, name string, v *T, lowest, highest T) {
	switch {
	case f.err != nil:
		return
	case f.pass == describing:
		f.about = append(f.about, fieldDescription{name, "number", lowest, highest})
		return
	case f.pass == writing:
		f.body = binary.LittleEndian.AppendUint64(f.body, uint64(*v))
	case len(f.body) < wordSize:
		f.err = fmt.Errorf("its %s is missing", name)
		return
	default:
		word := binary.LittleEndian.Uint64(f.body)
		f.body = f.body[wordSize:]
		if *v = T(word); uint64(*v) != word {
			f.err = fmt.Errorf("its %s is %d, not %d to %d", name, int64(word), lowest, highest)
			return
		}
	}
	if *v < lowest || *v > highest {
		f.err = fmt.Errorf("its %s is %d, not %d to %d", name, *v, lowest, highest)
	}
}

// flag is a number that is 0 or 1.
func (f *fields) flag(name string, v *bool) {
	n := 0
	if *v {
		n = 1
	}
	number(f, name, &n, 0, 1)
	*v = n == 1
}

// bytes is a field of all bytes that are left. What is read is valid until the
// next record is.
func (f *fields) bytes(name string, v *[]byte, most int) {
	switch {
	case f.err != nil:
		return
	case f.pass == describing:
		f.about = append(f.about, fieldDescription{name, "bytes", nil, most})
		return
	case f.pass == writing:
		f.body = append(f.body, *v...)
	default:
		*v, f.body = f.body, nil
	}
	if len(*v) > most {
		f.err = fmt.Errorf("its %s has %d bytes, of at most %d", name, len(*v), most)
	}
}

func (f *fields) time(name string, v *int64) { number(f, name, v, math.MinInt64, math.MaxInt64) }

func (f *fields) pid(name string, v *int32) { number(f, name, v, 0, maxInt32) }

// namespace lists what a namespace is, but for its objects.
func (f *fields) namespace(ns *Namespace) {
	for _, limit := range ipc.AllLimits {
		v := limit.Of(&ns.limits)
		if !unchecked[limit.Name] {
			number(f, limit.Name, v, limit.Min, limit.Max)
			continue
		}
		signed := int64(*v)
		number(f, limit.Name, &signed, math.MinInt32, math.MaxInt32)
		*v = uint64(signed)
	}
	number(f, "next_pid", &ns.nextPID, 1, maxInt32)
	number(f, "last_inode", &ns.mqueues.inode, 0, math.MaxInt64)
	counters(f, "msg", &ns.queues)
	counters(f, "sem", &ns.sets)
	counters(f, "shm", &ns.segments)
}

// counters lists what the next ids depend on.
func counters[O object](f *fields, kind string, t *table[O]) {
	number(f, kind+"_cursor", &t.cursor, 0, maxObjects)
	number(f, kind+"_last", &t.last, -1, maxObjects-1)
	number(f, kind+"_seq", &t.seq, 0, maxSeq-1)
	number(f, kind+"_next_id", &t.nextID, -1, maxInt32)
}

func (f *fields) permissions(index *int, perm *ipc.Perm, modes uint32) {
	const all = math.MaxUint32
	number(f, "index", index, 0, maxObjects-1)
	number(f, "seq", &perm.Seq, 0, math.MaxUint16)
	number(f, "key", &perm.Key, math.MinInt32, math.MaxInt32)
	number(f, "uid", &perm.UID, 0, all)
	number(f, "gid", &perm.GID, 0, all)
	number(f, "cuid", &perm.CUID, 0, all)
	number(f, "cgid", &perm.CGID, 0, all)
	number(f, "mode", &perm.Mode, 0, modes)
}

func (f *fields) queue(q *queue) {
	f.permissions(&q.slot, &q.ds.Perm, modeBits)
	number(f, "qbytes", &q.ds.Qbytes, 0, math.MaxUint32)
	f.time("stime", &q.ds.Stime)
	f.time("rtime", &q.ds.Rtime)
	f.time("ctime", &q.ds.Ctime)
	f.pid("lspid", &q.ds.Lspid)
	f.pid("lrpid", &q.ds.Lrpid)
}

func (f *fields) message(typ *int64, text *[]byte) {
	number(f, "type", typ, 1, math.MaxInt64)
	f.bytes("text", text, maxInt32)
}

func (f *fields) set(s *set) {
	f.permissions(&s.slot, &s.ds.Perm, modeBits)
	f.time("otime", &s.ds.Otime)
	f.time("ctime", &s.ds.Ctime)
}

func (f *fields) semaphore(s *semaphore) {
	number(f, "value", &s.value, 0, ipc.SemMaxValue)
	number(f, "pid", &s.pid, 0, maxInt32)
}

func (f *fields) segment(s *segment) {
	f.permissions(&s.slot, &s.ds.Perm, modeBits|ipc.ShmDest|ipc.ShmLocked)
	number(f, "size", &s.ds.Segsz, 1, math.MaxUint64)
	f.time("atime", &s.ds.Atime)
	f.time("dtime", &s.ds.Dtime)
	f.time("ctime", &s.ds.Ctime)
	f.pid("cpid", &s.ds.Cpid)
	f.pid("lpid", &s.ds.Lpid)
	number(f, "locker", &s.locker, 0, math.MaxUint32)
}

func (f *fields) blocks(offset *uint64, contents *[]byte) {
	number(f, "offset", offset, 0, math.MaxUint64)
	f.bytes("contents", contents, maxRun)
}

func (f *fields) mqueue(q *mqueue, name *[]byte) {
	number(f, "inode", &q.inode, 1, math.MaxInt64)
	f.flag("linked", &q.linked)
	number(f, "uid", &q.uid, 0, math.MaxUint32)
	number(f, "gid", &q.gid, 0, math.MaxUint32)
	number(f, "mode", &q.mode, 0, mqModeBits)
	number(f, "maxmsg", &q.attr.Maxmsg, 1, maxMqMaxmsg)
	number(f, "msgsize", &q.attr.Msgsize, 1, maxMqMsgsize)
	f.bytes("name", name, maxName)
}

func (f *fields) mqMessage(priority *uint, text *[]byte) {
	number(f, "priority", priority, 0, maxPriority-1)
	f.bytes("text", text, maxMqMsgsize)
}

func (f *fields) process(pid *int) { number(f, "pid", pid, 1, maxInt32) }

func (f *fields) undo(id *int, adjustments *[]byte) {
	number(f, "set", id, 0, maxInt32)
	f.bytes("adjustments", adjustments, maxInt32)
}

func (f *fields) created(id *int) { number(f, "segment", id, 0, maxInt32) }

func (f *fields) attachment(a *attachment) {
	number(f, "segment", &a.id, 0, maxInt32)
	f.flag("read_only", &a.readOnly)
}

func (f *fields) descriptor(inode *uint64, d *Mqd) {
	number(f, "inode", inode, 1, math.MaxInt64)
	number(f, "access", &d.access, 0, accessMode)
	f.flag("nonblock", d.nonblock)
}

func (f *fields) end(records, checksum *uint64) {
	number(f, "records", records, 0, math.MaxUint64)
	number(f, "crc32c", checksum, 0, math.MaxUint32)
}

// A recordDescription is what the header tells of a kind of record.
type recordDescription struct {
	Tag    string             `json:"tag"`
	Name   string             `json:"name"`
	Fields []fieldDescription `json:"fields"`
}

// A header is the first line of a snapshot.
type header struct {
	Format  string              `json:"format"`
	Version int                 `json:"version"`
	Records []recordDescription `json:"records"`
}

// headerLine returns the first line of every snapshot of this version.
var headerLine = sync.OnceValue(func() []byte {
	var records []recordDescription
	describe := func(tag byte, name string, list func(*fields)) {
		f := fields{pass: describing}
		list(&f)
		records = append(records, recordDescription{string(tag), name, f.about})
	}
	var (
		id      int
		word    uint64
		content []byte
	)
	describe(tagNamespace, "namespace", func(f *fields) { f.namespace(&Namespace{}) })
	describe(tagQueue, "message queue", func(f *fields) { f.queue(&queue{}) })
	describe(tagMessage, "message of the queue", func(f *fields) { f.message(new(int64), &content) })
	describe(tagSet, "semaphore set", func(f *fields) { f.set(&set{}) })
	describe(tagSemaphore, "semaphore of the set", func(f *fields) { f.semaphore(&semaphore{}) })
	describe(tagSegment, "shared memory segment", func(f *fields) { f.segment(&segment{}) })
	describe(tagBlocks, "contents of the segment", func(f *fields) { f.blocks(&word, &content) })
	describe(tagMqueue, "POSIX message queue", func(f *fields) { f.mqueue(&mqueue{}, &content) })
	describe(tagMqMessage, "message of the POSIX queue", func(f *fields) { f.mqMessage(new(uint), &content) })
	describe(tagProcess, "process", func(f *fields) { f.process(&id) })
	describe(tagUndo, "what the process gives back", func(f *fields) { f.undo(&id, &content) })
	describe(tagCreated, "segment that the process has created", func(f *fields) { f.created(&id) })
	describe(tagAttachment, "attachment of the process", func(f *fields) { f.attachment(&attachment{}) })
	describe(tagDescriptor, "message queue descriptor of the process", func(f *fields) { f.descriptor(&word, &Mqd{nonblock: new(bool)}) })
	describe(tagEnd, "end", func(f *fields) { f.end(&word, &word) })
	line, err := json.Marshal(header{formatName, formatVersion, records})
	if err != nil {
		panic(err) // of strings and numbers only
	}
	return append(line, '\n')
})
