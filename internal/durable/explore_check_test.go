package durable

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/singledecree/paxos"
)

// A state can be an example of these. A space in which none was seen would prove nothing.
const (
	exSeenChosen    uint64 = 1 << iota // the first value is chosen; one bit up: the second
	exSeenOther                        // the second value is chosen
	exSeenCrash                        // a server crashed
	exSeenTwoStages                    // replies wait for the Save that runs, and others for the next
	exSeenUnsent                       // a vote is on stable storage that was never sent
	exSeenCoalesced                    // a vote was sent that stable storage never showed: a later one was saved for both
	exSeenOwned                        // a quorum voted in round 0
	exSeenOverruled                    // an Accept of round 0 is out, and another value is chosen
	exSeenAgain                        // a server used round 0 in two lives
)

// Check is what must hold in each state: I1, I4, I6, I8, and that learners and proposers see a decision that can be
// seen. I3, I5 and I7 are checked in the steps.
func (m *exModel) Check(state []uint64) (seen uint64, err error) {
	m.load(state)
	var votes uint64
	width := len(m.ballots) * len(m.values)
	for i := range m.n {
		s := &m.servers[i]
		sent := m.votesIn(s.sent)
		votes |= (sent | s.votes) << (i * width)
		if s.running != 0 && s.gathering != 0 {
			seen |= exSeenTwoStages
		}
		if s.votes&^sent != 0 {
			seen |= exSeenUnsent
		}
		if i < m.async && sent&^s.votes != 0 {
			seen |= exSeenCoalesced
		}
	}
	if m.rest.crashes > 0 {
		seen |= exSeenCrash
	}
	tally := m.tally(votes)
	seen |= uint64(tally.chosen)*exSeenChosen | m.seenOwned(tally)
	if tally.chosen|m.believed() == 3 {
		return seen, errors.New("I1: two values are chosen")
	}
	if m.agreement {
		return seen, nil
	}
	if tally.err != "" {
		return seen, errors.New(tally.err)
	}
	return seen, m.checkRoles(tally)
}

// believed returns the values that some living proposer believes chosen.
func (m *exModel) believed() (values uint8) {
	for b := range m.ballots {
		if m.rest.asking>>b&1 == 1 && m.rest.dead>>b&1 == 0 {
			values |= m.answer(b).chosen
		}
	}
	return values
}

func (m *exModel) checkRoles(tally *exTally) error {
	for i := range m.n {
		s := &m.servers[i]
		if err := m.broken(s.durable); err != nil {
			return fmt.Errorf("server %d: %w", i+1, err)
		}
		if i < m.async {
			if err := m.broken(m.volatile[s.role]); err != nil {
				return fmt.Errorf("server %d, not saved: %w", i+1, err)
			}
		}
	}
	for b, ballot := range m.ballots {
		accepts := m.acceptsOf(b)
		if bits.OnesCount8(accepts) > 1 {
			return fmt.Errorf("I6: two values in ballot %s", ballot)
		}
		if m.rest.dead>>b&1 == 1 {
			continue
		}
		answer := m.answer(b)
		if answer.err != "" {
			return errors.New(answer.err)
		}
		if answer.chosen&^tally.inBallot[b] != 0 {
			return fmt.Errorf("I8: the proposer of %s believes that its value is chosen, but no quorum voted for it", ballot)
		}
		if m.rest.asking>>b&1 == 1 && m.quorumSent(b) && answer.chosen == 0 {
			return fmt.Errorf("the proposer of %s does not see that its value is chosen", ballot)
		}
		if m.rest.asking>>b&1 == 0 {
			for v, shown := range answer.shown {
				if shown > 0 && answer.asks>>v&1 == 0 {
					return fmt.Errorf("the proposer of %s does not ask for %q, though it could", ballot, m.values[v])
				}
			}
		}
	}
	return nil
}

// quorumSent reports whether a phase-2 quorum of Accepteds of ballot b is sent.
func (m *exModel) quorumSent(b int) bool {
	var voters paxos.Set
	for i := range m.n {
		for sent := m.servers[i].sent; sent != 0; sent &= sent - 1 {
			reply := m.replies[bits.TrailingZeros64(sent)]
			if reply.Kind == paxos.KindAccepted && reply.Ballot == m.ballots[b] {
				voters = voters.With(i)
			}
		}
	}
	return m.quorum.Phase2(voters)
}

func (m *exModel) acceptsOf(b int) uint8 {
	return uint8(m.rest.accepts >> (b * len(m.values)) & (1<<len(m.values) - 1))
}

// votesIn turns replies into votes: bit ballot*values+value.
func (m *exModel) votesIn(replies uint64) (votes uint64) {
	for ; replies != 0; replies &= replies - 1 {
		r := &m.replies[bits.TrailingZeros64(replies)]
		if r.Kind != paxos.KindAccepted || r.value < 0 {
			continue
		}
		for b, ballot := range m.ballots {
			if r.Ballot == ballot {
				votes |= 1 << (b*len(m.values) + r.value)
			}
		}
	}
	return votes
}

// answer returns what the proposers of ballot b can make of what they can have heard in the loaded state.
func (m *exModel) answer(b int) *exAnswer {
	q := exQuestion{ballot: b, accepts: m.acceptsOf(b)}
	for i := range m.n {
		s := &m.servers[i]
		q.heard[i] = s.sent
		if m.early && m.owners[b] == i {
			q.heard[i] |= s.running | s.gathering
		}
		q.heard[i] &= m.relevant(b, i)
	}
	a, ok := m.answers[q]
	if !ok {
		a = &exAnswer{}
		for _, p := range m.proposers[b] {
			p.hear(q.heard, q.accepts, a)
		}
		a.shown = exShown(m.exRoles, m.ballots[b], m.quorums, q.heard)
		m.answers[q] = a
	}
	return a
}

func (m *exModel) relevant(b, i int) (replies uint64) {
	for _, p := range m.proposers[b] {
		replies |= p.relevant[i]
	}
	return replies
}

// An exTally is what follows from a set of votes.
type exTally struct {
	inBallot []uint8 // by ballot: the values that a phase-2 quorum voted for in it
	chosen   uint8   // in any ballot
	err      string
}

// tally counts votes, with the quorum alone, and then lets learners hear them in every order. Learners must say the
// same as the count, neither more nor less.
func (m *exModel) tally(votes uint64) *exTally {
	if t, ok := m.tallies[votes]; ok {
		return t
	}
	t := &exTally{}
	m.tallies[votes] = t
	width := len(m.ballots) * len(m.values)
	for b := range m.ballots {
		var cast, chosen uint8
		for v := range m.values {
			var voters paxos.Set
			for i := range m.n {
				if votes>>(i*width+b*len(m.values)+v)&1 == 1 {
					voters = voters.With(i)
					cast |= 1 << v
				}
			}
			if m.quorum.Phase2(voters) {
				chosen |= 1 << v
			}
		}
		t.inBallot = append(t.inBallot, chosen)
		t.chosen |= chosen
		if cast == 3 {
			t.err = fmt.Sprintf("I6: votes for two values in ballot %s", m.ballots[b])
		}
	}
	if t.err != "" || t.chosen == 3 {
		return t
	}
	learned, err := m.learner.hear(m.exSpace, votes)
	switch {
	case err != "":
		t.err = err
	case learned&^t.chosen != 0:
		t.err = "I8: a learner takes a value for chosen, but no quorum voted for it in one ballot"
	case learned != t.chosen:
		t.err = "no learner finds out what is chosen, whatever the order in which it hears the votes"
	}
	return t
}

// An exLearner is the shipping Learner, followed through every order of every set of votes that comes up. Its nodes are
// Learner values, its edges calls of Step; both are made when first needed.
type exLearner struct {
	nodes []paxos.Learner
	index map[string]int
	edges []map[int]exEdge
}

type exEdge struct {
	to  int
	err string
}

func newExLearner(q paxos.Quorum) exLearner {
	l := exLearner{index: map[string]int{}}
	l.node(paxos.NewLearner(q))
	return l
}

func (l *exLearner) node(n paxos.Learner) int {
	key := fmt.Sprintf("%v", n)
	i, ok := l.index[key]
	if !ok {
		i = len(l.nodes)
		l.index[key] = i
		l.nodes, l.edges = append(l.nodes, n), append(l.edges, map[int]exEdge{})
	}
	return i
}

// hear returns the values that a Learner can take for chosen, having heard some of the votes in some order.
func (l *exLearner) hear(x *exSpace, votes uint64) (learned uint8, err string) {
	visited := map[int]bool{0: true}
	for queue := []int{0}; len(queue) > 0; {
		n := queue[0]
		queue = queue[1:]
		if value, ok := l.nodes[n].Chosen(); ok {
			for v := range x.values {
				if x.values[v] == value {
					learned |= 1 << v
				}
			}
		}
		for left := votes; left != 0; left &= left - 1 {
			edge := l.step(x, n, bits.TrailingZeros64(left))
			if edge.err != "" {
				return learned, edge.err
			}
			if !visited[edge.to] {
				visited[edge.to] = true
				queue = append(queue, edge.to)
			}
		}
	}
	return learned, ""
}

func (l *exLearner) step(x *exSpace, n, vote int) exEdge {
	edge, ok := l.edges[n][vote]
	if !ok {
		width := len(x.ballots) * len(x.values)
		b, v := vote%width/len(x.values), vote%width%len(x.values)
		next, err := l.nodes[n].Step(vote/width, x.ballots[b], x.values[v])
		edge = exEdge{l.node(next), exText(err)}
		before, ok := l.nodes[n].Chosen()
		if after, still := next.Chosen(); ok && (!still || after != before) && edge.err == "" {
			edge.err = fmt.Sprintf("a learner knew that %q is chosen, and forgot it", before)
		}
		l.edges[n][vote] = edge
	}
	return edge
}
