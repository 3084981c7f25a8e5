//go:build linux

package graph_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/graph"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/registry"
)

// examples are made-up surveys, from few processes to many.
var examples = map[string]func() *graph.Graph{
	"three":      three,
	"pool":       pool,
	"sixty":      sixty,
	"namespaces": namespaces,
	"nasty":      nasty,
	"nothing":    func() *graph.Graph { return graphOf(namespace("web", 4026532101)) },
}

func namespace(name string, inode uint64) *survey.Namespace {
	return &survey.Namespace{Name: &name, State: registry.Alive, Engine: "kernel", Inode: inode, Contents: &host.Contents{Values: map[int][]host.Semaphore{}}}
}

// When the looks were taken, and the processes started, in seconds since 1970.
const taken, started = 1700000000, 1699990000

func graphOf(all ...*survey.Namespace) *graph.Graph {
	commands := map[int]string{4299: "ipcns msg send 0x2a"}
	threads := map[int]int{}
	for _, ns := range all {
		for _, p := range ns.Processes {
			commands[p.PID] = p.Command
			for _, w := range p.Waiting {
				threads[w.TID] = p.PID
			}
		}
	}
	someone := func(id int) (graph.Someone, bool) {
		if pid, ok := threads[id]; ok {
			id = pid
		}
		command, there := commands[id]
		return graph.Someone{PID: id, Command: command, Started: time.Unix(started, 0)}, there
	}
	return graph.Of(&survey.Survey{Taken: time.Unix(taken, 0), Namespaces: all}, someone)
}

func queue(id int, key ipc.Key, bytes, messages uint64, sender, receiver int32) host.MessageQueue {
	return host.MessageQueue{ID: id, MsqidDS: ipc.MsqidDS{Perm: ipc.Perm{Key: key}, Cbytes: bytes, Qnum: messages, Qbytes: 16384, Lspid: sender, Lrpid: receiver, Stime: taken, Rtime: taken}}
}

func segment(id int, key ipc.Key, bytes, nattch uint64) host.Segment {
	return host.Segment{ID: id, ShmidDS: ipc.ShmidDS{Perm: ipc.Perm{Key: key}, Segsz: bytes, Nattch: nattch}}
}

// three has a process that sends, one that waits, and one that looks.
func three() *graph.Graph {
	ns := namespace("shop", 4026532101)
	ns.Contents.Queues = []host.MessageQueue{queue(3, 0x2a, 15900, 12, 4201, 4203)}
	ns.Contents.Sets = []host.SemaphoreSet{{ID: 7, SemidDS: ipc.SemidDS{Perm: ipc.Perm{Key: 0x51}, Nsems: 3, Otime: taken}}}
	ns.Contents.Values[7] = []host.Semaphore{{Value: 1}, {Value: 0, Ncnt: 1, PID: 4201}, {Value: 4}}
	ns.Contents.Segments = []host.Segment{segment(2, 0, 4<<20, 2)}
	ns.Contents.Mqueues = []ipc.MqueueStat{{Name: "/jobs", Inode: 9, Attr: ipc.MqAttr{Maxmsg: 10, Curmsgs: 4}}}
	ns.Processes = []host.Process{
		{PID: 4201, Command: "/usr/bin/shopd --listen 8080", Namespaces: []uint64{4026532101},
			Attached: []host.Attachment{{Namespace: 4026532101, ID: 2}}, Open: []host.OpenQueue{{Namespace: 4026532101, Name: "/jobs", Inode: 9, FD: 4, Sends: true}}},
		{PID: 4202, Command: "worker", Namespaces: []uint64{4026532101},
			Waiting: []host.Wait{
				{TID: 4202, Namespace: 4026532101, Call: "msgrcv", ID: 3, Type: -5, Since: 12 * time.Second},
				{TID: 4203, Namespace: 4026532101, Call: "semop", ID: 7, Operations: []ipc.Sembuf{{Num: 1, Op: -1}}, Since: 3 * time.Minute},
			}},
		{PID: 4210, Command: "python3 report.py", Namespaces: []uint64{4026531839},
			Attached: []host.Attachment{{Namespace: 4026532101, ID: 2, ReadOnly: true}}, Open: []host.OpenQueue{{Namespace: 4026532101, Name: "/jobs", Inode: 9, FD: 3, Receives: true}},
			Waiting: []host.Wait{{TID: 4210, Namespace: 4026532101, Call: "mq_timedreceive", ID: 3, Since: time.Second}}},
	}
	return graphOf(ns)
}

// pool has many processes that do the same.
func pool() *graph.Graph {
	const inode = 4026532101
	ns := namespace("db", inode)
	ns.Contents.Segments = []host.Segment{segment(0, 0x52e2c1, 56, 64)}
	ns.Contents.Queues = []host.MessageQueue{queue(0, 0x2a, 640, 10, 4299, 4201), queue(1, 0x2b, 0, 0, 0, 4298)}
	for i := range 58 {
		ns.Processes = append(ns.Processes, host.Process{PID: 4201 + i, Command: fmt.Sprintf("postgres: alice db%d idle", i%7), Namespaces: []uint64{inode},
			Attached: []host.Attachment{{Namespace: inode, ID: 0}}})
	}
	for i := range 5 {
		ns.Processes = append(ns.Processes, host.Process{PID: 4270 + i, Command: "/opt/worker -q 0x2a", Namespaces: []uint64{inode},
			Waiting: []host.Wait{{TID: 4270 + i, Namespace: inode, Call: "msgrcv", ID: 1, Type: 1, Since: time.Duration(i) * time.Minute}}})
	}
	ns.Processes = append(ns.Processes, host.Process{PID: 4290, Command: "sleep 100", Namespaces: []uint64{inode}})
	return graphOf(ns)
}

// sixty are different processes, in four teams and with some who talk to all.
func sixty() *graph.Graph {
	const inode = 4026532101
	ns := namespace("plant", inode)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 16 {
		sender, receiver := int32(4200+random.IntN(60)), int32(4200+random.IntN(60))
		ns.Contents.Queues = append(ns.Contents.Queues, queue(i, ipc.Key(0x100+i), uint64(random.IntN(16384)), uint64(random.IntN(40)), sender, receiver))
	}
	for i := range 4 {
		ns.Contents.Segments = append(ns.Contents.Segments, segment(i, ipc.Key(0x200+i), 1<<(12+4*i), 15))
	}
	for i := range 60 {
		p := host.Process{PID: 4200 + i, Command: fmt.Sprintf("step-%d --team %d", i, i%4), Namespaces: []uint64{inode}}
		p.Attached = []host.Attachment{{Namespace: inode, ID: i % 4, ReadOnly: i%3 == 0}}
		if i%2 == 0 {
			p.Waiting = []host.Wait{{TID: p.PID, Namespace: inode, Call: "msgrcv", ID: i%4*4 + random.IntN(4), Type: int64(i), Since: time.Duration(i) * time.Second}}
		}
		ns.Processes = append(ns.Processes, p)
	}
	return graphOf(ns)
}

// namespaces has several, among them those that cannot be looked into.
func namespaces() *graph.Graph {
	web, old := namespace("web", 4026532101), namespace("web/old", 4026532102)
	web.Contents.Queues = []host.MessageQueue{queue(0, 0x2a, 0, 0, 4201, 4999)}
	web.Processes = []host.Process{{PID: 4201, Command: "web", Namespaces: []uint64{4026532101},
		Waiting: []host.Wait{{TID: 4201, Namespace: 4026532101, Call: "msgsnd", ID: 0, Bytes: 100, Since: time.Hour * 50}, {TID: 4202, Namespace: 4026532101, Call: "msgsnd", ID: 0, Bytes: 100, Since: time.Hour}}}}
	old.State, old.Contents = registry.Stale, nil
	served := namespace("served", 0)
	served.Engine, served.Contents = "userspace", nil
	secret := &survey.Namespace{State: registry.Alive, Engine: "kernel", Inode: 4026532104, Processes: []host.Process{
		{PID: 4300, Command: "secret", Namespaces: []uint64{4026532104}, Attached: []host.Attachment{{Namespace: 4026532104, ID: 5}}}}}
	orphans := &survey.Namespace{State: registry.Alive, Engine: "kernel", Inode: 4026532105, Contents: &host.Contents{}}
	for i := range 15 {
		orphans.Contents.Segments = append(orphans.Contents.Segments, segment(i, ipc.Key(i), 1<<20, 0))
	}
	return graphOf(web, old, served, secret, orphans)
}

var nastyTexts = []string{`"`, `\`, `\"`, "a\nb", "\x1b[31m", `<script>alert(1)</script>`, `]]>`, `&amp;`, `#quot;`, "%%", "`md`", `"]; end`, "\xff\xfe", "名前", "e\u0301", "\u202e", `subgraph`, "|x|", "--", `\N\l`, "${x}"}

// nasty has texts of others that mean something in each format.
func nasty() *graph.Graph {
	const inode = 4026532101
	ns := namespace("nasty", inode)
	for i, text := range nastyTexts {
		ns.Contents.Mqueues = append(ns.Contents.Mqueues, ipc.MqueueStat{Name: "/" + text, Inode: uint64(i), Attr: ipc.MqAttr{Maxmsg: 1, Curmsgs: int64(i % 2)}})
		ns.Processes = append(ns.Processes, host.Process{PID: 4201 + i, Command: text, Namespaces: []uint64{inode},
			Open: []host.OpenQueue{{Namespace: inode, Name: "/" + text, Inode: uint64(i), FD: 3}, {Namespace: inode, Name: "/" + text, Inode: uint64(100 + i), FD: 4, Unlinked: true}}})
	}
	return graphOf(ns)
}
