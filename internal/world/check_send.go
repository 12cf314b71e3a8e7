package world

import (
	"slices"

	"github.com/singledecree/paxos"
)

// sent is told of every message that leaves a server, while its disk is as it was when the message left.
func (c *checker) sent(s *server, to paxos.ServerID, m paxos.Message) error {
	if m.Kind == paxos.KindRefuse {
		return nil
	}
	h := c.history(m.Instance)
	if to == s.id {
		return h.broken("S10", "server %d sends itself %s", s.id, shortText(m))
	}
	rec := s.disk.records[m.Instance]
	stored := rec.Acceptor
	early := func() error {
		return h.broken("I5", "server %d says %s; on its disk it has %s", s.id, shortText(m), recordText(rec))
	}
	switch m.Kind {
	case paxos.KindPrepare, paxos.KindQuery:
		return c.used(s, h, m)
	case paxos.KindAccept:
		return c.askedFor(s, h, m)
	case paxos.KindPromise:
		if !rec.Chosen && (stored.Promised.Less(m.Ballot) || stored.Accepted.Less(m.Accepted)) {
			return early()
		}
		if !m.Accepted.IsZero() {
			return h.valued(m.Accepted, m.Value)
		}
	case paxos.KindAccepted:
		if !rec.Chosen && stored.Accepted.Less(m.Ballot) {
			return early()
		}
		if !h.ballot(m.Ballot).valued {
			return h.broken("I6", "server %d voted in ballot %s, in which nobody asked for a vote", s.id, m.Ballot)
		}
		return c.vote(h, s.id, m.Ballot)
	case paxos.KindState:
		if !rec.Chosen && (stored.Promised.Less(m.Promised) || stored.Accepted.Less(m.Accepted)) {
			return early()
		}
	case paxos.KindChosen:
		if known := h.ballots[m.Ballot]; known == nil || !c.quorum.Phase2(known.voters) {
			return h.broken("I8", "server %d says that ballot %s is chosen", s.id, m.Ballot)
		}
	case paxos.KindDecided:
		return c.isChosen(h, m.Value, "server %d says %s", s.id, shortText(m))
	}
	return nil
}

// used checks that a ballot is its server's own, was reserved, and is not one of an earlier life.
func (c *checker) used(s *server, h *history, m paxos.Message) error {
	b := h.ballot(m.Ballot)
	switch {
	case m.Ballot.Server != s.id:
		return h.broken("I6", "server %d uses ballot %s of another server", s.id, m.Ballot)
	case m.Ballot.Round > s.disk.state.Rounds:
		return h.broken("I5", "server %d uses ballot %s; on its disk it has rounds up to %d", s.id, m.Ballot, s.disk.state.Rounds)
	case b.life != 0 && b.life != s.life:
		return h.broken("I6", "server %d uses ballot %s again after a restart", s.id, m.Ballot)
	}
	b.life = s.life
	return nil
}

// askedFor checks I7 for an Accept.
func (c *checker) askedFor(s *server, h *history, m paxos.Message) error {
	if err := c.used(s, h, m); err != nil {
		return err
	}
	b := h.ballot(m.Ballot)
	if b.asked {
		return h.valued(m.Ballot, m.Value)
	}
	b.asked = true
	promised, highest := b.promised, b.reported
	rec := s.disk.records[m.Instance]
	known := true
	if s.votes(c) && !rec.Acceptor.Promised.Less(m.Ballot) {
		// Its own promise is no message: the disk must imply it. What it reported is the last vote below the ballot.
		promised = promised.With(int(s.id) - 1)
		for _, v := range slices.Backward(h.own[s.id]) {
			if v.ballot.Less(m.Ballot) {
				if highest.ballot.Less(v.ballot) {
					highest = v
				}
				break
			}
		}
		known = rec.Acceptor.Accepted.Less(m.Ballot) // else an own vote may have been saved as a higher one alone
	}
	if !c.quorum.Phase1(promised) {
		return h.broken("I7", "server %d asks for votes, %s, and only %d acceptors promised exactly that ballot", s.id,
			shortText(m), promised.Len())
	}
	if known && !highest.ballot.IsZero() && highest.value != m.Value {
		return h.broken("I7", "server %d asks for votes, %s, though a promise reported (%s %s)", s.id, shortText(m),
			highest.ballot, quote(highest.value))
	}
	return h.valued(m.Ballot, m.Value)
}
