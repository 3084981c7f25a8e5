//go:build linux

package doctor_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/doctor"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
)

const inode = 4026532104

// taken is when the looks of these tests were taken, in seconds since 1970.
const taken = 1_000_000

// here are the processes that are there; all others are gone.
var here = []int{10, 11, 12, 13, 110}

// web returns a namespace of that name with the contents.
func web(c host.Contents, processes ...host.Process) *survey.Namespace {
	name := "web"
	if c.Limits == (ipc.Limits{}) {
		c.Limits = ipc.DefaultLimits()
	}
	return &survey.Namespace{Name: &name, State: registry.Alive, Inode: inode, Contents: &c, Processes: processes}
}

func lookAt(namespaces ...*survey.Namespace) doctor.Look {
	return doctor.Look{
		Survey: &survey.Survey{Taken: time.Unix(taken, 0), Namespaces: namespaces},
		Reference: func(ns *survey.Namespace) string {
			if ns.Name == nil {
				return "self"
			}
			return *ns.Name
		},
		There:     func(pid int) bool { return slices.Contains(here, pid) },
		Threads:   func(pid int) int { return 1 + pid/13 },              // 13 has two
		ProcessOf: func(tid int) (int, error) { return tid % 100, nil }, // 110 is one of 10
	}
}

// sleeps returns a process that waits.
func sleeps(pid int, waits ...host.Wait) host.Process {
	for i := range waits {
		waits[i].TID, waits[i].Namespace = pid+i, inode
	}
	return host.Process{PID: pid, Command: "worker", Waiting: waits}
}

func semop(id int, num uint16, op int16, since time.Duration) host.Wait {
	return host.Wait{Call: "semop", ID: id, Operations: []ipc.Sembuf{{Num: num, Op: op}}, Since: since}
}

func queue(id int, ds ipc.MsqidDS) host.MessageQueue {
	if ds.Qbytes == 0 {
		ds.Qbytes = 16384
	}
	return host.MessageQueue{ID: id, MsqidDS: ds}
}

func queues(q ...host.MessageQueue) host.Contents { return host.Contents{Queues: q} }

// set returns contents with one set, id 7, with these semaphores.
func set(ds ipc.SemidDS, sems ...host.Semaphore) host.Contents {
	ds.Nsems = uint64(len(sems))
	return host.Contents{Sets: []host.SemaphoreSet{{ID: 7, SemidDS: ds}}, Values: map[int][]host.Semaphore{7: sems}}
}

func segment(ds ipc.ShmidDS) host.Contents {
	ds.Segsz = 4096
	return host.Contents{Segments: []host.Segment{{ID: 2, ShmidDS: ds}}}
}

// Each line is a finding: severity, code, object and fix, and a part of the
// evidence that is looked for.
func TestFindings(t *testing.T) {
	const old, minute = taken - 7200, time.Minute
	keyed := ipc.Perm{Key: 0x2a}
	limited := ipc.DefaultLimits()
	limited.Msgmni, limited.Semmns, limited.Shmall, limited.QueuesMax = 1, 10, 100, 0
	for name, test := range map[string]struct {
		ns   *survey.Namespace
		want []string
	}{
		"an unused segment": {web(segment(ipc.ShmidDS{Cpid: 99, Ctime: old})),
			[]string{"warning orphan-segment shm:2 ipcns shm rm id:2 -n web: nobody has it attached, creator 99 gone, untouched for 2h; 4096 bytes, no key"}},
		"with a key": {web(segment(ipc.ShmidDS{Perm: keyed, Cpid: 99, Ctime: old, Lpid: 98, Atime: old, Dtime: taken - 90})),
			[]string{"note orphan-segment shm:2 ipcns shm rm id:2 -n web: creator 99 and last user 98 gone, untouched for 90s; 4096 bytes, key 0x0000002a"}},
		"its creator is there":           {web(segment(ipc.ShmidDS{Cpid: 10, Ctime: old, Lpid: 98, Dtime: old})), nil},
		"its last user is there":         {web(segment(ipc.ShmidDS{Cpid: 99, Ctime: old, Lpid: 10, Dtime: old})), nil},
		"its last user cannot be seen":   {web(segment(ipc.ShmidDS{Cpid: 99, Ctime: old, Dtime: old})), nil},
		"its creator cannot be seen":     {web(segment(ipc.ShmidDS{Ctime: old})), nil},
		"it is attached":                 {web(segment(ipc.ShmidDS{Cpid: 99, Ctime: old, Nattch: 1})), nil},
		"its users are gone":             {web(queues(queue(3, ipc.MsqidDS{Lspid: 99, Stime: old, Lrpid: 98, Rtime: old, Ctime: old}))), []string{"warning orphan-queue queue:3 ipcns msg rm id:3 -n web: last sender 99 and last receiver 98 gone, untouched for 2h; 0 messages, 0 bytes"}},
		"its receiver is there":          {web(queues(queue(3, ipc.MsqidDS{Lspid: 99, Stime: old, Lrpid: 10, Rtime: old, Ctime: old}))), nil},
		"somebody waits in it":           {web(queues(queue(3, ipc.MsqidDS{Lspid: 99, Stime: old, Ctime: old})), sleeps(10, host.Wait{Call: "msgrcv", ID: 3})), nil},
		"somebody waits in vain":         {web(queues(queue(3, ipc.MsqidDS{Lspid: 99, Stime: old, Ctime: old})), sleeps(10, host.Wait{Call: "msgrcv", ID: 3, Type: 5, Since: 10 * minute})), []string{"warning blocked-long queue:3 kill 10: process 10 (worker) has waited for 10m to receive type 5: the last sender, process 99, is gone"}},
		"the sender is there":            {web(queues(queue(3, ipc.MsqidDS{Lspid: 11, Stime: old, Ctime: old})), sleeps(10, host.Wait{Call: "msgrcv", ID: 3, Since: 10 * minute})), nil},
		"other types are there":          {web(queues(queue(3, ipc.MsqidDS{Lspid: 11, Stime: old, Rtime: old, Lrpid: 11, Ctime: old, Qnum: 1})), sleeps(10, host.Wait{Call: "msgrcv", ID: 3, Type: -2, Since: 12 * minute})), []string{"warning blocked-long queue:3 kill 10: 12m to receive type -2: 1 message of other types are there"}},
		"nobody has used it":             {web(queues(queue(3, ipc.MsqidDS{Ctime: taken - 3600}))), []string{"note unused-queue queue:3 ipcns msg rm id:3 -n web: nobody has sent or received a message, and it was made or set 60m ago"}},
		"nobody has used it yet":         {web(queues(queue(3, ipc.MsqidDS{Ctime: taken - 3599}))), nil},
		"nobody reads it":                {web(queues(queue(3, ipc.MsqidDS{Ctime: taken - 600, Stime: taken, Lspid: 10, Qnum: 2, Cbytes: 2}))), []string{"warning queue-never-read queue:3 ipcns msg recv id:3 --timeout 0 -n web: it holds 2 messages, and nobody has received one since it was made or set 10m ago"}},
		"somebody reads it":              {web(queues(queue(3, ipc.MsqidDS{Ctime: taken - 600, Stime: taken, Lspid: 10, Lrpid: 10, Rtime: taken, Qnum: 2, Cbytes: 2}))), nil},
		"it is full":                     {web(queues(queue(3, ipc.MsqidDS{Lspid: 10, Stime: taken, Qnum: 1, Cbytes: 16384, Ctime: taken}))), []string{"warning queue-full queue:3 ipcns msg recv id:3 --timeout 0 -n web: it holds 16384 of 16384 bytes: who sends"}},
		"it is full of nothing":          {web(queues(queue(3, ipc.MsqidDS{Lspid: 10, Stime: taken, Qnum: 5, Qbytes: 5, Ctime: taken}))), []string{"warning queue-full queue:3 ipcns msg recv id:3 --timeout 0 -n web: it holds 0 of 5 bytes"}},
		"it takes nothing":               {web(host.Contents{Limits: ipc.DefaultLimits(), Queues: []host.MessageQueue{{ID: 3, MsqidDS: ipc.MsqidDS{Ctime: taken}}}}), []string{"warning queue-full queue:3 ipcns msg set id:3 qbytes=16384 -n web: it takes 0 bytes"}},
		"it is nearly full":              {web(queues(queue(3, ipc.MsqidDS{Lspid: 10, Stime: taken, Qnum: 1, Cbytes: 9, Qbytes: 10, Ctime: taken}))), []string{"note near-limit queue:3 ipcns msg recv id:3 --timeout 0 -n web: it holds 9 of 10 bytes"}},
		"a sender waits":                 {web(queues(queue(3, ipc.MsqidDS{Lspid: 10, Stime: taken, Qnum: 1, Cbytes: 9, Qbytes: 10, Ctime: taken})), sleeps(11, host.Wait{Call: "msgsnd", ID: 3, Since: 3 * minute})), []string{"error queue-full queue:3 ipcns msg recv id:3 --timeout 0 -n web: process 11 (worker) waits, for 3m, to send to it; it holds 9 of 10 bytes"}},
		"a POSIX queue is full":          {web(host.Contents{Mqueues: []ipc.MqueueStat{{Name: "/my jobs", Attr: ipc.MqAttr{Maxmsg: 2, Curmsgs: 2}}}}), []string{"warning queue-full mq:/my jobs ipcns mq recv '/my jobs' --timeout 0 -n web: it holds 2 of 2 messages"}},
		"a POSIX queue has a sender":     {web(host.Contents{Mqueues: []ipc.MqueueStat{{Name: "/q", Attr: ipc.MqAttr{Maxmsg: 2, Curmsgs: 2}}}}, sleeps(11, host.Wait{Call: "mq_timedsend", Name: "/q"})), []string{"error queue-full mq:/q ipcns mq recv /q --timeout 0 -n web: process 11 (worker) waits to send to it; it holds 2 of 2 messages"}},
		"its operators are gone":         {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{Value: 1, PID: 99}, host.Semaphore{})), []string{"warning orphan-set sem:7 ipcns sem rm id:7 -n web: such as process 99, are gone, untouched for 2h; 2 semaphores"}},
		"one is there":                   {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 99}, host.Semaphore{PID: 10})), nil},
		"one cannot be seen":             {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 99}, host.Semaphore{Value: 1})), nil},
		"one waits":                      {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 99, Ncnt: 1})), nil},
		"one of its owner is there":      {inside(web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 99})), host.Process{PID: 10, UID: 5}, host.Process{PID: 11, Command: "parent"}), []string{"note orphan-set sem:7 ipcns sem rm id:7 -n web: no key; process 11 (parent), of its owner or creator, may know it"}},
		"nobody knows what processes do": {inside(web(queues(queue(3, ipc.MsqidDS{Lspid: 99, Stime: old, Ctime: old})))), nil},
		"it was never used":              {web(set(ipc.SemidDS{Ctime: old}, host.Semaphore{})), []string{"note unused-set sem:7 ipcns sem rm id:7 -n web: nobody has done an operation on it"}},
		"a semop waits for long":         {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{Value: 1, Ncnt: 1, PID: 10}), sleeps(11, semop(7, 0, -3, 10*minute))), []string{"warning blocked-long sem:7 ipcns sem op id:7 0:+2 -n web: process 11 (worker) has waited for 10m for [0:-3], the value is 1, and process 10 did the last operation"}},
		"a semop waits for zero":         {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{Value: 3, Zcnt: 1, PID: 10}), sleeps(11, semop(7, 0, 0, 10*minute))), []string{"warning blocked-long sem:7 ipcns sem op id:7 0:-3 -n web: for [0:0]"}},
		"a semop waits a little":         {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{Value: 1, Ncnt: 1, PID: 10}), sleeps(11, semop(7, 0, -3, 9*minute))), nil},
		"limits are used": {web(host.Contents{Limits: limited, Queues: []host.MessageQueue{queue(3, ipc.MsqidDS{Ctime: taken})}, Sets: []host.SemaphoreSet{{ID: 7, SemidDS: ipc.SemidDS{Nsems: 9, Ctime: taken}}}, Segments: []host.Segment{{ShmidDS: ipc.ShmidDS{Segsz: 89*4096 + 1, Cpid: 10}}}}), []string{
			"error near-limit  ipcns limits web msgmni=2: 1 of 1 are used of the limit msgmni, message queues",
			"warning near-limit  ipcns limits web semmns=18: 9 of 10 are used",
			"warning near-limit  ipcns limits web shmall=180: 90 of 100 are used",
		}},
		"limits are not known":       {&survey.Namespace{State: registry.Alive, Contents: &host.Contents{Queues: []host.MessageQueue{queue(3, ipc.MsqidDS{Ctime: taken})}}}, nil},
		"every user may write":       {web(segment(ipc.ShmidDS{Perm: ipc.Perm{Mode: 0o666}, Cpid: 10})), []string{"note world-writable shm:2 ipcns shm set id:2 mode=0664 -n web: its mode is 0666"}},
		"every user may send":        {web(host.Contents{Mqueues: []ipc.MqueueStat{{Name: "/q", Mode: 0o622, Unreadable: true}}}), []string{"note world-writable mq:/q ipcns mq set /q mode=0620 -n web: its mode is 0622"}},
		"it was removed":             {web(segment(ipc.ShmidDS{Perm: ipc.Perm{Mode: 0o666 | ipc.ShmDest}, Cpid: 99, Nattch: 2}), host.Process{PID: 10, Command: "holder", Attached: []host.Attachment{{Namespace: inode, ID: 2}}}, host.Process{PID: 11, Attached: []host.Attachment{{Namespace: 5, ID: 2}}}), []string{"note world-writable shm:2 ipcns shm set id:2 mode=0664 -n web: ", "note removed-but-held shm:2 kill 10: its 4096 bytes stay until the last process has detached it: attached by process 10 (holder)"}},
		"by whom is not known":       {web(segment(ipc.ShmidDS{Perm: ipc.Perm{Mode: ipc.ShmDest}, Cpid: 99, Nattch: 2})), []string{"note removed-but-held shm:2 ipcns inspect web shm:2: it is attached 2 times"}},
		"two users have one key":     {web(host.Contents{Queues: []host.MessageQueue{queue(3, ipc.MsqidDS{Perm: ipc.Perm{Key: 5, CUID: 1}, Ctime: taken})}, Segments: []host.Segment{{ID: 2, ShmidDS: ipc.ShmidDS{Perm: ipc.Perm{Key: 5, CUID: 2}, Cpid: 10}}}}), []string{"note key-collision shm:2 ipcns inspect web shm:2: user id 2 has made it with the key 0x00000005 (a small number, as people choose), and user id 1 has made queue:3 with the same key"}},
		"one user has one key twice": {web(host.Contents{Queues: []host.MessageQueue{queue(3, ipc.MsqidDS{Perm: keyed, Ctime: taken})}, Segments: []host.Segment{{ID: 2, ShmidDS: ipc.ShmidDS{Perm: keyed, Cpid: 10}}}}), nil},
		"its namespace has ended":    {&survey.Namespace{Name: new(string), State: registry.Stale}, []string{"warning stale-name  ipcns prune: the namespace of this name has ended"}},
		"nobody may look into it":    {&survey.Namespace{State: registry.Alive}, nil},
		"two processes wait for each other": {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{Ncnt: 1, PID: 11}, host.Semaphore{Ncnt: 1, PID: 10}), sleeps(10, semop(7, 0, -1, 0)), sleeps(11, semop(7, 1, -1, 99*minute))), []string{
			"error deadlock sem:7 kill 11 && ipcns sem op id:7 0:+1 -n web: process 10 (worker) waits for [0:-1] of sem:7 (guess: the last operation on it is of process 11), and process 11 (worker) waits for [1:-1] of sem:7 (guess: the last operation on it is of process 10)"}},
		"with undo": {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 11}, host.Semaphore{PID: 10}), sleeps(10, semop(7, 0, -1, 0)), sleeps(11, host.Wait{Call: "semop", ID: 7, Operations: []ipc.Sembuf{{Num: 1, Op: -1, Flg: ipc.SemUndo}}})), []string{
			"error deadlock sem:7 kill 11: "}},
		"one has another thread": {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 13}, host.Semaphore{PID: 10}), sleeps(10, semop(7, 0, -1, 0)), sleeps(13, semop(7, 1, -1, 0))), []string{
			"warning deadlock sem:7 kill 13 && ipcns sem op id:7 0:+1 -n web: unless another thread of process 13 ends that"}},
		"one can go on": {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 11}, host.Semaphore{PID: 10, Value: 1}), sleeps(10, semop(7, 0, -1, 0)), sleeps(11, semop(7, 1, -1, 0))), nil},
		"one is awake":  {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 11}, host.Semaphore{PID: 12}), sleeps(10, semop(7, 0, -1, 0)), sleeps(11, semop(7, 1, -1, 0))), nil},
		"a semaphore and a queue": {web(host.Contents{
			Sets: []host.SemaphoreSet{{ID: 7, SemidDS: ipc.SemidDS{Otime: old, Nsems: 1}}}, Values: map[int][]host.Semaphore{7: {{PID: 11}}},
			Queues: []host.MessageQueue{queue(3, ipc.MsqidDS{Lspid: 10, Lrpid: 11, Stime: taken, Rtime: taken, Ctime: taken})},
		}, sleeps(10, semop(7, 0, -1, 0)), sleeps(11, host.Wait{Call: "msgrcv", ID: 3})), []string{
			"error deadlock sem:7 kill 11 && ipcns sem op id:7 0:+1 -n web: and process 11 (worker) waits in msgrcv on queue:3 (guess: it was last used by process 10)"}},
		"POSIX queues": {web(host.Contents{}, open(sleeps(10, host.Wait{Call: "mq_timedreceive", Name: "/a"})), open(sleeps(11, host.Wait{Call: "mq_timedreceive", Name: "/b"}))), []string{
			"error deadlock mq:/a kill 10 11: process 10 (worker) waits in mq_timedreceive on mq:/a (process 11 has it open)"}},
		"one has a timeout": {web(set(ipc.SemidDS{Otime: old}, host.Semaphore{PID: 11}, host.Semaphore{PID: 10}), sleeps(10, semop(7, 0, -1, 0)), sleeps(11, host.Wait{Call: "semop", ID: 7, Operations: []ipc.Sembuf{{Num: 1, Op: -1}}, Timed: true})), nil},
		"somebody else may receive": {web(host.Contents{}, open(sleeps(10, host.Wait{Call: "mq_timedreceive", Name: "/a"})), open(sleeps(11, host.Wait{Call: "mq_timedreceive", Name: "/b"})), open(sleeps(13))), []string{
			"error deadlock mq:/a kill 10 11: "}},
		"a thread has received": {web(host.Contents{
			Queues: []host.MessageQueue{queue(3, ipc.MsqidDS{Lspid: 11, Lrpid: 110, Stime: taken, Rtime: taken, Ctime: taken}), queue(4, ipc.MsqidDS{Lspid: 110, Lrpid: 11, Stime: taken, Rtime: taken, Ctime: taken})},
		}, sleeps(10, host.Wait{Call: "msgrcv", ID: 3}), sleeps(11, host.Wait{Call: "msgrcv", ID: 4})), []string{
			"error deadlock queue:3 kill 10 11: waits in msgrcv on queue:3 (guess: it was last used by process 11), and process 11 (worker) waits in msgrcv on queue:4 (guess: it was last used by process 10)"}},
		"somebody else may send": {web(host.Contents{}, open(sleeps(10, host.Wait{Call: "mq_timedreceive", Name: "/a"})), open(sleeps(11, host.Wait{Call: "mq_timedreceive", Name: "/b"})), open(sleeps(12))), nil},
	} {
		t.Run(name, func(t *testing.T) {
			compare(t, lookAt(test.ns).Findings(), test.want)
		})
	}
}

// inside puts processes, and those that it is not told of, into a namespace.
func inside(ns *survey.Namespace, processes ...host.Process) *survey.Namespace {
	ns.Members, ns.Processes = here[:4], processes
	return ns
}

// open returns a process that has the queues /a and /b open to send and receive; 12 has
// /a to send, and 13 has /a to receive.
func open(p host.Process) host.Process {
	p.Open = []host.OpenQueue{{Namespace: inode, Name: "/a", Sends: p.PID != 13, Receives: p.PID != 12}}
	if p.PID < 12 {
		p.Open = append(p.Open, host.OpenQueue{Namespace: inode, Name: "/b", Sends: true, Receives: true})
	}
	return p
}

func compare(t *testing.T, findings []doctor.Finding, want []string) {
	t.Helper()
	for i, f := range findings {
		got := strings.Join([]string{string(f.Severity), string(f.Code), f.Object, f.Fix}, " ") + ": "
		if i >= len(want) {
			t.Errorf("found too much: %s%s", got, f.Evidence)
			continue
		}
		head, evidence, _ := strings.Cut(want[i], ": ")
		if got != head+": " || !strings.Contains(f.Evidence, evidence) {
			t.Errorf("found %s%s\ninstead of %s", got, f.Evidence, want[i])
		}
	}
	if len(findings) < len(want) {
		t.Errorf("did not find %q", want[len(findings):])
	}
}

func TestKeysInOtherNamespaces(t *testing.T) {
	segments := func(owner uint32, size uint64, keys ...ipc.Key) *survey.Namespace {
		ns := web(host.Contents{})
		for i, key := range keys {
			ns.Contents.Segments = append(ns.Contents.Segments, host.Segment{ID: i, ShmidDS: ipc.ShmidDS{Perm: ipc.Perm{Key: key, UID: owner}, Segsz: size, Cpid: 10}})
		}
		return ns
	}
	self := segments(1, 64, 5, 6, 7, 8, 9)
	self.Name = nil
	compare(t, lookAt(self, segments(1, 65, 5, 6, 7, 8, 10)).Findings(),
		[]string{"note key-collision shm:0 ipcns inspect web shm:0: its key, and others of this namespace (0x00000005, 0x00000006, 0x00000007 and 1 more) are in self too"})
	compare(t, lookAt(self, segments(2, 64, 9)).Findings(), []string{"note key-collision shm:0 ipcns inspect web shm:0: its key 0x00000009 (a small number, as people choose) is in self too"})
	compare(t, lookAt(self, segments(1, 64, 9)).Findings(), nil)
	compare(t, lookAt(self, segments(2, 65, 0)).Findings(), nil)
}

// PostgreSQL 12 at port 5432 has made segments with the keys 5432001 and, where that
// was taken, 5432002; at port 80 it may not listen.
func TestKeysOfHabit(t *testing.T) {
	for key, want := range map[ipc.Key]string{
		5432001: " (as PostgreSQL at port 5432 chooses) is", 5433002: " (as PostgreSQL at port 5433 chooses) is",
		5432000: " is", 80001: " is", 0x7fffffff: " is", -1: " is", 42: " (a small number, as people choose) is",
	} {
		one, other := web(segment(ipc.ShmidDS{Perm: ipc.Perm{Key: key}, Cpid: 10})), web(segment(ipc.ShmidDS{Perm: ipc.Perm{Key: key, UID: 1}, Cpid: 10}))
		other.Name = nil
		compare(t, lookAt(one, other).Findings(), []string{"note key-collision shm:2 ipcns inspect self shm:2: its key " + key.String() + want})
	}
}

func TestAnUnseenProcessKeepsAQueueOfOthers(t *testing.T) {
	orphans := func(mode uint32, unseen int) int {
		ns := web(queues(queue(3, ipc.MsqidDS{Perm: ipc.Perm{Mode: mode}, Lspid: 99, Stime: taken})))
		look := lookAt(ns)
		look.Unseen = unseen
		return len(look.Orphans(ns))
	}
	if orphans(0o600, 1) != 1 || orphans(0o660, 0) != 1 || orphans(0o660, 1) != 0 {
		t.Error("a queue that others may wait in is an orphan if there are others")
	}
}

// Who may write to an object of the machine's initial namespace is anybody.
func TestWritableInTheInitialNamespace(t *testing.T) {
	ns := web(segment(ipc.ShmidDS{Perm: ipc.Perm{Mode: 0o602}, Cpid: 10}))
	ns.Inode = ipcns.InitialInode
	compare(t, lookAt(ns).Findings(), []string{"warning world-writable shm:2 ipcns shm set id:2 mode=0600 -n web: "})
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"web/db": "web/db", "ipc:[4026532104]": "'ipc:[4026532104]'", "a'b": `'a'\''b'`, "": "''"} {
		if got := doctor.Quoted(word); got != want {
			t.Errorf("%q is %s instead of %s", word, got, want)
		}
	}
}
