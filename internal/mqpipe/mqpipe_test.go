//go:build linux

package mqpipe_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/mqpipe"
	"github.com/ipcns/ipcns/internal/sys"
	"golang.org/x/sys/unix"
)

// The roles of the test binary.
const (
	holding      = "hold a descriptor"
	thousandFold = "make a thousand pipes"
)

func TestMain(m *testing.M) {
	ipctest.Play(map[string]func() error{
		holding:      func() error { _, err := io.Copy(io.Discard, os.Stdin); return err },
		thousandFold: makeThousand,
	})
	leak.Main(m)
}

var levels = []mqpipe.Level{mqpipe.Empty, mqpipe.Some, mqpipe.Full}

// ready is what poll(2) reports at each level; its events are those of epoll.
var ready = map[mqpipe.Level]int16{
	mqpipe.Empty: unix.EPOLLOUT | unix.EPOLLWRNORM,
	mqpipe.Some:  unix.EPOLLIN | unix.EPOLLRDNORM | unix.EPOLLOUT | unix.EPOLLWRNORM,
	mqpipe.Full:  unix.EPOLLIN | unix.EPOLLRDNORM,
}

const everything = unix.EPOLLIN | unix.EPOLLRDNORM | unix.EPOLLOUT | unix.EPOLLWRNORM | unix.EPOLLPRI | unix.EPOLLRDHUP

// newPipe returns a pipe and the program's descriptor, which are closed with
// the test, if it has not done so.
func newPipe(t testing.TB, nonblock bool) (*mqpipe.Pipe, *os.File) {
	t.Helper()
	p, fd, err := mqpipe.New(nonblock)
	if err != nil {
		t.Fatal(err)
	}
	program := os.NewFile(uintptr(fd), "program")
	t.Cleanup(func() { program.Close(); p.Close() })
	return p, program
}

// descriptor returns f's, which stays as it is: [os.File.Fd] would make it
// blocking.
func descriptor(f *os.File) (fd int) {
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(n uintptr) { fd = int(n) })
	}
	if err != nil {
		return -1
	}
	return fd
}

// polled returns what poll(2) reports for a descriptor.
func polled(fd int) (int16, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: everything}}
	for {
		if _, err := unix.Poll(fds, 0); err != unix.EINTR {
			return fds[0].Revents, err
		}
	}
}

// show calls Show and checks what the program sees.
func show(p *mqpipe.Pipe, fd int, level mqpipe.Level) error {
	if err := p.Show(level); err != nil {
		return err
	}
	got, err := polled(fd)
	if err == nil && got != ready[level] {
		err = fmt.Errorf("at level %d, poll reports %#x, want %#x", level, got, ready[level])
	}
	return err
}

func TestEveryChangeOfLevelShows(t *testing.T) {
	p, program := newPipe(t, true)
	for _, from := range levels {
		for _, to := range levels {
			for _, level := range []mqpipe.Level{from, to, to} {
				if err := show(p, descriptor(program), level); err != nil {
					t.Errorf("from %d to %d: %v", from, to, err)
				}
			}
		}
	}
}

// TestAQueueOfTheKernelIsAsReady looks at a queue of two messages, and at the
// flags of its description.
func TestAQueueOfTheKernelIsAsReady(t *testing.T) {
	for _, nonblock := range []int{0, unix.O_NONBLOCK} {
		p, program := newPipe(t, nonblock != 0)
		ipctest.InNew(t, func() error {
			queue, err := ipctest.MqOpen("q", unix.O_RDWR|unix.O_CREAT|nonblock, 0o600, &sys.MqAttr{Maxmsg: 2, Msgsize: 1})
			if err != nil {
				return err
			}
			defer unix.Close(queue)
			for _, level := range levels {
				if err := p.Show(level); err != nil {
					return err
				}
				for what, look := range map[string]func(fd int) (int, error){
					"poll":    func(fd int) (int, error) { events, err := polled(fd); return int(events), err },
					"select":  selected,
					"epoll":   func(fd int) (int, error) { return epolled(fd, 0) },
					"F_GETFL": statusFlags,
				} {
					want, err1 := look(queue)
					got, err2 := look(descriptor(program))
					if err := errors.Join(err1, err2); err != nil || got != want {
						t.Errorf("level %d: %s reports %#x, of the queue %#x; error %v", level, what, got, want, err)
					}
				}
				if level == mqpipe.Full {
					break
				}
				if err := ipctest.MqSend(queue, "m", 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// statusFlags returns the flags of F_GETFL without O_LARGEFILE, which open(2)
// adds and mq_open(2) does not, and which is 0 in package unix.
func statusFlags(fd int) (int, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return flags & (unix.O_ACCMODE | unix.O_NONBLOCK | unix.O_DIRECT | unix.O_APPEND | unix.O_ASYNC), err
}

// selected returns for what select(2) reports the descriptor.
func selected(fd int) (ready int, err error) {
	var in, out, exceptional unix.FdSet
	in.Set(fd)
	out.Set(fd)
	exceptional.Set(fd)
	_, err = unix.Select(fd+1, &in, &out, &exceptional, &unix.Timeval{})
	for i, set := range []*unix.FdSet{&in, &out, &exceptional} {
		if set.IsSet(fd) {
			ready |= 1 << i
		}
	}
	return ready, err
}

// epolled returns what epoll reports for a descriptor.
func epolled(fd, flags int) (events int, err error) {
	e, err := newEpoll(fd, everything|flags)
	if err != nil {
		return 0, err
	}
	defer unix.Close(e)
	return waited(e)
}

func newEpoll(fd, events int) (int, error) {
	e, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, err
	}
	err = unix.EpollCtl(e, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: uint32(events)})
	return e, err
}

// waited returns the events of the only descriptor, 0 if there are none.
func waited(epoll int) (int, error) {
	var events [1]unix.EpollEvent
	for {
		n, err := unix.EpollWait(epoll, events[:], 0)
		if err == unix.EINTR {
			continue
		}
		if n < 1 {
			return 0, err
		}
		return int(events[0].Events), nil
	}
}

func TestEdgesComeWithChanges(t *testing.T) {
	p, program := newPipe(t, true)
	e, err := newEpoll(descriptor(program), unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(e)
	const in, out = unix.EPOLLIN, unix.EPOLLOUT
	for i, step := range []struct {
		level mqpipe.Level
		want  int
	}{
		{mqpipe.Empty, out}, // as it is at first
		{mqpipe.Empty, 0},
		{mqpipe.Some, in | out},
		{mqpipe.Some, 0},
		{mqpipe.Full, in},
		{mqpipe.Full, 0},
		{mqpipe.Some, in | out},
		{mqpipe.Full, in},
		{mqpipe.Empty, out},
		{mqpipe.Full, in},
	} {
		ipctest.Must(t, p.Show(step.level))
		got, err := waited(e)
		if err != nil || got != step.want {
			t.Errorf("step %d, to level %d: event %#x, want %#x; error %v", i, step.level, got, step.want, err)
		}
	}
}

// TestWhatTheProgramDoesToItsDescriptorIsUndone lets it do so at every level,
// before every other.
func TestWhatTheProgramDoesToItsDescriptorIsUndone(t *testing.T) {
	resize := func(pages int) func(fd int) error {
		return func(fd int) error {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pages*os.Getpagesize())
			return ignoring(err, unix.EBUSY)
		}
	}
	for name, deed := range map[string]func(fd int) error{
		"it reads once":       func(fd int) error { _, err := read(fd, 1); return err },
		"it reads everything": func(fd int) error { return drain(fd) },
		"it writes a byte":    func(fd int) error { return write(fd, 1) },
		"it writes twice":     func(fd int) error { return errors.Join(write(fd, 1), write(fd, 1)) },
		"it writes a page":    func(fd int) error { return write(fd, os.Getpagesize()) },
		"it replaces everything with a byte": func(fd int) error {
			return errors.Join(drain(fd), write(fd, 1))
		},
		"it replaces everything with many bytes": func(fd int) error {
			return errors.Join(drain(fd), write(fd, 1<<20))
		},
		"it shrinks the pipe":               resize(1),
		"it grows the pipe":                 resize(16),
		"it grows the pipe and writes":      func(fd int) error { return errors.Join(resize(16)(fd), write(fd, 1)) },
		"it grows the pipe and fills it":    func(fd int) error { return errors.Join(resize(256)(fd), fill(fd)) },
		"it shrinks the pipe and fills it":  func(fd int) error { return errors.Join(drain(fd), resize(1)(fd), fill(fd)) },
		"it writes packets of its own":      packets,
		"it empties the pipe into another":  spliceAway,
		"it opens the pipe anew and closes": reopen,
	} {
		t.Run(name, func(t *testing.T) {
			for _, before := range levels {
				for _, after := range levels {
					p, program := newPipe(t, true)
					fd := descriptor(program)
					err := errors.Join(show(p, fd, before), deed(fd), show(p, fd, after), show(p, fd, mqpipe.Some))
					if err != nil {
						t.Errorf("from level %d to level %d: %v", before, after, err)
					}
				}
			}
		})
	}
}

func ignoring(err, one error) error {
	if errors.Is(err, one) {
		return nil
	}
	return err
}

func read(fd, n int) (bool, error) {
	n, err := unix.Read(fd, make([]byte, n))
	return n > 0, ignoring(err, unix.EAGAIN)
}

func drain(fd int) error {
	for {
		if more, err := read(fd, 1<<16); !more {
			return err
		}
	}
}

func write(fd, n int) error {
	_, err := unix.Write(fd, make([]byte, n))
	return ignoring(err, unix.EAGAIN)
}

func fill(fd int) error { return errors.Join(write(fd, 1<<20), write(fd, 1)) }

func packets(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
		return err
	}
	return errors.Join(write(fd, 7), write(fd, 7))
}

func spliceAway(fd int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	_, err = unix.Splice(fd, nil, descriptor(w), nil, 2, unix.SPLICE_F_NONBLOCK)
	return ignoring(err, unix.EAGAIN)
}

func reopen(fd int) error {
	f, err := os.OpenFile(fmt.Sprint("/proc/self/fd/", fd), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// TestShowEndsWhileTheProgramGoesOn also expects that the pipe is right again
// when the program has had enough.
func TestShowEndsWhileTheProgramGoesOn(t *testing.T) {
	p, program := newPipe(t, true)
	fd := descriptor(program)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := errors.Join(write(fd, 1<<14), drain(fd), write(fd, 1)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for i := range 3000 {
		ipctest.Must(t, p.Show(levels[i%len(levels)]))
	}
	close(stop)
	ipctest.Must(t, <-stopped)
	for _, level := range levels {
		ipctest.Must(t, show(p, fd, level))
	}
}

// TestHeld lets others hold the description when the program has closed its
// descriptor, until they let go of it too.
func TestHeld(t *testing.T) {
	for name, hold := range map[string]func(t *testing.T, program *os.File) (letGo func()){
		"by nobody":                       func(*testing.T, *os.File) func() { return func() {} },
		"by a duplicate":                  holdByDup,
		"by another process":              holdByProcess,
		"by a message in a socket":        holdByMessage,
		"by another description of it":    holdByReopening,
		"by one end that is read only":    func(t *testing.T, f *os.File) func() { return opened(t, f, os.O_RDONLY) },
		"by a duplicate and a fresh copy": func(t *testing.T, f *os.File) func() { return both(holdByDup(t, f), holdByReopening(t, f)) },
	} {
		t.Run(name, func(t *testing.T) {
			p, program := newPipe(t, false)
			wantHeld(t, p, true)
			letGo := hold(t, program)
			program.Close()
			wantHeld(t, p, name != "by nobody")
			for _, level := range levels {
				ipctest.Must(t, p.Show(level))
				wantHeld(t, p, name != "by nobody")
			}
			letGo()
			wantHeld(t, p, false)
			for _, level := range levels {
				ipctest.Must(t, p.Show(level))
			}
			wantHeld(t, p, false)
		})
	}
}

func wantHeld(t *testing.T, p *mqpipe.Pipe, want bool) {
	t.Helper()
	for range 2 {
		if got, err := p.Held(); err != nil || got != want {
			t.Errorf("held: %v, want %v; error %v", got, want, err)
		}
	}
}

func both(f, g func()) func() { return func() { f(); g() } }

func holdByDup(t *testing.T, program *os.File) func() {
	fd, err := unix.FcntlInt(uintptr(descriptor(program)), unix.F_DUPFD_CLOEXEC, 0)
	ipctest.Must(t, err)
	return func() { unix.Close(fd) }
}

func holdByReopening(t *testing.T, program *os.File) func() { return opened(t, program, os.O_RDWR) }

func opened(t *testing.T, program *os.File, flags int) func() {
	f, err := os.OpenFile(fmt.Sprint("/proc/self/fd/", descriptor(program)), flags, 0)
	ipctest.Must(t, err)
	return func() { f.Close() }
}

func holdByProcess(t *testing.T, program *os.File) func() {
	cmd := ipctest.Again(holding)
	cmd.ExtraFiles = []*os.File{program}
	stdin, err := cmd.StdinPipe()
	ipctest.Must(t, err)
	ipctest.Must(t, cmd.Start())
	return func() {
		stdin.Close()
		ipctest.Must(t, cmd.Wait())
	}
}

func holdByMessage(t *testing.T, program *os.File) func() {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	ipctest.Must(t, err)
	ipctest.Must(t, unix.Sendmsg(ends[0], []byte("x"), unix.UnixRights(descriptor(program)), nil, 0))
	return func() {
		unix.Close(ends[0])
		unix.Close(ends[1])
	}
}

// TestTheLastCloseIsAnEvent watches the descriptor before and after.
func TestTheLastCloseIsAnEvent(t *testing.T) {
	p, program := newPipe(t, true)
	e, err := newEpoll(p.Fd(), unix.EPOLLET)
	ipctest.Must(t, err)
	defer unix.Close(e)
	letGo := holdByDup(t, program)
	for _, level := range levels {
		ipctest.Must(t, p.Show(level))
	}
	wantHeld(t, p, true)
	program.Close()
	if got, err := waited(e); err != nil || got&unix.EPOLLERR != 0 {
		t.Errorf("while it is held: event %#x, error %v", got, err)
	}
	letGo()
	if got, err := waited(e); err != nil || got&unix.EPOLLERR == 0 {
		t.Errorf("after the last close: event %#x, error %v", got, err)
	}
}

func TestInodeIsThatOfTheDescriptor(t *testing.T) {
	p, program := newPipe(t, true)
	other, _ := newPipe(t, true)
	var stat unix.Stat_t
	ipctest.Must(t, unix.Fstat(descriptor(program), &stat))
	link, err := os.Readlink(fmt.Sprint("/proc/self/fd/", descriptor(program)))
	if want := fmt.Sprintf("pipe:[%d]", p.Inode()); err != nil || stat.Ino != p.Inode() || link != want {
		t.Errorf("st_ino %d, link %s, error %v; want %s", stat.Ino, link, err, want)
	}
	if p.Inode() == other.Inode() {
		t.Error("two pipes have the same inode number")
	}
}

func TestAfterClose(t *testing.T) {
	p, program := newPipe(t, true)
	ipctest.Must(t, p.Show(mqpipe.Full))
	ipctest.Must(t, p.Close())
	if got, err := polled(descriptor(program)); err != nil || got != ready[mqpipe.Full] {
		t.Errorf("poll reports %#x, error %v", got, err)
	}
	_, err := p.Held()
	for name, err := range map[string]error{"Held": err, "Show": p.Show(mqpipe.Some), "Close": p.Close()} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p.Fd() != -1 {
		t.Errorf("descriptor %d", p.Fd())
	}
}

// TestAThousandPipes expects that they do not come near what an ordinary user
// may have in pipes; see pipe-user-pages-soft in pipe(7).
func TestAThousandPipes(t *testing.T) {
	ipctest.Must(t, makeThousand())
	if os.Geteuid() != 0 {
		return
	}
	if output, err := ipctest.AsNobody(ipctest.Again(thousandFold)).CombinedOutput(); err != nil {
		t.Errorf("as an ordinary user: %v: %s", err, output)
	}
}

func makeThousand() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	var inodes []uint64
	for range min(1000, int(limit.Cur-100)/3) {
		p, program, err := mqpipe.New(true)
		if err != nil {
			return err
		}
		defer p.Close()
		defer unix.Close(program)
		if err := show(p, program, mqpipe.Full); err != nil {
			return err
		}
		if size, err := unix.FcntlInt(uintptr(program), unix.F_GETPIPE_SZ, 0); err != nil || size != 2*os.Getpagesize() {
			return fmt.Errorf("pipe %d has %d bytes, error %w", len(inodes), size, err)
		}
		inodes = append(inodes, p.Inode())
	}
	slices.Sort(inodes)
	if len(slices.Compact(slices.Clone(inodes))) != len(inodes) {
		return errors.New("two pipes have the same inode number")
	}
	return nil
}

func TestShowDoesNotAllocate(t *testing.T) {
	p, _ := newPipe(t, true)
	level := 0
	ipctest.NoAllocations(t, "Show", func() { p.Show(levels[level%len(levels)]); level++ })
}

func BenchmarkShow(b *testing.B) {
	for name, order := range map[string][]mqpipe.Level{
		"unchanged":       {mqpipe.Some},
		"empty-some":      {mqpipe.Empty, mqpipe.Some},
		"some-full":       {mqpipe.Some, mqpipe.Full},
		"empty-some-full": levels,
	} {
		b.Run(name, func(b *testing.B) {
			p, _ := newPipe(b, true)
			for i := 0; b.Loop(); i++ {
				if err := p.Show(order[i%len(order)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHeld also pays for opening the pipe again in the next Show.
func BenchmarkHeld(b *testing.B) {
	p, _ := newPipe(b, true)
	for b.Loop() {
		held, err := p.Held()
		if err := errors.Join(err, p.Show(mqpipe.Some)); err != nil || !held {
			b.Fatal(held, err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		p, program, err := mqpipe.New(true)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(program)
		p.Close()
	}
}
