package replica

import (
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
)

// openForCall returns the instance of that name for a call. The name must have no memo. It returns nil if there is no room.
func (r *Replica) openForCall(name string) *instance {
	t := &r.table
	inst := t.byName[name]
	switch {
	case name == readyName:
	case inst != nil && (inst.room == roomCalls || inst.chosen || inst.stopped != nil):
	case t.rooms[roomCalls] >= r.limits.MaxOpen, t.rooms[roomOwn] >= mostOwn(r.limits), r.full():
		return nil
	}
	if inst == nil {
		inst = r.open(name)
	}
	inst.called = true
	return inst
}

// openForWork returns the instance of that name for work that ends when the disk has done its part. The name must have no
// memo. It returns nil if there is no room.
func (r *Replica) openForWork(name string) *instance {
	if inst := r.table.byName[name]; inst != nil {
		return inst
	}
	if !r.roomForWork() {
		return nil
	}
	return r.open(name)
}

func (r *Replica) roomForWork() bool {
	return r.table.rooms[roomWork] < mostWork(r.limits) && !r.full()
}

// full reports whether memory holds as many instances as it may. Only instances that have stopped, and keep their proof, can
// fill it.
func (r *Replica) full() bool { return len(r.table.byName) >= 8*mostWork(r.limits) }

// open brings an instance that is not in memory there, and asks the storage for it.
func (r *Replica) open(name string) *instance {
	r.makeRoom(1)
	t := &r.table
	inst := t.unused()
	inst.name, inst.loading, inst.age.since = name, true, r.now
	t.byName[name] = inst
	t.opened(inst)
	r.loads = append(r.loads, name)
	r.comeBack(inst)
	r.count(inst)
	return inst
}

// arrives keeps m until inst is loaded.
func (r *Replica) arrives(inst *instance, from *peer, m *paxos.Message) {
	if len(inst.arrivals) == maxArrivals {
		r.loses(from, m)
		return
	}
	inst.arrivals = append(inst.arrivals, arrival{source{from, from.identity.boot()}, *m})
	r.saves.arrive(len(m.Value))
}

// dropArrivals drops the messages that wait until inst is loaded.
func (r *Replica) dropArrivals(inst *instance) {
	for i := range inst.arrivals {
		r.saves.arrive(-len(inst.arrivals[i].m.Value))
	}
	clear(inst.arrivals)
	inst.arrivals = inst.arrivals[:0]
}

// reopen makes a memo an instance again, and takes out the memo.
func (r *Replica) reopen(m *memo) *instance {
	r.makeRoom(1)
	t := &r.table
	inst := t.unused()
	inst.name, inst.acceptor, inst.chosen, inst.index, inst.pendingNotices = m.name, durable.Acceptor{Acceptor: m.Acceptor}, true, m.index, m.pendingNotices
	t.decided.remove(m)
	t.byName[inst.name] = inst
	return inst
}

// makeRoom makes room in memory for so many more instances, as far as it can. Instances at rest leave; the one that came to
// rest first leaves first.
func (r *Replica) makeRoom(more int) {
	t := &r.table
	for len(t.byName)+more > 2*r.limits.MaxOpen {
		switch {
		case t.evictable.first != nil:
			r.drop(t.evictable.first)
		case t.watched.first != nil:
			r.evict(t.watched.first)
		default:
			return
		}
	}
}

// openBacklog opens the instances that the storage held undecided at the start, as far as there is room. They take at most
// half of the room for work.
func (r *Replica) openBacklog() {
	for len(r.backlog) > 0 && r.unfinished() < r.mostUnfinished() {
		if name := r.backlog[0]; r.table.decided.find(name) == nil && r.openForWork(name) == nil {
			return
		}
		r.backlog = r.backlog[1:]
	}
}

// unfinished is the number of instances that this server has to see finished, and that no call here waits for.
func (r *Replica) unfinished() int {
	t := &r.table
	return len(t.byName) - t.rooms[roomCalls] - t.evictable.len + len(t.evicted)
}

func (r *Replica) mostUnfinished() int { return max(r.limits.MaxOpen, minWork/2) / 2 }

// anotherTime is when an instance that can't be taken over now is looked at again. It is later if more instances wait, so
// that all of them together are looked at no more often.
func (r *Replica) anotherTime() time.Duration {
	wait := r.timing.Phase / 2
	return r.now + wait + r.jitter(wait*time.Duration(1+r.table.ages.len/mostTakeovers(r.limits)))
}

// drop takes inst out of memory; it must not be busy, and so is counted in no room.
func (r *Replica) drop(inst *instance) {
	t := &r.table
	if inst.list != nil {
		inst.list.remove(inst)
	}
	r.timers.stopAll(inst)
	delete(t.byName, inst.name)
	if !inst.chosen {
		t.unlisted = t.unlisted || !inst.acceptor.Accepted.IsZero() && t.evicted[inst.name] == nil
		if inst.age.inst != nil {
			t.closed(inst)
		}
	}
	r.hints.drop(&inst.hint)
	inst.forgetQuestion()
	arrivals, askers, calls, question := inst.arrivals[:0], inst.askers[:0], inst.calls.unused(), inst.asking
	*inst = instance{}
	inst.arrivals, inst.askers, inst.calls, inst.asking = arrivals, askers, calls, question
	if len(t.free) < maxFree {
		t.free = append(t.free, inst)
	}
}

// count moves inst to the room that it is in now, if it is in one.
func (r *Replica) count(inst *instance) {
	now := inst.roomNow()
	if now == inst.room {
		return
	}
	t := &r.table
	if inst.room != roomNone {
		t.rooms[inst.room]--
	}
	if now != roomNone {
		t.rooms[now]++
	}
	inst.room = now
}

// settle is called after any work on inst. If nothing more is expected of inst, it may leave memory.
func (r *Replica) settle(inst *instance) {
	t := &r.table
	if inst.alarms[alarmWatch] == 0 && !inst.orphaned && inst.attempt.state == attemptNone && r.watches(inst) {
		r.watch(inst)
	}
	r.count(inst)
	if inst.busy() {
		if inst.list == &t.evictable || inst.list == &t.watched {
			inst.list.remove(inst)
		}
		return
	}
	inst.called = false
	rests := &t.evictable
	switch {
	case inst.isRange, inst.void:
		r.drop(inst)
		return
	case inst.chosen:
		t.remember(inst, r.limits.Cache)
		r.drop(inst)
		return
	case inst.timer.place != 0:
		rests = &t.watched
	case inst.acceptor.Acceptor == paxos.Acceptor{} && inst.hint == hint{}:
		r.drop(inst)
		return
	}
	if inst.list != rests {
		if inst.list != nil {
			inst.list.remove(inst)
		}
		rests.push(inst)
		r.makeRoom(0)
	}
}

// evict makes inst, which is in table.watched, leave memory. An attempt or a question that runs is given up.
func (r *Replica) evict(inst *instance) {
	r.endAttempt(inst)
	if inst.alarms[alarmWatch] == 0 && !inst.orphaned && r.watches(inst) {
		r.watch(inst)
	}
	if at := inst.alarms[alarmWatch]; at != 0 {
		r.keep(inst, at)
	}
	r.drop(inst)
}

// keep keeps the facts to finish inst after it has left memory. This server comes back to it at that time, if nobody
// finishes it earlier.
func (r *Replica) keep(inst *instance, at time.Duration) {
	t := &r.table
	if len(t.evicted) >= mostLater(r.limits) {
		r.counters.Unwatched++
		return
	}
	e := &evicted{name: inst.name, hint: inst.hint, promised: inst.acceptor.Promised, ballots: inst.ballots, voted: !inst.acceptor.Accepted.IsZero()}
	e.timer.evicted, e.age.evicted = e, e
	t.evicted[e.name] = e
	t.orphan(inst, false) // when its silence ends, the others are asked anew
	t.ages.swap(&inst.age, &e.age)
	inst.age.inst = nil
	r.timers.put(&e.timer, at)
	inst.hint = hint{} // it is counted for e now
}

// comeBack gives inst, which comes into memory, the facts that were kept of it.
func (r *Replica) comeBack(inst *instance) {
	t := &r.table
	if len(t.evicted) == 0 {
		return
	}
	e := t.evicted[inst.name]
	if e == nil {
		return
	}
	delete(t.evicted, e.name)
	r.timers.remove(&e.timer)
	t.ages.remove(&inst.age)
	t.ages.swap(&e.age, &inst.age)
	inst.hint, inst.ballots = e.hint, e.ballots
	r.timers.set(inst, alarmWatch, e.at)
}

// enter makes p the attempt of inst. Nothing has left yet.
func (r *Replica) enter(inst *instance, p paxos.Proposer, why purpose) {
	if !inst.calls.asks() {
		r.endAsking(inst)
	}
	a := &inst.attempt
	a.exposed = a.exposed && a.Own() == p.Own() // a value that left in an earlier ballot has left for good
	a.Proposer, a.direct = p, p.Asking()
	a.state, a.purpose, a.began, a.asked, a.resends, a.acceptWaits = attemptRunning, why, r.now, r.now, 0, false
	switch why {
	case forTakeover:
		r.takeovers++
	case forForward:
		r.stands.asked++
	case forCalls:
		r.inflight.admit(a)
	}
	r.counters.Attempts++
	r.timers.set(inst, alarmAttempt, r.now+r.inflight.resendAfter(a, &r.timing))
}

// prepareOf returns the Prepare of the attempt. Its hint, the value that the attempt wants, helps another server to finish
// the instance (S6, S12). A value above Limits.MaxHint is not worth sending twice.
func (r *Replica) prepareOf(inst *instance) paxos.Message {
	m := inst.attempt.Prepare()
	m.Instance = inst.name
	if len(m.Value) > r.limits.MaxHint {
		m.Value = ""
	}
	return m
}

// maySayYes reports whether this acceptor may answer m at all. An acceptor of the configuration before promises, and does not vote.
// The next configuration is decided by acceptors that are complete: otherwise there would be a third one to be asked.
func (r *Replica) maySayYes(m *paxos.Message) bool {
	if r.view.IsJoint() && m.Kind == paxos.KindAccept && !r.voters.Has(r.position) {
		return false
	}
	number, ok := paxos.ConfigurationNumber(m.Instance)
	return !ok || number == r.view.Number()+1 && r.complete
}
