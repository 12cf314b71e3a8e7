package replica

import (
	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
	"github.com/singledecree/paxos/internal/durable"
)

// Import. An acceptor of a new configuration takes over what the acceptors of the one before remember, in the background.
//
//	new acceptor                               a source
//	  ── Scan, after a name ──────────────────────────────►  lists its undecided instances
//	  ◄───────────────────────────── Open, a page of names ──
//	  ── Query, for each name ────────────────────────────►
//	  ◄────────────────────────────────── State, for each ──  taken over: see Acceptor.Import
//	  … the next page; then all decisions, by Pulls, up to the source's last Index of then
//
// A source that lives under the new configuration casts no vote in the one before. It answers a Scan when all such votes are durable.

// importBallot is the ballot of the Queries of imports. No attempt has it. Those to a whole source have another one than those to a source
// of the configuration before: an answer of before it was complete may come late, and says too little.
func (r *Replica) importBallot(whole bool) paxos.Ballot {
	round := lastRound(r.view.Number())
	if whole {
		round--
	}
	return paxos.Ballot{Round: round, Server: r.id}
}

// importMore goes on with the import, as far as it can.
func (r *Replica) importMore() {
	r.imports.Goes(false)
	again := r.now - r.timing.Phase
	var done paxos.Set
	changed := false
	for _, id := range r.imports.Sources() {
		p := r.byID[id] // a source is a peer as long as it is a source
		if seq, after, ok := r.imports.WantsPage(id, r.now, again); ok {
			r.send(p, &paxos.Message{Kind: paxos.KindScan, Value: change.ScanText(r.server.Boot, seq, after)})
		}
		for _, name := range r.imports.Ask(id, r.pulls.window(), r.now, again) {
			if r.isKnown(name) {
				r.imports.Knows(name)
				continue
			}
			r.send(p, &paxos.Message{Kind: paxos.KindQuery, Instance: name, Ballot: r.importBallot(r.imports.OfWhole(id))})
		}
		r.imports.Turn(id, r.saves.mark())
		if seq, after, ok := r.imports.WantsPage(id, r.now, again); ok {
			r.send(p, &paxos.Message{Kind: paxos.KindScan, Value: change.ScanText(r.server.Boot, seq, after)})
		}
		changed = r.imports.Durable(id, r.saves.isKept, p.pull.storedIndex(p.identity.store())) || changed
		if r.imports.Done(id) {
			done = done.With(p.position)
		} else if goal, ok := r.imports.Goal(id); ok && !p.pull.isActive() && p.pull.isBehind(p.identity.store(), goal) {
			r.askSoon(p) // for the decisions, and not when a Pull is due
		}
	}
	if r.view.Sources().Has(r.position) {
		done = done.With(r.position) // its own memory is the source
	}
	switch {
	case r.view.IsSource(done) || r.imports.IsWhole():
		r.server.Import, r.serverChanged = paxos.ImportComplete, true
		r.saves.want()
		r.imports.End()
	case changed:
		r.server.Import, r.serverChanged = r.imports.Text(), true
		r.saveLater()
	}
	r.planImport()
}

// importStatus is [paxos.Status].Import.
func (r *Replica) importStatus() (s paxos.ImportStatus) {
	s.Done, s.Sources = r.imports.Progress()
	for _, id := range r.imports.Sources() {
		if goal, ok := r.imports.Goal(id); ok {
			p := r.byID[id]
			s.Records, s.Goal = s.Records+min(goal, p.pull.storedIndex(p.identity.store())), s.Goal+goal
		}
	}
	return s
}

// isComplete reports whether p is a complete acceptor: it has said so. A change is settled before all acceptors are.
func (r *Replica) isComplete(p *peer) bool {
	return r.voters.Has(p.position) && (r.view.Number() == 0 || p.complete)
}

// planImport makes the next look at the import due, if it has not ended.
func (r *Replica) planImport() {
	r.importAt = 0
	if r.imports.IsActive() {
		r.importAt = r.now + r.timing.Phase
	}
}

// importSaved is called when a Save with that ServerState is done.
func (r *Replica) importSaved(s *paxos.ServerState) {
	if !r.complete && s.Import == paxos.ImportComplete && s.Configuration == r.server.Configuration {
		r.complete = true
		r.view.Completed(r.position)
		r.quorum = r.view.Quorum()
		for _, p := range r.peers {
			r.takeTurn(p) // the packet says that this acceptor is complete
		}
	}
}

// saidComplete is called when p, which lives under this configuration, says that it is complete.
func (r *Replica) saidComplete(p *peer) {
	p.complete = true
	if r.wantsImport() && r.voters.Has(p.position) {
		r.imports.Whole(p.id)
		r.planImport()
	}
	if r.view.Completed(p.position) {
		r.quorum = r.view.Quorum() // of attempts that begin from now on
	}
}

// scannedBy takes a Scan. It answers with a page of names, once all that was accepted in earlier configurations is durable.
func (r *Replica) scannedBy(from *peer, m *paxos.Message) {
	boot, seq, after, ok := change.ParseScan(m.Value)
	switch {
	case !ok || boot != from.identity.boot() || r.position < 0:
		r.counters.Dropped++
	case !r.saves.isSealed(), from.scan.ask != 0 && from.scan.boot == boot && from.scan.seq == seq:
		// It asks again; or it is being listed.
	default:
		from.scan = scan{ask: r.pulls.askOpen(), seq: seq, boot: boot} // the list of another question is not wanted any more
		r.lists = append(r.lists, ListAsk{ID: from.scan.ask, Max: change.MaxPage, Open: true, Name: after})
	}
}

// openOf takes a page of undecided instances of a source.
func (r *Replica) openOf(from *peer, m *paxos.Message) {
	boot, seq, top, names, last, ok := change.ParsePage(m.Value)
	if !ok || boot != r.server.Boot || !r.imports.Page(from.id, seq, names, top, last) {
		r.counters.Dropped++
		return
	}
	for _, name := range names {
		if r.isKnown(name) {
			r.imports.Knows(name)
		}
	}
}

// isKnown reports whether memory is enough to tell that the instance is decided, or forgotten.
func (r *Replica) isKnown(name string) bool {
	if inst := r.table.byName[name]; r.table.decided.find(name) != nil || inst != nil && inst.chosen {
		return true
	}
	_, _, ok := r.forgets.find(name)
	return ok
}

// isImport reports whether m answers a Query of an import. The Query may be of before its source was complete: see answersImport.
func (r *Replica) isImport(m *paxos.Message) bool {
	return r.imports.IsActive() && (m.Kind == paxos.KindState || m.Kind == paxos.KindNack) &&
		(m.Ballot == r.importBallot(false) || m.Ballot == r.importBallot(true))
}

// answersImport reports whether m answers a Query that from was asked as the source that it is now.
func (r *Replica) answersImport(from *peer, m *paxos.Message) bool {
	return r.isImport(m) && m.Ballot == r.importBallot(r.imports.OfWhole(from.id)) && r.imports.Waits(from.id, m.Instance)
}

// importFrom takes the record of a source. inst is its instance; nil: it is not in memory.
func (r *Replica) importFrom(from *peer, m *paxos.Message, inst *instance) {
	switch {
	case !r.answersImport(from, m):
		return
	case r.isKnown(m.Instance):
		r.imports.Knows(m.Instance)
		return
	case inst == nil:
		inst = r.openForWork(m.Instance)
	}
	switch {
	case inst == nil:
		r.counters.Dropped++ // it is asked for again
		return
	case !inst.loading:
		r.merge(inst, from, m)
	default:
		r.arrives(inst, from, m)
	}
	r.settle(inst)
}

// merge takes the record of a source over into inst, which is loaded.
func (r *Replica) merge(inst *instance, from *peer, m *paxos.Message) {
	if !r.answersImport(from, m) {
		return // the configuration has changed since, or it came twice
	}
	switch {
	case inst.chosen || inst.stopped != nil || inst.forgotten():
	case m.Kind == paxos.KindNack && !m.Promised.IsForgotten():
		return
	case m.Kind == paxos.KindNack:
		r.adopt(inst, m.Value)
	default:
		next := inst.acceptor.Import(paxos.Acceptor{Promised: m.Promised, Accepted: m.Accepted, Value: m.Value}, r.view.Number())
		if next != inst.acceptor.Acceptor {
			fresh := next.Value != inst.acceptor.Value
			inst.acceptor = durable.Acceptor{Acceptor: next, Stage: durable.Dirty}
			r.table.orphan(inst, false) // now there is a value to finish it with
			inst.saw(next.Promised)
			r.gatherLater(inst)
			if fresh {
				r.saves.count(inst)
			}
		}
	}
	r.imports.Took(from.id, inst.name)
}
