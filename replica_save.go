package paxos

import "time"

// lazySave is how long the record of a decision may wait for a Save that something else needs.
const lazySave = 2 * time.Millisecond

// saves is the group commit of a server: one Save at a time, and while it runs the next batch gathers, so that one Save
// serves every instance that waits.
type saves struct {
	booted       bool        // the first Save is done
	state        ServerState // as of the latest change
	stateChanged bool        // since the last Save began
	stateSaved   ServerState // what the running Save holds, if it holds any
	begun, ended uint64      // one Save at most is out: begun - ended is 0 or 1
	begunAt      time.Duration

	urgent             bool          // something waits for the next Save
	lazy               bool          // nothing waits, but a Save is due at lazyAt
	lazyAt             time.Duration // see lazySave
	added, taken, kept uint64        // instances that came into gather so far, left it, and are durable: first in, first out
	gather             []*instance   // changed since their last snapshot, each once
	unsaved            int           // bytes of the values in gather and running that are new to the storage
	arrived            int           // bytes of the values in the arrivals of instances that are being loaded
	running            []*instance   // in the snapshot of the Save that runs
	waitRun            []reply       // replies that leave when the Save that runs is done
	waitNew            []reply       // replies that leave when the next Save is
	batch              Batch         // of the Save that runs
	index              uint64        // the highest Index whose record is durable
}

// maxUnsaved bounds the values that others send and that wait for a Save: a disk that is behind would else fill the memory, as the
// others go on without it.
const maxUnsaved = 64 << 20

// A reply waits for a Save. Its content is as of its Step; from is the instance it is about.
type reply struct {
	from *instance
	to   *peer // nil: this server's own proposer
	m    Message
}

// maxHeld bounds the replies that wait for Saves. Beyond it replies are lost, as they may be on any network.
const maxHeld = 1 << 18

// step gives m to the instance's acceptor. The answer goes to the peer, or to the own proposer if to is nil, when all that
// it rests on is durable.
func (r *Replica) step(inst *instance, to *peer, m Message) {
	next, answer, wait, err := inst.save.step(m)
	if err != nil {
		r.fault(inst, to, err)
		return
	}
	risen := inst.save.Promised.Less(next.Promised)
	if next.Accepted != inst.save.Accepted {
		inst.alone = false // now there is something to finish it with
	}
	fresh := next.Value != inst.save.Value
	inst.save = next
	if next.stage == gathering {
		r.gatherNow(inst)
		if fresh {
			r.saves.count(inst)
		}
	}
	inst.saw(next.Promised)
	if risen {
		r.heard(inst, to)
	}
	if answer.Kind != 0 {
		r.hold(inst, to, answer, wait)
	}
}

// hold lets m go when the stage it waits for is past.
func (r *Replica) hold(inst *instance, to *peer, m Message, wait stage) {
	s := &r.saves
	switch {
	case wait == saved:
		r.release(reply{inst, to, m})
	case len(s.waitRun)+len(s.waitNew) >= maxHeld:
		r.counters.Dropped++
	case wait == running:
		s.waitRun = append(s.waitRun, reply{inst, to, m})
	default:
		s.waitNew = append(s.waitNew, reply{inst, to, m})
	}
}

// release lets a reply go: to its peer, or, without any message, to this server's own proposer, which counts its own
// acceptor like any other, and only now (S10: no message is sent to oneself).
func (r *Replica) release(h reply) {
	if h.to != nil {
		r.send(h.to, h.m)
		return
	}
	r.answer(h.from, r.position, nil, h.m)
}

// gatherNow puts inst into the next batch, and asks for a Save.
func (r *Replica) gatherNow(inst *instance) {
	r.saves.urgent = true
	r.saves.add(inst)
}

// gatherLater puts inst into the next batch, but nobody waits for it: it rides with the next Save, or has one of its own
// after lazySave.
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
	s.unsaved += len(inst.save.Value) - inst.unsaved
	inst.unsaved = len(inst.save.Value)
}

// full reports whether the disk is so far behind that m, about inst or about none in memory, is not taken. What adds nothing is, and
// what a call waits for.
func (s *saves) full(inst *instance, m *Message) bool {
	if m.Kind != KindAccept && m.Kind != KindDecided || s.unsaved+s.arrived+len(m.Value) <= maxUnsaved {
		return false
	}
	return inst == nil || inst.loading || inst.save.Value != m.Value && !inst.chosen && inst.calls.len() == 0
}

// hurryAt returns when the records that ride along want a Save of their own.
func (s *saves) hurryAt() (time.Duration, bool) { return s.lazyAt, s.lazy && !s.urgent }

func (s *saves) hurry(now time.Duration) {
	if s.lazy && s.lazyAt <= now {
		s.urgent = true
	}
}

// wantsSave reports whether something waits for a Save, and none is out.
func (r *Replica) wantsSave() bool {
	s := &r.saves
	return s.urgent && s.begun == s.ended
}

// saveWait returns for how long the Save that is out has been; 0: none is.
func (r *Replica) saveWait() time.Duration {
	if s := &r.saves; s.begun != s.ended {
		return r.now - s.begunAt
	}
	return 0
}

// beginSave returns the next batch, or nil if one is out already or nobody needs one.
func (r *Replica) beginSave() *Batch {
	s := &r.saves
	if r.gathers || !r.wantsSave() {
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
		size += len(inst.name) + len(inst.save.Value) + 64
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
	r.event(Event{Kind: EventSave, Save: s.begun})
	return &s.batch
}

// snapshot appends the record of inst as it is now. An Index is given here, so that Indexes become durable in order.
func (r *Replica) snapshot(inst *instance) {
	s := &r.saves
	if inst.chosen && inst.index == 0 {
		s.state.Last++
		s.stateChanged = true
		inst.index = s.state.Last
		r.table.recents.add(inst.index, inst.teller)
	}
	inst.save = inst.save.begin()
	inst.gathered, inst.saving = false, true
	s.batch.Records = append(s.batch.Records, Record{inst.name, inst.save.Acceptor, inst.chosen, inst.index})
}

// splitReplies moves the replies that the snapshot just taken covers to those that wait for the running Save. They are all
// of them, unless the batch was too large to hold every change.
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

// Saved says that the Save that is out is durable. If it failed instead, the host drops the Replica: the storage is dead.
// Saved panics if no Save is out.
func (r *Replica) Saved(now time.Duration) {
	r.input(now)
	s := &r.saves
	if s.begun == s.ended {
		panic("paxos: Saved without a Save")
	}
	s.ended++
	s.kept = s.taken
	clear(s.batch.Records) // what the next one does not write over would keep its values alive
	s.batch.Records = s.batch.Records[:0]
	if r.stop != nil {
		return
	}
	r.event(Event{Kind: EventSaved, Save: s.ended})
	for _, inst := range s.running {
		inst.save = inst.save.end()
	}
	// The lists are taken off first: what is released can change instances and hold new replies.
	replies, instances := s.waitRun, s.running
	s.waitRun, s.running = nil, nil
	if s.batch.Server != nil {
		if !s.booted {
			s.booted = true
			r.beginWatch()
		}
		s.index = s.stateSaved.Last
		if r.rounds.usable < s.stateSaved.Rounds {
			r.reserved(s.stateSaved)
		}
	}
	r.storePulled()
	r.decidedMany()
	for _, h := range replies {
		r.release(h)
	}
	for _, inst := range instances {
		if inst.saving = false; !inst.gathered {
			s.unsaved -= inst.unsaved
			inst.unsaved = 0
		}
		r.settle(inst)
	}
	clear(replies)
	clear(instances)
	s.waitRun, s.running = replies[:0], instances[:0]
	r.storesSaved()
}
