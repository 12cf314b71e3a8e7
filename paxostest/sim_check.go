package paxostest

import (
	"fmt"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// A checker holds the invariants, whatever network, disks and script do. It is told of every event. It sees only the messages of a server
// and the contents of its disk. An error that it returns proves a bug.
//
//	I1  At most one value of an instance is ever chosen, over the history of all votes cast.
//	I2  What is asked for, voted for and chosen was proposed by some call.
//	I3  On a disk, promises and the ballots of votes never go down, nor does any number of the ServerState.
//	I4  On a disk, no vote is above the promise.
//	I5  No reply but a Nack leaves before the disk implies what it asserts. A decision implies everything. And no ballot
//	    is used above the rounds that the disk has reserved.
//	I6  A ballot has one value, and belongs to one life of its server. (A hint is not its ballot's value.)
//	I7  Every Accept is justified by a phase-1 quorum of exactly its ballot, and asks for the value of the highest vote
//	    that quorum reported. Round 0 has no such quorum: only a voter that the instance's name says owns it uses that, in the
//	    start that the name says, if it says one, else with its own vote on its disk (I5).
//	I8  What a server has learned, or says is chosen, has a phase-2 quorum in one ballot.
//	I9  What calls return never changes; an Index never means another decision.
//	    I8 and I9 hold for a server, too, that was made anew where one was lost: all else that such a server says is for nobody.
//	I12 Nothing comes of what a server says before its Store is on the disk here: no answer leaves, and no promise of it counts for I7.
//	I11 What a disk says of its server's pulls is true: all that the other had decided, up to that Index of that store, is on it.
//
// "Chosen" means that a phase-2 quorum has voted in one ballot. A vote is one that a disk held, or one that an Accepted told of. The second kind is needed, since not every vote is on a disk as such. Several changes of an instance may be saved as the last
// one.
//
// Scripts must demand I10 themselves: when faults stop, open instances get decided.
type checker struct {
	quorum    paxos.Quorum
	instances map[string]*history
	servers   int
	indexes   map[uint64]map[uint64]string // by Store: the instance saved at each Index
	wiped     map[paxos.ServerID]bool      // servers that forgot, and came back on a new storage
	lenient   bool                         // instances that a server lied about are not checked
}

// A history is all that happened in an instance.
type history struct {
	name     string
	proposed []paxos.Value
	ballots  []*ballot // few, the latest last
	chosen   bool
	forged   bool // a lie with lenient set: nothing is checked any more
	value    paxos.Value
	own      [][]vote // by server: votes that disks held, as they came

	// From the name: the server that may use round 0, and the start in which it may; 0: none, or any.
	owner paxos.ServerID
	boot  uint64
}

type vote struct {
	ballot paxos.Ballot
	value  paxos.Value
}

// A ballot is all that is known of one ballot.
type ballot struct {
	ballot   paxos.Ballot
	life     uint64 // of the server that uses it; 0: not known
	valued   bool   // value is set
	value    paxos.Value
	voters   paxos.Set
	promises []promise // that were delivered to the life that uses it
	asked    bool      // an Accept has left
}

// A promise is its acceptor, and the vote that it reported.
type promise struct {
	acceptor int
	vote
}

func newChecker(q paxos.Quorum, servers int) checker {
	return checker{quorum: q, instances: map[string]*history{}, servers: servers, indexes: map[uint64]map[uint64]string{},
		wiped: map[paxos.ServerID]bool{}}
}

func (c *checker) history(name string) *history {
	h := c.instances[name]
	if h == nil {
		h = &history{name: name, own: make([][]vote, c.servers)}
		h.owner, h.boot = ownerOf(name)
		c.instances[name] = h
	}
	return h
}

// find returns what is known of a ballot, or nil.
func (h *history) find(b paxos.Ballot) *ballot {
	for i := len(h.ballots) - 1; i >= 0; i-- {
		if h.ballots[i].ballot == b {
			return h.ballots[i]
		}
	}
	return nil
}

func (h *history) of(b paxos.Ballot) *ballot {
	known := h.find(b)
	if known == nil {
		known = &ballot{ballot: b}
		h.ballots = append(h.ballots, known)
	}
	return known
}

func (h *history) broken(rule, format string, args ...any) error {
	if h.forged {
		return nil
	}
	return fmt.Errorf("%s is broken in %q: %s", rule, h.name, fmt.Sprintf(format, args...))
}

// proposed is told of every call.
func (c *checker) proposed(instance string, v paxos.Value) { c.history(instance).propose(v) }

func (h *history) propose(v paxos.Value) {
	if !slices.Contains(h.proposed, v) {
		h.proposed = append(h.proposed, v)
	}
}

// forged is told of every message that the script made up. If it asks for a vote, its value becomes the value of its ballot, unless the
// ballot has one already.
func (c *checker) forged(m paxos.Message) {
	h := c.history(m.Instance)
	h.forged = c.lenient
	if m.Kind != paxos.KindAccept || h.of(m.Ballot).valued {
		return
	}
	h.propose(m.Value)
	_ = h.valued(m.Ballot, m.Value)
}

// valued checks I2 and I6: b stands for v and no other value.
func (h *history) valued(b paxos.Ballot, v paxos.Value) error {
	known := h.of(b)
	switch {
	case !slices.Contains(h.proposed, v):
		return h.broken("I2", "nobody proposed %s, which ballot %s has", words.Quote(v), b)
	case known.valued && known.value != v:
		return h.broken("I6", "ballot %s has two values: %s and %s", b, words.Quote(known.value), words.Quote(v))
	}
	known.valued, known.value = true, v
	return nil
}

// vote checks I1: a vote of that server was cast in b.
func (c *checker) vote(h *history, id paxos.ServerID, b paxos.Ballot) error {
	known := h.of(b)
	known.voters = known.voters.With(int(id) - 1)
	if !c.quorum.Phase2(known.voters) {
		return nil
	}
	if h.chosen && h.value != known.value {
		return h.broken("I1", "two values are chosen: %s, and in ballot %s %s", words.Quote(h.value), b, words.Quote(known.value))
	}
	h.chosen, h.value = true, known.value
	return nil
}

// saved is told of every Batch that becomes durable, before it does.
func (c *checker) saved(s *server, b paxos.Batch) error {
	if b.Server != nil {
		old, next := s.disk.state, *b.Server
		if next.Boot < old.Boot || next.Rounds < old.Rounds || next.Last < old.Last || next.ID != old.ID ||
			next.Store != old.Store || next.Members != old.Members || next.Cluster != old.Cluster {
			return fmt.Errorf("I3 is broken: the state of server %d goes from %+v to %+v", s.id, old, next)
		}
	}
	for i, rec := range b.Records {
		if slices.ContainsFunc(b.Records[:i], func(r paxos.Record) bool { return r.Instance == rec.Instance }) {
			return c.history(rec.Instance).broken("I3", "server %d saves it twice in one Batch", s.id)
		}
		if err := c.savedRecord(s, s.disk.records[rec.Instance], rec); err != nil {
			return err
		}
	}
	if b.Server != nil && b.Server.Pulled != s.disk.state.Pulled {
		return c.pulled(s, b)
	}
	return nil
}

func (c *checker) savedRecord(s *server, old, next paxos.Record) error {
	h := c.history(next.Instance)
	a := next.Acceptor
	switch {
	case a.Promised.Less(old.Acceptor.Promised):
		return h.broken("I3", "server %d promised %s, and saves %s", s.id, old.Acceptor.Promised, a.Promised)
	case !next.Chosen && a.Accepted.Less(old.Acceptor.Accepted):
		return h.broken("I3", "server %d voted in %s, and saves %s", s.id, old.Acceptor.Accepted, a.Accepted)
	case a.Promised.Less(a.Accepted):
		return h.broken("I4", "server %d voted in %s, and has promised %s", s.id, a.Accepted, a.Promised)
	case old.Chosen && (!next.Chosen || next.Index != old.Index || a.Value != old.Acceptor.Value):
		return h.broken("I9", "server %d saves %+v over the decision %+v", s.id, next, old)
	case next.Chosen:
		return c.savedDecision(s, h, next)
	case a.Accepted.IsZero():
		return nil
	case c.wiped[s.id] && a.Accepted.Server == s.id:
		return nil // it uses ballots a second time, and all others refuse it
	}
	if err := h.valued(a.Accepted, a.Value); err != nil {
		return err
	}
	h.own[s.id-1] = append(h.own[s.id-1], vote{a.Accepted, a.Value})
	return c.vote(h, s.id, a.Accepted)
}

func (c *checker) savedDecision(s *server, h *history, rec paxos.Record) error {
	indexes := c.indexes[s.disk.state.Store]
	if indexes == nil {
		indexes = map[uint64]string{}
		c.indexes[s.disk.state.Store] = indexes
	}
	if name, taken := indexes[rec.Index]; rec.Index == 0 || taken && name != rec.Instance {
		return h.broken("I9", "server %d gives Index %d, which is of %q", s.id, rec.Index, name)
	}
	indexes[rec.Index] = rec.Instance
	return c.isChosen(s, h, rec.Acceptor.Accepted, rec.Acceptor.Value, "saves the decision")
}

// isChosen checks I8: v, which a server reports as chosen in b, has a phase-2 quorum.
func (c *checker) isChosen(s *server, h *history, b paxos.Ballot, v paxos.Value, says string) error {
	if !h.chosen {
		c.votedItself(s, h, b)
	}
	switch {
	case !h.chosen:
		return h.broken("I8", "server %d %s %s, and nothing is chosen", s.id, says, words.Quote(v))
	case h.value != v:
		return h.broken("I8", "server %d %s %s, and %s is chosen", s.id, says, words.Quote(v), words.Quote(h.value))
	}
	return nil
}

// arrived is told of every message that a server is given. A promise on a new storage in place of a lost one promises nothing.
func (c *checker) arrived(s *server, p *paxos.Packet, m *paxos.Message) {
	from := p.From
	if m.Kind != paxos.KindPromise || m.Ballot.Server != s.id || c.wiped[from] && p.Store != firstStore(from) {
		return
	}
	if b := c.history(m.Instance).of(m.Ballot); b.life == s.life && !b.asked {
		b.promises = append(b.promises, promise{int(from) - 1, vote{m.Accepted, m.Value}})
	}
}

// learned is told of every decision that a server learns.
func (c *checker) learned(s *server, m *paxos.Message) error {
	return c.isChosen(s, c.history(m.Instance), m.Ballot, m.Value, "learned")
}

// votedItself counts the vote of the ballot's own server once its disk implies it; no message tells of that vote. It matters only if the
// vote was saved together with a higher promise or vote.
func (c *checker) votedItself(s *server, h *history, b paxos.Ballot) {
	known := h.find(b)
	rec := s.disk.records[h.name]
	if known != nil && known.asked && b.Server == s.id && !c.wiped[s.id] && s.votes(c) && !rec.Acceptor.Accepted.Less(b) {
		_ = c.vote(h, s.id, b)
	}
}

func (s *server) votes(c *checker) bool { return int(s.id) <= c.quorum.Size() }

// returned is told of every decision that a call returns.
func (c *checker) returned(s *server, d paxos.Decision) error {
	h := c.history(d.Instance)
	if !h.chosen {
		c.votedItself(s, h, d.Ballot)
	}
	if !h.chosen || h.value != d.Value {
		return h.broken("I9", "a call returned %s, and that is not what is chosen", words.Quote(d.Value))
	}
	return nil
}

// readNothing is told of every Read that found nothing chosen. before says that a value was chosen when the Read began.
func (c *checker) readNothing(instance string, before bool) error {
	if h := c.history(instance); before {
		return h.broken("I9", "a read returned nothing, and %s was chosen when it began", words.Quote(h.value))
	}
	return nil
}

// shown is told of the Index that a server shows with each Output.
func (c *checker) shown(s *server, index uint64) error {
	if index > s.disk.state.Last {
		return fmt.Errorf("I9 is broken: server %d shows Index %d, its disk has them up to %d", s.id, index, s.disk.state.Last)
	}
	return nil
}
