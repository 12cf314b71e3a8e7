package oracle

import (
	"slices"
	"strconv"

	"github.com/singledecree/paxos"
)

// chose is called when a value of an instance is chosen. It may be the next configuration.
func (o *Oracle) chose(h *history) error {
	number := configurationOf(h.name)
	if number == 0 {
		return nil
	}
	c, err := paxos.ParseConfiguration(string(h.value))
	switch {
	case err != nil:
		return h.broken("I14", "it is decided, and it is no configuration: %v", err)
	case number != uint64(len(o.configurations)) || c.Number != number:
		return h.broken("I14", "configuration %d is decided after configuration %d", c.Number, len(o.configurations)-1)
	case c.Before != o.latest.Fingerprint():
		return h.broken("I14", "it does not follow configuration %d", number-1)
	}
	before := o.configurations[number-1]
	if number > 1 && !before.quorum.Phase2(before.completed()) {
		return h.broken("I14", "it is decided, and no phase-2 quorum is complete for the one before")
	}
	o.configurations, o.latest = append(o.configurations, newConfiguration(c.Members)), c
	return nil
}

// Latest returns the last configuration that was decided.
func (o *Oracle) Latest() paxos.Configuration { return o.latest }

// IsSettled reports whether a phase-2 quorum of the last configuration is complete, as far as disks ever said so.
func (o *Oracle) IsSettled() bool {
	c := o.configurations[len(o.configurations)-1]
	return o.latest.Number == 0 || c.quorum.Phase2(c.completed())
}

// VotedBefore reports whether a server is an acceptor of the configuration before the last.
func (o *Oracle) VotedBefore(id paxos.ServerID) bool {
	n := o.latest.Number
	return n > 0 && slices.Contains(o.configurations[n-1].acceptors, id)
}

// CanLose reports whether all others are a quorum of both phases of the last configuration, and of the one before while it is needed.
func (o *Oracle) CanLose(s *Server) bool {
	rest := slices.DeleteFunc(slices.Clone(o.servers), func(other *Server) bool { return other == s })
	last := o.configurations[len(o.configurations)-1:]
	if !o.IsSettled() {
		last = o.configurations[len(o.configurations)-2:]
	}
	for _, c := range last {
		if set := c.set(rest); !c.quorum.Phase1(set) || !c.quorum.Phase2(set) {
			return false
		}
	}
	return true
}

// of returns the configuration to which b belongs; nil: none of that number is decided.
func (o *Oracle) of(b paxos.Ballot) *configuration {
	if n := b.Configuration(); n < uint64(len(o.configurations)) {
		return o.configurations[n]
	}
	return nil
}

// phase2 reports whether a phase-2 quorum of its configuration has voted in a ballot.
func (o *Oracle) phase2(known *ballot) bool {
	c := o.of(known.ballot)
	return c != nil && c.quorum.Phase2(known.voters)
}

// phase1 reports whether those acceptors are enough to begin phase 2 of b. While a configuration is not complete, they have a phase-1
// quorum of the one before, too, or a complete acceptor.
func (o *Oracle) phase1(b paxos.Ballot, servers []*Server) bool {
	c := o.of(b)
	if c == nil || !c.quorum.Phase1(c.set(servers)) {
		return false
	}
	if n := b.Configuration(); n > 0 {
		before := o.configurations[n-1]
		return before.voters == c.voters || before.quorum.Phase1(before.set(servers)) || c.set(servers)&c.completed() != 0
	}
	return true
}

// mayPromise reports whether the promise of a server may count in b.
func (o *Oracle) mayPromise(b paxos.Ballot, s *Server) bool {
	c := o.of(b)
	if c == nil {
		return false
	}
	return c.position(s) >= 0 || b.Configuration() > 0 && o.configurations[b.Configuration()-1].position(s) >= 0
}

// savedConfiguration checks I14 for a ServerState that is about to be durable: its configuration was decided, and it never goes back.
func (o *Oracle) savedConfiguration(s *Server, next *paxos.ServerState, records []paxos.Record) error {
	was, now := s.number(), numberIn(next.Configuration)
	h := &history{name: configurationRecord + strconv.FormatUint(now, 10)}
	switch {
	case now < was:
		return h.broken("I14", "server %d goes back to it from configuration %d", s.ID, was)
	case now >= uint64(len(o.configurations)):
		return h.broken("I14", "server %d enters it, and it is not decided", s.ID)
	case now > 0 && o.history(h.name).value != paxos.Value(next.Configuration):
		return h.broken("I14", "server %d enters another one than what was decided", s.ID)
	case now > 0 && next.Members != o.configurations[now].voters:
		return h.broken("I14", "server %d enters it, and its state has the members %s", s.ID, next.Members)
	case now > was && !s.holds(h.name, records):
		return h.broken("I14", "server %d enters it, and its disk does not hold the decision", s.ID)
	case next.Import == paxos.ImportComplete && now > 0:
		o.configurations[now].complete[s.ID] = true
	}
	return nil
}

// hasLeft reports whether s does not vote in the configuration that is on its disk, which is not the first.
func (o *Oracle) hasLeft(s *Server) bool {
	n := s.number()
	return n > 0 && n < uint64(len(o.configurations)) && o.configurations[n].position(s) < 0
}

// isComplete reports whether s is a complete acceptor of the configuration that is on its disk.
func (o *Oracle) isComplete(s *Server) bool {
	n := s.number()
	return n < uint64(len(o.configurations)) && o.configurations[n].complete[s.ID]
}
