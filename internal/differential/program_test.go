//go:build linux

package differential

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// A program is steps, one after the other, each a line of text:
//
//	0 msgget 1 42 0o1600
//	2 msgrcv 1 -3 8 0 0
//
// That is the task that makes the call, the call, and its arguments, which the
// table of calls names. Tasks from len(cast) on are those of a second namespace.
type program []step

type step struct {
	task int
	call string
	args []int
}

func (p program) String() string {
	var text strings.Builder
	for _, s := range p {
		text.WriteString("\n\t" + s.String())
	}
	return text.String()
}

func (s step) String() string {
	text := fmt.Sprintf("%d %s", s.task, s.call)
	c := calls[s.call]
	for i, arg := range s.args {
		if c.argAt(i).octal {
			text += fmt.Sprintf(" %O", arg)
		} else {
			text += fmt.Sprintf(" %d", arg)
		}
	}
	return text
}

// parse reads a program. Empty lines do not count.
func parse(text string) (p program, err error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		s := step{call: fields[1]}
		if _, known := calls[s.call]; !known {
			return nil, fmt.Errorf("no call %q", s.call)
		}
		if s.task, err = strconv.Atoi(fields[0]); err != nil {
			return nil, err
		}
		for _, field := range fields[2:] {
			arg, err := strconv.ParseInt(field, 0, 64)
			if err != nil {
				return nil, err
			}
			s.args = append(s.args, int(arg))
		}
		p = append(p, s)
	}
	return p, nil
}

// drawProgram draws a program that begins with objects to work with, often those
// of one mechanism alone.
var drawProgram = rapid.Custom(func(t *rapid.T) program {
	f := families[oneOf("all", "all", "msg", "sem", "sem", "shm", "mq").Draw(t, "family")]
	p := program(rapid.SliceOfN(drawStep(f.makers), 4, 8).Draw(t, "makers"))
	p = append(p, rapid.SliceOfN(drawStep(f.everything), 30, 120).Draw(t, "steps")...)
	if isRare.Draw(t, "two namespaces") == 1 {
		for i := range p {
			p[i].task += len(cast) * oneOf(0, 1).Draw(t, "namespace")
		}
	}
	return p
})

// drawStep draws a step with one of the calls, which may be there repeatedly.
func drawStep(names []string) *rapid.Generator[step] {
	return rapid.Custom(func(t *rapid.T) step {
		s := step{call: oneOf(names...).Draw(t, "call")}
		c := calls[s.call]
		s.task = drawTask.Draw(t, "task")
		for _, a := range c.args {
			s.args = append(s.args, a.draw.Draw(t, a.name))
		}
		for range c.repeats(t) {
			for _, a := range c.more {
				s.args = append(s.args, a.draw.Draw(t, a.name))
			}
		}
		return s
	})
}

var drawTask = oneOf(0, 0, 0, 1, 1, 2, 3, 4, 5)

func (c call) repeats(t *rapid.T) int {
	if c.more == nil {
		return 0
	}
	return often(oneOf(1, 1, 2, 2, 3), 0, 4).Draw(t, "repeats")
}

func (c call) argAt(i int) arg {
	if i < len(c.args) {
		return c.args[i]
	}
	if len(c.more) > 0 {
		return c.more[(i-len(c.args))%len(c.more)]
	}
	return arg{}
}

// shrink returns a smaller program that fails as well, if there is one, by way
// of those that fails reports: first without some of the steps, then with
// simpler arguments.
func (p program) shrink(fails func(program) bool) program {
	for n := len(p) / 2; n > 0; n /= 2 {
		for at := 0; at+n <= len(p); {
			if without := slices.Concat(p[:at], p[at+n:]); fails(without) {
				p = without
			} else {
				at += n
			}
		}
	}
	for i := range p {
		for _, simpler := range p[i].simpler() {
			if changed := slices.Concat(p[:i], program{simpler}, p[i+1:]); fails(changed) {
				p = changed
			}
		}
	}
	return p
}

// simpler returns steps that are simpler than this one in one way.
func (s step) simpler() (simpler []step) {
	if s.task%len(cast) != 0 {
		simpler = append(simpler, step{s.task / len(cast) * len(cast), s.call, s.args})
	}
	if c := calls[s.call]; len(s.args) > len(c.args)+len(c.more) {
		simpler = append(simpler, step{s.task, s.call, s.args[:len(s.args)-len(c.more)]})
	}
	for i, arg := range s.args {
		for _, value := range []int{0, 1} {
			if arg != value && arg != 0 {
				args := slices.Clone(s.args)
				args[i] = value
				simpler = append(simpler, step{s.task, s.call, args})
			}
		}
	}
	return simpler
}
