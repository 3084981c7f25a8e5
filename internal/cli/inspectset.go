//go:build linux

package cli

import (
	"fmt"
	"io"
	"strconv"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/oneline"
	"github.com/ipcns/ipcns/ipc"
)

// A setAccount is what inspect tells of a semaphore set.
type setAccount struct {
	objectHead
	State      any                `json:"semaphore_set"`
	Semvmx     int                `json:"semvmx"`
	Semopm     uint64             `json:"semopm"`
	Waiting    []sleeper          `json:"waiting"`
	Semaphores []semaphoreAccount `json:"semaphores"` // null if they may not be read

	*viewing
	set host.SemaphoreSet
}

// A semaphoreAccount is what inspect tells of a semaphore.
type semaphoreAccount struct {
	Num   int    `json:"num"`
	Value int    `json:"value"`
	Ncnt  int    `json:"ncnt"`
	Zcnt  int    `json:"zcnt"`
	Last  *actor `json:"last_operation_by"`
}

func (v *viewing) set(s host.SemaphoreSet) *setAccount {
	sems := v.ns.Contents.Values[s.ID]
	a := &setAccount{
		objectHead: v.headOf(objectName{kind: "sem", id: s.ID}, s.Perm.Mode, "read", "operate"),
		State:      v.names.SetFacts(s, nil), Semvmx: ipc.SemMaxValue, Semopm: v.ns.Contents.Limits.Semopm,
		Waiting: v.sleepers(func(w *host.Wait) bool { return w.Call == "semop" && w.ID == s.ID }),
		viewing: v, set: s,
	}
	for num, sem := range sems {
		a.Semaphores = append(a.Semaphores, semaphoreAccount{num, sem.Value, sem.Ncnt, sem.Zcnt, v.actor(sem.PID, max(s.Otime, s.Ctime))})
	}
	return a
}

func (a *setAccount) lines() [][2]string {
	lines := append(a.heading(&a.objectHead, "semaphore set", a.set.ID, a.set.Perm), [][2]string{
		{"holds", counted(int(a.set.Nsems), "semaphore", "semaphores")},
		{"limits", fmt.Sprintf("a value is %d at most; an operation is on %d semaphores at most (semopm)", a.Semvmx, a.Semopm)},
		{"last operation", a.when(a.set.Otime)},
		{"last changed", a.when(a.set.Ctime)},
	}...)
	return append(lines, sleeperLines("waiting", a.Waiting, semopWords)...)
}

func semopWords(s *sleeper) string {
	if s.Operations == nil {
		return "waits for what may not be known"
	}
	return "waits for " + s.wait.Semops()
}

func (a *setAccount) detail(w io.Writer) error {
	if a.Semaphores == nil {
		_, err := fmt.Fprintln(w, "\nthe values may not be read: that takes read permission, or CAP_IPC_OWNER")
		return err
	}
	t := table{rightAligned: []bool{true, true, true, true, false}}
	t.add("NUM", "VALUE", "NCNT", "ZCNT", "LAST OPERATION BY")
	for _, sem := range a.Semaphores {
		last := "-"
		if sem.Last != nil {
			last = oneline.Of(sem.Last.String())
		}
		t.add(strconv.Itoa(sem.Num), strconv.Itoa(sem.Value), strconv.Itoa(sem.Ncnt), strconv.Itoa(sem.Zcnt), last)
	}
	return writeBelow(w, &t)
}

func (a *setAccount) dump(io.Writer) error { return nil }
