package replica

import (
	"time"

	"github.com/singledecree/paxos"
)

// lazySave is how long the record of a decision may wait for a Save that something else needs.
const lazySave = 2 * time.Millisecond

// maxUnsaved bounds the values from other servers that wait for a Save. The others go on without a slow disk, so without a
// bound it would fill the memory.
const maxUnsaved = 64 << 20

// maxHeld bounds the replies that wait for Saves. Replies beyond it are lost, as they may be on any network.
const maxHeld = 1 << 18

// gatherNow puts inst into the next batch, and asks for a Save.
func (r *Replica) gatherNow(inst *instance) {
	r.saves.urgent = true
	r.saves.add(inst)
}

// gatherLater puts inst into the next batch, but nobody waits for it. It is in the next Save, or has a Save of its own after
// lazySave.
func (r *Replica) gatherLater(inst *instance) {
	r.saves.add(inst)
	r.saveLater()
}

func (r *Replica) saveLater() {
	if s := &r.saves; !s.lazy {
		s.lazy, s.lazyAt = true, r.now+lazySave
	}
}

// add puts inst into the next batch, once.
func (s *saves) add(inst *instance) {
	if !inst.gathered {
		s.added++
		inst.gathered = true
		s.gather = append(s.gather, inst)
	}
}

// count counts the value of inst, which is in the next batch and new.
func (s *saves) count(inst *instance) {
	s.unsaved += len(inst.acceptor.Value) - inst.unsaved
	inst.unsaved = len(inst.acceptor.Value)
}

// full reports whether the disk is too far behind to take m. inst is the instance of m; nil: it is not in memory.
//
// A message that adds no value is taken, and so is one that a call waits for.
func (s *saves) full(inst *instance, m *paxos.Message) bool {
	if m.Kind != paxos.KindAccept && m.Kind != paxos.KindDecided || s.unsaved+s.arrived+len(m.Value) <= maxUnsaved {
		return false
	}
	return inst == nil || inst.loading || inst.acceptor.Value != m.Value && !inst.chosen && inst.calls.len() == 0
}

// hurryAt returns when the lazy records need a Save of their own.
func (s *saves) hurryAt() (time.Duration, bool) { return s.lazyAt, s.lazy && !s.urgent }

func (s *saves) hurry(now time.Duration) {
	if s.lazy && s.lazyAt <= now {
		s.urgent = true
	}
}

// HoldSaves(true) keeps Take from beginning a Save. HoldSaves(false) ends that. It is for a host that is about to hand in
// more inputs, which then share a Save. A new Replica holds none.
func (r *Replica) HoldSaves(hold bool) { r.holdSaves = hold }

// WantsSave reports whether something waits for a Save and none is out.
func (r *Replica) WantsSave() bool {
	s := &r.saves
	return s.urgent && s.begun == s.ended
}

// SaveWait returns how long the Save that is out has taken so far; 0: no Save is out.
func (r *Replica) SaveWait(now time.Duration) time.Duration {
	if s := &r.saves; s.begun != s.ended {
		return max(now, r.now) - s.begunAt
	}
	return 0
}

// beginSave returns the next batch. It returns nil if one is out already, or if nothing needs one.
func (r *Replica) beginSave() *paxos.Batch {
	s := &r.saves
	if r.holdSaves || !r.WantsSave() {
		return nil
	}
	if len(s.gather) == 0 && !s.stateChanged {
		s.urgent = false // a Save that was out already held what was wanted
		return nil
	}
	s.begun++
	s.begunAt = r.now
	r.counters.Saves++
	n, size := 0, 0
	for ; n < len(s.gather) && s.booted; n++ {
		inst := s.gather[n]
		size += len(inst.name) + len(inst.acceptor.Value) + 64
		if size > r.limits.MaxBatch && n > 0 {
			break
		}
		r.snapshot(inst)
	}
	s.running = append(s.running[:0], s.gather[:n]...)
	s.taken += uint64(n)
	rest := copy(s.gather, s.gather[n:])
	clear(s.gather[rest:])
	s.gather = s.gather[:rest]
	s.splitReplies()
	s.urgent, s.lazy = rest > 0, false
	s.batch.Server = nil
	if s.stateChanged {
		s.stateSaved = s.state
		s.batch.Server = &s.stateSaved
		s.stateChanged = false
	}
	r.counters.Records += uint64(len(s.batch.Records))
	r.event(paxos.Event{Kind: paxos.EventSave, Save: s.begun})
	return &s.batch
}

// snapshot appends the present record of inst. It gives the Index, so Indexes become durable in order.
func (r *Replica) snapshot(inst *instance) {
	s := &r.saves
	if inst.chosen && inst.index == 0 {
		s.state.Last++
		s.stateChanged = true
		inst.index = s.state.Last
		r.table.recents.add(inst.index, inst.learnedFrom)
	}
	inst.acceptor.stage = inst.acceptor.stage.begin()
	inst.gathered, inst.saving = false, true
	s.batch.Records = append(s.batch.Records, paxos.Record{Instance: inst.name, Acceptor: inst.acceptor.Acceptor, Chosen: inst.chosen, Index: inst.index})
}

// splitReplies moves the replies that the new snapshot covers to those that wait for the running Save. It covers all of
// them, unless the batch was too large to hold every change.
func (s *saves) splitReplies() {
	if len(s.gather) == 0 {
		s.waitRun, s.waitNew = s.waitNew, s.waitRun[:0]
		return
	}
	keep := s.waitNew[:0]
	for _, h := range s.waitNew {
		if h.from.gathered {
			keep = append(keep, h)
		} else {
			s.waitRun = append(s.waitRun, h)
		}
	}
	clear(s.waitNew[len(keep):])
	s.waitNew = keep
}

// ballot returns a ballot that no attempt used before, above every one seen in inst. If ok is false, no round is usable now.
// There are two cases:
//
//   - More rounds are being reserved. The instance goes on when they are.
//   - No round is left at all: see endWithoutRounds.
func (r *Replica) ballot(inst *instance) (b paxos.Ballot, ok bool) {
	round, ok := r.rounds.next(inst)
	if reserved := r.rounds.reserved(); r.saves.state.Rounds != reserved {
		r.saves.state.Rounds, r.saves.stateChanged = reserved, true
	}
	if ok {
		return paxos.Ballot{Round: round, Server: r.id}, true
	}
	if round != 0 {
		r.saves.urgent = true
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
	return o, ok && o.Server == r.id && (o.Boot == 0 || o.Boot == r.saves.state.Boot)
}
