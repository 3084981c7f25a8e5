//go:build linux

package survey_test

import (
	"testing"

	"github.com/ipcns/ipcns"
	"github.com/ipcns/ipcns/internal/leak/ipctest"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/ipc"
	"github.com/ipcns/ipcns/kernel"
	"github.com/ipcns/ipcns/registry"
)

// TestAgainLooksIntoTheChosen makes a queue in each of two namespaces between two
// looks, the second of which is at one of them.
func TestAgainLooksIntoTheChosen(t *testing.T) {
	chosen, other := ipctest.New(t), ipctest.New(t)
	leave, left := occupied(t, chosen), occupied(t, other)
	defer left()
	before, err := survey.Take(registry.Open(), survey.Options{Contents: true})
	ipctest.Must(t, err)
	for _, ns := range []*ipcns.Namespace{chosen, other} {
		ipctest.Do(t, ns, func() error {
			_, err := kernel.System{}.Msgget(ipc.Private, 0o600)
			return err
		})
	}
	inode := chosen.Inode()
	isChosen := func(ns *survey.Namespace) bool { return ns.Inode == inode }
	after, err := before.Again(survey.Options{Contents: true}, isChosen)
	ipctest.Must(t, err)
	if n := queuesIn(t, before, chosen); n != 0 {
		t.Errorf("the first look has %d queues now", n)
	}
	if n := queuesIn(t, after, chosen); n != 1 {
		t.Errorf("%d queues in the chosen one, want 1", n)
	}
	if n := queuesIn(t, after, other); n != 0 {
		t.Errorf("%d queues in the other one, at which was not looked", n)
	}
	if len(after.Namespaces) != len(before.Namespaces) || !after.Taken.After(before.Taken) {
		t.Errorf("%d namespaces at %v, after %d at %v", len(after.Namespaces), after.Taken, len(before.Namespaces), before.Taken)
	}

	leave()
	ipctest.Must(t, chosen.Close())
	ipctest.Eventually(t, "the chosen one is gone", func() bool {
		gone, err := after.Again(survey.Options{}, isChosen)
		ipctest.Must(t, err)
		return find(gone, inode) == nil && find(gone, other.Inode()) != nil
	})
}

// occupied has a thread in the namespace until leave is called.
func occupied(t *testing.T, ns *ipcns.Namespace) (leave func()) {
	in, out, ended := make(chan bool), make(chan bool), make(chan error)
	go func() {
		ended <- ns.Do(func() error {
			close(in)
			<-out
			return nil
		})
	}()
	<-in
	return func() {
		close(out)
		ipctest.Must(t, <-ended)
	}
}

func find(s *survey.Survey, inode uint64) *survey.Namespace {
	for _, found := range s.Namespaces {
		if found.Inode == inode {
			return found
		}
	}
	return nil
}

func queuesIn(t *testing.T, s *survey.Survey, ns *ipcns.Namespace) int {
	found := find(s, ns.Inode())
	if found == nil || found.Queues == nil || len(found.Contents.Queues) != *found.Queues {
		t.Fatalf("it is not there, or not counted: %+v", found)
	}
	return *found.Queues
}
