package paxos

// roundBlock is how many rounds a server reserves at once. A restart skips what is left of a block.
const roundBlock = 10_000

// rounds hands out ballots, none of them twice, over attempts and restarts: "different proposers choose their numbers
// from disjoint sets of numbers, so two different proposers never issue a proposal with the same number. Each proposer
// remembers (in stable storage) the highest-numbered proposal it has tried to issue, and begins phase 1 with a higher
// proposal number than any it has already used." (Paxos Made Simple, 2.5; S6)
//
// So that this costs no Save per ballot, rounds are reserved in blocks: no round above usable is used, and usable is what
// a finished Save holds.
type rounds struct {
	floor   uint64      // ServerState.Rounds as stored before this start: all up to it may have been used
	last    uint64      // the last round used in this life, in any instance
	usable  uint64      // reserved by a Save that is done
	waiting []*instance // want a ballot, and there was no usable round
}

// begin raises Boot and reserves the first block: the first Save, before which nothing leaves.
func (r *Replica) begin(s ServerState) {
	r.rounds.floor = s.Rounds
	r.saves.index = s.Last
	s.Boot++
	s.Rounds = min(s.Rounds+roundBlock, MaxRound)
	r.meet(&s)
	r.saves.state, r.saves.stateChanged, r.saves.urgent = s, true, true
	r.pullFrom(s)
}

// ballot returns a ballot that no attempt used before, above every one seen in inst. If ok is false there is no usable
// round now: more are being reserved, and the instance goes on when they are; or there is none left at all, and its
// calls have ended with ErrRounds.
func (r *Replica) ballot(inst *instance) (b Ballot, ok bool) {
	next := max(r.rounds.last, r.rounds.floor, inst.seen) + 1
	if next > MaxRound {
		return Ballot{}, false
	}
	if next > r.rounds.usable {
		r.reserve(next)
		r.saves.urgent = true
		if !inst.wantsRound {
			inst.wantsRound = true
			r.rounds.waiting = append(r.rounds.waiting, inst)
		}
		return Ballot{}, false
	}
	r.rounds.last = next
	if r.rounds.usable-next < roundBlock/2 {
		r.reserve(next) // ahead, with whatever Save comes next
	}
	return Ballot{next, r.id}, true
}

// reserve has the next Save hold a block of rounds from next on, unless it or an earlier one does already.
func (r *Replica) reserve(next uint64) {
	next += uint64(len(r.rounds.waiting))
	if r.saves.state.Rounds < min(next+roundBlock/2, MaxRound) {
		r.saves.state.Rounds = min(next+roundBlock, MaxRound)
		r.saves.stateChanged = true
	}
}

// reserved is called when the Save that holds s is done: who waited for a round goes on.
func (r *Replica) reserved(s ServerState) {
	r.rounds.usable = s.Rounds
	waiting := r.rounds.waiting
	r.rounds.waiting = nil
	for _, inst := range waiting {
		inst.wantsRound = false
		r.proceed(inst)
		if inst.overdue {
			inst.overdue = false
			r.takeOver(inst)
		}
		r.settle(inst)
	}
}
