//go:build linux

package listing_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"golang.org/x/sys/unix"
)

// mqOpen makes a POSIX queue, named without its slash, with some messages.
func mqOpen(name string, uid, gid int, mode uint32, messages ...string) (fd int, err error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	attr := sys.MqAttr{Maxmsg: 3, Msgsize: 8}
	opened, _, errno := syscall.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(path)),
		unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600, uintptr(unsafe.Pointer(&attr)), 0, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("mq_open", errno)
	}
	fd = int(opened)
	for _, text := range messages {
		_, _, errno := syscall.Syscall6(unix.SYS_MQ_TIMEDSEND, opened, uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text)), 0, 0, 0)
		if errno != 0 {
			return fd, os.NewSyscallError("mq_timedsend", errno)
		}
	}
	return fd, errors.Join(unix.Fchown(fd, uid, gid), unix.Fchmod(fd, mode))
}

// mqNotify registers this process for a queue that stays empty.
func mqNotify(fd int) error {
	event := struct {
		value         uint64
		signo, notify int32
		_             [6]uint64
	}{notify: 1} // SIGEV_NONE
	_, _, errno := syscall.Syscall(unix.SYS_MQ_NOTIFY, uintptr(fd), uintptr(unsafe.Pointer(&event)), 0)
	if errno != 0 {
		return os.NewSyscallError("mq_notify", errno)
	}
	return nil
}

// TestRealMqueues prints queues that the kernel has.
func TestRealMqueues(t *testing.T) {
	long := strings.Repeat("long", 50)
	got := make(map[listing.View]string)
	inNamespace(t, func() error {
		full, err1 := mqOpen("full", 0, 0, 0o600, "12345678", "", "123")
		empty, err2 := mqOpen("empty queue", 33, 33, 0o1644)
		other, err3 := mqOpen(long, 777, 4294967294, 0, "x")
		feed, err4 := mqOpen("line\nfeed", 54321, 777, 0o666)
		if err := errors.Join(err1, err2, err3, err4, coverNames(t)); err != nil {
			return err
		}
		for view := range listing.Summary + 1 {
			// Reading a queue ends the registration of the reading process.
			if err := mqNotify(empty); err != nil && !errors.Is(err, unix.EBUSY) {
				return err
			}
			var text bytes.Buffer
			report := listing.Report{Select: listing.Selection{Mqueues: true}, View: view}
			if err := report.Text(&text, kernel.System{}); err != nil {
				return err
			}
			got[view] = text.String()
		}
		return errors.Join(unix.Close(full), unix.Close(empty), unix.Close(other), unix.Close(feed))
	})

	pid := fmt.Sprintf("%-10d", os.Getpid())
	for view, want := range map[listing.View]string{
		listing.Status: `
------ POSIX Message Queues --------
owner      perms      maxmsg     msgsize    messages   used-bytes   name
www-data   1644       3          8          0          0            /empty queue
root       600        3          8          3          11           /full
54321      666        3          8          0          0            /line\nfeed
a-very-lon 0          3          8          1          1            /` + long + `

`,
		listing.Times: "\n",
		listing.PIDs: `
------ POSIX Message Queues Notification PIDs --------
owner      notify-pid name
www-data   ` + pid + ` /empty queue
root       0          /full
54321      0          /line\nfeed
a-very-lon 0          /` + long + `

`,
		listing.Creators: `
------ POSIX Message Queues Owners --------
perms      uid        gid        name
1644       www-data   www-data   /empty queue
600        root       root       /full
666        54321      a-very-long-group-name /line\nfeed
0          a-very-long-user-name 4294967294 /` + long + `

`,
		listing.Limits: `
------ POSIX Messages Limits --------
max number of queues = 256
max messages in queue = 10
max size of message (bytes) = 8192
default max messages in queue = 10
default max size of message (bytes) = 8192

`,
		listing.Summary: `
------ POSIX Messages Status --------
allocated queues = 4
messages = 4
used space = 12 bytes

`,
	} {
		t.Run(fmt.Sprint("view ", view), comparison{want: []byte(want), got: []byte(got[view])}.check)
	}
}

// TestUnreadableMqueue expects "-" and null for what is not known.
func TestUnreadableMqueue(t *testing.T) {
	system := &fakeSystem{mqueues: []ipc.MqueueStat{
		{Name: "/closed", UID: nameless, GID: nameless, Mode: 0o200, Inode: 9, Unreadable: true},
		{Name: "/open", UID: nameless, GID: nameless, Mode: 0o600, Inode: 10, Attr: ipc.MqAttr{Maxmsg: 1, Msgsize: 2, Curmsgs: 3}, Bytes: 4, NotifyPID: 5},
	}}
	for view, want := range map[listing.View]string{
		listing.Status: `
------ POSIX Message Queues --------
owner      perms      maxmsg     msgsize    messages   used-bytes   name
4000000001 200        -          -          -          -            /closed
4000000001 600        1          2          3          4            /open

`,
		listing.PIDs: `
------ POSIX Message Queues Notification PIDs --------
owner      notify-pid name
4000000001 -          /closed
4000000001 5          /open

`,
		listing.Summary: `
------ POSIX Messages Status --------
allocated queues = 2
messages = -
used space = - bytes

`,
	} {
		var text bytes.Buffer
		report := listing.Report{Select: listing.Selection{Mqueues: true}, View: view}
		if err := report.Text(&text, system); err != nil {
			t.Error(err)
		}
		t.Run(fmt.Sprint("view ", view), comparison{want: []byte(want), got: text.Bytes()}.check)
	}
}

// TestMqueuesThatAreRefused expects a warning if everything is asked for,
// and the error if these queues are.
func TestMqueuesThatAreRefused(t *testing.T) {
	system := &fakeSystem{mqErr: syscall.EPERM}
	for name, print := range map[string]func(listing.Report) error{
		"text":         func(r listing.Report) error { return r.Text(new(bytes.Buffer), system) },
		"json":         func(r listing.Report) error { return r.JSON(new(bytes.Buffer), system) },
		"summary":      func(r listing.Report) error { r.View = listing.Summary; return r.Text(new(bytes.Buffer), system) },
		"json summary": func(r listing.Report) error { r.View = listing.Summary; return r.JSON(new(bytes.Buffer), system) },
	} {
		t.Run(name, func(t *testing.T) {
			var warning error
			warn := func(err error) { warning = err }
			if err := print(listing.Report{Warn: warn}); err != nil || !errors.Is(warning, syscall.EPERM) {
				t.Errorf("everything: error %v, warning %v", err, warning)
			}
			if err := print(listing.Report{}); err != nil {
				t.Errorf("everything, without Warn: error %v", err)
			}
			warning = nil
			selection := listing.Selection{MessageQueues: true, Mqueues: true}
			if err := print(listing.Report{Select: selection, Warn: warn}); !errors.Is(err, syscall.EPERM) || warning != nil {
				t.Errorf("selected: error %v, warning %v", err, warning)
			}
		})
	}
}

// TestEverythingIsIpcsAndMqueues expects the three tables of ipcs and then
// the fourth, but none for times.
func TestEverythingIsIpcsAndMqueues(t *testing.T) {
	text := func(selection listing.Selection, view listing.View) string {
		var text bytes.Buffer
		if err := (listing.Report{Select: selection, View: view}).Text(&text, &fakeSystem{}); err != nil {
			t.Error(err)
		}
		return strings.TrimSuffix(text.String(), "\n")
	}
	for _, view := range viewOptions {
		three, fourth := text(threeTables, view.view), text(listing.Selection{Mqueues: true}, view.view)
		if got := text(listing.Selection{}, view.view); got != three+fourth {
			t.Errorf("view %d: %q is not %q and %q", view.view, got, three, fourth)
		}
		if none := fourth == ""; none != (view.view == listing.Times) {
			t.Errorf("view %d: fourth table %q", view.view, fourth)
		}
	}
}
