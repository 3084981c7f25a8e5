//go:build linux

package top

import (
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
)

// began is when the first look at the machine of the tests was taken.
var began = time.Unix(1_000_000_000, 0)

const webInode = 4026532001

// machineAt is what the look with that number finds, a second after the one before:
// in web, a queue grows by two messages a look, and a set is operated on by every
// other. There is no web if its id is 0.
func machineAt(look int, webID uint64) *Look {
	s := &survey.Survey{Taken: began.Add(time.Duration(look) * time.Second), Unseen: 2, Missing: []string{host.MountsElsewhere}}
	if webID != 0 {
		s.Namespaces = append(s.Namespaces, web(look, webID))
	}
	s.Namespaces = append(s.Namespaces,
		named("web/db", &survey.Namespace{Inode: 4026532002, Owner: new(uint32), Members: []int{300}, Contents: &host.Contents{}, Counts: counts(0, 0, 0, 0)}),
		named("old", &survey.Namespace{State: registry.Stale, Inode: 4026532003}),
		named("ours", &survey.Namespace{Engine: "userspace", Server: 400, Members: []int{401}, Counts: counts(1, 2, 3, 4)}),
		&survey.Namespace{Inode: 4026531839, Owner: new(uint32), Members: []int{1, 2, 77}, Contents: &host.Contents{Queues: []host.MessageQueue{{ID: 3, MsqidDS: ipc.MsqidDS{Qnum: 5, Qbytes: 100, Cbytes: 50}}}}, Counts: counts(1, 0, 0, 0)},
		&survey.Namespace{Inode: 4026532005, Hidden: true},
		&survey.Namespace{Inode: 4026532006, Holders: []host.Holder{{Kind: host.HeldByMount}, {Kind: host.HeldByDescriptor}}, Counts: counts(0, 0, 0, 0)},
	)
	for _, ns := range s.Namespaces {
		if ns.State == "" {
			ns.State = registry.Alive
		}
	}
	return &Look{Survey: s, Searched: s.Taken, Commands: map[int]string{1: "/sbin/init", 100: "server --jobs 4 --log /var/log/server/of/the/web.log", 300: "evil\x1b[2J\nname", 401: "worker"}}
}

func named(name string, ns *survey.Namespace) *survey.Namespace {
	ns.Name = &name
	return ns
}

func counts(queues, sets, segments, mqueues int) survey.Counts {
	return survey.Counts{Queues: &queues, Sets: &sets, Segments: &segments, Mqueues: &mqueues}
}

func web(look int, id uint64) *survey.Namespace {
	now := began.Unix() + int64(look)
	used := now - int64(look%2) // every other look
	c := &host.Contents{
		Queues: []host.MessageQueue{
			{ID: 0, MsqidDS: ipc.MsqidDS{Perm: ipc.Perm{Key: 0x2a, Mode: 0o600}, Stime: now, Cbytes: uint64(100 + 20*look), Qnum: uint64(10 + 2*look), Qbytes: 1000, Lspid: 100}},
			{ID: 32769, MsqidDS: ipc.MsqidDS{Perm: ipc.Perm{Key: 0x2b, Mode: 0o666, UID: 4242424}, Rtime: began.Unix() - 10_000, Qbytes: 16384, Lspid: 100, Lrpid: 101}},
		},
		Sets:     []host.SemaphoreSet{{ID: 7, SemidDS: ipc.SemidDS{Perm: ipc.Perm{Key: 0x2c, Mode: 0o600}, Otime: used, Nsems: 3}}, {ID: 8, SemidDS: ipc.SemidDS{Nsems: 1}}},
		Segments: []host.Segment{{ID: 2, ShmidDS: ipc.ShmidDS{Perm: ipc.Perm{Mode: 0o1600}, Segsz: 65536, Atime: began.Unix() - 300, Cpid: 99, Nattch: 2}}},
		Mqueues:  []ipc.MqueueStat{{Name: "/jobs", Mode: 0o600, Attr: ipc.MqAttr{Maxmsg: 10, Curmsgs: 4}}, {Name: "/not\nyours", UID: 4242424, Unreadable: true}},
		Values:   map[int][]host.Semaphore{7: {{Value: 1 + look/2%2}, {Value: 0, Ncnt: 1}, {Value: 3, Zcnt: 1}}},
	}
	return named("web", &survey.Namespace{
		Engine: "kernel", ID: &id, Inode: webInode, Owner: new(uint32), Members: []int{100, 101, 102}, Contents: c, Counts: counts(2, 2, 1, 2),
		Processes: []host.Process{
			{PID: 100, Command: "server --jobs 4 --log /var/log/server/of/the/web.log", Attached: []host.Attachment{{Namespace: webInode, ID: 2}}, Open: []host.OpenQueue{{Namespace: webInode, Name: "/jobs"}}},
			{PID: 101, UID: 4242424, Command: "worker\x1b[31m", Attached: []host.Attachment{{Namespace: webInode, ID: 2}}, Waiting: []host.Wait{
				{TID: 101, Namespace: webInode, Call: "msgrcv", ID: 32769, Type: -5, Since: 12 * time.Second},
				{TID: 111, Namespace: webInode, Call: "mq_timedreceive", ID: 5, Name: "/jobs", Since: 3 * time.Minute},
			}},
			{PID: 102, Command: "locker", Waiting: []host.Wait{{TID: 102, Namespace: webInode, Call: "semop", ID: 7, Operations: []ipc.Sembuf{{Num: 1, Op: -1}, {Num: 0, Op: 1}, {Num: 2}, {Num: 0, Op: 1}}, Since: 200 * time.Second}}},
			{PID: 103, Command: "other", Unseen: true},
		},
	})
}
