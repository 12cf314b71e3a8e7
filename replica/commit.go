package replica

import (
	"time"

	"github.com/singledecree/paxos"
)

// gatherNow puts inst into the next batch, and asks for a Save.
func (r *Replica) gatherNow(inst *instance) {
	r.saves.want()
	r.saves.add(inst)
}

// gatherLater puts inst into the next batch, but nobody waits for it. It is in the next Save, or has a Save of its own after
// lazySave.
func (r *Replica) gatherLater(inst *instance) {
	r.saves.add(inst)
	r.saveLater()
}

func (r *Replica) saveLater() { r.saves.wantLater(r.now) }

// HoldSaves(true) keeps Take from beginning a Save. HoldSaves(false) ends that. It is for a host that is about to hand in
// more inputs, which then share a Save. A new Replica holds none.
func (r *Replica) HoldSaves(hold bool) { r.holdSaves = hold }

// WantsSave reports whether something waits for a Save and none is out.
func (r *Replica) WantsSave() bool { return r.saves.wanted() }

// SaveWait returns how long the Save that is out has taken so far; 0: no Save is out.
func (r *Replica) SaveWait(now time.Duration) time.Duration { return r.saves.out(max(now, r.now)) }

// beginSave returns the next batch. It returns nil if one is out already, or if nothing needs one.
func (r *Replica) beginSave() *paxos.Batch {
	s := &r.saves
	if r.holdSaves || !s.wanted() || !s.begin(r.now, r.serverChanged) {
		return nil
	}
	r.counters.Saves++
	for _, inst := range s.next(r.limits.MaxBatch) {
		r.number(inst)
		if inst.isRange {
			r.forgets.flush(inst.name)
		}
		s.snapshot(inst)
	}
	var server *paxos.ServerState
	if r.serverChanged {
		server, r.serverChanged = &r.server, false
	}
	batch := s.close(server, r.forgets.takeDrops())
	r.counters.Records += uint64(len(batch.Records))
	if r.trace {
		r.event(paxos.Event{Kind: paxos.EventSave, Save: s.number()})
	}
	return batch
}

// number gives the Index to inst, if it is decided. The Save that begins holds inst, so Indexes become durable in order.
func (r *Replica) number(inst *instance) {
	if inst.chosen && inst.index == 0 && !inst.void {
		r.server.Last++
		r.serverChanged = true
		inst.index = r.server.Last
		r.table.recents.add(inst.index, inst.learnedFrom)
	}
}

// ballot returns a ballot that no attempt used before, above every one seen in inst. If ok is false, no round is usable now.
// There are two cases:
//
//   - More rounds are being reserved. The instance goes on when they are.
//   - No round is left at all: see endWithoutRounds.
func (r *Replica) ballot(inst *instance) (b paxos.Ballot, ok bool) {
	round, ok := r.rounds.next(inst)
	if reserved := r.rounds.reserved(); r.server.Rounds != reserved {
		r.server.Rounds, r.serverChanged = reserved, true
	}
	if ok {
		return paxos.Ballot{Round: round, Server: r.id}, true
	}
	if round != 0 {
		r.saves.want()
	}
	return paxos.Ballot{}, false
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
	return o, ok && o.Server == r.id && (o.Boot == 0 || o.Boot == r.server.Boot)
}
