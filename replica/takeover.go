package replica

import "time"

// takeOver is called when a silence has ended. It proposes the value that this server accepted, else the value that the last
// proposer wanted. With neither it asks the others, once. Then it does nothing in the instance until somebody begins a
// ballot (S13).
//
// A hint that no quorum takes is not used. With this server's vote, later ballots would have to propose that value.
func (r *Replica) takeOver(inst *instance) {
	own := inst.hint.wanted()
	if r.tooLarge(len(own)) != nil {
		own = ""
	}
	switch {
	case inst.loading:
		inst.overdue = true
		return
	case !r.watches(inst) || inst.attempt.state != attemptNone || inst.wantsRound:
		return // settle begins a new silence when the attempt ends without a decision
	case inst.acceptor.stage != saved:
		r.watch(inst) // the own disk is slower than the silence: another ballot would wait for it, too
		return
	case r.takeovers >= mostTakeovers(r.limits):
		r.timers.set(inst, alarmWatch, r.anotherTime())
		return
	case !inst.acceptor.Accepted.IsZero():
		own = inst.acceptor.Value
	case own == "":
		inst.orphaned = true
		if !inst.asked() {
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

// anotherTime is when an instance that can't be taken over now is looked at again. It is later if more instances wait, so
// that all of them together are looked at no more often.
func (r *Replica) anotherTime() time.Duration {
	wait := r.timing.Phase / 2
	return r.now + wait + r.jitter(wait*time.Duration(1+(r.table.open+len(r.table.evicted))/mostTakeovers(r.limits)))
}

// silent is called when the silence of an instance that is not in memory has ended. The instance comes back, to be taken
// over, if that may begin.
func (r *Replica) silent(e *evicted) {
	if r.takeovers >= mostTakeovers(r.limits) || !r.roomForWork() {
		r.timers.put(&e.timer, r.anotherTime())
		return
	}
	r.open(e.name) // the silence of that instance has ended
}

// reserved is called when a Save with that ServerState.Rounds is done. The instances that waited for a round go on.
func (r *Replica) reserved(rounds uint64) {
	for _, inst := range r.rounds.saved(rounds) {
		inst.wantsRound = false
		r.proceed(inst)
		if inst.overdue {
			inst.overdue = false
			r.takeOver(inst)
		}
		r.settle(inst)
	}
}
