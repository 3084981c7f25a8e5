//go:build linux

package sys_test

import (
	"bytes"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ipcns/ipcns/internal/leak"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/sys"
	"github.com/ipcns/ipcns/ipc"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { leak.Main(m) }

// The sizes that SEMANTICS D has for every machine with 64 bits. A wrong one
// does not compile, which go vet sees for machines that the tests do not run
// on.
var (
	_ [48]byte        = [unsafe.Sizeof(sys.IPCPerm{})]byte{}
	_ [120]byte       = [unsafe.Sizeof(sys.MsqidDS{})]byte{}
	_ [semidSize]byte = [unsafe.Sizeof(sys.SemidDS{})]byte{}
	_ [112]byte       = [unsafe.Sizeof(sys.ShmidDS{})]byte{}
	_ [32]byte        = [unsafe.Sizeof(sys.MsgInfoDS{})]byte{}
	_ [40]byte        = [unsafe.Sizeof(sys.SemInfoDS{})]byte{}
	_ [48]byte        = [unsafe.Sizeof(sys.ShmInfoDS{})]byte{}
	_ [64]byte        = [unsafe.Sizeof(sys.MqAttr{})]byte{}

	_ [semidNsems]byte = [unsafe.Offsetof(sys.SemidDS{}.Nsems)]byte{}
)

// TestTheKernelWritesWholeStructures lets the kernel write over poison: what
// is changed then is what it takes for the structure.
func TestTheKernelWritesWholeStructures(t *testing.T) {
	const key = 1
	ipctest.InNew(t, func() error {
		queue, errno := sys.Msgget(key, ipc.Creat)
		if errno != 0 {
			return errno
		}
		set, err := ipctest.Semget(key, 1, ipc.Creat)
		if err != nil {
			return err
		}
		segment, err := unix.SysvShmGet(key, 1, ipc.Creat)
		if err != nil {
			return err
		}
		mqueue, err := ipctest.MqOpen("q", unix.O_RDWR|unix.O_CREAT, 0, nil)
		if err != nil {
			return err
		}
		defer unix.Close(mqueue)

		msgctl := func(id, cmd int) func(unsafe.Pointer) syscall.Errno {
			return func(buf unsafe.Pointer) syscall.Errno { _, errno := sys.Msgctl(id, cmd, buf); return errno }
		}
		semctl := func(id, cmd int) func(unsafe.Pointer) syscall.Errno {
			return func(buf unsafe.Pointer) syscall.Errno { _, errno := sys.Semctl(id, 0, cmd, 0, buf); return errno }
		}
		shmctl := func(id, cmd int) func(unsafe.Pointer) syscall.Errno {
			return func(buf unsafe.Pointer) syscall.Errno { _, errno := sys.Shmctl(id, cmd, buf); return errno }
		}
		for _, c := range []struct {
			name string
			size uintptr
			call func(buf unsafe.Pointer) syscall.Errno
		}{
			{"msgctl(IPC_STAT)", unsafe.Sizeof(sys.MsqidDS{}), msgctl(queue, sys.IPCStat)},
			{"msgctl(MSG_STAT)", unsafe.Sizeof(sys.MsqidDS{}), msgctl(queue, sys.MsgStat)},
			{"msgctl(MSG_STAT_ANY)", unsafe.Sizeof(sys.MsqidDS{}), msgctl(queue, sys.MsgStatAny)},
			{"msgctl(MSG_INFO)", unsafe.Sizeof(sys.MsgInfoDS{}), msgctl(0, sys.MsgInfo)},
			{"semctl(IPC_STAT)", unsafe.Sizeof(sys.SemidDS{}), semctl(set, sys.IPCStat)},
			{"semctl(SEM_STAT)", unsafe.Sizeof(sys.SemidDS{}), semctl(set, sys.SemStat)},
			{"semctl(SEM_STAT_ANY)", unsafe.Sizeof(sys.SemidDS{}), semctl(set, sys.SemStatAny)},
			{"semctl(SEM_INFO)", unsafe.Sizeof(sys.SemInfoDS{}), semctl(0, sys.SemInfo)},
			{"shmctl(IPC_STAT)", unsafe.Sizeof(sys.ShmidDS{}), shmctl(segment, sys.IPCStat)},
			{"shmctl(SHM_STAT)", unsafe.Sizeof(sys.ShmidDS{}), shmctl(segment, sys.ShmStat)},
			{"shmctl(SHM_STAT_ANY)", unsafe.Sizeof(sys.ShmidDS{}), shmctl(segment, sys.ShmStatAny)},
			{"shmctl(SHM_INFO)", unsafe.Sizeof(sys.ShmInfoDS{}), shmctl(0, sys.ShmInfo)},
			{"mq_getsetattr", unsafe.Sizeof(sys.MqAttr{}), func(buf unsafe.Pointer) syscall.Errno {
				return sys.MqGetattr(mqueue, (*sys.MqAttr)(buf))
			}},
		} {
			const poison = 0xa5
			buf := bytes.Repeat([]byte{poison}, 256)
			if errno := c.call(unsafe.Pointer(&buf[0])); errno != 0 {
				t.Errorf("%s: %v", c.name, errno)
				continue
			}
			if written := len(bytes.TrimRight(buf, string([]byte{poison}))); uintptr(written) != c.size {
				t.Errorf("%s wrote %d bytes, the structure has %d", c.name, written, c.size)
			}
		}
		return nil
	})
}

func TestNsfsCallsNeedANamespace(t *testing.T) {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if kind, err := sys.NamespaceType(fd); err == nil {
		t.Errorf("the type of a directory is %#x", kind)
	}
	if id, err := sys.NamespaceID(fd); err == nil {
		t.Errorf("the id of a directory is %d", id)
	}
	if owner, err := sys.NamespaceOwner(fd); err == nil {
		unix.Close(owner)
		t.Error("a directory has an owner")
	}
	if uid, err := sys.UserNamespaceUID(fd); err == nil {
		t.Errorf("the uid of a directory is %d", uid)
	}
}
