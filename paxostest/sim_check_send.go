package paxostest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// sent is told of every message that leaves a server, while its disk is as it was when the message left.
func (c *checker) sent(s *server, to paxos.ServerID, m *paxos.Message) error {
	switch {
	case m.Kind == paxos.KindRefuse || m.Kind == paxos.KindPull || m.Kind == paxos.KindLimits:
		return nil
	case c.wiped[s.id] && m.Kind != paxos.KindChosen && m.Kind != paxos.KindDecided:
		return nil // it uses ballots a second time, and no server may believe it
	case m.Kind == paxos.KindNames:
		return c.sentNames(s, m)
	}
	h := c.history(m.Instance)
	if err := c.answersStored(s, h, to, m); err != nil {
		return err
	}
	if to == s.id {
		return h.broken("S10", "server %d sends itself %s", s.id, words.Message(*m))
	}
	switch m.Kind {
	case paxos.KindPrepare, paxos.KindQuery:
		return c.used(s, h, m)
	case paxos.KindAccept:
		return c.askedFor(s, h, m)
	case paxos.KindPromise, paxos.KindAccepted, paxos.KindState:
		return c.answered(s, h, m)
	case paxos.KindChosen:
		if known := h.find(m.Ballot); known == nil || !c.quorum.Phase2(known.voters) {
			c.votedItself(s, h, m.Ballot)
			if known == nil || !c.quorum.Phase2(known.voters) {
				return h.broken("I8", "server %d says that ballot %s is chosen", s.id, m.Ballot)
			}
		}
	case paxos.KindDecided:
		return c.isChosen(s, h, m.Ballot, m.Value, "says")
	}
	return nil
}

// answersStored checks I12 for an answer: the disk names the storage of the server that asked.
func (c *checker) answersStored(s *server, h *history, to paxos.ServerID, m *paxos.Message) error {
	switch m.Kind {
	case paxos.KindPromise, paxos.KindAccepted, paxos.KindState, paxos.KindNack:
		if int(to) <= c.servers && to != s.id && !s.met(to, firstStore(to)) {
			return h.broken("I12", "server %d answers server %d, %s, and its disk has not met that: %q", s.id, to, words.Message(*m), s.disk.state.Peers)
		}
	}
	return nil
}

// answered checks I5 for the answers of an acceptor.
func (c *checker) answered(s *server, h *history, m *paxos.Message) error {
	rec := s.disk.records[m.Instance]
	stored := &rec.Acceptor
	early := false
	switch m.Kind {
	case paxos.KindPromise:
		early = stored.Promised.Less(m.Ballot) || stored.Accepted.Less(m.Accepted)
	case paxos.KindAccepted:
		early = stored.Accepted.Less(m.Ballot)
	case paxos.KindState:
		early = stored.Promised.Less(m.Promised) || stored.Accepted.Less(m.Accepted)
	}
	switch {
	case early && !rec.Chosen:
		return h.broken("I5", "server %d says %s; on its disk it has %s", s.id, words.Message(*m), words.Record(rec))
	case m.Kind == paxos.KindPromise && !m.Accepted.IsZero():
		return h.valued(m.Accepted, m.Value)
	case m.Kind != paxos.KindAccepted:
		return nil
	case !h.of(m.Ballot).valued:
		return h.broken("I6", "server %d voted in ballot %s, in which nobody asked for a vote", s.id, m.Ballot)
	}
	return c.vote(h, s.id, m.Ballot)
}

// sentNames checks I9 for a page of names: each is decided on the disk of the server that says so.
func (c *checker) sentNames(s *server, m *paxos.Message) error {
	_, names, _ := strings.Cut(string(m.Value), "\n")
	for name := range strings.SplitSeq(names, "\n") {
		if name != "" && !s.disk.records[name].Chosen {
			return c.history(name).broken("I9", "server %d lists it as decided, and its disk does not", s.id)
		}
	}
	return nil
}

// used checks that a ballot is its server's own, was reserved, and is not one of an earlier life.
func (c *checker) used(s *server, h *history, m *paxos.Message) error {
	b := h.of(m.Ballot)
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

// askedFor checks I7 for an Accept. The server was given a phase-1 quorum of promises for exactly this ballot. If they report votes, the
// highest one is for the value.
func (c *checker) askedFor(s *server, h *history, m *paxos.Message) error {
	if err := c.used(s, h, m); err != nil {
		return err
	}
	b := h.of(m.Ballot)
	if m.Ballot.Round == 0 {
		return c.askedByOwner(s, h, m)
	}
	if b.asked {
		return h.valued(m.Ballot, m.Value)
	}
	b.asked = true
	promises, known := slices.DeleteFunc(slices.Clone(b.promises), func(p promise) bool {
		id := paxos.ServerID(p.acceptor + 1)
		return !s.met(id, firstStore(id)) // such a promise waits there (I12)
	}), true
	if rec := s.disk.records[m.Instance]; s.votes(c) && !rec.Acceptor.Promised.Less(m.Ballot) {
		// The server's own promise is no message: the disk must imply it. It reports the last vote below the ballot.
		own := promise{acceptor: int(s.id) - 1}
		for _, v := range slices.Backward(h.own[s.id-1]) {
			if v.ballot.Less(m.Ballot) {
				own.vote = v
				break
			}
		}
		promises = append(promises, own)
		known = rec.Acceptor.Accepted.Less(m.Ballot) // else an own vote may have been saved as a higher one alone
	}
	if !c.quorum.Phase1(whose(promises, nil)) {
		return h.broken("I7", "server %d asks for votes, %s, and only %d acceptors that its disk has met promised exactly that ballot", s.id,
			words.Message(*m), whose(promises, nil).Len())
	}
	if known && !c.justified(promises, m.Value) {
		return h.broken("I7", "server %d asks for votes, %s, and no quorum of the promises that it was given says so: %v", s.id,
			words.Message(*m), promises)
	}
	return h.valued(m.Ballot, m.Value)
}

// askedByOwner checks I7 and I5 for an Accept of round 0.
func (c *checker) askedByOwner(s *server, h *history, m *paxos.Message) error {
	stored := s.disk.records[m.Instance].Acceptor
	switch {
	case h.owner != s.id || !s.votes(c):
		return h.broken("I7", "server %d asks for votes in round 0, which is not its to use", s.id)
	case h.boot != 0 && h.boot != s.disk.state.Boot:
		return h.broken("I7", "server %d asks for votes in round 0 in its start %d", s.id, s.disk.state.Boot)
	case h.boot == 0 && (stored.Accepted.Less(m.Ballot) || stored.Accepted == m.Ballot && stored.Value != m.Value):
		return h.broken("I5", "server %d asks for votes, %s, and its own is not on its disk", s.id, words.Message(*m))
	}
	h.of(m.Ballot).asked = true
	return h.valued(m.Ballot, m.Value)
}

var ownedName = regexp.MustCompile(`^\$([1-9][0-9]*)(?:\.([1-9][0-9]*)\.[1-9][0-9]*)?/`)

// ownerOf reads the name of an instance: "$1/name", or "$1.2.3/name" for the third name that server 1 minted in its start 2. It is
// written a second time here, to check the servers against.
func ownerOf(name string) (owner paxos.ServerID, boot uint64) {
	if parts := ownedName.FindStringSubmatch(name); parts != nil {
		id, _ := strconv.ParseUint(parts[1], 10, 64)
		boot, _ = strconv.ParseUint(parts[2], 10, 64)
		return paxos.ServerID(id), boot
	}
	return 0, 0
}

// justified reports whether a phase-1 quorum among the promises reports no vote, or one for v as its highest.
func (c *checker) justified(promises []promise, v paxos.Value) bool {
	if c.quorum.Phase1(whose(promises, func(p promise) bool { return p.ballot.IsZero() })) {
		return true
	}
	for _, highest := range promises {
		if highest.value == v && !highest.ballot.IsZero() &&
			c.quorum.Phase1(whose(promises, func(p promise) bool { return !highest.ballot.Less(p.ballot) })) {
			return true
		}
	}
	return false
}

// The function whose returns the acceptors of the promises that fit; nil: all.
func whose(promises []promise, fits func(promise) bool) (s paxos.Set) {
	for _, p := range promises {
		if fits == nil || fits(p) {
			s = s.With(p.acceptor)
		}
	}
	return s
}
