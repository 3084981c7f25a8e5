//go:build linux

package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/ipc"
)

// writable finds objects that every user may write to. Outside the machine's
// initial namespace these are the users who get into the namespace.
func (ns patient) writable() (findings []Finding) {
	const others = 0o002
	severity := Note
	if ns.Inode == ipcns.InitialInode {
		severity = Warning
	}
	found := func(kind string, id int, perm ipc.Perm) {
		if perm.Mode&others == 0 {
			return
		}
		findings = append(findings, ns.find(WorldWritable, severity, fmt.Sprintf("%s:%d", kind, id),
			fmt.Sprintf("%s set id:%d mode=%04o", commands[kind], id, perm.Mode&0o777&^others), "every user may write to it: its mode is %04o", perm.Mode&0o777))
	}
	for _, q := range ns.Contents.Queues {
		found("queue", q.ID, q.Perm)
	}
	for _, s := range ns.Contents.Sets {
		found("sem", s.ID, s.Perm)
	}
	for _, s := range ns.Contents.Segments {
		if s.Nattch > 0 || s.Perm.Mode&ipc.ShmDest == 0 {
			found("shm", s.ID, s.Perm)
		}
	}
	for _, q := range ns.Contents.Mqueues {
		if q.Mode&others == 0 {
			continue
		}
		f := ns.find(WorldWritable, severity, "mq:"+q.Name, fmt.Sprintf("mq set %s mode=%04o", Quoted(q.Name), q.Mode&0o777&^others),
			"every user may send to it: its mode is %04o", q.Mode)
		if ns.Inode == 0 { // a queue of ours keeps the mode that it is made with
			f.Fix = ns.inspect(f.Object)
		}
		findings = append(findings, f)
	}
	return findings
}

// removed finds segments that were removed while somebody had them attached,
// which is how some programs see to it that nothing is left of them.
func (ns patient) removed() (findings []Finding) {
	for _, s := range ns.Contents.Segments {
		if s.Perm.Mode&ipc.ShmDest == 0 || s.Nattch == 0 {
			continue
		}
		object, who, pids := fmt.Sprintf("shm:%d", s.ID), []string{}, []string{}
		for i := range ns.Processes {
			for _, a := range ns.Processes[i].Attached {
				if a.Namespace == ns.Inode && a.ID == s.ID {
					who, pids = append(who, named(&ns.Processes[i])), append(pids, strconv.Itoa(ns.Processes[i].PID))
				}
			}
		}
		fix, held := ns.inspect(object), fmt.Sprintf("it is attached %d times", s.Nattch)
		if len(pids) > 0 {
			fix, held = "kill "+strings.Join(pids, " "), "attached by "+strings.Join(who, ", ")
		}
		findings = append(findings, Finding{RemovedButHeld, Note, ns.reference, object,
			fmt.Sprintf("it was removed, and its %s stay until the last process has detached it: %s", count(s.Segsz, "byte"), held), fix})
	}
	return findings
}
