//go:build linux

package differential

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ipcns/ipcns/internal/conformance"
	"github.com/ipcns/ipcns/internal/conformance/kernelworld"
	"github.com/ipcns/ipcns/internal/conformance/userworld"
	"github.com/ipcns/ipcns/userspace"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestDifferential tries random programs.
func TestDifferential(t *testing.T) {
	until := time.Now()
	if text, set := os.LookupEnv("DIFFERENTIAL"); set {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		until = until.Add(d)
	}
	of := kernelAlike(t)
	var programs, steps int
	var found string // which rapid asks for again
	began := time.Now()
	for round := true; round || time.Now().Before(until) && !t.Failed(); round = false {
		rapid.Check(t, func(r *rapid.T) {
			p := drawProgram.Draw(r, "program")
			n, err := of.try(t, p)
			programs, steps = programs+1, steps+n
			if err == nil {
				return
			}
			if found == "" {
				found = of.shrunk(t, p)
			}
			r.Fatal(found)
		})
	}
	t.Logf("%d programs of %d steps, %.0f a second", programs, steps, float64(steps)/time.Since(began).Seconds())
}

// alike is userspace such that everything is as it is for this user on the
// kernel.
type alike struct {
	userworld.Userspace
	oneUser  bool
	patience time.Duration
}

func kernelAlike(t *testing.T) alike {
	w := kernelworld.Kernel{}.NewWorld(t)
	of := alike{oneUser: w.Lacks(conformance.Users) != "", patience: patience}
	if why := w.Lacks(conformance.MsgCopy); why != "" {
		t.Skip("needs MSG_COPY: ", why)
	}
	if w.Lacks(conformance.CapSysResource) != "" {
		of.Userspace.Lacks = userspace.CapSysResource
	}
	if of.oneUser {
		root := []userspace.IDRange{{Count: 1}}
		of.Users = &userspace.UserNamespace{UIDs: root, GIDs: root}
	}
	umask := unix.Umask(0)
	unix.Umask(umask)
	of.Umask = uint32(umask)
	return of
}

// try runs a program, in fresh worlds, and then ends its processes, until there
// is a difference. It returns how many steps it took.
func (of alike) try(t testing.TB, program program) (steps int, err error) {
	scope := &scope{TB: t}
	defer scope.end()
	var namespaces [2]*pair
	for i, st := range program {
		p := &namespaces[st.task/len(cast)]
		if *p == nil {
			*p = of.newPair(scope)
		}
		st.task %= len(cast)
		if err := (*p).run(i, st); err != nil {
			return steps, err
		}
		steps++
	}
	for _, p := range namespaces {
		if p == nil {
			continue
		}
		if err := p.finish(len(program)); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

// newPair makes a namespace on both sides.
func (of alike) newPair(t testing.TB) *pair {
	p := &pair{user: newSide(t, of.Userspace, of.oneUser), kernel: newSide(t, kernelworld.Kernel{}, of.oneUser), patience: of.patience}
	for _, s := range []*side{p.user, p.kernel} {
		for name, value := range settings {
			if err := s.world.SetLimit(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// shrunk returns the difference that a program shows when nothing more can be
// left out, and the program. It takes as much as shrinking time.
func (of alike) shrunk(t testing.TB, p program) string {
	end := time.Now().Add(shrinking)
	hasty := of
	hasty.patience = shrinks
	p = p.shrink(func(smaller program) bool {
		if time.Now().After(end) {
			return false
		}
		_, err := hasty.try(t, smaller)
		return err != nil
	})
	_, difference := of.try(t, p)
	return fmt.Sprintf("%v\nThe program, for found_test.go:%v", difference, p)
}

const shrinking = 30 * time.Second

// settings are limits that every program begins with. Few bytes let senders
// sleep; all POSIX queues of a user on the machine count together.
var settings = map[string]int64{"msgmnb": 20, "msg_default": defaultMaxmsg, "msgsize_default": 128}

// A scope is the part of a test in which one program runs.
type scope struct {
	testing.TB
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
}

// programOf reads a program of a test.
func programOf(t *testing.T, text string) program {
	p, err := parse(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
