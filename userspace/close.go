package userspace

// Close ends the namespace: each process as by [Task.Exit], and then all
// objects. The memory of segments is given back, which for [Memfd] nothing else
// does. A namespace that is not closed ends when nobody refers to it.
func (ns *Namespace) Close() {
	for p := ns.anyProcess(); p != nil; p = ns.anyProcess() {
		p.exit()
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for q := range ns.queues.all() {
		ns.queues.remove(q)
	}
	for s := range ns.sets.all() {
		ns.sets.remove(s)
	}
	for s := range ns.segments.all() {
		s.destroyIfUnattached()
	}
	for _, q := range ns.mqueues.byName {
		q.unlink()
	}
	ns.semaphores = 0
}

func (ns *Namespace) anyProcess() *process {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n := ns.processes.first; n != nil {
		return n.value
	}
	return nil
}
