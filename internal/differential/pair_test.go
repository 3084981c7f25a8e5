//go:build linux

package differential

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// patience is how long the kernel may take for what it has to do: a bound that
// only a difference reaches. Of those that are known already there is less.
const (
	patience = 10 * time.Second
	shrinks  = 300 * time.Millisecond
)

// A pair runs a program on both sides.
type pair struct {
	user, kernel *side
	patience     time.Duration
	steps        int // that were made
}

// A difference is one between the sides.
type difference struct {
	step         string
	user, kernel string
}

func (d *difference) Error() string {
	return fmt.Sprintf("after %s\nuserspace: %s\nthe kernel: %s", d.step, d.user, d.kernel)
}

// run makes a step, unless it is left out.
func (p *pair) run(number int, st step) error {
	if p.undetermined(st) {
		return nil
	}
	p.steps++
	return p.step(number, st)
}

// finish looks at the descriptors of queues that may have no name any more,
// and ends one process after the other, which undoes and detaches.
func (p *pair) finish(number int) error {
	for i := range p.user.mqds {
		if err := p.step(number, step{0, "mqattr", []int{i}}); err != nil {
			return err
		}
	}
	for len(p.user.alive) > 0 {
		what := "the end of " + p.user.alive[0].name
		p.user.kill(p.user.alive[0])
		p.kernel.kill(p.kernel.alive[0])
		if err := p.compare(what, "", ""); err != nil {
			return err
		}
	}
	return p.compareSettings()
}

func (p *pair) compareSettings() error {
	var texts [2]string
	for i, s := range []*side{p.user, p.kernel} {
		limits, err := s.world.Root().Limits()
		texts[i] = result(err, limits)
		for _, kind := range []string{"msg", "sem", "shm"} {
			id, err := s.world.NextID(kind)
			texts[i] += result(err, id)
		}
	}
	if texts[0] != texts[1] {
		return &difference{"all of it", texts[0], texts[1]}
	}
	return nil
}

// step makes a step on both sides, and compares all that it does.
func (p *pair) step(number int, st step) error {
	what := fmt.Sprintf("step %d, %s", number, st)
	switch st.call {
	case "cancel":
		return p.cancel(what, st.args[0])
	case "kill", "fork":
		of := p.user.processes[st.task]
		if of == nil || st.call == "fork" && len(of.attached) > 0 {
			return nil // the kernel's is a child that executes a program, which detaches
		}
		for _, s := range []*side{p.user, p.kernel} {
			if st.call == "kill" {
				s.kill(s.processes[st.task])
			} else {
				s.fork(st.task)
			}
		}
		return p.compare(what, "", "")
	}
	user := p.user.begin(number, st)
	asleep := p.asleepInGo(user)
	kernel := p.kernel.begin(number, st)
	if asleep {
		if !p.asleepInKernel(kernel) {
			return p.compare(what, "sleeps", kernel.result)
		}
		p.user.sleeping, p.kernel.sleeping = append(p.user.sleeping, user), append(p.kernel.sleeping, kernel)
		return p.compare(what, "", "")
	}
	if !kernel.wait(p.patience) {
		kernel.result = "sleeps"
	}
	return p.compare(what, user.result, kernel.result)
}

// asleepInGo returns whether a call sleeps in userspace, or is over.
func (p *pair) asleepInGo(m *made) bool {
	if m.timed() {
		m.result = <-m.done
		return false
	}
	for !m.poll() {
		if m.process.Sleeping() > p.user.sleepers(m.process) {
			return true
		}
		runtime.Gosched()
	}
	return false
}

// asleepInKernel returns whether a call sleeps in the kernel, or is over.
func (p *pair) asleepInKernel(m *made) bool {
	for pause := 20 * time.Microsecond; !m.poll(); pause *= 2 {
		if m.process.Sleeping() > p.kernel.sleepers(m.process) {
			return true
		}
		time.Sleep(min(pause, time.Millisecond))
	}
	return false
}

// timed reports whether a call ends by itself, soon.
func (m *made) timed() bool { return m.call == "semop" && m.of.args[1] == semTimeout }

// wait waits for the end of a call that should be over.
func (m *made) wait(patience time.Duration) bool {
	if m.over {
		return true
	}
	select {
	case m.result = <-m.done:
		m.over = true
	case <-time.After(patience):
	}
	return m.over
}

// cancel ends the context of a call that sleeps. POSIX queues are opened such
// that this ends no call.
func (p *pair) cancel(what string, n int) error {
	var which []int
	for i, m := range p.user.sleeping {
		if !strings.HasPrefix(m.call, "mq") {
			which = append(which, i)
		}
	}
	if len(which) == 0 {
		return nil
	}
	i := which[n%len(which)]
	for _, s := range []*side{p.user, p.kernel} {
		s.sleeping[i].cancel()
		s.sleeping[i].wait(p.patience)
	}
	return p.compare(what, "", "")
}

// compare compares the results of a step, and all that the step has changed.
func (p *pair) compare(what, user, kernel string) error {
	if user, kernel = p.user.named(user), p.kernel.named(kernel); user != kernel {
		return &difference{what, user, kernel}
	}
	if err := p.compareSleepers(what); err != nil {
		return err
	}
	return p.comparePictures(what)
}

func (p *pair) compareSleepers(what string) error {
	p.settleInGo()
	for i, m := range p.user.sleeping {
		k := p.kernel.sleeping[i]
		if m.over {
			k.wait(p.patience)
		} else {
			k.poll()
		}
		if m.over != k.over || m.result != k.result {
			return &difference{fmt.Sprintf("%s: what step %d is", what, m.step), m.state(), k.state()}
		}
	}
	p.user.takeOver()
	p.kernel.takeOver()
	if !strings.Contains(what, "msgset") && p.steps%asleepEvery != 0 {
		return nil
	}
	for _, k := range p.kernel.alive {
		if err := p.compareAsleep(what, k); err != nil {
			return err
		}
	}
	return nil
}

// asleepEvery is after how many steps the sleepers are looked for, which takes
// the kernel a millisecond. A call that it has woken is over before long, and
// seen to be; but one that IPC_SET has woken sleeps again.
const asleepEvery = 16

func (m *made) state() string {
	if !m.over {
		return "asleep"
	}
	return "over with " + m.result
}

// settleInGo waits for the results of those that do not sleep any more.
func (p *pair) settleInGo() {
	for _, process := range p.user.alive {
		asleep := process.Sleeping()
		for {
			over := 0
			for _, m := range p.user.sleeping {
				if m.process == process && m.poll() {
					over++
				}
			}
			if p.user.sleepers(process)-over == asleep {
				break
			}
			runtime.Gosched()
		}
	}
}

// compareAsleep checks that the calls of a process that should sleep do. Some
// may have been woken to find out that they have to sleep on.
func (p *pair) compareAsleep(what string, k *process) error {
	want := p.kernel.sleepers(k)
	if want == 0 {
		return nil
	}
	for deadline := time.Now().Add(p.patience); ; time.Sleep(100 * time.Microsecond) {
		got := k.Sleeping()
		if got == want {
			return nil
		}
		if time.Now().After(deadline) {
			return &difference{what + ": calls of " + k.name + " that sleep", fmt.Sprint(want), fmt.Sprint(got)}
		}
	}
}

func (p *pair) comparePictures(what string) error {
	user, kernel := p.user.look(), p.kernel.look()
	if slices.Equal(user, kernel) {
		return nil
	}
	return &difference{what, missing(user, kernel), missing(kernel, user)}
}

// missing returns the lines that the other has not.
func missing(lines, other []string) string {
	var text strings.Builder
	for _, line := range lines {
		if !slices.Contains(other, line) {
			text.WriteString("\n\t" + line)
		}
	}
	return text.String()
}

// undetermined reports whether the kernel does not determine what a step does:
// it would wake several senders that have room, or receivers whose order is
// lost; or close a descriptor in which a call sleeps, which is for package
// kernel to end and not for the kernel.
func (p *pair) undetermined(st step) bool {
	switch st.call {
	case "msgrcv":
		id := p.user.idOf(st)
		return p.roomFor(id, p.user.queue(id)) > 1
	case "msgset":
		id := p.user.idOf(st)
		ds := p.user.queue(id)
		ds.Qbytes = uint64(uint32(st.args[4]))
		senders, receivers := fit(p.user.senders(id), ds, 0), p.user.receivers(id)
		return senders+receivers > 1
	case "mqclose":
		return p.user.sleepsIn(st)
	}
	return false
}

// roomFor returns how many senders at most have room when a message is received.
func (p *pair) roomFor(id int, ds ipc.MsqidDS) (most int) {
	senders := p.user.senders(id)
	if len(senders) < 2 {
		return 0
	}
	ds.Qnum--
	for _, bytes := range p.user.messages(id, int(ds.Qnum)+1) {
		most = max(most, fit(senders, ds, bytes))
	}
	return most
}

// fit returns how many senders have room in a queue from which so many bytes
// are taken.
func fit(senders []int, ds ipc.MsqidDS, taken int) (n int) {
	for _, size := range senders {
		if int(ds.Cbytes)-taken+size <= int(ds.Qbytes) && ds.Qnum+1 <= ds.Qbytes {
			n++
		}
	}
	return n
}
