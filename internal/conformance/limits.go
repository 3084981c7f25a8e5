package conformance

import (
	"fmt"
	"math"
	"slices"
	"syscall"
	"testing"

	"github.com/ipcns/ipcns/ipc"
)

// rlimitMsgqueue is RLIMIT_MSGQUEUE.
const rlimitMsgqueue = 12

// limits are those of a namespace: which values they take, and what they do.
var limits = slices.Concat(ranges(), []Case{
	{"A.3.fresh a new namespace has the limits that are compiled in", func(t *testing.T, w World) {
		got, err := w.Root().Limits()
		must(t, err)
		equal(t, "limits", got, ipc.DefaultLimits())
	}},

	{"A.3.msgmax a longer message is EINVAL", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		must(t, p.Msgsnd(ctx, id, 1, make([]byte, 8192), ipc.NoWait))
		wantErrno(t, p.Msgsnd(ctx, id, 1, make([]byte, 8193), ipc.NoWait), syscall.EINVAL)
		must(t, w.SetLimit("msgmax", 2))
		must(t, p.Msgsnd(ctx, id, 1, make([]byte, 2), ipc.NoWait))
		wantErrno(t, p.Msgsnd(ctx, id, 1, make([]byte, 3), ipc.NoWait), syscall.EINVAL)
		must(t, w.SetLimit("msgmax", 0))
		must(t, p.Msgsnd(ctx, id, 1, nil, ipc.NoWait))
		wantErrno(t, p.Msgsnd(ctx, id, 1, make([]byte, 1), ipc.NoWait), syscall.EINVAL)
	}},
	{"A.3.msgmax messages that are in a queue already are received as before", func(t *testing.T, w World) {
		p := w.Root()
		id := msgget(t, p, 1, create)
		msgsnd(t, p, id, 1, "12345678")
		must(t, w.SetLimit("msgmax", 2))
		_, text := msgrcv(t, p, id, 0, 0)
		equal(t, "text", text, "12345678")
	}},
	{"A.3.msgmax but not copied", func(t *testing.T, w World) {
		need(t, w, MsgCopy)
		p := w.Root()
		id := msgget(t, p, 1, create)
		msgsnd(t, p, id, 1, "12345678")
		must(t, w.SetLimit("msgmax", 7))
		_, _, err := p.Msgrcv(ctx, id, 0, make([]byte, 8), ipc.MsgCopy|ipc.NoWait)
		wantErrno(t, err, syscall.EINVAL)
	}},
	{"A.3.msgmnb is the msg_qbytes of new queues", func(t *testing.T, w World) {
		p := w.Root()
		before := msgget(t, p, 1, create)
		must(t, w.SetLimit("msgmnb", 100))
		equal(t, "qbytes of a new queue", msgStat(t, p, msgget(t, p, 2, create)).Qbytes, 100)
		equal(t, "qbytes of one that was there", msgStat(t, p, before).Qbytes, 16384)
	}},
	{"A.3.msgmni, A.3.semmni, A.3.shmmni as many objects and no more, however many there are", each(func(t *testing.T, w World, m mechanism) {
		p := w.Root()
		limit := map[string]string{"msg": "msgmni", "sem": "semmni", "shm": "shmmni"}[m.kind]
		must(t, w.SetLimit(limit, 3))
		ids := []int{m.make(t, p, 1, 0o600), m.make(t, p, 2, 0o600), m.make(t, p, 3, 0o600)}
		_, err := m.get(p, 4, create)
		wantErrno(t, err, syscall.ENOSPC)
		_, err = m.get(p, ipc.Private, 0)
		wantErrno(t, err, syscall.ENOSPC)
		_, err = m.get(p, 3, create)
		wantErrno(t, err, 0)
		must(t, w.SetLimit(limit, 1))
		m.remove(t, p, ids[:2]...)
		_, err = m.get(p, 4, create)
		wantErrno(t, err, syscall.ENOSPC)
		m.remove(t, p, ids[2])
		m.make(t, p, 4, 0o600)
	})},

	{"A.3.semmsl a bigger set is EINVAL", func(t *testing.T, w World) {
		p := w.Root()
		_, err := p.Semget(1, 32001, create)
		wantErrno(t, err, syscall.EINVAL)
		must(t, w.SetLimit("semmsl", 3))
		_, err = p.Semget(1, 4, create)
		wantErrno(t, err, syscall.EINVAL)
		semget(t, p, 1, 3, create)
	}},
	{"A.3.semmsl below 0 makes every semget EINVAL", func(t *testing.T, w World) {
		p := w.Root()
		semget(t, p, 1, 1, create)
		must(t, w.SetLimit("semmsl", -1))
		for _, nsems := range []int{0, 1} {
			_, err := p.Semget(1, nsems, 0)
			wantErrno(t, err, syscall.EINVAL)
		}
	}},
	{"A.3.semmns as many semaphores and no more, in all sets", func(t *testing.T, w World) {
		p := w.Root()
		must(t, w.SetLimit("semmns", 5))
		first := semget(t, p, 1, 3, create)
		_, err := p.Semget(2, 3, create)
		wantErrno(t, err, syscall.ENOSPC)
		semget(t, p, 2, 2, create)
		must(t, p.SemctlRmid(first))
		semget(t, p, 3, 3, create)
	}},
	{"A.3.semopm more operations are E2BIG, whatever they are", func(t *testing.T, w World) {
		p := w.Root()
		id := semget(t, p, 1, 1, create)
		wantErrno(t, p.Semop(ctx, id, make([]ipc.Sembuf, 500)), 0)
		wantErrno(t, p.Semop(ctx, id, make([]ipc.Sembuf, 501)), syscall.E2BIG)
		must(t, w.SetLimit("semopm", 2))
		wantErrno(t, p.Semop(ctx, id, make([]ipc.Sembuf, 2)), 0)
		wantErrno(t, p.Semop(ctx, id, make([]ipc.Sembuf, 3)), syscall.E2BIG)
	}},

	{"A.3.shmmax a longer new segment is EINVAL", func(t *testing.T, w World) {
		p := w.Root()
		shmget(t, p, 1, 10000, exclusive)
		must(t, w.SetLimit("shmmax", 5000))
		_, err := p.Shmget(2, 5001, exclusive)
		wantErrno(t, err, syscall.EINVAL)
		shmget(t, p, 2, 5000, exclusive)
		shmget(t, p, 1, 10000, 0)
	}},
	{"A.3.shmall as many pages and no more, in all segments", func(t *testing.T, w World) {
		p := w.Root()
		page := uint64(page)
		must(t, w.SetLimit("shmall", 4))
		shmget(t, p, 1, page+1, exclusive) // two pages
		first := shmget(t, p, 2, 1, exclusive)
		_, err := p.Shmget(3, page+1, exclusive)
		wantErrno(t, err, syscall.ENOSPC)
		shmget(t, p, 3, page, exclusive)
		_, err = p.Shmget(4, 1, exclusive)
		wantErrno(t, err, syscall.ENOSPC)
		must(t, p.ShmctlRmid(first))
		shmget(t, p, 4, 1, exclusive)
	}},
	{"A.3.shm_rmid_forced 1 ends what the ended have left behind", func(t *testing.T, w World) {
		p := w.Root()
		left := p.Fork(t)
		shmget(t, left, 1, 1, exclusive)
		left.Exit()
		shmget(t, p, 1, 1, 0)
		must(t, w.SetLimit("shm_rmid_forced", 1))
		_, err := p.Shmget(1, 1, 0)
		wantErrno(t, err, syscall.ENOENT)
	}},

	{"A.3.queues_max as many POSIX queues and no more, with a name or open", func(t *testing.T, w World) {
		p := w.Process(t, stranger)
		must(t, w.SetLimit("queues_max", 2))
		first := mqOpen(t, p, "/first", syscall.O_CREAT|syscall.O_RDWR, 0o600, smallQueue)
		mqOpen(t, p, "/second", syscall.O_CREAT|syscall.O_RDWR, 0o600, smallQueue)
		open := func(name string) error {
			return errorOf(p.MqOpen(name, syscall.O_CREAT|syscall.O_RDWR, 0o600, smallQueue))
		}
		wantErrno(t, open("/third"), syscall.ENOSPC)
		wantErrno(t, open("/second"), 0)
		must(t, p.MqUnlink("/first"))
		wantErrno(t, open("/third"), syscall.ENOSPC)
		must(t, first.Close())
		eventually(t, "the closed queue is gone", func() bool { return open("/third") == nil })
	}},
	{"A.3.msg_max, A.3.msgsize_max a bigger POSIX queue is EINVAL", func(t *testing.T, w World) {
		p := w.Process(t, stranger)
		must(t, w.SetLimit("msg_max", 3))
		must(t, w.SetLimit("msgsize_max", 128))
		for i, try := range []struct {
			attr ipc.MqAttr
			want syscall.Errno
		}{
			{ipc.MqAttr{Maxmsg: 3, Msgsize: 128}, 0},
			{ipc.MqAttr{Maxmsg: 4, Msgsize: 128}, syscall.EINVAL},
			{ipc.MqAttr{Maxmsg: 3, Msgsize: 129}, syscall.EINVAL},
		} {
			_, err := p.MqOpen(fmt.Sprint("/", i), syscall.O_CREAT|syscall.O_RDWR, 0o600, &try.attr)
			wantErrno(t, err, try.want)
		}
	}},
	{"A.3.msg_max, A.3.msgsize_max CAP_SYS_RESOURCE may pass them", func(t *testing.T, w World) {
		need(t, w, CapSysResource)
		must(t, w.SetLimit("msg_max", 3))
		must(t, w.SetLimit("msgsize_max", 128))
		mqOpen(t, w.Root(), "/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 4, Msgsize: 129})
	}},
	{"A.3.msg_max, A.3.msgsize_max the defaults are for queues without attributes, up to the maximum", func(t *testing.T, w World) {
		p := w.Process(t, stranger)
		for i, try := range []struct {
			msgDefault, msgMax, msgsizeDefault, msgsizeMax int64
			want                                           ipc.MqAttr
		}{
			{2, 10, 200, 8192, ipc.MqAttr{Maxmsg: 2, Msgsize: 200}},
			{4, 3, 200, 8192, ipc.MqAttr{Maxmsg: 3, Msgsize: 200}},
			{2, 10, 200, 128, ipc.MqAttr{Maxmsg: 2, Msgsize: 128}},
		} {
			must(t, w.SetLimit("msg_default", try.msgDefault))
			must(t, w.SetLimit("msg_max", try.msgMax))
			must(t, w.SetLimit("msgsize_default", try.msgsizeDefault))
			must(t, w.SetLimit("msgsize_max", try.msgsizeMax))
			got, err := mqOpen(t, p, fmt.Sprint("/", i), syscall.O_CREAT|syscall.O_RDWR, 0o600, nil).Getattr()
			must(t, err)
			equal(t, "attributes", got, try.want)
		}
	}},
	{"A.3.rlimit_msgqueue a POSIX queue costs 96 bytes a message and its text", func(t *testing.T, w World) {
		attr := &ipc.MqAttr{Maxmsg: 3, Msgsize: 100}
		const cost = 3 * (96 + 100)
		for _, try := range []struct {
			limit uint64
			fit   int
		}{{cost - 1, 0}, {cost, 1}, {2*cost - 1, 1}, {2 * cost, 2}} {
			// Another user each: what queues cost counts in all namespaces.
			p := w.Process(t, Credentials{UID: 60000 + uint32(try.limit), GID: 1, Rlimits: map[int]uint64{rlimitMsgqueue: try.limit}})
			name := func(i int) string { return fmt.Sprintf("/%d-%d", try.limit, i) }
			for i := range try.fit {
				mqOpen(t, p, name(i), syscall.O_CREAT|syscall.O_RDWR, 0o600, attr)
			}
			_, err := p.MqOpen(name(try.fit), syscall.O_CREAT|syscall.O_RDWR, 0o600, attr)
			wantErrno(t, err, syscall.EMFILE)
		}
	}},
	{"A.3.rlimit_msgqueue a POSIX queue costs until its name and its last descriptor are gone", func(t *testing.T, w World) {
		p := w.Process(t, Credentials{UID: 61000, GID: 1, Rlimits: map[int]uint64{rlimitMsgqueue: 300}})
		open := func(name string) error {
			return errorOf(p.MqOpen(name, syscall.O_CREAT|syscall.O_RDWR, 0o600, smallQueue))
		}
		q := mqOpen(t, p, "/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, &ipc.MqAttr{Maxmsg: 2, Msgsize: 50})
		wantErrno(t, open("/next"), syscall.EMFILE)
		must(t, p.MqUnlink("/q"))
		wantErrno(t, open("/next"), syscall.EMFILE)
		must(t, q.Close())
		eventually(t, "the closed queue costs nothing", func() bool { return open("/next") == nil })
	}},
	{"A.3.rlimit_msgqueue root has no exemption", func(t *testing.T, w World) {
		p := w.Process(t, Credentials{Rlimits: map[int]uint64{rlimitMsgqueue: 0}})
		_, err := p.MqOpen("/q", syscall.O_CREAT|syscall.O_RDWR, 0o600, smallQueue)
		wantErrno(t, err, syscall.EMFILE)
	}},

	{"A.3.full a queue takes msg_qbytes bytes, and as many messages", func(t *testing.T, w World) {
		p := w.Root()
		for _, try := range []struct {
			qbytes  uint64
			inQueue []int
			size    int
			want    syscall.Errno
		}{
			{10, nil, 10, 0},
			{10, nil, 11, syscall.EAGAIN}, // for ever: it is not EINVAL
			{10, []int{6}, 4, 0},
			{10, []int{6}, 5, syscall.EAGAIN},
			{10, []int{10}, 0, 0},
			{3, []int{0, 0}, 0, 0},
			{3, []int{0, 0, 0}, 0, syscall.EAGAIN},
			{3, []int{1, 1, 1}, 0, syscall.EAGAIN},
		} {
			id := msgget(t, p, ipc.Private, 0o600)
			must(t, p.MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: 0o600}, Qbytes: try.qbytes}))
			for _, size := range try.inQueue {
				must(t, p.Msgsnd(ctx, id, 1, make([]byte, size), ipc.NoWait))
			}
			t.Logf("qbytes %d, in the queue %v, sent %d", try.qbytes, try.inQueue, try.size)
			wantErrno(t, p.Msgsnd(ctx, id, 1, make([]byte, try.size), ipc.NoWait), try.want)
		}
	}},
	{"A.3.msgsnd looks at size and type, then for the queue, for permission and for room", func(t *testing.T, w World) {
		p := w.Process(t, stranger)
		refused := msgget(t, w.Root(), 1, create)
		full := msgget(t, w.Root(), 2, ipc.Creat|0o666)
		for _, id := range []int{refused, full} {
			must(t, w.Root().MsgctlSet(id, ipc.MsqidSet{PermSet: ipc.PermSet{Mode: msgStat(t, w.Root(), id).Perm.Mode}}))
		}
		for _, try := range []struct {
			what string
			id   int
			typ  int64
			size int
			want syscall.Errno
		}{
			{"too long", refused, 1, 8193, syscall.EINVAL},
			{"type 0", refused, 0, 1, syscall.EINVAL},
			{"type -1", refused, -1, 1, syscall.EINVAL},
			{"lowest type", refused, math.MinInt64, 1, syscall.EINVAL},
			{"no queue", full + 1, 1, 1, syscall.EINVAL},
			{"refused and full", refused, 1, 1, syscall.EACCES},
			{"full", full, 1, 1, syscall.EAGAIN},
			{"full, highest type", full, math.MaxInt64, 1, syscall.EAGAIN},
		} {
			t.Log(try.what)
			wantErrno(t, p.Msgsnd(ctx, try.id, try.typ, make([]byte, try.size), ipc.NoWait), try.want)
		}
	}},
	{"A.3.shmget pages without reserve are no matter of memory, and of the size alone", func(t *testing.T, w World) {
		p := w.Root()
		_, err := p.Shmget(1, math.MaxUint64, ipc.ShmNoReserve|exclusive)
		wantErrno(t, err, syscall.EINVAL)
		id := shmget(t, p, 1, 1<<50, ipc.ShmNoReserve|exclusive)
		equal(t, "segsz", shmStat(t, p, id).Segsz, 1<<50)
	}},

	{"A.3.info IPC_INFO tells limits and constants", func(t *testing.T, w World) {
		p := w.Root()
		must(t, w.SetLimit("msgmax", 1000))
		must(t, w.SetLimit("msgmnb", 2000))
		must(t, w.SetLimit("msgmni", 30))
		must(t, w.SetLimit("semmsl", 40))
		must(t, w.SetLimit("semmns", 50))
		must(t, w.SetLimit("semopm", 60))
		must(t, w.SetLimit("semmni", 70))
		must(t, w.SetLimit("shmmax", 80000))
		must(t, w.SetLimit("shmall", 9000))
		must(t, w.SetLimit("shmmni", 100))
		msg, _, err := p.MsgctlInfo()
		must(t, err)
		equal(t, "queues", msg, ipc.Msginfo{
			Msgmax: 1000, Msgmnb: 2000, Msgmni: 30,
			Msgpool: 512000, Msgmap: 16384, Msgssz: 16, Msgtql: 16384, Msgseg: 65535,
		})
		sem, _, err := p.SemctlInfo()
		must(t, err)
		equal(t, "sets", sem, ipc.Seminfo{
			Semmsl: 40, Semmns: 50, Semopm: 60, Semmni: 70,
			Semmap: 1024000000, Semmnu: 1024000000, Semume: 500, Semusz: 20, Semvmx: 32767, Semaem: 32767,
		})
		shm, _, err := p.ShmctlInfo()
		must(t, err)
		equal(t, "segments", shm, ipc.Shminfo{Shmmax: 80000, Shmall: 9000, Shmmni: 100, Shmmin: 1, Shmseg: 100})
	}},
	{"A.3.info MSG_INFO counts queues, messages and bytes", func(t *testing.T, w World) {
		p := w.Root()
		wantInfo := func(want ipc.MsgInfo) {
			t.Helper()
			info, _, err := p.MsgInfo()
			must(t, err)
			equal(t, "info", info, want)
		}
		wantInfo(ipc.MsgInfo{})
		first, second := msgget(t, p, 1, create), msgget(t, p, 2, create)
		msgsnd(t, p, first, 1, "123")
		msgsnd(t, p, first, 1, "")
		msgsnd(t, p, second, 1, "1234")
		wantInfo(ipc.MsgInfo{Queues: 2, Messages: 3, Bytes: 7})
		msgrcv(t, p, first, 0, 0)
		wantInfo(ipc.MsgInfo{Queues: 2, Messages: 2, Bytes: 4})
		must(t, p.MsgctlRmid(second))
		wantInfo(ipc.MsgInfo{Queues: 1, Messages: 1})
	}},
	{"A.3.info SEM_INFO counts sets and semaphores", func(t *testing.T, w World) {
		p := w.Root()
		wantInfo := func(want ipc.SemInfo) {
			t.Helper()
			info, _, err := p.SemInfo()
			must(t, err)
			equal(t, "info", info, want)
		}
		wantInfo(ipc.SemInfo{})
		first := semget(t, p, 1, 3, create)
		semget(t, p, 2, 4, create)
		wantInfo(ipc.SemInfo{Sets: 2, Semaphores: 7})
		must(t, p.SemctlRmid(first))
		wantInfo(ipc.SemInfo{Sets: 1, Semaphores: 4})
	}},
	{"A.3.info SHM_INFO counts segments and pages", func(t *testing.T, w World) {
		p := w.Root()
		page := uint64(page)
		wantInfo := func(segments int, pages uint64) {
			t.Helper()
			info, _, err := p.ShmInfo()
			must(t, err)
			equal(t, "segments", info.Segments, segments)
			equal(t, "pages", info.Pages, pages)
		}
		wantInfo(0, 0)
		first := shmget(t, p, 1, 1, create)
		shmget(t, p, 2, page+1, create)
		wantInfo(2, 3)
		must(t, p.ShmctlRmid(first))
		wantInfo(1, 2)
	}},
})

// smallQueue costs little: see RLIMIT_MSGQUEUE in getrlimit(2).
var smallQueue = &ipc.MqAttr{Maxmsg: 1, Msgsize: 8}

// ranges are the values that limits take. Both ends are tried, and what is
// outside.
func ranges() []Case {
	var cases []Case
	for _, limit := range []struct {
		line, name string
		min, max   int64
		outside    syscall.Errno
	}{
		{"msgmax", "msgmax", 0, math.MaxInt32, syscall.EINVAL},
		{"msgmnb", "msgmnb", 0, math.MaxInt32, syscall.EINVAL},
		{"msgmni", "msgmni", 0, 32768, syscall.EINVAL},
		{"semmsl", "semmsl", math.MinInt32, math.MaxInt32, syscall.EINVAL},
		{"semmns", "semmns", math.MinInt32, math.MaxInt32, syscall.EINVAL},
		{"semopm", "semopm", math.MinInt32, math.MaxInt32, syscall.EINVAL},
		{"semmni", "semmni", 0, 32768, syscall.ERANGE},
		{"shmmax", "shmmax", 0, math.MaxInt64, syscall.EINVAL},
		{"shmall", "shmall", 0, math.MaxInt64, syscall.EINVAL},
		{"shmmni", "shmmni", 0, 32768, syscall.EINVAL},
		{"shm_rmid_forced", "shm_rmid_forced", 0, 1, syscall.EINVAL},
		{"queues_max", "queues_max", math.MinInt32, math.MaxInt32, syscall.EINVAL},
		{"msg_max", "msg_max", 1, 65536, syscall.EINVAL},
		{"msg_max", "msg_default", 1, 65536, syscall.EINVAL},
		{"msgsize_max", "msgsize_max", 128, 16777216, syscall.EINVAL},
		{"msgsize_max", "msgsize_default", 128, 16777216, syscall.EINVAL},
	} {
		name := fmt.Sprintf("A.3.%s %s is %d to %d", limit.line, limit.name, limit.min, limit.max)
		cases = append(cases, Case{name, func(t *testing.T, w World) {
			described, err := ipc.LimitByName(limit.name)
			must(t, err)
			for _, value := range []int64{limit.min, limit.max} {
				must(t, w.SetLimit(limit.name, value))
				wantErrno(t, w.SetLimit(limit.name, limit.min-1), limit.outside)
				if limit.max < math.MaxInt64 { // SetLimit takes no more
					wantErrno(t, w.SetLimit(limit.name, limit.max+1), limit.outside)
				}
				got, err := w.Root().Limits()
				must(t, err)
				equal(t, limit.name, *described.Of(&got), uint64(value))
			}
		}})
	}
	return append(cases, Case{"A.3.auto_msgmni is 0 or 1, and does nothing", func(t *testing.T, w World) {
		wantErrno(t, w.SetLimit("auto_msgmni", -1), syscall.EINVAL)
		wantErrno(t, w.SetLimit("auto_msgmni", 0), 0)
		wantErrno(t, w.SetLimit("auto_msgmni", 1), 0)
		wantErrno(t, w.SetLimit("auto_msgmni", 2), syscall.EINVAL)
		got, err := w.Root().Limits()
		must(t, err)
		equal(t, "limits", got, ipc.DefaultLimits())
	}})
}
