//go:build linux

package listing_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
)

var viewOptions = []struct {
	view    listing.View
	options []string
}{
	{listing.Status, nil},
	{listing.Times, []string{"-t"}},
	{listing.PIDs, []string{"-p"}},
	{listing.Creators, []string{"-c"}},
	{listing.Limits, []string{"-l"}},
	{listing.Summary, []string{"-u"}},
	{listing.PIDs, []string{"-t", "-p"}},
}

var threeTables = listing.Selection{MessageQueues: true, Segments: true, SemaphoreSets: true}

var selectionOptions = []struct {
	selection listing.Selection
	options   []string
}{
	{threeTables, nil},
	{threeTables, []string{"-a"}},
	{threeTables, []string{"-q", "-m", "-s"}},
	{listing.Selection{MessageQueues: true}, []string{"-q"}},
	{listing.Selection{Segments: true}, []string{"-m"}},
	{listing.Selection{SemaphoreSets: true}, []string{"-s"}},
	{listing.Selection{MessageQueues: true, Segments: true}, []string{"-m", "-q"}},
	{listing.Selection{MessageQueues: true, SemaphoreSets: true}, []string{"-s", "-q"}},
	{listing.Selection{Segments: true, SemaphoreSets: true}, []string{"-m", "-s"}},
}

// compareTables runs ipcs and a report with every selection in some views.
func compareTables(of string, system ipc.System, views []int) (comparisons []comparison, err error) {
	for _, selection := range selectionOptions {
		for _, i := range views {
			view := viewOptions[i]
			options := append(selection.options[:len(selection.options):len(selection.options)], view.options...)
			want, err := ipcs(options...)
			if err != nil {
				return nil, err
			}
			var got bytes.Buffer
			report := listing.Report{Select: selection.selection, View: view.view}
			if err := report.Text(&got, system); err != nil {
				return nil, err
			}
			name := of + " ipcs " + strings.Join(options, " ")
			comparisons = append(comparisons, comparison{name, want, got.Bytes()})
		}
	}
	return comparisons, nil
}

// compareObjects runs ipcs -i and a report on single objects.
func compareObjects(system ipc.System, option string, selection listing.Selection, ids []int) (comparisons []comparison, err error) {
	for _, id := range ids {
		want, err := ipcs(option, "-i", strconv.Itoa(id))
		if err != nil {
			return nil, err
		}
		var got bytes.Buffer
		report := listing.Report{Select: selection, View: listing.Times}
		if err := report.ObjectText(&got, system, id); err != nil {
			return nil, err
		}
		comparisons = append(comparisons, comparison{fmt.Sprint("ipcs ", option, " -i ", id), want, got.Bytes()})
	}
	return comparisons, nil
}

// TestTextIsThatOfIpcs runs ipcs and the report on the same objects.
func TestTextIsThatOfIpcs(t *testing.T) {
	needIpcs(t)
	var comparisons []comparison
	add := func(more []comparison, err error) error {
		comparisons = append(comparisons, more...)
		return err
	}
	inNamespace(t, func() error {
		if err := coverNames(t); err != nil {
			return err
		}
		system, allViews := kernel.System{}, []int{0, 1, 2, 3, 4, 5, 6}
		if err := add(compareTables("empty", system, allViews)); err != nil {
			return err
		}
		var m maker
		defer m.end()
		m.everySort()
		if m.err != nil {
			return m.err
		}
		return errors.Join(
			add(compareTables("full", system, allViews)),
			add(compareObjects(system, "-q", listing.Selection{MessageQueues: true}, m.queues)),
			add(compareObjects(system, "-m", listing.Selection{Segments: true}, m.segments)),
			add(compareObjects(system, "-s", listing.Selection{SemaphoreSets: true}, m.sets)))
	})
	for _, comparison := range comparisons {
		t.Run(comparison.name, comparison.check)
	}
}

// TestLimitsAreThoseOfIpcs compares the limits at the values where kilobytes
// do not fit in 64 bits, and next to them.
func TestLimitsAreThoseOfIpcs(t *testing.T) {
	needIpcs(t)
	var comparisons []comparison
	inNamespace(t, func() error {
		var m maker
		m.write("msgmax", "2147483647")
		m.write("msgmnb", "1")
		m.write("sem", "1 2147483647 3 32768")
		m.write("shmmni", "0")
		for _, value := range []string{
			"0", "1023", "1024", "4503599627370496", "4611686018427387902", "4611686018427387903",
			"4611686018427387904", "9223372036854775808", "18446744073692774398", "18446744073692774399",
			"18446744073692774400", "18446744073709551615",
		} {
			m.write("shmmax", value)
			m.write("shmall", value)
			more, err := compareTables(value, kernel.System{}, []int{4})
			if err := errors.Join(m.err, err); err != nil {
				return err
			}
			comparisons = append(comparisons, more...)
		}
		return nil
	})
	for _, comparison := range comparisons {
		t.Run(comparison.name, comparison.check)
	}
}

// TestUnlikelyValuesLookLikeThoseOfIpcs gives ipcs made-up files in
// /proc/sysvipc and the report a system with the same values, in a time zone
// other than UTC.
func TestUnlikelyValuesLookLikeThoseOfIpcs(t *testing.T) {
	needIpcs(t)
	t.Setenv("TZ", "ODD03:30")
	local := time.Local
	time.Local = time.FixedZone("ODD", -(3*60+30)*60)
	t.Cleanup(func() { time.Local = local })

	system, ids := unlikelySystem(rand.New(rand.NewPCG(1, 2)), 300)
	var comparisons []comparison
	inNamespace(t, func() error {
		if err := errors.Join(coverNames(t), coverSysvipc(t, system)); err != nil {
			return err
		}
		tables, err1 := compareTables("unlikely", system, []int{0, 1, 2, 3})
		queues, err2 := compareObjects(system, "-q", listing.Selection{MessageQueues: true}, ids)
		segments, err3 := compareObjects(system, "-m", listing.Selection{Segments: true}, ids)
		comparisons = append(append(tables, queues...), segments...)
		return errors.Join(err1, err2, err3)
	})
	for _, comparison := range comparisons {
		t.Run(comparison.name, comparison.check)
	}
}

// unlikelySystem returns n objects of each kind, all with the same ids.
func unlikelySystem(random *rand.Rand, n int) (system *fakeSystem, ids []int) {
	number := func() uint64 { return random.Uint64() >> (1 + random.IntN(63)) }
	pid := func() int32 { return int32(number() % 4194305) }
	seconds := func() int64 { return int64(number() % (1 << 33) * random.Uint64N(2)) }
	ctime := func() int64 { return 1 + seconds() } // every object has one
	uid := func() uint32 { return [...]uint32{0, 33, 776, 777, 778, 54321, uint32(number())}[random.IntN(7)] }
	perm := func(mode uint32) ipc.Perm {
		return ipc.Perm{Key: ipc.Key(number()), UID: uid(), GID: uid(), CUID: uid(), CGID: uid(), Mode: random.Uint32() & mode}
	}
	system = &fakeSystem{}
	for i := range n {
		ids = append(ids, i|random.IntN(65535)>>random.IntN(16)<<15)
		system.queues = append(system.queues, ipc.MsqidDS{
			Perm: perm(0o777), Stime: seconds(), Rtime: seconds(), Ctime: ctime(),
			Cbytes: number(), Qnum: number(), Lspid: pid(), Lrpid: pid(),
		})
		system.segments = append(system.segments, ipc.ShmidDS{
			Perm: perm(0o3777), Segsz: number(), Atime: seconds(), Dtime: seconds(), Ctime: ctime(),
			Cpid: pid(), Lpid: pid(), Nattch: number(),
		})
		system.sets = append(system.sets, ipc.SemidDS{
			Perm: perm(0o777), Otime: seconds(), Ctime: ctime(), Nsems: number() % (1 << 31),
		})
	}
	system.ids = ids
	return system, ids
}

// coverSysvipc makes /proc/sysvipc tell of the objects of a system.
func coverSysvipc(t *testing.T, system *fakeSystem) error {
	var msg, sem, shm strings.Builder
	msg.WriteString("key msqid perms cbytes qnum lspid lrpid uid gid cuid cgid stime rtime ctime\n")
	sem.WriteString("key semid perms nsems uid gid cuid cgid otime ctime\n")
	shm.WriteString("key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n")
	owners := func(p *ipc.Perm) string { return fmt.Sprint(p.UID, " ", p.GID, " ", p.CUID, " ", p.CGID) }
	for i, id := range system.ids {
		q, s, m := &system.queues[i], &system.sets[i], &system.segments[i]
		fmt.Fprintln(&msg, int32(q.Perm.Key), id, fmt.Sprintf("%o", q.Perm.Mode), q.Cbytes, q.Qnum, q.Lspid, q.Lrpid, owners(&q.Perm), q.Stime, q.Rtime, q.Ctime)
		fmt.Fprintln(&sem, int32(s.Perm.Key), id, fmt.Sprintf("%o", s.Perm.Mode), s.Nsems, owners(&s.Perm), s.Otime, s.Ctime)
		fmt.Fprintln(&shm, int32(m.Perm.Key), id, fmt.Sprintf("%o", m.Perm.Mode), m.Segsz, m.Cpid, m.Lpid, m.Nattch, owners(&m.Perm), m.Atime, m.Dtime, m.Ctime, 0, 0)
	}
	return errors.Join(
		cover(t, "/proc/sysvipc/msg", msg.String()),
		cover(t, "/proc/sysvipc/sem", sem.String()),
		cover(t, "/proc/sysvipc/shm", shm.String()))
}

// TestOfAnObjectThatDoesNotExist expects the error that ipcs prints.
func TestOfAnObjectThatDoesNotExist(t *testing.T) {
	for _, selection := range []listing.Selection{{MessageQueues: true}, {Segments: true}, {SemaphoreSets: true}} {
		report := listing.Report{Select: selection}
		for name, show := range map[string]func() error{
			"text": func() error { return report.ObjectText(failWriter{t}, &fakeSystem{}, 5) },
			"json": func() error { return report.ObjectJSON(failWriter{t}, &fakeSystem{}, 5) },
		} {
			if err := show(); !errors.Is(err, listing.ErrNotFound) {
				t.Errorf("%+v %s: error %v", selection, name, err)
			}
		}
	}
}

// TestOneObjectOfSeveralKinds expects the refusal that ipcs gives too.
func TestOneObjectOfSeveralKinds(t *testing.T) {
	for _, selection := range []listing.Selection{{}, threeTables, {MessageQueues: true, Mqueues: true}, {Mqueues: true}} {
		if err := (listing.Report{Select: selection}).ObjectText(failWriter{t}, &fakeSystem{}, 5); err != listing.ErrSelection {
			t.Errorf("%+v: error %v", selection, err)
		}
	}
}

// TestASystemThatFails expects the error, and the table before it.
func TestASystemThatFails(t *testing.T) {
	system := &fakeSystem{semErr: syscall.ENOSYS}
	for _, view := range viewOptions {
		var text bytes.Buffer
		err := listing.Report{View: view.view}.Text(&text, system)
		usesSets := view.view != listing.PIDs && view.view != listing.Limits
		if errors.Is(err, syscall.ENOSYS) != usesSets {
			t.Errorf("view %d: error %v", view.view, err)
		}
		if !strings.Contains(text.String(), "------ Shared Memory") {
			t.Errorf("view %d: the tables before the error are missing: %q", view.view, text.String())
		}
	}
	if err := (listing.Report{}).Text(brokenWriter{}, &fakeSystem{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("writing to a closed file: error %v", err)
	}
}

// A failWriter fails the test if anything is written.
type failWriter struct{ t *testing.T }

func (w failWriter) Write(text []byte) (int, error) {
	w.t.Errorf("printed %q", text)
	return len(text), nil
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }
