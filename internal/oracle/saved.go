package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// Saved tells of a Batch that is about to become durable. The disk of s is still as it was before.
func (o *Oracle) Saved(s *Server, b paxos.Batch) error {
	if b.Server != nil {
		old, next := s.Disk.State, *b.Server
		if next.Boot < old.Boot || next.Rounds < old.Rounds || next.Last < old.Last || next.Floor.Less(old.Floor) || next.ID != old.ID ||
			next.Store != old.Store || next.Members != old.Members && next.Configuration == old.Configuration || next.Cluster != old.Cluster {
			return fmt.Errorf("I3 is broken: the state of server %d goes from %+v to %+v", s.ID, old, next)
		}
	}
	if err := o.savedForgotten(s, b); err != nil {
		return err
	}
	number := s.number()
	if b.Server != nil && !s.Wiped() && !o.Unseen {
		if err := o.savedConfiguration(s, b.Server, b.Records); err != nil {
			return err
		}
		number = numberIn(b.Server.Configuration)
	}
	for i, rec := range b.Records {
		if slices.ContainsFunc(b.Records[:i], func(r paxos.Record) bool { return r.Instance == rec.Instance }) {
			return o.history(rec.Instance).broken("I3", "server %d saves it twice in one Batch", s.ID)
		}
		if err := o.savedRecord(s, s.Disk.Records[rec.Instance], rec, number); err != nil {
			return err
		}
	}
	if b.Server != nil && b.Server.Pulled != s.Disk.State.Pulled {
		return o.pulled(s, b)
	}
	return nil
}

// savedRecord takes a record that is about to be on the disk of s, which then lives under the configuration of that number.
func (o *Oracle) savedRecord(s *Server, old, next paxos.Record, number uint64) error {
	if strings.HasPrefix(next.Instance, rangeRecord) { // no instance
		return o.savedForever(s, &history{name: next.Instance}, old, next)
	}
	h := o.history(next.Instance)
	a := next.Acceptor
	if a.Promised.IsForgotten() {
		return o.savedForever(s, h, old, next)
	}
	switch {
	case a.Promised.Less(old.Acceptor.Promised):
		return h.broken("I3", "server %d promised %s, and saves %s", s.ID, old.Acceptor.Promised, a.Promised)
	case !next.Chosen && a.Accepted.Less(old.Acceptor.Accepted):
		return h.broken("I3", "server %d voted in %s, and saves %s", s.ID, old.Acceptor.Accepted, a.Accepted)
	case a.Promised.Less(a.Accepted):
		return h.broken("I4", "server %d voted in %s, and has promised %s", s.ID, a.Accepted, a.Promised)
	case old.Chosen && (!next.Chosen || next.Index != old.Index || a.Value != old.Acceptor.Value):
		return h.broken("I9", "server %d saves %+v over the decision %+v", s.ID, next, old)
	case next.Chosen:
		return o.savedDecision(s, h, next)
	case a.Accepted.IsZero():
		return nil
	case s.Wiped():
		return nil // it votes a second time, and all others refuse it: I8 tells if one counts that
	}
	if mayBeTaken(a.Accepted, number) { // if it was a vote, a message has told of it, or nobody counts it
		h.own[s.place] = append(h.own[s.place], ownVote{vote{a.Accepted, a.Value}, true})
		return nil
	}
	if err := o.savedBelow(s, h, a.Accepted); err != nil {
		return err
	}
	if err := o.valued(h, a.Accepted, a.Value); err != nil {
		return err
	}
	h.own[s.place] = append(h.own[s.place], ownVote{vote{a.Accepted, a.Value}, false})
	return o.vote(h, s, a.Accepted)
}

// savedForever takes the record of something forgotten. Its Index is new.
func (o *Oracle) savedForever(s *Server, h *history, old, next paxos.Record) error {
	names, ok := rangeOf(next)
	if !ok || !next.Chosen || next.Index <= old.Index {
		return h.broken("I9", "server %d saves %s over %s", s.ID, words.Record(next), words.Record(old))
	}
	store := s.Disk.State.Store
	if o.ranges[store] == nil {
		o.ranges[store] = map[uint64]paxos.NameRange{}
	}
	o.ranges[store][next.Index] = names
	return o.savedIndex(s, h, next)
}

func (o *Oracle) savedDecision(s *Server, h *history, rec paxos.Record) error {
	if err := o.savedIndex(s, h, rec); err != nil {
		return err
	}
	return o.isChosen(s, h, rec.Acceptor.Accepted, rec.Acceptor.Value, "saves the decision")
}

// savedIndex checks I9 for the Index of a record.
func (o *Oracle) savedIndex(s *Server, h *history, rec paxos.Record) error {
	indexes := o.indexes[s.Disk.State.Store]
	if indexes == nil {
		indexes = map[uint64]string{}
		o.indexes[s.Disk.State.Store] = indexes
	}
	if name, taken := indexes[rec.Index]; rec.Index == 0 || taken && name != rec.Instance {
		return h.broken("I9", "server %d gives Index %d, which is of %q", s.ID, rec.Index, name)
	}
	indexes[rec.Index] = rec.Instance
	return nil
}
