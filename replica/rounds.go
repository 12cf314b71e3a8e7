package replica

import "github.com/singledecree/paxos"

// roundBlock is how many rounds a server reserves at once. A restart skips what is left of a block.
const roundBlock = 10_000

// rounds hands out the rounds of ballots, none of them twice, over attempts and restarts: "different proposers choose their numbers from
// disjoint sets of numbers, so two different proposers never issue a proposal with the same number. Each proposer remembers
// (in stable storage) the highest-numbered proposal it has tried to issue, and begins phase 1 with a higher proposal number
// than any it has already used." (Paxos Made Simple, 2.5; S6)
//
// Rounds are reserved in blocks, so that a ballot costs no Save of its own. No round above usable is used. usable is the
// number in a Save that is done.
type rounds struct {
	floor   uint64      // ServerState.Rounds as stored before this start: all up to it may have been used
	last    uint64      // the last round used in this life, in any instance
	usable  uint64      // reserved by a Save that is done
	wanted  uint64      // to be reserved: ServerState.Rounds as of now
	waiting []*instance // want a ballot, but no round was usable
}

// begin reserves the first block of this life. stored is ServerState.Rounds as stored before this start.
func (w *rounds) begin(stored uint64) {
	w.floor, w.wanted = stored, min(stored+roundBlock, paxos.MaxRound)
}

// used returns the last round used in this life, in any instance.
func (w *rounds) used() uint64 { return w.last }

// reserved returns what ServerState.Rounds has to be.
func (w *rounds) reserved() uint64 { return w.wanted }

// next returns the next round of inst, above every one used or seen. If ok is false, it may not be used now. There are two
// cases:
//
//   - The round is 0. No round is left at all.
//   - Else more rounds are wanted: see reserved. inst waits until they are usable.
func (w *rounds) next(inst *instance) (round uint64, ok bool) {
	next := max(w.last, w.floor, inst.seen) + 1
	if next > paxos.MaxRound {
		return 0, false
	}
	if next > w.usable {
		w.reserve(next)
		if !inst.wantsRound {
			inst.wantsRound = true
			w.waiting = append(w.waiting, inst)
		}
		return next, false
	}
	w.last = next
	if w.usable-next < roundBlock/2 {
		w.reserve(next) // ahead of need, with the next Save
	}
	return next, true
}

// reserve wants a block of rounds from next on, unless enough are wanted already.
func (w *rounds) reserve(next uint64) {
	next += uint64(len(w.waiting))
	if w.wanted < min(next+roundBlock/2, paxos.MaxRound) {
		w.wanted = min(next+roundBlock, paxos.MaxRound)
	}
}

// saved is called when a Save with that ServerState.Rounds is done. It returns the instances that waited for a round, if
// more rounds are usable now. They wait no more.
func (w *rounds) saved(rounds uint64) (waited []*instance) {
	if w.usable >= rounds {
		return nil
	}
	w.usable = rounds
	waited, w.waiting = w.waiting, nil
	return waited
}
