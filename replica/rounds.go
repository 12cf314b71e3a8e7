package replica

import "github.com/singledecree/paxos"

// ballot returns a ballot that no attempt used before, above every one seen in inst. If ok is false, no round is usable now.
// There are two cases:
//
//   - More rounds are being reserved. The instance goes on when they are.
//   - No round is left at all: see endWithoutRounds.
func (r *Replica) ballot(inst *instance) (b paxos.Ballot, ok bool) {
	next := max(r.rounds.last, r.rounds.floor, inst.seen) + 1
	if next > paxos.MaxRound {
		return paxos.Ballot{}, false
	}
	if next > r.rounds.usable {
		r.reserve(next)
		r.saves.urgent = true
		if !inst.wantsRound {
			inst.wantsRound = true
			r.rounds.waiting = append(r.rounds.waiting, inst)
		}
		return paxos.Ballot{}, false
	}
	r.rounds.last = next
	if r.rounds.usable-next < roundBlock/2 {
		r.reserve(next) // ahead of need, with the next Save
	}
	return paxos.Ballot{Round: next, Server: r.id}, true
}

// reserve puts a block of rounds from next on into the next Save, unless that Save or an earlier one holds enough already.
func (r *Replica) reserve(next uint64) {
	next += uint64(len(r.rounds.waiting))
	if r.saves.state.Rounds < min(next+roundBlock/2, paxos.MaxRound) {
		r.saves.state.Rounds = min(next+roundBlock, paxos.MaxRound)
		r.saves.stateChanged = true
	}
}

// ownsRound reports whether inst is this server's own, and round 0 of it may be used now. Without any one of these
// conditions, that round could get two values:
//
//   - This server is an acceptor. Its own vote remembers that the round was used, in this life and after it.
//   - Its acceptor has promised and accepted nothing. Its record was loaded before: proceed does nothing until it is.
//   - A minted name is of this very start. In an earlier start the round may have been used without a vote that was saved.
func (r *Replica) ownsRound(inst *instance) (o paxos.Owner, ok bool) {
	if r.position < 0 || inst.acceptor.Acceptor != (paxos.Acceptor{}) {
		return paxos.Owner{}, false
	}
	o, ok = paxos.OwnerOf(inst.name)
	return o, ok && o.Server == r.id && (o.Boot == 0 || o.Boot == r.saves.state.Boot)
}
