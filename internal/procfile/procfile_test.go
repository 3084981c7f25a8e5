//go:build linux

package procfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/procfile"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/userspace"
)

func TestContentsAreThoseOfTheKernel(t *testing.T) {
	for _, s := range append(scenarios, scenario{name: "a segment of terabytes", objects: hugeSegment}) {
		t.Run(s.name, func(t *testing.T) {
			got, want, _ := inKernel(t, s)
			for path := range want {
				if withoutResident(path, got) != withoutResident(path, want) {
					t.Errorf("%s\ngot  %q\nwant %q", path, got[path], want[path])
				}
			}
		})
	}
}

// withoutResident returns the content of a file without the columns rss and
// swap of segments, as no call tells them of one segment.
func withoutResident(path string, contents map[string]string) string {
	if path != "/proc/sysvipc/shm" {
		return contents[path]
	}
	const columns = len(" 123456789012345678901 123456789012345678901\n")
	header, rows, _ := strings.Cut(contents[path], "\n")
	var without strings.Builder
	without.WriteString(header)
	for row := range strings.Lines(rows) {
		without.WriteString("\n" + row[:len(row)-columns])
	}
	return without.String()
}

// TestAllOfAWrittenSegmentIsResident compares the columns that other tests
// leave out.
func TestAllOfAWrittenSegmentIsResident(t *testing.T) {
	const path = "/proc/sysvipc/shm"
	got, want, _ := inKernel(t, scenario{objects: func(w *world) error {
		for _, size := range []uint64{1, 4096, 4097, 100000} {
			id, err := w.Shmget(ipc.Private, size, 0o600)
			if err != nil {
				return err
			}
			memory, err := w.Shmat(id, 0, 0)
			if err != nil {
				return err
			}
			w.attached = append(w.attached, memory)
			for i := range memory {
				memory[i] = 1
			}
		}
		return nil
	}})
	if got[path] != want[path] {
		t.Errorf("got  %q\nwant %q", got[path], want[path])
	}
}

// TestContentsOfAUserspaceNamespace does the same in one of the kernel and in
// one of package userspace, as root of it.
func TestContentsOfAUserspaceNamespace(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			_, kernels, limits := inKernel(t, s)
			ns := userspace.New(userspace.Options{Limits: &limits})
			defer ns.Close()
			w := &world{System: ns.Start(userspace.User(0, 0)), setNextID: ns.SetNextID}
			if s.objects != nil {
				ipctest.Must(t, s.objects(w))
			}
			got, err := contents(w, ns.NextID)
			ipctest.Must(t, errors.Join(err, w.detachAll()))
			for path, want := range kernels {
				if strings.HasPrefix(path, "/proc/sysvipc/") {
					compareTables(t, path, got[path], want)
				} else if got[path] != want {
					t.Errorf("%s: got %q, want %q", path, got[path], want)
				}
			}
		})
	}
}

// compareTables compares what does not depend on when and by which process
// something has been done. Of that it compares whether there is anything.
func compareTables(t *testing.T, path, got, want string) {
	t.Helper()
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	if len(gotLines) != len(wantLines) || gotLines[0] != wantLines[0] {
		t.Fatalf("%s\ngot  %q\nwant %q", path, got, want)
	}
	columns := strings.Fields(gotLines[0])
	for i, line := range gotLines {
		gotFields, wantFields := strings.Fields(line), strings.Fields(wantLines[i])
		if len(gotFields) != len(wantFields) {
			t.Fatalf("%s\ngot  %q\nwant %q", path, line, wantLines[i])
		}
		for c := range gotFields {
			same := gotFields[c] == wantFields[c]
			switch columns[c] {
			case "rss", "swap":
				continue
			case "lspid", "lrpid", "cpid", "lpid", "stime", "rtime", "ctime", "otime", "atime", "dtime":
				same = (gotFields[c] == "0") == (wantFields[c] == "0")
			}
			if !same {
				t.Errorf("%s: %s\ngot  %q\nwant %q", path, columns[c], line, wantLines[i])
			}
		}
	}
}

func TestModesAreThoseOfTheKernel(t *testing.T) {
	ipctest.InNew(t, func() error {
		for _, path := range procfile.Paths() {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if got := procfile.Mode(path); got != info.Mode() {
				t.Errorf("%s: mode %v, want %v", path, got, info.Mode())
			}
		}
		return nil
	})
}

func TestKnownPaths(t *testing.T) {
	for _, known := range procfile.Paths() {
		if !procfile.Known(known) || !procfile.KnownBase(path.Base(known)) {
			t.Errorf("%s is not known", known)
		}
	}
	for _, unknown := range []string{
		"", "/", "/proc/sysvipc", "/proc/sysvipc/", "/proc/sysvipc/msg/", "/proc//sysvipc/msg", "proc/sysvipc/msg",
		"msg", "/proc/sys/kernel/msg", "/proc/sysvipc/msgmax", "/proc/sys/kernel/pid_max", "/proc/sys/kernel",
		"/proc/1/sysvipc/msg", "/tmp/proc/sysvipc/msg",
	} {
		content, ok, err := procfile.Contents(unknown, nil, nil)
		if procfile.Known(unknown) || ok || err != nil || content != nil {
			t.Errorf("%q is known: %v, content %q, ok %v, error %v", unknown, procfile.Known(unknown), content, ok, err)
		}
		if mode := procfile.Mode(unknown); mode != fs.FileMode(0) {
			t.Errorf("%q has mode %v", unknown, mode)
		}
	}
	for _, unknown := range []string{"", ".", "proc", "sysvipc", "kernel", "mqueue", "passwd", "/proc/sysvipc/msg"} {
		if procfile.KnownBase(unknown) {
			t.Errorf("the last component %q is known", unknown)
		}
	}
}

// TestObjectsThatVanishAreLeftOut counts three objects of which two are gone
// when it is their turn.
func TestObjectsThatVanishAreLeftOut(t *testing.T) {
	got, err := contents(vanishing{}, func(string) (int, error) { return -1, nil })
	ipctest.Must(t, err)
	for path, want := range map[string]string{
		"/proc/sysvipc/msg": "" +
			"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n" +
			"        -7          1     0           0          0     0     0     0     0     0     0          0          0          0\n",
		"/proc/sysvipc/sem": "" +
			"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n" +
			"        -7          1     0          0     0     0     0     0          0          0\n",
		"/proc/sysvipc/shm": "" +
			"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n" +
			"        -7          1     0                     0     0     0      0     0     0     0     0          0          0          0                     0                     0\n",
	} {
		if got[path] != want {
			t.Errorf("%s\ngot  %q\nwant %q", path, got[path], want)
		}
	}
}

// A vanishing system has one object of each kind left.
type vanishing struct{ ipc.System }

func (vanishing) Limits() (ipc.Limits, error)        { return ipc.DefaultLimits(), nil }
func (vanishing) MsgInfo() (ipc.MsgInfo, int, error) { return ipc.MsgInfo{Queues: 3}, 2, nil }
func (vanishing) SemInfo() (ipc.SemInfo, int, error) { return ipc.SemInfo{Sets: 3}, 2, nil }
func (vanishing) ShmInfo() (ipc.ShmInfo, int, error) { return ipc.ShmInfo{Segments: 3}, 2, nil }
func (vanishing) MsgStatAny(i int) (int, ipc.MsqidDS, error) {
	return i, ipc.MsqidDS{Perm: perm}, left(i)
}
func (vanishing) SemStatAny(i int) (int, ipc.SemidDS, error) {
	return i, ipc.SemidDS{Perm: perm}, left(i)
}
func (vanishing) ShmStatAny(i int) (int, ipc.ShmidDS, error) {
	return i, ipc.ShmidDS{Perm: perm}, left(i)
}

var perm = ipc.Perm{Key: -7}

func left(index int) error {
	if index == 1 {
		return nil
	}
	return syscall.EINVAL
}

func TestErrorsOfTheSystemAreReturned(t *testing.T) {
	next := func(string) (int, error) { return 0, syscall.EIO }
	for _, path := range procfile.Paths() {
		content, ok, err := procfile.Contents(path, failing{}, next)
		if path == "/proc/sys/kernel/auto_msgmni" { // which asks for nothing
			if err != nil || !ok {
				t.Errorf("%s: ok %v, error %v", path, ok, err)
			}
			continue
		}
		if !ok || content != nil || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: content %q, ok %v, error %v", path, content, ok, err)
		}
	}
}

type failing struct{ ipc.System }

func (failing) Limits() (ipc.Limits, error)              { return ipc.Limits{}, syscall.EIO }
func (failing) MsgInfo() (ipc.MsgInfo, int, error)       { return ipc.MsgInfo{}, 0, syscall.EIO }
func (failing) SemInfo() (ipc.SemInfo, int, error)       { return ipc.SemInfo{}, 0, syscall.EIO }
func (failing) ShmInfo() (ipc.ShmInfo, int, error)       { return ipc.ShmInfo{Segments: 1}, 0, nil }
func (failing) ShmStatAny(int) (int, ipc.ShmidDS, error) { return 0, ipc.ShmidDS{}, syscall.EIO }

// BenchmarkContents makes a file of a thousand queues, and one of a limit.
func BenchmarkContents(b *testing.B) {
	ns := userspace.New(userspace.Options{})
	defer ns.Close()
	system := ns.Start(userspace.User(0, 0))
	for range 1000 {
		if _, err := system.Msgget(ipc.Private, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for _, file := range []string{"/proc/sysvipc/msg", "/proc/sysvipc/sem", "/proc/sys/kernel/msgmax"} {
		b.Run(path.Base(file), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := procfile.Contents(file, system, ns.NextID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
