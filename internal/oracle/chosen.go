package oracle

import (
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// brokenTogether is history.broken for a rule that needs a view of all servers.
func (o *Oracle) brokenTogether(h *history, rule, format string, args ...any) error {
	if o.Unseen {
		return nil
	}
	return h.broken(rule, format, args...)
}

// valued checks I2 and I6: b stands for v and no other value.
func (o *Oracle) valued(h *history, b paxos.Ballot, v paxos.Value) error {
	known := h.of(b)
	switch {
	case !o.Unseen && !slices.Contains(h.proposed, v):
		return h.broken("I2", "nobody proposed %s, which ballot %s has", words.Quote(v), b)
	case known.valued && known.value != v:
		return h.broken("I6", "ballot %s has two values: %s and %s", b, words.Quote(known.value), words.Quote(v))
	}
	known.valued, known.value = true, v
	return nil
}

// Proposed tells of a call of Propose.
func (o *Oracle) Proposed(instance string, v paxos.Value) { o.history(instance).propose(v) }

// Forged tells of a message that a script made up, as if from a server. If it asks for a vote, its value becomes the value of its ballot,
// unless the ballot has one already.
func (o *Oracle) Forged(m paxos.Message) {
	h := o.history(m.Instance)
	h.forged = o.Lenient
	if m.Kind != paxos.KindAccept || h.of(m.Ballot).valued {
		return
	}
	h.propose(m.Value)
	_ = o.valued(h, m.Ballot, m.Value)
}

// vote checks I1: a vote of s was cast in b.
func (o *Oracle) vote(h *history, s *Server, b paxos.Ballot) error {
	c := o.of(b)
	switch {
	case o.Unseen && (c == nil || b.Configuration() > 0):
		return nil
	case c == nil:
		return h.broken("I14", "server %d voted in ballot %s, and no configuration of that number is decided", s.ID, b)
	case c.position(s) < 0:
		return h.broken("S2", "server %d does not vote, and voted in ballot %s", s.ID, b)
	case o.Unseen:
		return nil
	}
	known := h.of(b)
	known.voters = known.voters.With(c.position(s))
	if !c.quorum.Phase2(known.voters) {
		return nil
	}
	if known.late {
		return h.broken("I13", "%s is chosen in ballot %s, which began after a quorum had forgotten the instance", words.Quote(known.value), b)
	}
	if h.chosen && h.value != known.value {
		return h.broken("I1", "two values are chosen: %s, and in ballot %s %s", words.Quote(h.value), b, words.Quote(known.value))
	}
	if h.chosen {
		return nil
	}
	h.chosen, h.value = true, known.value
	return o.chose(h)
}

// votedItself counts the vote of the ballot's own server once its disk implies it; no message tells of that vote. It matters only if the
// vote was saved together with a higher promise or vote.
func (o *Oracle) votedItself(s *Server, h *history, b paxos.Ballot) {
	known := h.find(b)
	rec := s.Disk.Records[h.name]
	if known != nil && known.asked && b.Server == s.ID && !s.Wiped() && o.of(b) != nil && o.of(b).position(s) >= 0 && !rec.Acceptor.Accepted.Less(b) {
		_ = o.vote(h, s, b)
	}
}

// isChosen checks I8: v, which a server reports as chosen in b, has a phase-2 quorum.
func (o *Oracle) isChosen(s *Server, h *history, b paxos.Ballot, v paxos.Value, says string) error {
	if !h.chosen {
		o.votedItself(s, h, b)
	}
	switch {
	case !h.chosen:
		return o.brokenTogether(h, "I8", "server %d %s %s, and nothing is chosen", s.ID, says, words.Quote(v))
	case h.value != v:
		return o.brokenTogether(h, "I8", "server %d %s %s, and %s is chosen", s.ID, says, words.Quote(v), words.Quote(h.value))
	}
	return nil
}

// Learned tells of a decision that a server learned.
func (o *Oracle) Learned(s *Server, m *paxos.Message) error {
	return o.isChosen(s, o.history(m.Instance), m.Ballot, m.Value, "learned")
}

// Returned tells of a decision that a call returned.
func (o *Oracle) Returned(s *Server, d paxos.Decision) error {
	h := o.history(d.Instance)
	if !h.chosen {
		o.votedItself(s, h, d.Ballot)
	}
	if !h.chosen || h.value != d.Value {
		return o.brokenTogether(h, "I9", "a call returned %s, and that is not what is chosen", words.Quote(d.Value))
	}
	return nil
}

// ReadNothing tells of a Read that found nothing chosen. before says that a value was chosen when the Read began. forgot says that a
// quorum had forgotten the instance then.
func (o *Oracle) ReadNothing(instance string, before, forgot bool) error {
	if forgot {
		return o.brokenTogether(o.history(instance), "I13", "a read returned nothing, and a quorum had forgotten the instance when it began")
	}
	if h := o.history(instance); before {
		return o.brokenTogether(h, "I9", "a read returned nothing, and %s was chosen when it began", words.Quote(h.value))
	}
	return nil
}
