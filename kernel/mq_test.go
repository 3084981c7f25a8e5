//go:build linux

package kernel_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

// newMqueue makes a POSIX queue of two messages of 128 bytes.
func newMqueue(name string, mode uint32) (fd int, err error) {
	fd, err = ipctest.MqOpen(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0, &sys.MqAttr{Maxmsg: 2, Msgsize: 128})
	if err != nil {
		return -1, err
	}
	return fd, unix.Fchmod(fd, mode) // which knows no umask
}

func TestMqListIsByName(t *testing.T) {
	names := []string{"b", "a", "c d", "Z", ".hidden", "\xff", "new\nline"}
	want := []string{"/.hidden", "/Z", "/a", "/b", "/c d", "/new\nline", "/\xff"}
	ipctest.InNew(t, func() error {
		for _, name := range names {
			fd, err := newMqueue(name, 0o600)
			if err != nil {
				return err
			}
			unix.Close(fd)
		}
		queues, err := system.MqList()
		for i, queue := range queues {
			if i >= len(want) || queue.Name != want[i] {
				t.Errorf("queue %d is %q", i, queue.Name)
			}
		}
		if n, err := system.MqCount(); n != len(want) || n != len(queues) || err != nil {
			t.Errorf("%d queues, error %v, %d in the list", n, err, len(queues))
		}
		return err
	})
}

// A look leaves the times of the queues, and of their directory, as they are; what
// reading a queue does to them was seen on the kernel.
func TestMqLookChangesNoTimes(t *testing.T) {
	ipctest.InNew(t, func() error {
		fd, err := newMqueue("a", 0o600)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		long := unix.Timespec{Sec: 1}
		if err := unix.UtimesNanoAt(fd, "", []unix.Timespec{long, long}, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
		var before, after unix.Stat_t
		if err := unix.Fstat(fd, &before); err != nil {
			return err
		}
		queues, err := system.MqLook()
		if err != nil || len(queues) != 1 || queues[0].Attr.Maxmsg != 2 {
			t.Errorf("%+v, error %v", queues, err)
		}
		if err := unix.Fstat(fd, &after); err != nil || after != before {
			t.Errorf("%+v is %+v, error %v", before, after, err)
		}
		_, err = system.MqList()
		if err := unix.Fstat(fd, &after); err != nil || after.Atim.Sec == long.Sec {
			t.Errorf("reading has changed nothing, and this test tells nothing; error %v", err)
		}
		return err
	})
}

func TestMqListOfNone(t *testing.T) {
	ipctest.InNew(t, func() error {
		queues, err := system.MqList()
		if len(queues) > 0 {
			t.Errorf("%d queues", len(queues))
		}
		n, countErr := system.MqCount()
		if n > 0 {
			t.Errorf("%d queues", n)
		}
		return errors.Join(err, countErr)
	})
}

// TestMqListReadsTheQueue looks twice: the first time ends this process's
// registration by mq_notify (SEMANTICS A.7.14).
func TestMqListReadsTheQueue(t *testing.T) {
	ipctest.InNew(t, func() error {
		fd, err := newMqueue("q", 0o1640)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := errors.Join(unix.Fstat(fd, &st), notifyNone(fd), ipctest.MqSend(fd, "abc", 1), ipctest.MqSend(fd, "de", 0)); err != nil {
			return err
		}
		// Sending has used the registration up.
		if err := notifyNone(fd); err != nil {
			return err
		}
		want := ipc.MqueueStat{
			Name: "/q", UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Mode: 0o1640, Inode: st.Ino,
			Attr: ipc.MqAttr{Maxmsg: 2, Msgsize: 128, Curmsgs: 2}, Bytes: 5, NotifyPID: int32(os.Getpid()),
		}
		for _, what := range []string{"first", "second"} {
			queues, err := system.MqList()
			if err != nil {
				return err
			}
			if len(queues) != 1 || queues[0] != want {
				t.Errorf("%s time\n got %+v\nwant %+v", what, queues, want)
			}
			want.NotifyPID = 0
		}
		return nil
	})
}

// notifyNone is mq_notify(3) with SIGEV_NONE.
func notifyNone(fd int) error {
	const sigevNone = 1
	event := struct {
		value         uint64
		signo, notify int32
		_             [48]byte
	}{notify: sigevNone}
	if _, _, errno := syscall.RawSyscall(unix.SYS_MQ_NOTIFY, uintptr(fd), uintptr(unsafe.Pointer(&event)), 0); errno != 0 {
		return os.NewSyscallError("mq_notify", errno)
	}
	return nil
}

// The roles of a process that changes /dev, and of an ordinary user who then
// lists the queues.
const (
	coverDev    = "cover /dev"
	listMqueues = "list the POSIX queues"
)

// TestMqListOfAnOrdinaryUser lists queues of root's by way of /dev/mqueue.
func TestMqListOfAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make queues that are not this user's")
	}
	const refused = "operation not permitted; it takes CAP_SYS_ADMIN, or this namespace's mqueue mount at /dev/mqueue\n"
	for dev, want := range map[string]string{
		"without mqueue":                   refused,
		"with an empty directory":          refused,
		"with another namespace's":         refused,
		"with this namespace's":            `[{"Name":"/open","Mode":420,"Curmsgs":1,"Bytes":3,"Unreadable":false},{"Name":"/secret","Mode":384,"Curmsgs":0,"Bytes":0,"Unreadable":true}]` + "\n",
		"with this namespace's, but empty": "[]\n",
	} {
		t.Run(dev, func(t *testing.T) {
			out, err := ipctest.Apart(t, ipctest.Again(coverDev, dev)).CombinedOutput()
			if string(out) != want || err != nil {
				t.Errorf("error %v\n got %s\nwant %s", err, out, want)
			}
		})
	}
}

func withAnotherDev() error {
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, ""); err != nil {
		return err
	}
	mountMqueue := func() error { return unix.Mount("mqueue", "/dev/mqueue", "mqueue", 0, "") }
	dev := os.Args[1]
	if dev != "without mqueue" {
		if err := os.Mkdir("/dev/mqueue", 0o755); err != nil {
			return err
		}
	}
	if dev != "with this namespace's, but empty" {
		if _, err := newMqueue("secret", 0o600); err != nil {
			return err
		}
		fd, err := newMqueue("open", 0o644)
		if err := errors.Join(err, ipctest.MqSend(fd, "abc", 0)); err != nil {
			return err
		}
	}
	switch dev {
	case "with another namespace's":
		other, err := ipcns.New()
		if err != nil {
			return err
		}
		defer other.Close()
		if err := other.Do(func() error { _, err := newMqueue("elsewhere", 0o644); return errors.Join(err, mountMqueue()) }); err != nil {
			return err
		}
	case "with this namespace's", "with this namespace's, but empty":
		if err := mountMqueue(); err != nil {
			return err
		}
	}
	cmd := ipctest.AsNobody(ipctest.Again(listMqueues))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr // not /dev/null
	return cmd.Run()
}

func printMqueues() error {
	queues, err := system.MqList()
	if err != nil {
		fmt.Println(err)
		return nil
	}
	type row struct {
		Name       string
		Mode       uint32
		Curmsgs    int64
		Bytes      uint64
		Unreadable bool
	}
	rows := make([]row, 0)
	for _, q := range queues {
		rows = append(rows, row{q.Name, q.Mode, q.Attr.Curmsgs, q.Bytes, q.Unreadable})
	}
	if n, err := system.MqCount(); n != len(rows) || err != nil {
		return fmt.Errorf("%d queues, error %w, %d in the list", n, err, len(rows))
	}
	return json.NewEncoder(os.Stdout).Encode(rows)
}
