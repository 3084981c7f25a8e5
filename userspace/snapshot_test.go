package userspace_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

// sameAfterRestore reports if a snapshot does not bring a namespace back.
func sameAfterRestore(ns *userspace.Namespace) error {
	var first bytes.Buffer
	if err := ns.Snapshot(&first); err != nil {
		return err
	}
	return restoresToItself(first.Bytes())
}

// restoresToItself reports if what a snapshot restores has another one.
func restoresToItself(snapshot []byte) error {
	restored, err := userspace.Restore(bytes.NewReader(snapshot), userspace.Options{RestoreLimit: 16 << 20})
	if err != nil {
		return err
	}
	if err := restored.Broken(); err != nil {
		return fmt.Errorf("restored: %w", err)
	}
	var second bytes.Buffer
	if err := restored.Snapshot(&second); err != nil {
		return err
	}
	if !bytes.Equal(snapshot, second.Bytes()) {
		return fmt.Errorf("a snapshot of what was restored differs:\n%q\n%q", snapshot, second.Bytes())
	}
	return nil
}

// TestRestoredProcess takes a process up again, which finds all that it held.
func TestRestoredProcess(t *testing.T) {
	for name, memory := range memories {
		t.Run(name, func(t *testing.T) {
			ns := userspace.New(userspace.Options{Memory: memory})
			before := ns.Start(userspace.User(1000, 1000))
			hold(t, before)
			taken := snapshot(t, ns)
			if err := restoresToItself(taken); err != nil {
				t.Error(err)
			}
			restored, err := userspace.Restore(bytes.NewReader(taken), userspace.Options{Memory: memory})
			must(restored, err)(t)
			if pids := restored.Restored(); !reflect.DeepEqual(pids, []int{before.PID()}) {
				t.Fatalf("processes %v wait, want %d", pids, before.PID())
			}
			after := must(restored.Resume(before.PID(), userspace.User(1000, 1000)))(t)
			equalViews(t, before, after)
			findsWhatItHeld(t, after)
			if _, err := restored.Resume(before.PID(), userspace.User(0, 0)); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("to resume it twice: %v, want ESRCH", err)
			}
			after.Exit()
			leavesNothing(t, restored)
			before.Exit()
		})
	}
}

// hold makes a process hold one of everything: a segment without a key that is
// attached twice and locked, an adjustment, a queue with messages, POSIX queues
// with and without a name.
func hold(t testing.TB, p *userspace.Task) {
	id := must(p.Shmget(7, 3*4096+1, ipc.Creat|0o600))(t)
	memory := must(p.Shmat(id, 0, 0))(t)
	must(p.Shmat(id, 0, ipc.ShmRdonly))(t)
	memory[0], memory[2*4096] = 'a', 'b'
	noError(t, p.ShmctlLock(id))
	noError(t, p.ShmctlRmid(id))

	set := must(p.Semget(7, 2, ipc.Creat|0o640))(t)
	noError(t, p.Semop(t.Context(), set, []ipc.Sembuf{{Num: 1, Op: 5}, {Num: 1, Op: 3, Flg: ipc.SemUndo}}))

	queue := must(p.Msgget(7, ipc.Creat|0o604))(t)
	for typ, text := range []string{"", "one", strings.Repeat("two", 1000)} {
		noError(t, p.Msgsnd(t.Context(), queue, int64(3-typ), []byte(text), 0))
	}
	for _, name := range []string{"/named", "/unlinked"} {
		d := must(p.MqOpen(name, syscall.O_CREAT|syscall.O_RDWR|syscall.O_NONBLOCK, 0o600, &ipc.MqAttr{Maxmsg: 4, Msgsize: 100}))(t)
		noError(t, d.Timedsend(t.Context(), []byte("low"), 1))
		noError(t, d.Timedsend(t.Context(), []byte("high"), 2))
		noError(t, d.Timedsend(t.Context(), []byte("low again"), 1))
	}
	noError(t, p.MqUnlink("/unlinked"))
}

// equalViews compares what two processes see.
func equalViews(t *testing.T, a, b *userspace.Task) {
	t.Helper()
	for name, view := range map[string]func(*userspace.Task) (any, error){
		"queue":   func(p *userspace.Task) (any, error) { return p.MsgctlStat(0) },
		"set":     func(p *userspace.Task) (any, error) { return p.SemctlStat(0) },
		"values":  func(p *userspace.Task) (any, error) { return p.SemctlGetall(0) },
		"sempid":  func(p *userspace.Task) (any, error) { return p.SemctlGetpid(0, 1) },
		"segment": func(p *userspace.Task) (any, error) { return p.ShmctlStat(0) },
		"mqueues": func(p *userspace.Task) (any, error) { return p.MqList() },
		"limits":  func(p *userspace.Task) (any, error) { return p.Limits() },
	} {
		want, err := view(a)
		noError(t, err)
		if got, err := view(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v (%v), was %+v", name, got, err, want)
		}
	}
}

// findsWhatItHeld looks at what hold has made.
func findsWhatItHeld(t *testing.T, p *userspace.Task) {
	attached := p.Attachments()
	if len(attached) != 2 || attached[0].Memory[0] != 'a' || attached[1].Memory[2*4096] != 'b' {
		t.Errorf("it has attached %d segments, or others", len(attached))
	}
	buffer := make([]byte, 100)
	for _, d := range p.Descriptors() {
		for _, want := range []string{"high", "low", "low again"} {
			n, _, err := d.Timedreceive(t.Context(), buffer)
			if err != nil || string(buffer[:n]) != want {
				t.Errorf("%s: received %q (%v), want %q", d.Name, buffer[:n], err, want)
			}
		}
		if _, _, err := d.Timedreceive(t.Context(), buffer); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("%s: %v, want EAGAIN of a descriptor that does not wait", d.Name, err)
		}
	}
}

// leavesNothing expects that an exit has ended what only its process kept, and
// given back what it had to.
func leavesNothing(t *testing.T, ns *userspace.Namespace) {
	p := ns.Start(userspace.User(0, 0))
	if value, err := p.SemctlGetval(0, 1); err != nil || value != 5 {
		t.Errorf("the semaphore is %d (%v), want 5", value, err)
	}
	if _, err := p.ShmctlStat(0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("the segment that was to be destroyed: %v, want EINVAL", err)
	}
	if objects, _, _ := ns.Counts(); objects != 3 {
		t.Errorf("there are %d objects, want a queue, a set, and a POSIX queue", objects)
	}
	noError(t, ns.Broken())
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func snapshot(t testing.TB, ns *userspace.Namespace) []byte {
	t.Helper()
	var taken bytes.Buffer
	noError(t, ns.Snapshot(&taken))
	return taken.Bytes()
}

// A record is one of a snapshot, with numbers of 8 bytes.
type record struct {
	tag  byte
	body []byte
}

func (r record) encode() []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{r.tag}, uint32(len(r.body))), r.body...)
}

// with returns the record with another number at a position.
func (r record) with(position int, number int64) record {
	r.body = bytes.Clone(r.body)
	binary.LittleEndian.PutUint64(r.body[8*position:], uint64(number))
	return r
}

// header returns the first line of a snapshot, and what follows.
func header(snapshot []byte) (line, rest []byte) {
	n := bytes.IndexByte(snapshot, '\n') + 1
	return snapshot[:n], snapshot[n:]
}

// records takes a snapshot apart, without its end.
func records(snapshot []byte) (list []record) {
	_, rest := header(snapshot)
	for rest[0] != 'E' {
		n := 5 + binary.LittleEndian.Uint32(rest[1:])
		list = append(list, record{rest[0], rest[5:n]})
		rest = rest[n:]
	}
	return list
}

// assemble makes a snapshot of the bytes of records, with an end that fits.
func assemble(records []byte) []byte {
	line, _ := header(snapshotOfNothing)
	all := append(bytes.Clone(line), records...)
	count := uint64(0)
	for rest := records; len(rest) >= 5; count++ {
		n := 5 + uint64(binary.LittleEndian.Uint32(rest[1:]))
		rest = rest[min(n, uint64(len(rest))):]
	}
	all = binary.LittleEndian.AppendUint64(append(all, 'E', 16, 0, 0, 0), count)
	return binary.LittleEndian.AppendUint64(all, uint64(crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli))))
}

var snapshotOfNothing = func() []byte {
	var taken bytes.Buffer
	if err := userspace.New(userspace.Options{}).Snapshot(&taken); err != nil {
		panic(err)
	}
	return taken.Bytes()
}()

// TestRestoreOfAnother refuses what is not a snapshot that this version reads.
func TestRestoreOfAnother(t *testing.T) {
	line, rest := header(snapshotOfNothing)
	for _, c := range []struct {
		what  string
		input []byte
		want  error
		text  string
	}{
		{"nothing", nil, userspace.ErrNotSnapshot, `it begins with ""`},
		{"text", []byte("hello\n"), userspace.ErrNotSnapshot, `it begins with "hello\n"`},
		{"other JSON", []byte("{}\n"), userspace.ErrNotSnapshot, "is not a snapshot"},
		{"an endless line", bytes.Repeat([]byte("a"), 1<<20), userspace.ErrNotSnapshot, "is not a snapshot"},
		{"a newer one", append(bytes.Replace(line, []byte(`"version":1`), []byte(`"version":2`), 1), rest...), userspace.ErrNewer, "version 2: this program reads version 1; use the one that wrote it, or a newer one"},
		{"another first line", append(bytes.Replace(line, []byte("msgmax"), []byte("msgmin"), 1), rest...), userspace.ErrDamaged, "its first line is not that of version 1"},
		{"two of them", append(bytes.Clone(snapshotOfNothing), snapshotOfNothing...), userspace.ErrDamaged, "something follows its end"},
	} {
		_, err := userspace.Restore(bytes.NewReader(c.input), userspace.Options{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v\nwant %v: %s", c.what, err, c.want, c.text)
		}
	}
}

// TestRestoreOfDamaged cuts a snapshot and changes it at many of its bytes.
func TestRestoreOfDamaged(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	hold(t, ns.Start(userspace.User(0, 0)))
	taken := snapshot(t, ns)
	for i := 1; i < len(taken); i += 13 {
		if _, err := userspace.Restore(bytes.NewReader(taken[:i]), userspace.Options{}); !errors.Is(err, userspace.ErrTruncated) {
			t.Fatalf("cut at %d of %d: %v", i, len(taken), err)
		}
	}
	for i := 0; i < len(taken); i += 11 {
		changed := bytes.Clone(taken)
		changed[i] ^= 0x10
		if _, err := userspace.Restore(bytes.NewReader(changed), userspace.Options{}); err == nil {
			t.Fatalf("another byte %d of %d: no error", i, len(taken))
		}
	}
	broken := errors.New("broken pipe")
	for _, n := range []int64{0, 10, int64(len(taken)) - 20, int64(len(taken))} {
		r := io.MultiReader(io.LimitReader(bytes.NewReader(taken), n), iotest.ErrReader(broken))
		if _, err := userspace.Restore(r, userspace.Options{}); !errors.Is(err, broken) {
			t.Errorf("an error after %d bytes: %v", n, err)
		}
	}
	for name, ns := range map[string]*userspace.Namespace{"at the end": ns, "before segments": many(t)} {
		if err := ns.Snapshot(failing{broken}); !errors.Is(err, broken) {
			t.Errorf("a writer that fails %s: %v", name, err)
		}
	}
}

// failing is a writer.
type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

// TestRestoreOfImpossible changes records in a way that no namespace has them.
func TestRestoreOfImpossible(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	hold(t, ns.Start(userspace.User(0, 0)))
	list := records(snapshot(t, ns))
	at := map[byte]int{} // the first of a kind
	for i := len(list) - 1; i >= 0; i-- {
		at[list[i].tag] = i
	}
	for _, c := range []struct {
		what string
		tag  byte
		edit func(record) []record
		text string
	}{
		{"unknown", 'Q', func(record) []record { return []record{{tag: 'X'}} }, "there is no such record"},
		{"without the namespace", 'N', func(record) []record { return nil }, "it may not follow '\\x00'"},
		{"too short", 'Q', func(r record) []record { return []record{{r.tag, r.body[:20]}} }, "its key is missing"},
		{"too long", 'Q', func(r record) []record { return []record{{r.tag, append(bytes.Clone(r.body), 0)}} }, "it has 1 bytes too many"},
		{"limit", 'N', changed(0, -1), "its msgmax is 18446744073709551615, not 0 to 2147483647"},
		{"pid of none", 'N', changed(16, 1), "its pid 1 is not above the last one's and below 1"},
		{"inode of none", 'N', changed(17, 1), "its inode 2 is not above the last one's and up to 1"},
		{"index", 'Q', changed(0, 32768), "its index is 32768, not 0 to 32767"},
		{"index twice", 'Q', twice, "its index 0 is not above the last one's"},
		{"key twice", 'Q', func(r record) []record { return []record{r, r.with(0, 1)} }, "its key 0x00000007 is another one's"},
		{"key that is too large", 'Q', changed(2, 1<<32), "its key is 4294967296"},
		{"mode", 'Q', changed(7, 0o1000), "its mode is 512"},
		{"type", 'q', changed(0, 0), "its type is 0"},
		{"value", 's', changed(0, 32768), "its value is 32768"},
		{"set twice", 'S', func(r record) []record { return []record{r, {'s', make([]byte, 16)}, r} }, "its index 0 is not above"},
		{"without semaphores", 'S', twice, "it may not follow 'S'"},
		{"set field", 'S', changed(0, -1), "its index is -1"},
		{"segment field", 'M', changed(0, -1), "its index is -1"},
		{"segment without bytes", 'M', changed(8, 0), "its size is 0"},
		{"large segment", 'M', changed(8, 1<<40), "the segments of the snapshot take more memory than they may"},
		{"largest segment", 'M', changed(8, -1), "set RestoreLimit of Options"},
		{"segment twice", 'M', twice, "its index 0 is not above"},
		{"to be destroyed, with key", 'M', changed(2, 7), "it is to be destroyed, and has a key"},
		{"not locked", 'M', func(r record) []record { return []record{r.with(7, 0o1600).with(14, 5)} }, "it is not locked, and was by somebody"},
		{"offset", 'm', changed(0, 1), "it is not of whole blocks"},
		{"blocks field", 'm', func(r record) []record { return []record{{r.tag, nil}} }, "its offset is missing"},
		{"no contents", 'm', func(r record) []record { return []record{{r.tag, r.body[:8]}} }, "it is not of whole blocks"},
		{"outside", 'm', changed(0, 1<<20), "it is not within its segment"},
		{"far outside", 'm', changed(0, -4096), "it is not within its segment"},
		{"twice the same", 'm', twice, "it does not begin behind the contents before it"},
		{"not joined", 'm', func(r record) []record { return []record{r, r.with(0, 4096)} }, "it does not begin behind the contents before it"},
		{"zeros", 'm', func(r record) []record { return []record{{r.tag, make([]byte, 8+4096)}} }, "it has a block of zeros"},
		{"mqueue field", 'P', changed(1, 2), "its linked is 2, not 0 to 1"},
		{"name with a slash", 'P', named("a/b"), `its name "a/b" is none`},
		{"no name", 'P', named(""), `its name "" is none`},
		{"long name", 'P', named(strings.Repeat("a", 256)), "its name has 256 bytes, of at most 255"},
		{"inode twice", 'P', twice, "its inode 1 is not above"},
		{"name twice", 'P', func(r record) []record { return []record{r, r.with(0, 2)} }, `its name "named" is another one's`},
		{"priority", 'p', changed(0, 32768), "its priority is 32768"},
		{"priority order", 'p', func(r record) []record { return []record{r, r.with(0, 3)} }, "its priority 3 is above"},
		{"long text", 'p', func(r record) []record { return []record{{r.tag, append(bytes.Clone(r.body), make([]byte, 100)...)}} }, "its text has 104 bytes, of at most 100"},
		{"full", 'p', func(r record) []record { return []record{r, r, r, r, r} }, "its queue is full with 4 messages"},
		{"pid", 'T', changed(0, 0), "its pid is 0"},
		{"pid twice", 'T', twice, "its pid 1 is not above"},
		{"undo field", 'u', changed(0, -1), "its set is -1"},
		{"undo of no set", 'u', changed(0, 1), "there is no set 1"},
		{"undo twice", 'u', twice, "set 0 has been before"},
		{"undo of less", 'u', func(r record) []record { return []record{{r.tag, r.body[:10]}} }, "set 0 has 2 semaphores, it has 2 bytes"},
		{"created field", 'c', changed(0, -1), "its segment is -1"},
		{"created none", 'c', changed(0, 1), "there is no segment 1"},
		{"created twice", 'c', twice, "segment 0 has been created before"},
		{"attachment field", 'a', changed(1, 2), "its read_only is 2"},
		{"attached none", 'a', changed(0, 1), "there is no segment 1"},
		{"attached in disorder", 'a', func(r record) []record { return []record{r.with(1, 0), r.with(1, 1)} }, "it belongs before the attachment before it"},
		{"descriptor field", 'd', changed(1, 4), "its access is 4"},
		{"descriptor of none", 'd', changed(0, 9), "there is no POSIX queue 9"},
	} {
		t.Run(c.what, func(t *testing.T) {
			var edited []byte
			for i, r := range list {
				changed := []record{r}
				if i == at[c.tag] {
					changed = c.edit(r)
				}
				for _, r := range changed {
					edited = append(edited, r.encode()...)
				}
			}
			_, err := userspace.Restore(bytes.NewReader(assemble(edited)), userspace.Options{})
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v\nwant %s", err, c.text)
			}
		})
	}
}

func twice(r record) []record { return []record{r, r} }

func changed(position int, number int64) func(record) []record {
	return func(r record) []record { return []record{r.with(position, number)} }
}

func named(name string) func(record) []record {
	return func(r record) []record { return []record{{r.tag, append(bytes.Clone(r.body[:7*8]), name...)}} }
}

// TestRestoreOfWhatNobodyKeeps leaves processes out.
func TestRestoreOfWhatNobodyKeeps(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	hold(t, ns.Start(userspace.User(0, 0)))
	for text, keep := range map[string]func(record) bool{
		"nobody keeps segment 0, which is to be destroyed": func(r record) bool { return strings.IndexByte("NMm", r.tag) >= 0 },
		"nobody keeps POSIX queue 2, which has no name":    func(r record) bool { return strings.IndexByte("NPp", r.tag) >= 0 },
	} {
		var kept []byte
		for _, r := range records(snapshot(t, ns)) {
			if keep(r) {
				kept = append(kept, r.encode()...)
			}
		}
		_, err := userspace.Restore(bytes.NewReader(assemble(kept)), userspace.Options{})
		if !errors.Is(err, userspace.ErrDamaged) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nwant %s", err, text)
		}
	}
}

// TestEndOfAnother has an end that does not fit, of a right checksum or not.
func TestEndOfAnother(t *testing.T) {
	_, rest := header(snapshotOfNothing)
	good := assemble(rest[:len(rest)-21])
	if !bytes.Equal(good, snapshotOfNothing) {
		t.Fatalf("%q is not %q", good, snapshotOfNothing)
	}
	counted := bytes.Clone(good[:len(good)-8])
	counted[len(counted)-8]++
	counted = binary.LittleEndian.AppendUint64(counted, uint64(crc32.Checksum(counted, crc32.MakeTable(crc32.Castagnoli))))
	summed := bytes.Clone(good)
	summed[len(summed)-8]++
	long := append(bytes.Clone(good), 0)
	long[len(good)-20]++
	for text, input := range map[string][]byte{"there were 1 records, not 2": counted, "the checksum is": summed, "it has 1 bytes too many": long} {
		if _, err := userspace.Restore(bytes.NewReader(input), userspace.Options{}); !errors.Is(err, userspace.ErrDamaged) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nwant %s", err, text)
		}
	}
}

// TestSnapshotOfWrongLimits refuses to write what would not be read.
func TestSnapshotOfWrongLimits(t *testing.T) {
	limits := ipc.DefaultLimits()
	limits.Msgmni = 1 << 20
	err := userspace.New(userspace.Options{Limits: &limits}).Snapshot(io.Discard)
	want := "cannot take a snapshot: the namespace: its msgmni is 1048576, not 0 to 32768"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// faulty is memory that fails from some call on, and counts what is not freed.
type faulty struct {
	calls, failAt, inUse int
}

func (f *faulty) fails() error {
	if f.calls++; f.calls == f.failAt {
		return syscall.EMFILE
	}
	return nil
}

func (f *faulty) Allocate(bytes uint64) (userspace.SegmentMemory, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	f.inUse++
	return &faultySegment{f, make([]byte, bytes)}, nil
}

type faultySegment struct {
	*faulty
	memory []byte
}

func (f *faultySegment) Map(bool) ([]byte, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	f.inUse++
	return f.memory, nil
}

func (f *faultySegment) Unmap([]byte) error {
	f.inUse--
	return f.fails()
}

func (f *faultySegment) Free() error {
	f.inUse--
	return nil
}

// TestFaultyMemory lets every call of a Memory fail, and expects that errno,
// and that nothing of what was made before is kept.
func TestFaultyMemory(t *testing.T) {
	ns := userspace.New(userspace.Options{})
	hold(t, ns.Start(userspace.User(0, 0)))
	taken := snapshot(t, ns)
	memory := &faulty{}
	for failAt := 1; ; failAt++ {
		*memory = faulty{failAt: failAt}
		restored, err := userspace.Restore(bytes.NewReader(taken), userspace.Options{Memory: memory})
		if err == nil {
			snapshotOfFaulty(t, restored, memory)
			break
		}
		if !errors.Is(err, syscall.EMFILE) || errors.Is(err, userspace.ErrDamaged) {
			t.Errorf("failure %d: %v", failAt, err)
		}
		if memory.inUse != 0 {
			t.Errorf("failure %d: %d are in use", failAt, memory.inUse)
		}
	}
}

func snapshotOfFaulty(t *testing.T, ns *userspace.Namespace, memory *faulty) {
	for call := 1; call <= 2; call++ {
		memory.calls, memory.failAt = 0, call
		if err := ns.Snapshot(io.Discard); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("snapshot, failure %d: %v", call, err)
		}
	}
	memory.calls, memory.failAt = 0, 1
	p := ns.Start(userspace.User(0, 0))
	if _, err := p.Shmat(0, 0, 0); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("shmat: %v, want EMFILE", err)
	}
}

// FuzzRestore restores anything. What it makes of it is sound, and has the
// snapshot that it was made of. The bytes are those of records; the first line
// and the end, with its checksum, are put around them, and left out.
func FuzzRestore(f *testing.F) {
	ns := userspace.New(userspace.Options{})
	hold(f, ns.Start(userspace.User(0, 0)))
	_, rest := header(snapshot(f, ns))
	f.Add(rest[:len(rest)-21])
	_, rest = header(snapshotOfNothing)
	f.Add(rest[:len(rest)-21])
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, input := range [][]byte{data, assemble(data)} {
			if err := restoresToItself(input); err != nil && !refused(err) {
				t.Fatal(err)
			}
		}
	})
}

// refused reports whether a snapshot was refused in one of the ways that are.
func refused(err error) bool {
	for _, refusal := range []error{userspace.ErrNotSnapshot, userspace.ErrNewer, userspace.ErrTruncated, userspace.ErrDamaged, userspace.ErrTooLarge} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// many makes 10,000 objects of each mechanism, and 30,000 messages.
func many(t testing.TB) *userspace.Namespace {
	ns := userspace.New(userspace.Options{})
	p := ns.Start(userspace.User(0, 0))
	noError(t, ns.SetLimit("shmmni", 32768))
	for i := range 10000 {
		key := ipc.Key(i + 1)
		queue := must(p.Msgget(key, ipc.Creat|0o600))(t)
		for range 3 {
			noError(t, p.Msgsnd(context.Background(), queue, int64(i+1), []byte("a message of thirty-two bytes..."), 0))
		}
		must(p.Semget(key, 3, ipc.Creat|0o600))(t)
		must(p.Shmget(key, 4096, ipc.Creat|0o600))(t)
	}
	return ns
}

func BenchmarkSnapshot(b *testing.B) {
	ns := many(b)
	for b.Loop() {
		noError(b, ns.Snapshot(io.Discard))
	}
}

func BenchmarkRestore(b *testing.B) {
	taken := snapshot(b, many(b))
	for b.Loop() {
		must(userspace.Restore(bytes.NewReader(taken), userspace.Options{}))(b)
	}
}

// TestSnapshotOfMany is of a namespace as large as they come, with contents of
// several records in a segment.
func TestSnapshotOfMany(t *testing.T) {
	ns := many(t)
	p := ns.Start(userspace.User(0, 0))
	id := must(p.Shmget(0, 4<<20, 0o600))(t)
	memory := must(p.Shmat(id, 0, 0))(t)
	for i := range memory[:3<<20] {
		memory[i] = 1
	}
	begin := time.Now()
	taken := snapshot(t, ns)
	middle := time.Now()
	if err := restoresToItselfLarge(taken); err != nil {
		t.Error(err)
	}
	t.Logf("%d bytes, %v, both ways and back %v", len(taken), middle.Sub(begin), time.Since(middle))
}

func restoresToItselfLarge(taken []byte) error {
	restored, err := userspace.Restore(bytes.NewReader(taken), userspace.Options{RestoreLimit: math.MaxUint64})
	if err != nil {
		return err
	}
	var again bytes.Buffer
	if err := restored.Snapshot(&again); err != nil {
		return err
	}
	if !bytes.Equal(again.Bytes(), taken) {
		return errors.New("a snapshot of what was restored differs")
	}
	return restored.Broken()
}

// TestMemoryOfSnapshot: the contents of a segment are in memory once, or twice
// where they are restored while the other still is.
func TestMemoryOfSnapshot(t *testing.T) {
	const size, little = 64 << 20, 8 << 20
	ns := userspace.New(userspace.Options{})
	p := ns.Start(userspace.User(0, 0))
	id := must(p.Shmget(1, size, ipc.Creat|0o600))(t)
	memory := must(p.Shmat(id, 0, 0))(t)
	for i := range memory {
		memory[i] = byte(i%251) + 1
	}
	var before, taken, restored runtime.MemStats
	runtime.ReadMemStats(&before)
	noError(t, ns.Snapshot(io.Discard))
	runtime.ReadMemStats(&taken)
	if n := taken.TotalAlloc - before.TotalAlloc; n > little {
		t.Errorf("a snapshot has allocated %d bytes for %d", n, size)
	}

	r, w := io.Pipe()
	go func() { w.CloseWithError(ns.Snapshot(w)) }()
	copied := must(userspace.Restore(r, userspace.Options{}))(t)
	runtime.ReadMemStats(&restored)
	if n := restored.TotalAlloc - taken.TotalAlloc; n > size+little {
		t.Errorf("a snapshot and a restore have allocated %d bytes for %d", n, size)
	}
	again := must(copied.Resume(p.PID(), userspace.User(0, 0)))(t)
	if !bytes.Equal(again.Attachments()[0].Memory, memory) {
		t.Error("the contents are others")
	}
}
