package userspace

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// A set is a System V semaphore set.
type set struct {
	ns    *Namespace
	ds    ipc.SemidDS
	slot  int
	sems  []semaphore
	undos list[*undo]

	// Operations that sleep and have several sops: those that wait for zeros
	// alone, and the others. While there is any of either, those with one sop
	// that wait for a value to grow are in the second list too.
	zeros  list[*operation]
	alters list[*operation]
	// complex is how many of both have several sops.
	complex int
}

func (s *set) permissions() *ipc.Perm { return &s.ds.Perm }

func (s *set) index() *int { return &s.slot }

// A semaphore has a list of those that wait for it to be 0, of the operations
// with one sop, and of those that wait for it to grow, if they are not in the
// set's list.
type semaphore struct {
	value      int32
	pid        int
	zero, grow list[*operation]
}

// An operation is a semop.
type operation struct {
	sleeper
	waits    node[*operation]
	set      *set
	sops     []ipc.Sembuf
	undo     *undo // nil without SEM_UNDO
	blocking int   // the sop that cannot be done, since the last try
	alters   bool  // it is not for zeros alone
}

// try does the operation, or nothing. EAGAIN: it is the sop blocking that
// cannot be done.
func (o *operation) try() syscall.Errno {
	for i, sop := range o.sops {
		if errno := o.do(sop); errno != 0 {
			o.blocking = i
			for i--; i >= 0; i-- {
				o.takeBack(o.sops[i])
			}
			return errno
		}
	}
	return 0
}

// done notes that the operation has been done.
func (o *operation) done() {
	for _, sop := range o.sops {
		o.set.sems[sop.Num].pid = o.task.pid
	}
	o.set.ds.Otime = o.set.ns.seconds()
}

// undone takes an operation back that nobody has taken.
func (o *operation) undone() {
	for _, sop := range slices.Backward(o.sops) {
		o.takeBack(sop)
	}
}

func (o *operation) do(sop ipc.Sembuf) syscall.Errno {
	sem := &o.set.sems[sop.Num]
	if sop.Op == 0 && sem.value != 0 {
		return syscall.EAGAIN
	}
	value := sem.value + int32(sop.Op)
	if value < 0 {
		return syscall.EAGAIN
	}
	if value > ipc.SemMaxValue {
		return syscall.ERANGE
	}
	if sop.Flg&ipc.SemUndo != 0 {
		adjustment := o.undo.adjustments[sop.Num] - int32(sop.Op)
		if adjustment < -ipc.SemMaxValue-1 || adjustment > ipc.SemMaxValue {
			return syscall.ERANGE
		}
		o.undo.adjustments[sop.Num] = adjustment
	}
	sem.value = value
	return 0
}

func (o *operation) takeBack(sop ipc.Sembuf) {
	o.set.sems[sop.Num].value -= int32(sop.Op)
	if sop.Flg&ipc.SemUndo != 0 {
		o.undo.adjustments[sop.Num] += int32(sop.Op)
	}
}

// mayWait reports whether the operation, after an EAGAIN, can wait for the sop
// that blocks (SEMANTICS A.5.3).
func (o *operation) mayWait() bool { return o.sops[o.blocking].Flg&ipc.NoWait == 0 }

// wait adds the operation to the list in which it waits.
func (o *operation) wait() {
	s, sop := o.set, o.sops[0]
	s.separate()
	switch {
	case len(o.sops) > 1:
		if s.complex == 0 {
			s.unite()
		}
		s.complex++
		if o.alters {
			s.alters.push(&o.waits)
		} else {
			s.zeros.push(&o.waits)
		}
	case !o.alters:
		s.sems[sop.Num].zero.push(&o.waits)
	case s.complex > 0:
		s.alters.push(&o.waits)
	default:
		s.sems[sop.Num].grow.push(&o.waits)
	}
}

// leave takes the operation out of the list in which it waits.
func (o *operation) leave() {
	o.waits.remove()
	if len(o.sops) > 1 {
		o.set.complex--
	}
}

// unite puts those that wait for a value to grow into the set's list: those
// of the last semaphore first, as the kernel does.
func (s *set) unite() {
	for i := len(s.sems) - 1; i >= 0; i-- {
		for l := &s.sems[i].grow; l.first != nil; {
			n := l.first
			n.remove()
			s.alters.push(n)
		}
	}
}

// separate puts them back, if no operation with several sops sleeps any more.
func (s *set) separate() {
	if s.complex > 0 {
		return
	}
	for s.alters.first != nil {
		n := s.alters.first
		n.remove()
		s.sems[n.value.sops[0].Num].grow.push(n)
	}
}

// again tries an operation that sleeps, and settles it if that decides. It
// reports whether the operation was done.
func (o *operation) again() bool {
	errno := o.try()
	if errno == syscall.EAGAIN && o.mayWait() {
		return false
	}
	if errno == 0 {
		if !o.takes(Outcome{}) {
			o.undone()
			return false
		}
		o.done()
	}
	o.settle(errno)
	return errno == 0
}

// update lets those go on that can, now that sops have been done; without sops,
// any semaphore may have changed. Those that wait for zeros go first, all of
// them (SEMANTICS A.5.4). It tries what the kernel tries, in that order: a try
// is also what decides at which sop an operation waits from now on.
func (s *set) update(sops []ipc.Sembuf) {
	s.separate()
	s.releaseZeros(sops)
	switch {
	case s.alters.first != nil:
		s.release(&s.alters, nil)
	case sops == nil:
		for i := range s.sems {
			s.release(&s.sems[i].grow, &s.sems[i])
		}
	default:
		for _, sop := range sops {
			if sop.Op > 0 {
				s.release(&s.sems[sop.Num].grow, &s.sems[sop.Num])
			}
		}
	}
}

// releaseZeros lets those go on that wait for zeros, if a semaphore of the sops
// is 0.
func (s *set) releaseZeros(sops []ipc.Sembuf) {
	found := false
	release := func(sem *semaphore) {
		if sem.value == 0 {
			found = true
			releaseAll(&sem.zero)
		}
	}
	if sops == nil {
		for i := range s.sems {
			release(&s.sems[i])
		}
	}
	for _, sop := range sops {
		release(&s.sems[sop.Num])
	}
	if found {
		releaseAll(&s.zeros)
	}
}

// releaseAll lets those go on that can, and that change nothing for others.
func releaseAll(l *list[*operation]) {
	for n := l.first; n != nil; {
		o := n.value
		n = n.next
		o.again()
	}
}

// release lets those of a list go on that can: the first that can, and then
// from the beginning again, if it may have made room. Sem is the semaphore of
// the list, nil for the set's.
func (s *set) release(l *list[*operation], sem *semaphore) {
	for n := l.first; n != nil && (sem == nil || sem.value > 0); {
		o := n.value
		n = n.next
		if !o.again() {
			continue
		}
		s.releaseZeros(o.sops)
		if s.alters.first != nil || len(o.sops) > 1 {
			n = l.first
		}
	}
}

// Semget is semget(2).
func (t *Task) Semget(key ipc.Key, nsems, flags int) (_ int, err error) {
	defer t.begin(act{call: "semget", key: key}).end(&err)
	s, errno := t.semget(key, nsems, flags)
	if errno != 0 {
		return 0, outcome(errno)
	}
	return id(s), nil
}

func (t *Task) semget(key ipc.Key, nsems, flags int) (*set, syscall.Errno) {
	ns := t.ns
	if nsems < 0 || nsems > int(int32(ns.limits.Semmsl)) {
		return nil, syscall.EINVAL
	}
	s, errno := get(t, &ns.sets, key, flags, func(s *set) syscall.Errno {
		if nsems > len(s.sems) {
			return syscall.EINVAL
		}
		return 0
	})
	if s != nil || errno != 0 {
		return s, errno
	}
	if nsems == 0 {
		return nil, syscall.EINVAL
	}
	if ns.semaphores+nsems > int(int32(ns.limits.Semmns)) {
		return nil, syscall.ENOSPC
	}
	s = &set{ns: ns, sems: make([]semaphore, nsems)}
	s.ds = ipc.SemidDS{Perm: t.newPerm(key, flags), Ctime: ns.seconds(), Nsems: uint64(nsems)}
	if errno := ns.sets.add(s, int(ns.limits.Semmni)); errno != 0 {
		return nil, errno
	}
	ns.semaphores += nsems
	return s, 0
}

// Semop is semop(2).
func (t *Task) Semop(ctx context.Context, id int, sops []ipc.Sembuf) error {
	return t.semop(ctx, "semop", id, sops, forever)
}

// forever is no timeout.
const forever = time.Duration(1<<63 - 1)

// Semtimedop is semtimedop(2).
func (t *Task) Semtimedop(ctx context.Context, id int, sops []ipc.Sembuf, timeout time.Duration) error {
	return t.semop(ctx, "semtimedop", id, sops, timeout)
}

func (t *Task) semop(ctx context.Context, call string, id int, sops []ipc.Sembuf, timeout time.Duration) error {
	if err := ctx.Err(); err != nil && maySleep(sops) {
		return err
	}
	b := t.begin(act{call: call, id: id})
	var o operation
	errno := t.trySemop(nil, &o, id, sops, timeout)
	if !o.sleeps(errno, timeout) {
		return b.done(errno)
	}
	asleep := o // only one that sleeps outlives this call
	stop := asleep.sleep(ctx, b.act, timeout)
	t.ns.mu.Unlock()
	defer stop()
	return asleep.sleeper.wait()
}

// sleeps reports whether the operation is to be parked, after its first try.
func (o *operation) sleeps(errno syscall.Errno, timeout time.Duration) bool {
	return errno == syscall.EAGAIN && o.mayWait() && timeout != 0
}

func maySleep(sops []ipc.Sembuf) bool {
	for _, sop := range sops {
		if sop.Flg&ipc.NoWait == 0 {
			return true
		}
	}
	return false
}

// trySemop readies the operation and tries it, for the first time. The caller,
// if there is one, is asked before it counts as done.
func (t *Task) trySemop(c Caller, o *operation, id int, sops []ipc.Sembuf, timeout time.Duration) syscall.Errno {
	ns := t.ns
	switch {
	case t.ended:
		return syscall.ESRCH
	case uint64(len(sops)) > uint64(uint32(ns.limits.Semopm)):
		return syscall.E2BIG
	case len(sops) == 0, timeout < 0:
		return syscall.EINVAL
	}
	s := ns.sets.find(id)
	if s == nil {
		return syscall.EINVAL
	}
	// The kernel has the process's undo list of the set, and has it first,
	// before it looks at anything else of the set (SEMANTICS A.5.11).
	if slices.ContainsFunc(sops, func(sop ipc.Sembuf) bool { return sop.Flg&ipc.SemUndo != 0 }) {
		o.undo = t.undoOf(s)
	}
	wanted := uint32(mayRead)
	for _, sop := range sops {
		if int(sop.Num) >= len(s.sems) {
			return syscall.EFBIG
		}
		if sop.Op != 0 {
			wanted = mayWrite
		}
	}
	if !t.may(&s.ds.Perm, wanted) {
		return syscall.EACCES
	}
	o.task, o.set, o.sops, o.alters = t, s, sops, wanted == mayWrite
	if errno := o.try(); errno != 0 {
		return errno
	}
	if c != nil && !c.Take(Outcome{}) {
		o.undone()
		return declined
	}
	o.done()
	if o.alters {
		s.update(sops)
	}
	return 0
}

// sleep parks the operation. Its timer is to be stopped when it has ended.
func (o *operation) sleep(ctx context.Context, a act, timeout time.Duration) (stop func() bool) {
	o.waits.value = o
	o.park(ctx, o.task, a, o.leave)
	o.wait()
	if timeout == forever {
		return func() bool { return true }
	}
	return o.set.ns.clock.AfterFunc(timeout, o.expire)
}

// expire ends an operation whose time is over.
func (o *operation) expire() {
	ns := o.set.ns
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if !o.settled {
		o.settle(syscall.EAGAIN)
	}
}

// semaphore returns one for the get calls: the set, the permission, the number
// (SEMANTICS A.3).
func (t *Task) semaphore(id, num int) (*set, *semaphore, syscall.Errno) {
	s, errno := accessible(t, &t.ns.sets, id, mayRead)
	if errno != 0 {
		return nil, nil, errno
	}
	if num < 0 || num >= len(s.sems) {
		return nil, nil, syscall.EINVAL
	}
	return s, &s.sems[num], 0
}

func (t *Task) semctlGet(call string, id, num int, fact func(*set, *semaphore) int) (_ int, err error) {
	defer t.begin(act{call: call, id: id}).end(&err)
	s, sem, errno := t.semaphore(id, num)
	if errno != 0 {
		return 0, errno
	}
	return fact(s, sem), nil
}

// SemctlGetval is GETVAL of semctl(2).
func (t *Task) SemctlGetval(id, num int) (int, error) {
	return t.semctlGet("semctl(GETVAL)", id, num, func(_ *set, sem *semaphore) int { return int(sem.value) })
}

// SemctlGetpid is GETPID of semctl(2).
func (t *Task) SemctlGetpid(id, num int) (int, error) {
	return t.semctlGet("semctl(GETPID)", id, num, func(_ *set, sem *semaphore) int { return sem.pid })
}

// SemctlGetncnt is GETNCNT of semctl(2).
func (t *Task) SemctlGetncnt(id, num int) (int, error) {
	return t.semctlGet("semctl(GETNCNT)", id, num, func(s *set, sem *semaphore) int {
		return sem.grow.n + blocked(&s.alters, num, func(op int16) bool { return op < 0 })
	})
}

// SemctlGetzcnt is GETZCNT of semctl(2).
func (t *Task) SemctlGetzcnt(id, num int) (int, error) {
	return t.semctlGet("semctl(GETZCNT)", id, num, func(s *set, sem *semaphore) int {
		isZero := func(op int16) bool { return op == 0 }
		return sem.zero.n + blocked(&s.alters, num, isZero) + blocked(&s.zeros, num, isZero)
	})
}

// blocked counts the operations of a set's list that wait at a sop on the
// semaphore (SEMANTICS A.5.5).
func blocked(l *list[*operation], num int, kind func(op int16) bool) (count int) {
	for n := l.first; n != nil; n = n.next {
		sop := n.value.sops[n.value.blocking]
		if int(sop.Num) == num && kind(sop.Op) {
			count++
		}
	}
	return count
}

// SemctlSetval is SETVAL of semctl(2).
func (t *Task) SemctlSetval(id, num, value int) (err error) {
	defer t.begin(act{call: "semctl(SETVAL)", id: id}).end(&err)
	return outcome(t.setval(id, num, value))
}

func (t *Task) setval(id, num, value int) syscall.Errno {
	if id < 0 || id > maxInt32 {
		return syscall.EINVAL
	}
	if value < 0 || value > ipc.SemMaxValue {
		return syscall.ERANGE
	}
	s := t.ns.sets.find(id)
	if s == nil || num < 0 || num >= len(s.sems) {
		return syscall.EINVAL
	}
	if !t.may(&s.ds.Perm, mayWrite) {
		return syscall.EACCES
	}
	s.put(t, num, value)
	s.ds.Ctime = t.ns.seconds()
	s.update(nil)
	return 0
}

// put sets a value, and forgets what was to be undone of the semaphore.
func (s *set) put(t *Task, num, value int) {
	s.sems[num].value, s.sems[num].pid = int32(value), t.pid
	for n := s.undos.first; n != nil; n = n.next {
		n.value.adjustments[num] = 0
	}
}

// SemctlGetall is GETALL of semctl(2).
func (t *Task) SemctlGetall(id int) (_ []uint16, err error) {
	defer t.begin(act{call: "semctl(GETALL)", id: id}).end(&err)
	s, errno := accessible(t, &t.ns.sets, id, mayRead)
	if errno != 0 {
		return nil, outcome(errno)
	}
	values := make([]uint16, len(s.sems))
	for i := range s.sems {
		values[i] = uint16(s.sems[i].value)
	}
	return values, nil
}

// SemctlSetall is SETALL of semctl(2).
func (t *Task) SemctlSetall(id int, values []uint16) (err error) {
	defer t.begin(act{call: "semctl(SETALL)", id: id}).end(&err)
	return outcome(t.setall(id, values))
}

// SemctlSettable returns how many values SETALL of a set takes, if the task may
// set them. That is what semctl(2) looks at before it reads the values.
func (t *Task) SemctlSettable(id int) (nsems int, err error) {
	t.ns.mu.Lock()
	defer t.ns.mu.Unlock()
	s := t.ns.sets.find(id)
	if errno := allowed(t, s, mayWrite); errno != 0 {
		return 0, failed("semctl(SETALL)", errno)
	}
	return len(s.sems), nil
}

func (t *Task) setall(id int, values []uint16) syscall.Errno {
	s := t.ns.sets.find(id)
	if s == nil || len(values) != len(s.sems) {
		return syscall.EINVAL
	}
	if !t.may(&s.ds.Perm, mayWrite) {
		return syscall.EACCES
	}
	for _, value := range values {
		if value > ipc.SemMaxValue {
			return syscall.ERANGE
		}
	}
	for num, value := range values {
		s.put(t, num, int(value))
	}
	s.ds.Ctime = t.ns.seconds()
	s.update(nil)
	return 0
}

// SemctlStat is IPC_STAT of semctl(2).
func (t *Task) SemctlStat(id int) (_ ipc.SemidDS, err error) {
	defer t.begin(act{call: "semctl(IPC_STAT)", id: id}).end(&err)
	s, errno := accessible(t, &t.ns.sets, id, mayRead)
	_, ds, err := t.semStat(s, errno)
	return ds, err
}

// SemStat is SEM_STAT of semctl(2).
func (t *Task) SemStat(index int) (_ int, _ ipc.SemidDS, err error) {
	defer t.begin(act{call: "semctl(SEM_STAT)", id: index}).end(&err)
	s := t.ns.sets.atIndex(index)
	return t.semStat(s, allowed(t, s, mayRead))
}

// SemStatAny is SEM_STAT_ANY of semctl(2).
func (t *Task) SemStatAny(index int) (_ int, _ ipc.SemidDS, err error) {
	defer t.begin(act{call: "semctl(SEM_STAT_ANY)", id: index}).end(&err)
	s := t.ns.sets.atIndex(index)
	return t.semStat(s, allowed(t, s, 0))
}

func (t *Task) semStat(s *set, errno syscall.Errno) (int, ipc.SemidDS, error) {
	if errno != 0 {
		return 0, ipc.SemidDS{}, outcome(errno)
	}
	ds := s.ds
	ds.Perm = t.show(ds.Perm)
	return id(s), ds, nil
}

// SemctlSet is IPC_SET of semctl(2).
func (t *Task) SemctlSet(id int, set ipc.PermSet) (err error) {
	defer t.begin(act{call: "semctl(IPC_SET)", id: id}).end(&err)
	s, errno := controlled(t, &t.ns.sets, id)
	if errno == 0 {
		errno = t.change(&s.ds.Perm, set)
	}
	if errno == 0 {
		s.ds.Ctime = t.ns.seconds()
	}
	return outcome(errno)
}

// SemctlRmid is IPC_RMID of semctl(2).
func (t *Task) SemctlRmid(id int) (err error) {
	defer t.begin(act{call: "semctl(IPC_RMID)", id: id}).end(&err)
	ns := t.ns
	s, errno := controlled(t, &ns.sets, id)
	if errno != 0 {
		return outcome(errno)
	}
	ns.sets.remove(s)
	ns.semaphores -= len(s.sems)
	for s.undos.first != nil {
		s.undos.first.value.forget()
	}
	for i := range s.sems {
		wakeAll(&s.sems[i].zero, syscall.EIDRM)
		wakeAll(&s.sems[i].grow, syscall.EIDRM)
	}
	wakeAll(&s.zeros, syscall.EIDRM)
	wakeAll(&s.alters, syscall.EIDRM)
	return nil
}

func wakeAll(l *list[*operation], errno syscall.Errno) {
	for l.first != nil {
		l.first.value.settle(errno)
	}
}

// Constants that IPC_INFO tells (SEMANTICS A.3).
const (
	semmap, semmnu, semume, semusz = 1024000000, 1024000000, 500, 20
)

// SemctlInfo is IPC_INFO of semctl(2).
func (t *Task) SemctlInfo() (_ ipc.Seminfo, _ int, err error) {
	defer t.begin(act{call: "semctl(IPC_INFO)"}).end(&err)
	ns := t.ns
	l := &ns.limits
	return ipc.Seminfo{
		Semmsl: int(int32(l.Semmsl)), Semmns: int(int32(l.Semmns)), Semopm: int(int32(l.Semopm)), Semmni: int(int32(l.Semmni)),
		Semmap: semmap, Semmnu: semmnu, Semume: semume, Semusz: semusz, Semvmx: ipc.SemMaxValue, Semaem: ipc.SemMaxValue,
	}, ns.sets.highest(), nil
}

// SemInfo is SEM_INFO of semctl(2).
func (t *Task) SemInfo() (_ ipc.SemInfo, _ int, err error) {
	defer t.begin(act{call: "semctl(SEM_INFO)"}).end(&err)
	ns := t.ns
	return ipc.SemInfo{Sets: ns.sets.inUse, Semaphores: ns.semaphores}, ns.sets.highest(), nil
}
