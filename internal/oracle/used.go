package oracle

import (
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// used checks that a ballot is its server's own and was reserved, and that it has one use in one life.
func (o *Oracle) used(s *Server, h *history, m *paxos.Message) error {
	b, question := h.of(m.Ballot), m.Kind == paxos.KindQuery || m.Kind == paxos.KindForward
	switch {
	case m.Ballot.Server != s.ID:
		return h.broken("I6", "server %d uses ballot %s of another server", s.ID, m.Ballot)
	case question && ofImport(m.Ballot):
		return nil
	case m.Ballot.Round > s.Disk.State.Rounds:
		return h.broken("I5", "server %d uses ballot %s; on its disk it has rounds up to %d", s.ID, m.Ballot, s.Disk.State.Rounds)
	case m.Ballot.Round == 0 && m.Kind != paxos.KindAccept:
		return h.broken("I7", "server %d sends %s, and round 0 has no phase 1", s.ID, words.Message(*m))
	case o.standing[m.Ballot] != nil:
		return h.broken("I6", "server %d sends %s, and that is a standing ballot", s.ID, words.Message(*m))
	case b.life == 0:
		return o.usedFirst(s, h, b, question)
	case b.life != s.Life:
		return h.broken("I6", "server %d uses ballot %s again after a restart", s.ID, m.Ballot)
	case b.question != question:
		return h.broken("I6", "server %d uses ballot %s for a question and for an attempt", s.ID, m.Ballot)
	}
	return nil
}

// usedFirst checks that a ballot that is new in its instance is new in all others: two uses of it would share its answers.
func (o *Oracle) usedFirst(s *Server, h *history, b *ballot, question bool) error {
	b.life, b.question, b.late = s.Life, question, o.IsForgot(h.name)
	if b.ballot.Round == 0 {
		return nil // it is of the instance, not of the server's rounds
	}
	if other, taken := o.uses[b.ballot]; taken {
		return h.broken("I6", "server %d uses ballot %s, which it used in %q", s.ID, b.ballot, other)
	}
	o.uses[b.ballot] = h.name
	return nil
}

// Arrived tells of a packet that a server is given. A promise on a new storage in place of a lost one promises nothing.
func (o *Oracle) Arrived(s *Server, p *paxos.Packet) {
	for i := range p.Messages {
		m := &p.Messages[i]
		if m.Kind == paxos.KindStood {
			o.heardStood(s, p.From, p.Store, m)
		}
		if m.Kind != paxos.KindPromise || m.Ballot.Server != s.ID {
			continue
		}
		from := o.server(p.From)
		if from == nil || !o.mayPromise(m.Ballot, from) || p.Store != from.first {
			continue
		}
		if b := o.history(m.Instance).of(m.Ballot); b.life == s.Life && !b.asked {
			b.promises = append(b.promises, promise{from, vote{m.Accepted, m.Value}})
		}
	}
}

// askedFor checks I6 and I7 for an Accept.
func (o *Oracle) askedFor(s *Server, h *history, m *paxos.Message) error {
	if st := o.standing[m.Ballot]; st != nil {
		return o.standsIn(s, h, st, m)
	}
	if err := o.used(s, h, m); err != nil {
		return err
	}
	b := h.of(m.Ballot)
	if m.Ballot.Round == 0 {
		return o.askedByOwner(s, h, m)
	}
	if !b.asked && !o.Unseen {
		if err := o.justified(s, h, b, m); err != nil {
			return err
		}
	}
	b.asked = true
	return o.valued(h, m.Ballot, m.Value)
}

// justified checks I7 for the first Accept of a ballot. The server was given a phase-1 quorum of promises for exactly this ballot. If they
// report votes, the highest one is for the value.
func (o *Oracle) justified(s *Server, h *history, b *ballot, m *paxos.Message) error {
	promises, known := slices.DeleteFunc(slices.Clone(b.promises), func(p promise) bool {
		return !s.Met(p.acceptor) // such a promise waits there (I12)
	}), true
	if rec := s.Disk.Records[m.Instance]; o.mayPromise(m.Ballot, s) && !rec.Acceptor.Promised.Less(m.Ballot) {
		// The server's own promise is no message: the disk must imply it. It reports the last vote below the ballot.
		own, imported := promise{acceptor: s}, false
		for _, v := range slices.Backward(h.own[s.place]) {
			if v.ballot.Less(m.Ballot) {
				own.vote, imported = v.vote, v.imported
				break
			}
		}
		promises = append(promises, own)
		// Else an own vote may have been saved as a higher one alone. And what is taken over may have come after the own promise.
		known = rec.Acceptor.Accepted.Less(m.Ballot) && !imported
	}
	if !o.phase1(m.Ballot, acceptors(promises, nil)) {
		return h.broken("I7", "server %d asks for votes, %s, and only %d acceptors that its disk has met promised exactly that ballot", s.ID,
			words.Message(*m), len(acceptors(promises, nil)))
	}
	if known && !o.follows(m.Ballot, promises, m.Value) {
		return h.broken("I7", "server %d asks for votes, %s, and no quorum of the promises that it was given says so: %v", s.ID,
			words.Message(*m), promises)
	}
	return nil
}

// askedByOwner checks I7 and I5 for an Accept of round 0.
func (o *Oracle) askedByOwner(s *Server, h *history, m *paxos.Message) error {
	stored := s.Disk.Records[m.Instance].Acceptor
	switch {
	case h.owner != s.ID || o.of(m.Ballot).position(s) < 0:
		return h.broken("I7", "server %d asks for votes in round 0, which is not its to use", s.ID)
	case h.boot != 0 && h.boot != s.Disk.State.Boot:
		return h.broken("I7", "server %d asks for votes in round 0 in its start %d", s.ID, s.Disk.State.Boot)
	case h.boot == 0 && (stored.Accepted.Less(m.Ballot) || stored.Accepted == m.Ballot && stored.Value != m.Value):
		return h.broken("I5", "server %d asks for votes, %s, and its own is not on its disk", s.ID, words.Message(*m))
	}
	h.of(m.Ballot).asked = true
	return o.valued(h, m.Ballot, m.Value)
}

// follows reports whether a phase-1 quorum among the promises reports no vote, or one for v as its highest.
func (o *Oracle) follows(b paxos.Ballot, promises []promise, v paxos.Value) bool {
	if o.phase1(b, acceptors(promises, func(p promise) bool { return p.ballot.IsZero() })) {
		return true
	}
	for _, highest := range promises {
		if highest.value == v && !highest.ballot.IsZero() &&
			o.phase1(b, acceptors(promises, func(p promise) bool { return !highest.ballot.Less(p.ballot) })) {
			return true
		}
	}
	return false
}

// acceptors returns the acceptors of those promises that fit; nil: of all.
func acceptors(promises []promise, fits func(promise) bool) (all []*Server) {
	for _, p := range promises {
		if fits == nil || fits(p) {
			all = append(all, p.acceptor)
		}
	}
	return all
}
