package oracle

import (
	"fmt"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// Sent tells of a packet that leaves a server, while its disk is as it was when the packet left.
func (o *Oracle) Sent(s *Server, p *paxos.Packet) error {
	switch state := &s.Disk.State; {
	case p.To == s.ID:
		return fmt.Errorf("S10 is broken: server %d sends itself %d messages", s.ID, len(p.Messages))
	case p.Boot != state.Boot:
		return fmt.Errorf("I5 is broken: server %d sends a packet of its start %d, and on its disk it has start %d", s.ID, p.Boot, state.Boot)
	}
	if err := o.Shown(s, p.Index); err != nil {
		return err
	}
	for i := range p.Messages {
		if err := o.sentMessage(s, p.To, &p.Messages[i]); err != nil {
			return err
		}
	}
	return nil
}

// Shown tells of the Index that a server shows.
func (o *Oracle) Shown(s *Server, index uint64) error {
	if index > s.Disk.State.Last {
		return fmt.Errorf("I9 is broken: server %d shows Index %d, its disk has them up to %d", s.ID, index, s.Disk.State.Last)
	}
	return nil
}

func (o *Oracle) sentMessage(s *Server, to paxos.ServerID, m *paxos.Message) error {
	switch {
	case m.Kind == paxos.KindRefuse || m.Kind == paxos.KindPull || m.Kind == paxos.KindLimits || m.Kind == paxos.KindScan || m.Kind == paxos.KindOpen:
		return nil
	case s.Wiped() && m.Kind != paxos.KindChosen && m.Kind != paxos.KindDecided:
		return nil // it uses ballots a second time, and no server may believe it
	case m.Kind == paxos.KindStand:
		return o.stands(s, m)
	case m.Kind == paxos.KindStood:
		return o.stood(s, m)
	case m.Kind == paxos.KindNack && m.Instance == "":
		return nil // it promises nothing
	case m.Kind == paxos.KindNames:
		_, lines, _ := strings.Cut(string(m.Value), "\n")
		for name := range strings.SplitSeq(lines, "\n") {
			if err := o.listed(s, name); err != nil {
				return err
			}
		}
		return nil
	case m.Kind == paxos.KindDecisions:
		return o.sentDecisions(s, m)
	}
	if done, err := o.sentForgotten(s, m); done || err != nil {
		return err
	}
	h := o.history(m.Instance)
	switch m.Kind {
	case paxos.KindPrepare, paxos.KindQuery, paxos.KindForward:
		return o.used(s, h, m)
	case paxos.KindAccept:
		return o.askedFor(s, h, m)
	case paxos.KindNack:
		return o.answersStored(s, h, to, m)
	case paxos.KindPromise, paxos.KindAccepted, paxos.KindState:
		if err := o.answersStored(s, h, to, m); err != nil {
			return err
		}
		return o.answered(s, h, m)
	case paxos.KindChosen:
		if known := h.find(m.Ballot); known == nil || !o.phase2(known) {
			o.votedItself(s, h, m.Ballot)
			if known == nil || !o.phase2(known) {
				return o.brokenTogether(h, "I8", "server %d says that ballot %s is chosen", s.ID, m.Ballot)
			}
		}
	case paxos.KindDecided:
		return o.isChosen(s, h, m.Ballot, m.Value, "says")
	}
	return nil
}

// answersStored checks I12 for an answer: the disk names the storage of the server that asked.
func (o *Oracle) answersStored(s *Server, h *history, to paxos.ServerID, m *paxos.Message) error {
	if other := o.server(to); other != nil && !s.Met(other) {
		return o.brokenTogether(h, "I12", "server %d answers server %d, %s, and its disk has not met that: %q", s.ID, to, words.Message(*m), s.Disk.State.Peers)
	}
	return nil
}

// answered checks I5 for the answers of an acceptor.
func (o *Oracle) answered(s *Server, h *history, m *paxos.Message) error {
	rec := s.Disk.Records[m.Instance]
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
		return h.broken("I5", "server %d says %s; on its disk it has %s", s.ID, words.Message(*m), words.Record(rec))
	case m.Kind == paxos.KindPromise && !m.Accepted.IsZero() && m.Accepted.Server != 0:
		return o.valued(h, m.Accepted, m.Value)
	case m.Kind != paxos.KindAccepted:
		return nil
	case !h.of(m.Ballot).valued:
		return o.brokenTogether(h, "I6", "server %d voted in ballot %s, in which nobody asked for a vote", s.ID, m.Ballot)
	}
	return o.vote(h, s, m.Ballot)
}

// listed checks I9 for a line of a page: that name is decided on the disk of the server that says so.
func (o *Oracle) listed(s *Server, name string) error {
	if text, ok := strings.CutPrefix(name, "$forgotten "); ok {
		if names, err := paxos.ParseNameRange(text); err != nil || !s.forgetsAll(names, paxos.Batch{}) {
			return fmt.Errorf("I5 is broken: server %d lists %q, and has not forgotten that", s.ID, name)
		}
		return nil
	}
	if name != "" && !s.Disk.Records[name].Chosen && !s.Disk.Forgets(name) {
		return o.history(name).broken("I9", "server %d lists it as decided, and its disk does not", s.ID)
	}
	return nil
}

// sentDecisions checks a page of decisions: each is decided on the disk of the server that says so, and was chosen.
func (o *Oracle) sentDecisions(s *Server, m *paxos.Message) error {
	all, err := words.Page(m.Value)
	if err != nil {
		return fmt.Errorf("server %d: %w", s.ID, err)
	}
	for _, e := range all {
		if err := o.listed(s, e.Name); err != nil {
			return err
		}
		if e.Decided {
			if err := o.isChosen(s, o.history(e.Name), e.Ballot, e.Value, "lists"); err != nil {
				return err
			}
		}
	}
	return nil
}
