package oracle

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// isOrdinary reports whether a standing ballot is a promise for the instance of that name.
func isOrdinary(name string) bool { return !strings.HasPrefix(name, "$") }

// stands checks I5 and I6 for a Stand.
func (o *Oracle) stands(s *Server, m *paxos.Message) error {
	known := o.standing[m.Ballot]
	switch other, taken := o.uses[m.Ballot]; {
	case m.Ballot.Server != s.ID:
		return fmt.Errorf("I6 is broken: server %d stands by ballot %s of another server", s.ID, m.Ballot)
	case m.Ballot.Round > s.Disk.State.Rounds:
		return fmt.Errorf("I5 is broken: server %d stands by ballot %s; on its disk it has rounds up to %d", s.ID, m.Ballot, s.Disk.State.Rounds)
	case taken:
		return fmt.Errorf("I6 is broken: server %d stands by ballot %s, which it used in %q", s.ID, m.Ballot, other)
	case known == nil:
		o.standing[m.Ballot] = &stand{life: s.Life}
	case known.life != s.Life:
		return fmt.Errorf("I6 is broken: server %d stands by ballot %s again after a restart", s.ID, m.Ballot)
	}
	return nil
}

// stood checks I5 for the answer to a Stand, and that it lists each vote below the ballot that the disk of s has.
func (o *Oracle) stood(s *Server, m *paxos.Message) error {
	head, rest, more := strings.Cut(string(m.Value), "\n")
	hex, number, _ := strings.Cut(head, " ")
	store, err1 := strconv.ParseUint(hex, 16, 64)
	index, err2 := strconv.ParseUint(number, 10, 64)
	if err1 != nil || err2 != nil || store != s.Disk.State.Store || index > s.Disk.State.Last {
		return fmt.Errorf("I5 is broken: server %d says %s; its disk is %x, with Indexes up to %d", s.ID, words.Message(*m), s.Disk.State.Store, s.Disk.State.Last)
	}
	if s.Disk.State.Floor.Less(m.Ballot) {
		return fmt.Errorf("I5 is broken: server %d says %s, and on its disk it has promised %s", s.ID, words.Message(*m), s.Disk.State.Floor)
	}
	names := map[string]bool{}
	if more {
		for name := range strings.SplitSeq(rest, "\n") {
			names[name] = true
		}
	}
	for name, rec := range s.Disk.Records {
		if mayBeTaken(rec.Acceptor.Accepted, s.number()) && !o.isComplete(s) {
			continue // perhaps since then: the answer of an acceptor that was complete by then lists it
		}
		if isOrdinary(name) && !rec.Chosen && !rec.Acceptor.Accepted.IsZero() && rec.Acceptor.Accepted.Less(m.Ballot) && !names[name] {
			return o.history(name).broken("I7", "server %d says %s, and does not list it; on its disk it has %s", s.ID, words.Message(*m), words.Record(rec))
		}
	}
	o.answers[s.place] = answered{m.Ballot, names}
	return nil
}

// heardStood takes the delivery of an answer to the server that stands.
func (o *Oracle) heardStood(s *Server, from paxos.ServerID, store uint64, m *paxos.Message) {
	a, b := o.server(from), o.standing[m.Ballot]
	if a != nil && b != nil && b.life == s.Life && m.Ballot.Server == s.ID && store == a.first && o.mayPromise(m.Ballot, a) {
		b.stood = append(b.stood, a)
	}
}

// standsIn checks I6 and I7 for an Accept in a standing ballot: the acceptors of some phase-1 quorum have promised it, and none of them has
// voted in the instance below it.
func (o *Oracle) standsIn(s *Server, h *history, st *stand, m *paxos.Message) error {
	switch {
	case m.Ballot.Server != s.ID:
		return h.broken("I6", "server %d uses ballot %s of another server", s.ID, m.Ballot)
	case st.life != s.Life:
		return h.broken("I6", "server %d uses the standing ballot %s again after a restart", s.ID, m.Ballot)
	case !isOrdinary(h.name):
		return h.broken("I7", "server %d uses a standing ballot, %s, in a name that has none", s.ID, words.Message(*m))
	}
	b := h.of(m.Ballot)
	b.life = s.Life
	if !b.asked && !o.Unseen {
		clean := []*Server{}
		for _, a := range append(st.stood[:len(st.stood):len(st.stood)], s) {
			promised := !a.Disk.State.Floor.Less(m.Ballot) || a != s && a.Wiped() // a disk that is lost votes no more
			if promised && (a == s || s.Met(a)) && !o.votedBelow(h, a, m.Ballot) {
				clean = append(clean, a)
			}
		}
		b.late = o.IsForgot(h.name)
		if !o.phase1(m.Ballot, clean) {
			return h.broken("I7", "server %d asks for votes in a standing ballot, %s, and only %d acceptors have promised that without a vote below", s.ID,
				words.Message(*m), len(clean))
		}
	}
	b.asked = true
	return o.valued(h, m.Ballot, m.Value)
}

// votedBelow reports whether an acceptor has ever voted in an instance below a ballot.
func (o *Oracle) votedBelow(h *history, a *Server, below paxos.Ballot) bool {
	for _, v := range h.own[a.place] {
		if v.ballot.Less(below) {
			return true
		}
	}
	for _, b := range h.ballots {
		if c := o.of(b.ballot); b.ballot.Less(below) && c != nil && c.position(a) >= 0 && b.voters.Has(c.position(a)) {
			return true
		}
	}
	return false
}

// savedBelow checks that a vote which is about to be saved is not below the standing ballot that the disk of s has promised: else it was cast
// before that, and the answer has listed it.
func (o *Oracle) savedBelow(s *Server, h *history, v paxos.Ballot) error {
	floor, last := s.Disk.State.Floor, o.answers[s.place]
	if v.Less(floor) && isOrdinary(h.name) && last.ballot == floor && !last.names[h.name] {
		return h.broken("I7", "server %d saves a vote in ballot %s, has promised the standing ballot %s, and has not listed it", s.ID, v, floor)
	}
	return nil
}
