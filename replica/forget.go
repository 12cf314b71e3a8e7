package replica

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
)

// erase ends all work on inst, and forgets all that is known of it. Its calls wait until that is durable.
func (r *Replica) erase(inst *instance) {
	r.rest(inst)
	r.dropArrivals(inst)
	if !inst.chosen {
		r.table.closed(inst)
	}
	inst.chosen, inst.loading, inst.overdue = true, false, false
	inst.doomed, inst.stopped = false, nil
	inst.index, inst.learnedFrom, inst.listedBy, inst.pendingNotices = 0, source{}, 0, pendingNotices{}
	inst.acceptor = durable.Acceptor{Acceptor: inst.acceptor.Forget(), Stage: durable.Dirty}
	r.imports.Knows(inst.name)
	r.gatherNow(inst)
	r.saves.count(inst)
}

// forgetOne forgets the instance inst, which is loaded.
func (r *Replica) forgetOne(inst *instance) {
	if inst.forgotten() {
		return
	}
	r.erase(inst)
	r.forgetsSome(1)
}

// forgetWhenLoaded forgets inst, as another server has: now, or when it is loaded.
func (r *Replica) forgetWhenLoaded(inst *instance) {
	if inst.loading {
		inst.doomed = true
	} else {
		r.forgetOne(inst)
	}
}

// forgetsSome notes that this server has forgotten something, and has so many records of ranges.
func (r *Replica) forgetsSome(ranges int) {
	if r.server.Forgotten < uint64(ranges) {
		r.server.Forgotten, r.serverChanged = uint64(ranges), true
	}
}

// forgetRange forgets all instances in that range, which is valid. It returns the instance of the range's record. It returns
// nil if that record is durable and not in memory.
func (r *Replica) forgetRange(names paxos.NameRange) *instance {
	f := &r.forgets
	if number, ok := f.covering(names); ok {
		return r.table.byName[rangeName(number)]
	}
	number, gone := f.add(names)
	r.forgetsSome(f.len())
	inst := r.rangeInstance(number)
	inst.acceptor.Stage = durable.Dirty
	inst.index = 0
	r.endAsking(inst) // no server has forgotten all of the range yet
	r.saves.want()
	r.saves.addFirst(inst)
	for _, other := range gone {
		if other := r.table.byName[rangeName(other)]; other != nil {
			other.void = true
			r.endAsking(other)
			r.moveForgets(other, inst)
			r.settle(other)
		}
	}
	r.voidAll(names, inst)
	if inst.calls.len() > 0 {
		r.spread(inst)
	}
	r.settle(inst)
	return inst
}

// rangeRecord returns the instance of that name, which stands for a range of names.
func (r *Replica) rangeRecord(name string) *instance {
	t := &r.table
	inst := t.byName[name]
	if inst == nil {
		inst = t.unused()
		inst.name, inst.isRange, inst.chosen, inst.age.since = name, true, true, r.now
		t.byName[name] = inst
	}
	return inst
}

// rangeInstance returns the instance of the record with that number.
func (r *Replica) rangeInstance(number int) *instance {
	inst := r.rangeRecord(rangeName(number))
	inst.void = false
	a := inst.acceptor.Acceptor.Forget()
	a.Accepted, a.Value = a.Promised, r.forgets.text(number)
	inst.acceptor.Acceptor = a
	return inst
}

// moveForgets moves the calls that ask to forget the names of from to inst, which is the record of a range with those names.
func (r *Replica) moveForgets(from, inst *instance) {
	calls := from.calls.take(isForget)
	for _, c := range calls {
		c.exposed = true
		inst.calls.insert(c)
		r.calls[c.id] = calling{inst, c.seq}
	}
}

// voidAll forgets all that is in memory of the instances in a range. inst is the record of that range.
func (r *Replica) voidAll(names paxos.NameRange, inst *instance) {
	t := &r.table
	for _, name := range r.namesIn(names, maps.Keys(t.byName)) {
		if other := t.byName[name]; !other.void {
			r.erase(other)
			other.void = true
			r.moveForgets(other, inst)
			r.settle(other)
		}
	}
	for _, name := range r.namesIn(names, maps.Keys(t.evicted)) {
		e := t.evicted[name]
		delete(t.evicted, name)
		r.timers.remove(&e.timer)
		t.ages.remove(&e.age)
		r.hints.drop(&e.hint)
	}
	t.decided.forgetAll(names)
	if slices.ContainsFunc(r.backlog, names.Has) {
		r.backlog = slices.DeleteFunc(slices.Clone(r.backlog), names.Has)
	}
}

// namesIn returns the names of instances in a forgotten range, in their order.
func (r *Replica) namesIn(names paxos.NameRange, all iter.Seq[string]) (in []string) {
	for name := range all {
		if _, _, ok := r.forgets.find(name); ok && names.Has(name) {
			in = append(in, name)
		}
	}
	slices.Sort(in)
	return in
}

// voidInstance brings an instance that is forgotten with a range into memory, for calls that wait until that is durable.
func (r *Replica) voidInstance(name string) *instance {
	inst := r.table.unused()
	inst.name, inst.chosen, inst.void, inst.age.since = name, true, true, r.now
	inst.acceptor = durable.Acceptor{Acceptor: inst.acceptor.Forget(), Stage: durable.Dirty}
	r.table.byName[name] = inst
	r.gatherNow(inst)
	return inst
}

// calledIn returns the first name of an instance in that range for which calls wait here, if there is one.
func (r *Replica) calledIn(names paxos.NameRange) (first string, ok bool) {
	for name, inst := range r.table.byName {
		if names.Has(name) && inst.waitsElsewhere() && (!ok || name < first) {
			first, ok = name, true
		}
	}
	return first, ok
}

// waitsElsewhere reports whether a call waits for inst that does not forget it.
func (inst *instance) waitsElsewhere() bool {
	l := &inst.calls
	return !inst.forgotten() && (l.want(opPropose) || l.want(opWait) || l.want(opRead))
}

// spread asks the other acceptors to forget inst, too, until a quorum has. The rest of them, and servers that do not vote, learn
// of it by their pulls.
func (r *Replica) spread(inst *instance) {
	if !inst.calls.want(opForget) {
		r.endAsking(inst)
		return
	}
	q := inst.question()
	q.on, q.at, q.times = true, r.now, q.times+1
	if q.times > 2 {
		r.quorumAnswers(false)
	}
	r.timers.set(inst, alarmAsk, r.now+min(r.timing.Phase<<min(q.times-1, 20), max(r.timing.Phase, r.timing.MaxBackoff)))
	m := paxos.Message{Kind: paxos.KindForget, Instance: inst.name}
	if inst.isRange {
		names, _ := paxos.ParseNameRange(string(inst.acceptor.Value))
		if name, one := names.One(); one {
			m.Instance = name
		} else {
			m.Instance, m.Value = "", inst.acceptor.Value
		}
	}
	for _, to := range r.peers {
		if to.position >= 0 && !q.answered.Has(to.position) {
			r.send(to, &m)
		}
	}
}

// adopt forgets inst, because another server has. text is the range with which that server forgot it.
func (r *Replica) adopt(inst *instance, text paxos.Value) {
	if names, err := paxos.ParseNameRange(string(text)); err == nil && names.Has(inst.name) {
		if _, one := names.One(); !one && r.forgets.fits() {
			r.forgetRange(names)
			return
		}
	}
	r.forgetOne(inst)
}

// hasRoomToForget reports whether these names may be forgotten, too. One name takes no room, nor do names that are forgotten.
func (r *Replica) hasRoomToForget(names paxos.NameRange) bool {
	_, one := names.One()
	_, covered := r.forgets.covering(names)
	return one || covered || r.forgets.room(names)
}

// errCalled is the error of a Forget of an instance that calls wait for.
func errCalled(name string) error {
	return fmt.Errorf("a call waits for instance %q: decide it before it is forgotten: %w", shownName(name), paxos.ErrBusy)
}

// forgetLoaded forgets inst, which is loaded, because these calls ask for it. They are not in inst.calls. If other calls wait for
// inst, they are refused.
func (r *Replica) forgetLoaded(inst *instance, asks []call) {
	refused := inst.waitsElsewhere()
	for _, c := range asks {
		if refused {
			r.end(inst, c, paxos.Decision{}, errCalled(inst.name))
		} else {
			inst.calls.insert(c)
		}
	}
	if !refused {
		r.forgetOne(inst)
		r.forgetting(inst)
	}
}

// forgetting goes on with the calls that ask to forget inst, which is forgotten.
func (r *Replica) forgetting(inst *instance) {
	for i := range inst.calls.all {
		if c := &inst.calls.all[i]; c.op == opForget {
			c.exposed = true
		}
	}
	if !inst.asked() {
		r.spread(inst)
	}
	r.endForgotten(inst)
}
