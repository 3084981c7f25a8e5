//go:build linux

package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ipcns/ipcns/ipc"
)

// A keyed is an object that has a key.
type keyed struct {
	patient
	kind string
	id   int
	perm ipc.Perm
	size uint64 // bytes of a segment, semaphores of a set
}

func (k keyed) object() string { return fmt.Sprintf("%s:%d", k.kind, k.id) }

// keyed returns the objects of a namespace that have keys.
func (ns patient) keyed() (objects []keyed) {
	add := func(kind string, id int, perm ipc.Perm, size uint64) {
		if perm.Key != ipc.Private {
			objects = append(objects, keyed{ns, kind, id, perm, size})
		}
	}
	for _, q := range ns.Contents.Queues {
		add("queue", q.ID, q.Perm, 0)
	}
	for _, s := range ns.Contents.Sets {
		add("sem", s.ID, s.Perm, s.Nsems)
	}
	for _, s := range ns.Contents.Segments {
		add("shm", s.ID, s.Perm, s.Segsz)
	}
	return objects
}

// sharedKeys finds keys with which different users have made objects of
// different kinds: two programs that have chosen the same key, and would find
// each other's objects.
func (ns patient) sharedKeys() (findings []Finding) {
	first := map[ipc.Key]keyed{}
	for _, k := range ns.keyed() {
		other, found := first[k.perm.Key]
		if !found {
			first[k.perm.Key] = k
			continue
		}
		if other.perm.CUID != k.perm.CUID {
			findings = append(findings, Finding{KeyCollision, Note, ns.reference, k.object(),
				fmt.Sprintf("user id %d has made it with the key %s, and user id %d has made %s with the same key: these may be two programs that get in each other's way",
					k.perm.CUID, k.perm.Key.String()+habit(k.perm.Key), other.perm.CUID, other.object()), ns.inspect(k.object())})
		}
	}
	return findings
}

// keysElsewhere finds keys that different programs use in different namespaces, as
// their owners or sizes tell. They would collide in one namespace. Each pair of
// namespaces is told of once for each kind.
func (l Look) keysElsewhere() (findings []Finding) {
	type name struct {
		kind string
		key  ipc.Key
	}
	type pair struct{ kind, one, other string }
	first, collisions := map[name]keyed{}, map[pair][]keyed{}
	for _, ns := range l.Namespaces {
		if ns.Contents == nil {
			continue
		}
		for _, k := range (patient{Look: l, Namespace: ns, reference: l.Reference(ns)}).keyed() {
			other, found := first[name{k.kind, k.perm.Key}]
			if !found {
				first[name{k.kind, k.perm.Key}] = k
				continue
			}
			if other.size != k.size || other.perm.UID != k.perm.UID {
				p := pair{k.kind, other.reference, k.reference}
				collisions[p] = append(collisions[p], k)
			}
		}
	}
	for p, objects := range collisions {
		findings = append(findings, Finding{KeyCollision, Note, p.other, objects[0].object(), keysInWords(objects) + " in " + p.one +
			" too, for another owner or of another size: keep the programs in namespaces of their own", objects[0].inspect(objects[0].object())})
	}
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Evidence, b.Evidence))
	})
	return findings
}

// habit tells whose habit it is to choose such a key, if that is known, in
// parentheses: keys that every instance of a program chooses in the same way.
func habit(key ipc.Key) string {
	const perPort, firstPort = 1000, 1024 // of PostgreSQL before version 13, which counts on from port*1000+1
	number := uint32(key)
	switch port := number / perPort; {
	case port >= firstPort && port < 1<<16 && number%perPort > 0 && number%perPort < 100:
		return fmt.Sprintf(" (as PostgreSQL at port %d chooses)", port)
	case number < 1<<16:
		return " (a small number, as people choose)"
	}
	return ""
}

func keysInWords(objects []keyed) string {
	const enough = 3
	var keys []string
	for _, k := range objects[:min(enough, len(objects))] {
		keys = append(keys, k.perm.Key.String())
	}
	switch more := len(objects) - enough; {
	case len(objects) == 1:
		return "its key " + keys[0] + habit(objects[0].perm.Key) + " is"
	case more > 0:
		return fmt.Sprintf("its key, and others of this namespace (%s and %d more) are", strings.Join(keys, ", "), more)
	}
	return fmt.Sprintf("its key, and others of this namespace (%s) are", strings.Join(keys, ", "))
}
