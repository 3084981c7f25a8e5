package userspace

// Unshare is unshare(2) with CLONE_NEWIPC: it returns the thread in a new
// namespace, which is made of what the one is made of that it leaves, and has
// the limits of a new one. The task that it was before must not be used any
// more.
//
// What the process has attached and opened stays its own, and ends with it.
// What was done with SEM_UNDO is undone, unless other threads of the process
// stay (SEMANTICS A.5.11). Segments that it has created have no creator any
// more (A.6.6).
func (t *Task) Unshare() *Task {
	t.ns.mu.Lock()
	child := New(Options{Clock: t.ns.clock, Memory: t.ns.memory, Observer: t.ns.observer})
	child.nextPID = t.ns.nextPID
	t.leave()
	t.orphan()
	t.ns.mu.Unlock()
	return t.enter(child)
}

// Setns is setns(2) into the namespace. It differs from [Task.Unshare] in that
// the process stays the creator of its segments.
func (t *Task) Setns(ns *Namespace) *Task {
	t.ns.mu.Lock()
	t.leave()
	t.ns.mu.Unlock()
	return t.enter(ns)
}

// leave takes the thread out of its namespace, whose lock is held.
func (t *Task) leave() {
	if t.threads--; t.threads == 0 {
		t.undoAll()
	}
}

// enter returns the thread in another namespace.
func (t *Task) enter(ns *Namespace) *Task {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.nextPID = max(ns.nextPID, t.pid+1, t.tid+1)
	entered := ns.newProcess(t.pid, t.Credentials)
	entered.tid = t.tid
	entered.left = t.process
	return entered
}
