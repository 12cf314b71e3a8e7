package replica

import (
	"time"

	"github.com/singledecree/paxos"
)

// addPeers fills in r.peers: the other acceptors by position, then the other learners.
func (r *Replica) addPeers() {
	acceptors, learners := r.view.Acceptors(), r.view.Learners()
	all := make([]peer, 0, len(acceptors)+len(learners)) // side by side in memory
	for i, id := range acceptors {
		if id != r.id {
			all = append(all, peer{id: id, position: i})
		}
	}
	for _, id := range learners {
		if id != r.id {
			all = append(all, peer{id: id, position: -1})
		}
	}
	for i := range all {
		p := &all[i]
		p.maxPacket = r.limits.MaxPacket
		r.peers, r.byID[p.id] = append(r.peers, p), p
	}
}

// newPeer returns a peer that comes later, or again, and does not vote.
func (r *Replica) newPeer(id paxos.ServerID) *peer {
	p := &peer{id: id, position: -1, maxPacket: r.limits.MaxPacket}
	p.outbox.begin(r.counters.Packets)
	return p
}

// maxWaiting bounds the messages for one peer that wait for this server's first Save.
const maxWaiting = 4096

// send puts m into the next packet to that peer.
func (r *Replica) send(to *peer, m *paxos.Message) {
	if to.gone || !r.saves.isBooted() && to.outbox.len() >= maxWaiting {
		r.counters.Dropped++
		return
	}
	to.outbox.add(m)
	r.counters.Sent[m.Kind]++
}

// toAcceptors sends m to every other acceptor but those in except. It leaves out those that have said that the value of m is
// too large. They get a Prepare all the same, without its value, as that is only a hint.
func (r *Replica) toAcceptors(m *paxos.Message, except paxos.Set) {
	for _, to := range r.peers {
		switch {
		case to.position < 0 || except.Has(to.position) || m.Kind == paxos.KindAccept && !r.voters.Has(to.position):
		case to.takesValue(len(m.Value)):
			r.send(to, m)
		case m.Kind == paxos.KindPrepare:
			bare := *m
			bare.Value = ""
			r.send(to, &bare)
		}
	}
}

// tellChosen tells an acceptor that what it has accepted in b, or above, was chosen.
func (r *Replica) tellChosen(to *peer, name string, b paxos.Ballot) {
	r.send(to, &paxos.Message{Kind: paxos.KindChosen, Instance: name, Ballot: b})
}

// answerDecided answers a question about a decided instance with the decision. It answers nothing else: two servers that
// know must not answer each other.
func (r *Replica) answerDecided(d paxos.Decision, from *peer, question paxos.Kind) {
	switch question {
	case paxos.KindPrepare, paxos.KindAccept, paxos.KindQuery, paxos.KindForward:
		r.send(from, &paxos.Message{Kind: paxos.KindDecided, Instance: d.Instance, Ballot: d.Ballot, Value: d.Value})
	}
}

// takePackets appends a packet for each peer that has messages waiting, or several packets where one would be too large. It
// leaves notices that are delayed: see DelayNotices.
func (r *Replica) takePackets(out *Output) {
	r.takePacketsTo(out, r.peers)
	if len(r.guests) > 0 {
		r.takePacketsTo(out, r.guests)
	}
}

func (r *Replica) takePacketsTo(out *Output, peers []*peer) {
	for _, p := range peers {
		if p.outbox.len() == 0 || r.delayNotices && p.outbox.mayDelay(p.maxPacket) {
			continue
		}
		rest, split := p.outbox.take(p.maxPacket)
		if split {
			for n := fitting(rest, p.maxPacket); n < len(rest); n = fitting(rest, p.maxPacket) {
				out.Send = append(out.Send, r.packet(p, rest[:n:n]))
				rest = rest[n:]
			}
		}
		out.Send = append(out.Send, r.packet(p, rest))
	}
}

// DelayNotices(true) delays a packet that only tells a peer of decisions, until other messages for that peer leave with it.
// So fewer packets leave. DelayNotices(false) ends the delay. A new Replica delays none.
//
// It is for a host that looks at [Replica.HasNotices], and ends the delay soon.
func (r *Replica) DelayNotices(delay bool) { r.delayNotices = delay }

// HasNotices reports whether the last Take has delayed anything: see [Replica.DelayNotices].
func (r *Replica) HasNotices() bool {
	for i := range r.peers {
		if r.peers[i].outbox.len() > 0 {
			return true
		}
	}
	return false
}

// Flush appends to out.Send the packets of the next Output, and those that are delayed. It changes nothing else in out. It
// is for a host that stops, or that has handed in many inputs and not called Take yet. The Messages of the packets, and those
// that the last Take gave, are valid until the next Take.
func (r *Replica) Flush(out *Output) {
	if !r.saves.isBooted() || r.stop != nil {
		return
	}
	for i := range r.peers {
		r.peers[i].outbox.leave() // the packets of the last Take or Flush stay valid
	}
	for _, p := range r.guests {
		p.outbox.leave()
	}
	delay := r.delayNotices
	r.delayNotices = false
	r.takePackets(out)
	r.delayNotices = delay
}

func (r *Replica) packet(to *peer, ms []paxos.Message) paxos.Packet {
	seq := to.outbox.number()
	r.counters.Packets++
	if r.tracing.On {
		for i := range ms {
			r.messageEvent(paxos.EventSend, to.id, to.identity.boot(), seq, &ms[i], nil)
		}
	}
	return paxos.Packet{From: r.id, To: to.id, Store: r.server.Store, Boot: r.server.Boot, Nonce: r.nonce,
		Members: r.view.Fingerprint(), Configuration: r.view.Number(), Complete: r.complete && r.view.Number() > 0, Index: r.index, Seq: seq, ToStore: to.identity.store(), Messages: ms}
}

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
		r.stands.saveBegins()
	}
	batch := s.close(server, r.forgets.takeDrops())
	r.counters.Records += uint64(len(batch.Records))
	if r.tracing.On {
		r.saveEvents(batch)
	}
	return batch
}

// saveEvents notes the Save that begins, and its records. If the instances are thinned out, a Save without any that is traced is
// not noted.
func (r *Replica) saveEvents(batch *paxos.Batch) {
	s, told := &r.saves, r.tracing.OneIn <= 1
	for i := range batch.Records {
		told = told || r.traces(batch.Records[i].Instance)
	}
	if s.tell(told); !told {
		return
	}
	r.event(paxos.EventSave).Save = s.number()
	for i := range batch.Records {
		rec := &batch.Records[i]
		if !r.traces(rec.Instance) {
			continue
		}
		e := r.event(paxos.EventRecord)
		e.Save = s.number()
		e.Message = paxos.Message{Instance: rec.Instance, Promised: rec.Acceptor.Promised, Accepted: rec.Acceptor.Accepted, Value: rec.Acceptor.Value}
		if rec.Chosen {
			e.Message.Kind = paxos.KindDecided
		}
	}
}

// number gives the Index to inst, if it is decided. The Save that begins holds inst, so Indexes become durable in order.
func (r *Replica) number(inst *instance) {
	if inst.chosen && inst.index == 0 && !inst.void {
		r.server.Last++
		r.serverChanged = true
		inst.index = r.server.Last
		r.table.recents.add(inst.index)
		if inst.forgotten() {
			r.forgets.number(inst.index, inst.isRange)
		}
		r.noteTellers(inst)
	}
}

// noteTellers notes which peers have told of inst, which has just got its Index.
func (r *Replica) noteTellers(inst *instance) {
	if s := inst.learnedFrom; s.peer != nil && s.boot == s.identity.boot() {
		s.told.Add(inst.index)
	}
	if inst.listedBy == 0 {
		return
	}
	for _, p := range r.peers {
		if p.position >= 0 && inst.listedBy.Has(p.position) {
			p.told.Add(inst.index)
		}
	}
}

// ballot returns a ballot that no attempt used before, above every one seen in inst. If ok is false, no round is usable now.
// There are two cases:
//
//   - More rounds are being reserved. The instance goes on when they are.
//   - No round is left at all: see endWithoutRounds.
func (r *Replica) ballot(inst *instance) (b paxos.Ballot, ok bool) {
	round, ok := r.rounds.next(inst)
	r.reserveRounds()
	if ok {
		return paxos.Ballot{Round: round, Server: r.id}, true
	}
	if round != 0 {
		r.saves.want()
	}
	return paxos.Ballot{}, false
}

// askInformed asks the server that said Chosen for the value, which this server has not accepted.
func (r *Replica) askInformed(inst *instance) {
	b, ok := r.ballot(inst)
	if !ok {
		return // it is asked when a round is reserved
	}
	r.send(inst.askForValue, &paxos.Message{Kind: paxos.KindQuery, Instance: inst.name, Ballot: b})
	inst.askForValue = nil
}

// reserveRounds notes how many rounds the next Save is to reserve.
func (r *Replica) reserveRounds() {
	if reserved := r.rounds.reserved(); r.server.Rounds != reserved {
		r.server.Rounds, r.serverChanged = reserved, true
	}
}

// ownsRound reports whether inst is this server's own, and round 0 of it may be used now. Without any one of these
// conditions, that round could get two values:
//
//   - This server is an acceptor. Its own vote remembers that the round was used, in this life and after it.
//   - Its acceptor has promised and accepted nothing. Its record was loaded before: proceed does nothing until it is.
//   - A minted name is of this very start. In an earlier start the round may have been used without a vote that was saved.
//   - The configuration is the first one. In a later one, acceptors may not remember yet what was accepted before.
func (r *Replica) ownsRound(inst *instance) (o paxos.Owner, ok bool) {
	if r.position < 0 || r.view.Number() > 0 || inst.acceptor.Acceptor != (paxos.Acceptor{}) {
		return paxos.Owner{}, false
	}
	o, ok = paxos.OwnerOf(inst.name)
	return o, ok && o.Server == r.id && (o.Boot == 0 || o.Boot == r.server.Boot)
}
