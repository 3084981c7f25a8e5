//go:build linux

package listing

import (
	"errors"
	"fmt"
	"io"

	"github.com/ipcns/ipcns/ipc"
)

// ErrNotFound is why an object cannot be shown that does not exist. ipcs
// says "id 5 not found" on standard error then, and exits with 0.
var ErrNotFound = errors.New("there is none of that id in this namespace")

// ErrSelection is why an object cannot be shown if not exactly one kind of
// those that have ids is selected.
var ErrSelection = errors.New("cannot show one object: select either message queues, segments or semaphore sets")

// objects are the objects of one System V kind.
type objects[Object any] struct {
	plural, singular string
	read             func(ipc.System) ([]Object, error)
	head             func(*Object) (id int, perm *ipc.Perm)
}

// list returns all of them, with the reader's user and group ids.
func (o objects[Object]) list(from *source) ([]Object, error) {
	list, err := o.read(from.System)
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", o.plural, err)
	}
	for i := range list {
		_, perm := o.head(&list[i])
		from.names.translate(perm)
	}
	return list, nil
}

// find returns the one with that id. It looks through all of them because
// the kernel tells what a queue without read permission holds by index only.
func (o objects[Object]) find(from *source, id int) (*Object, error) {
	list, err := o.list(from)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if its, _ := o.head(&list[i]); its == id {
			return &list[i], nil
		}
	}
	return nil, fmt.Errorf("cannot show %s %d: %w", o.singular, id, ErrNotFound)
}

// ObjectText prints one object as ipcs does with -i; the view plays no part.
// Exactly one of message queues, segments and semaphore sets must be
// selected, or the error is [ErrSelection]. That of an object that does not
// exist is [ErrNotFound].
func (r Report) ObjectText(w io.Writer, system ipc.System, id int) error {
	k, err := r.kindWithIDs()
	if err != nil {
		return err
	}
	p := r.page(w, system)
	if err := k.describe(p, id); err != nil {
		return err
	}
	return p.Flush()
}

// ObjectJSON prints one object, chosen as for [Report.ObjectText], as JSON.
func (r Report) ObjectJSON(w io.Writer, system ipc.System, id int) error {
	k, err := r.kindWithIDs()
	if err != nil {
		return err
	}
	facts, err := k.facts(&source{system, r.Names}, id)
	if err != nil {
		return err
	}
	return WriteJSON(w, facts)
}

// kindWithIDs returns the only selected kind.
func (r Report) kindWithIDs() (*kind, error) {
	switch r.Select {
	case Selection{MessageQueues: true}:
		return &messageQueueKind, nil
	case Selection{Segments: true}:
		return &segmentKind, nil
	case Selection{SemaphoreSets: true}:
		return &semaphoreSetKind, nil
	}
	return nil, ErrSelection
}
