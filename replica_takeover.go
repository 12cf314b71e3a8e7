package paxos

import "time"

// maxTakeovers bounds the instances that a server takes over at a time, so that a start with many undecided ones, or the
// end of a long pause, is no flood.
const maxTakeovers = 1024

// maxHints bounds the bytes of the hints that a server keeps. Beyond it a hint is not kept, as if it had been too large.
const maxHints = 64 << 20

// keepHint keeps the value that the proposer of ballot b wants: whoever has to finish the instance, with nothing accepted,
// proposes it (S12). It is no vote, and is lost with the memory.
func (r *Replica) keepHint(inst *instance, b Ballot, v Value) {
	if v == "" || !inst.hintBallot.Less(b) || r.hints-len(inst.hint)+len(v) > maxHints {
		return
	}
	r.hints += len(v) - len(inst.hint)
	inst.hint, inst.hintBallot = v, b
	inst.alone = false // now there is something to finish it with
}

func (r *Replica) dropHint(inst *instance) {
	r.hints -= len(inst.hint)
	inst.hint, inst.hintBallot = "", Ballot{}
}

// watches reports whether this server has to see to it that inst is finished: it votes, it has promised or accepted there,
// and it does not know what was chosen.
func (r *Replica) watches(inst *instance) bool {
	return r.position >= 0 && !inst.loading && !inst.chosen && inst.stopped == nil && !inst.save.Promised.IsZero()
}

// heard is called when a new ballot of inst was promised: somebody works on it.
func (r *Replica) heard(inst *instance, from *peer) {
	inst.ballots = min(inst.ballots+1, 20) // more would overflow, and MaxSilence is reached
	inst.alone, inst.overdue = false, false
	if a := &inst.attempt; from != nil && a.state != attemptNone && a.purpose == forTakeover && inst.calls.proposes() == nil {
		r.endAttempt(inst) // it would only pre-empt who works on it now
	}
	r.watch(inst)
}

// watch begins a silence: if no new ballot comes before it ends, this server takes over. It doubles with each ballot of
// the instance, to a cap; otherwise takeovers would pre-empt each other for ever where a ballot takes longer than the first.
// The servers come one after the other, the one after the last ballot's server first, so that the first that lives finishes
// alone: that is the election (S12).
func (r *Replica) watch(inst *instance) {
	silence := min(r.timing.Silence<<max(inst.ballots-1, 0), max(r.timing.Silence, r.timing.MaxSilence))
	turn := time.Duration(r.turn(inst.save.Promised.Server)) * r.timing.Phase
	r.timers.set(inst, alarmWatch, r.now+silence+turn+r.jitter(r.timing.Phase/2))
}

// turn is how many acceptors come before this one, which votes, in the ring of acceptors that begins after server last.
func (r *Replica) turn(last ServerID) int {
	all := r.members.Acceptors
	first := 0
	for first < len(all) && all[first] <= last {
		first++
	}
	return (r.position - first + len(all)) % len(all)
}

// jitter is a random time up to most.
func (r *Replica) jitter(most time.Duration) time.Duration {
	return time.Duration(r.rand.Int64N(int64(most) + 1))
}

// takeOver is called when a silence has ended. It proposes what this server accepted, else what the last proposer wanted;
// with neither it asks the others, once, and leaves the instance alone until somebody begins a ballot (S13). A hint that no quorum
// takes is none: with this server's vote it would have to be proposed from then on.
func (r *Replica) takeOver(inst *instance) {
	own := inst.hint
	if r.tooLarge(len(own)) != nil {
		own = ""
	}
	switch {
	case inst.loading:
		inst.overdue = true
		return
	case !r.watches(inst) || inst.attempt.state != attemptNone || inst.wantsRound:
		return // settle begins a new silence when the attempt ends without a decision
	case inst.save.stage != saved:
		r.watch(inst) // the own disk is slower than the silence: another ballot would wait for it, too
		return
	case r.takeovers >= r.limits.mostTakeovers():
		r.timers.set(inst, alarmWatch, r.anotherTime())
		return
	case !inst.save.Accepted.IsZero():
		own = inst.save.Value
	case own == "":
		inst.alone = true
		if !inst.asking.on {
			r.ask(inst)
		}
		inst.overdue = inst.wantsRound
		return
	}
	if r.begun(inst, own, forTakeover) {
		r.counters.Takeovers++
	}
	inst.overdue = inst.wantsRound
}

// anotherTime is when an instance that can't be taken over now is looked at again: later where more wait, so that all together look no
// more often.
func (r *Replica) anotherTime() time.Duration {
	wait := r.timing.Phase / 2
	return r.now + wait + r.jitter(wait*time.Duration(1+(r.table.open+len(r.table.evicted))/r.limits.mostTakeovers()))
}
