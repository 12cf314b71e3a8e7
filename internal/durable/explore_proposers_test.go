package durable

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/singledecree/paxos"
)

// exMost is the most acceptors in a space.
const exMost = 5

// An exHeard is a set of replies for each acceptor, which a proposer may have heard. Bits are indexes into
// exRoles.replies.
type exHeard [exMost]uint64

// An exProposer is the shipping Proposer of one ballot and one own value, followed through every order in which it can
// hear what acceptors say: its nodes are Proposer values, its edges are calls of Step, all made before the space is
// explored. It is not assumed that a Proposer ignores what is none of its business: it is given the replies of all
// ballots, any number of times.
type exProposer struct {
	ballot paxos.Ballot
	nodes  []paxos.Proposer
	asks   []int          // by node: index of the value that it asks for; -1: it asks for nothing yet
	chosen []bool         // by node: it believes that the value is chosen
	moves  []exHeard      // by node: the replies that take it elsewhere
	edges  []map[int]int  // by node: where acceptor*64+reply takes it; -1: an error
	errs   map[int]string // by node*1024+acceptor*64+reply
	// relevant is everything that moves some node. The Proposer ignores all else.
	relevant exHeard
	votes    uint64 // the replies that are votes in this very ballot
}

// newExProposer follows NewProposer(b, own, q). A Proposer that ships is moved at most twice by an acceptor; one that
// counts duplicates is followed a little farther than that, and then no more.
func newExProposer(r *exRoles, b paxos.Ballot, own paxos.Value, q paxos.Quorum) *exProposer {
	p := &exProposer{ballot: b, errs: map[int]string{}}
	for i, reply := range r.replies {
		if reply.Kind == paxos.KindAccepted && reply.Ballot == b {
			p.votes |= 1 << i
		}
	}
	index, depth := map[paxos.Proposer]int{}, []int{}
	node := func(n paxos.Proposer, d int) int {
		i, ok := index[n]
		if !ok {
			i = len(p.nodes)
			index[n] = i
			p.nodes, depth = append(p.nodes, n), append(depth, d)
			p.asks, p.chosen = append(p.asks, p.asked(r, n)), append(p.chosen, n.Chosen())
			p.moves, p.edges = append(p.moves, exHeard{}), append(p.edges, map[int]int{})
		}
		return i
	}
	node(paxos.NewProposer(b, own, q), 0)
	for from := 0; from < len(p.nodes); from++ {
		for acceptor := range q.Size() {
			for reply := range r.replies {
				if depth[from] > 2*q.Size()+1 || p.asks[from] < 0 && p.votes>>reply&1 == 1 {
					continue // nobody votes in a ballot before its Accept is out
				}
				next, err := p.step(r, p.nodes[from], acceptor, reply)
				to := -1
				if err != "" {
					p.errs[from*1024+acceptor*64+reply] = err
				} else if to = node(next, depth[from]+1); to == from {
					continue
				}
				p.edges[from][acceptor*64+reply] = to
				p.moves[from][acceptor] |= 1 << reply
				p.relevant[acceptor] |= 1 << reply
			}
		}
	}
	return p
}

// asked returns the index of the value that n asks for.
func (p *exProposer) asked(r *exRoles, n paxos.Proposer) int {
	if n.Accept().Kind == 0 {
		return -1
	}
	return slices.Index(r.values, n.Accept().Value)
}

// step is Proposer.Step, and the rule of each step: the Accept comes out once, is of this ballot, and never changes.
func (p *exProposer) step(r *exRoles, n paxos.Proposer, acceptor, reply int) (paxos.Proposer, string) {
	next, out, err := n.Step(acceptor, r.replies[reply].Message)
	before, after := n.Accept(), next.Accept()
	switch {
	case err != nil:
		return n, err.Error()
	case n.Chosen() && !next.Chosen():
		return n, fmt.Sprintf("the proposer of %s knew that its value is chosen, and forgot it", p.ballot)
	case before.Kind != 0 && before != after:
		return n, fmt.Sprintf("I6: the proposer of %s asked for %q and now for %q", p.ballot, before.Value, after.Value)
	case before.Kind != 0 && out.Kind != 0:
		return n, fmt.Sprintf("the proposer of %s gives its Accept out twice", p.ballot)
	case before.Kind == 0 && out != after:
		return n, fmt.Sprintf("the proposer of %s gives out %v, but would repeat %v", p.ballot, out, after)
	case after.Kind != 0 && (after.Kind != paxos.KindAccept || after.Ballot != p.ballot || p.asked(r, next) < 0):
		return n, fmt.Sprintf("the proposer of %s asks with %v", p.ballot, after)
	}
	return next, ""
}

// An exAnswer is what the proposers of one ballot, one for each own value, can make of what they heard.
type exAnswer struct {
	asks   uint8  // the values that they can ask for
	shown  [2]int // by value: how many successors Phase2a of Paxos.tla has, see exShown
	chosen uint8  // the values that they can believe chosen
	err    string
}

// hear follows p to every node that it can reach by what is heard. accepts are the values asked for in this ballot:
// only a proposer that asked for one of them is there to hear votes.
func (p *exProposer) hear(heard exHeard, accepts uint8, answer *exAnswer) {
	visited := make([]bool, len(p.nodes))
	visited[0] = true
	for queue := []int{0}; len(queue) > 0; {
		n := queue[0]
		queue = queue[1:]
		votes := p.votes
		if v := p.asks[n]; v >= 0 {
			answer.asks |= 1 << v
			if accepts>>v&1 == 1 {
				votes = 0
			}
			if p.chosen[n] {
				answer.chosen |= 1 << v
			}
		}
		for acceptor, moves := range p.moves[n] {
			for m := moves & heard[acceptor] &^ votes; m != 0; m &= m - 1 {
				at := acceptor*64 + bits.TrailingZeros64(m)
				to := p.edges[n][at]
				if to < 0 {
					answer.err = p.errs[n*1024+at]
				} else if !visited[to] {
					visited[to] = true
					queue = append(queue, to)
				}
			}
		}
	}
}

// exShown counts, for each value, the successors that Phase2a(b, v) has in Paxos.tla:
//
//	\E Q \in Quorum :
//	   LET Q1b == {m \in msgs : m.type = "1b" /\ m.acc \in Q /\ m.bal = b}
//	       Q1bv == {m \in Q1b : m.mbal >= 0}
//	   IN  /\ \A a \in Q : \E m \in Q1b : m.acc = a
//	       /\ \/ Q1bv = {}
//	          \/ \E m \in Q1bv : m.mval = v /\ \A mm \in Q1bv : m.mbal >= mm.mbal
//
// It is written anew here, from the specification, to hold the Proposer against. quorums are those it has.
func exShown(r *exRoles, b paxos.Ballot, quorums []paxos.Set, heard exHeard) (shown [2]int) {
	for _, q := range quorums {
		var highest paxos.Ballot
		var witnesses [2]int
		answered := paxos.Set(0)
		for acceptor, replies := range heard {
			for ; q.Has(acceptor) && replies != 0; replies &= replies - 1 {
				m := r.replies[bits.TrailingZeros64(replies)]
				if m.Kind != paxos.KindPromise || m.Ballot != b {
					continue
				}
				answered = answered.With(acceptor)
				if highest.Less(m.Accepted) {
					highest, witnesses = m.Accepted, [2]int{}
				}
				if !m.Accepted.IsZero() && m.Accepted == highest && m.value >= 0 {
					witnesses[m.value]++
				}
			}
		}
		for v := range r.values {
			if answered == q && highest.IsZero() {
				shown[v]++
			} else if answered == q {
				shown[v] += witnesses[v]
			}
		}
	}
	return shown
}

// exQuorums lists the phase-1 quorums of q: all, or only the smallest, those that are none without any one member.
// TLC's model lists the smallest, and they decide how many successors it counts. All of them decide the steps of the Proposer:
// when acceptors are not equal, it can have heard one that the quorum would not have needed.
func exQuorums(q paxos.Quorum, smallest bool) (quorums []paxos.Set) {
	for s := paxos.Set(0); s <= paxos.All(q.Size()); s++ {
		listed := q.Phase1(s)
		for i := range q.Size() {
			listed = listed && !(smallest && s.Has(i) && q.Phase1(s&^(1<<i)))
		}
		if listed {
			quorums = append(quorums, s)
		}
	}
	return quorums
}

// An exZero says whether the instance is owned, and how its name was made. The owner is the server of ballot 0, which is of
// round 0 then.
type exZero uint8

const (
	exNobodys exZero = iota
	exOwned          // by Owned
	exMinted         // by Mint, in the owner's first life
)

// An exOwnership is the part of an exConfig that is about owned instances. The rules of a Replica for round 0 (ownsRound and
// beginOwned) is in this file, rule by rule; the roles are those that ship.
type exOwnership struct {
	zero      exZero
	strangers int // so many ballots from 1 on are of round 0, too: their servers use it, and should not

	// Rules to leave out.
	anyone    bool // acceptors take round 0 from anyone
	unchecked bool // the owner uses round 0 whatever its acceptor has promised or accepted
	unvoted   bool // it does not vote at once: its own Accept comes to its acceptor as to any other, or not
	unsaved   bool // the Accept leaves before the own vote is saved, though the name was not minted
	again     bool // it uses round 0 of a minted name in a later life
	outside   bool // it is no acceptor: its position is the one after theirs
}

// round returns the round of ballot k.
func (c *exConfig) round(k int) uint64 {
	if c.zero == exNobodys {
		return uint64(k) + 1
	}
	return uint64(max(0, k-c.strangers))
}

// instance returns the name of the instance in an Accept of ballot b.
func (c *exConfig) instance(b paxos.Ballot) string {
	owner := paxos.ServerID(c.owners[0]) + 1
	if c.anyone {
		owner = b.Server
	}
	switch c.zero {
	case exOwned:
		return paxos.Owned(owner, "x")
	case exMinted:
		return fmt.Sprintf("$%d.1.1/x", owner)
	}
	return ""
}

func (c *exConfig) ownsInstance(i int) bool { return c.zero != exNobodys && c.owners[0] == i }

// askOwned takes the steps that begin ballot b, which is of round 0.
func (m *exModel) askOwned(b int) error {
	for v := range m.values {
		rest := m.rest
		rest.asking |= 1 << b
		rest.accepts |= 1 << (b*len(m.values) + v)
		switch {
		case b > 0 || m.outside:
			if m.rest.asking>>b&1 == 0 {
				m.emitRest(exAsk.message(b*len(m.values)+v), rest)
			}
		case m.rest.dead&1 == 0:
			if err := m.askOwn(v, rest); err != nil {
				return err
			}
		}
	}
	return nil
}

// askOwn is beginOwned: the owner's acceptor has promised and accepted nothing, it votes for v, and the Accept leaves.
func (m *exModel) askOwn(v int, rest exRest) error {
	i := m.owners[0]
	s, steps, acceptor := m.servers[i], m.acceptorSteps, m.servers[i].role
	if i < m.async {
		steps, acceptor = m.saveSteps, m.volatile[s.role]
	}
	if acceptor != 0 && !m.unchecked {
		return nil
	}
	if m.holdsBack() {
		rest.accepts = m.rest.accepts // see sendOwnedAccept
	}
	step := steps[s.role][len(m.ballots)+v][0]
	switch {
	case m.unvoted, step.err != "" && m.agreement:
		if rest != m.rest {
			m.emitRest(exAsk.message(v), rest)
		}
		return nil
	case step.err != "":
		m.emitRest(exAsk.message(v), rest)
		return errors.New(step.err)
	}
	next, _, err := m.heard(i, step)
	m.to[m.n] = m.packRest(rest)
	if next != s || rest != m.rest {
		m.emitServer(exAsk.message(v), i, next)
	}
	m.to[m.n] = m.from[m.n]
	return err
}

// holdsBack reports whether the Accept of round 0 waits for the owner's vote to be saved.
func (m *exSpace) holdsBack() bool { return m.zero == exOwned && !m.unsaved }

// sendOwnedAccept sends the Accept of round 0 when server i, which owns it, becomes s and its vote is saved. To itself it says then, as
// it would to others, that it has voted.
func (m *exModel) sendOwnedAccept(i int, s exServer) {
	if m.ownsInstance(i) && m.holdsBack() {
		m.to[m.n] |= m.accepts.put(m.votesIn(s.sent) & (1<<len(m.values) - 1))
	}
}

// crashOwner says whether server i may use round 0 in its next life: always, if its storage does not say that it did; but a
// minted name is of one life.
func (m *exModel) crashOwner(i int, rest *exRest) {
	switch {
	case !m.ownsInstance(i):
	case m.zero == exMinted && !m.again:
		rest.dead |= 1
	default:
		rest.asking &^= 1
	}
}

// restartOutsider has an owner start again that does not vote, and so does not know what it did.
func (m *exModel) restartOutsider() {
	if rest := m.rest; m.outside && rest.crashes < uint64(m.crashes) && rest.asking&1 == 1 {
		rest.asking &^= 1
		rest.crashes++
		m.emitRest(exCrash.server(m.n), rest)
	}
}

// seenOwned returns what the loaded state is an example of. That the owner used round 0 in two lives can be told where it alone
// crashes: after a crash, only its later life asks.
func (m *exModel) seenOwned(tally *exTally) (seen uint64) {
	if m.zero == exNobodys {
		return 0
	}
	out := m.acceptsOf(0)
	if len(tally.inBallot) > 0 && tally.inBallot[0] != 0 {
		seen |= exSeenOwned
	}
	if out != 0 && tally.chosen&^out != 0 {
		seen |= exSeenOverruled
	}
	if m.rest.crashes > 0 && m.rest.asking&1 == 1 && m.rest.dead&1 == 0 && !m.outside {
		seen |= exSeenAgain
	}
	return seen
}

// ownedText tells what else the server does that asks for votes in round 0.
func (x *exSpace) ownedText(message int) string {
	switch {
	case x.zero == exNobodys || message >= len(x.values) || x.outside || x.unvoted:
		return ""
	case x.holdsBack():
		return ", when its own vote is saved"
	}
	return ", and votes"
}
