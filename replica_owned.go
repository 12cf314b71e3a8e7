package paxos

// ownsRound reports whether inst is this server's own, and it may use round 0 of it now. Each condition is one without
// which that round could get two values:
//
//   - It is an acceptor: its own vote is what remembers that the round was used, in this life and after it.
//   - Its acceptor has promised and accepted nothing. Before, its record was loaded: proceed does nothing until it is.
//   - A minted name is of this very start. In an earlier one the round may have been used and the vote not been saved.
func (r *Replica) ownsRound(inst *instance) (o ownership, ok bool) {
	if r.position < 0 || inst.save.Acceptor != (Acceptor{}) {
		return ownership{}, false
	}
	o, ok = ownerOf(inst.name)
	return o, ok && o.server == r.id && (o.boot == 0 || o.boot == r.saves.state.Boot)
}

// beginOwned begins round 0 of inst, see ownsRound, for own. The own acceptor votes at once, so that in this life nobody
// finds the round unused a second time: what it has accepted stays in memory at least until it is saved.
//
// Under a minted name no other life uses that round, so the Accept leaves with the Save, as it does after a phase 1. Else it
// leaves when the vote is durable: a later life that found no vote could ask for votes for another value.
//
// A hint is not needed, as the Accept has the value, nor is a round that was reserved.
func (r *Replica) beginOwned(inst *instance, own Value, o ownership) {
	r.enter(inst, Ballot{0, r.id}, own, forCalls)
	r.counters.Owned++
	r.exposed(inst)
	accept := inst.attempt.Accept()
	accept.Instance = inst.name
	if inst.attempt.holds = o.boot == 0; !inst.attempt.holds {
		r.toAcceptors(accept, 0)
	}
	r.ownStep(inst, accept)
}

// letGo sends the Accept that waited for the own vote, which is durable now.
func (r *Replica) letGo(inst *instance) {
	a := &inst.attempt
	a.holds = false
	a.asked = r.now
	r.timers.set(inst, alarmAttempt, r.now+r.patience(a))
	accept := a.Accept()
	accept.Instance = inst.name
	r.toAcceptors(accept, 0)
}

// outlived reports whether an attempt in round 0 has had its time: the own disk has not saved the vote, and those of the
// others may be enough, or the acceptors did not answer twice, and may be of a version that knows of no owners. A ballot
// with a phase 1 needs neither. For the same reason, none but the first attempt is in round 0.
func (a *attempt) outlived() bool {
	return a.running() && a.ballot.Round == 0 && (a.holds || a.resends > 0)
}
