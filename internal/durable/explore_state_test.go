package durable

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/singledecree/paxos"
)

// An exConfig says which space to explore.
type exConfig struct {
	quorum  paxos.Quorum
	wanted  int   // how many values proposers may want: the empty one first, which is a value like any other
	owners  []int // by ballot: the position of the server that tries it. Ballot k is of round k+1, but see exOwnership
	async   int   // how many servers, the first ones, have storage that takes time, and can crash. The others save at once
	crashes int   // how many crashes there may be in all
	// paper explores the space of Lamport's Paxos.tla, and counts as TLC does: every action that is enabled is a step,
	// also one that changes nothing. Otherwise those are not counted, and a Prepare goes to acceptors again and again.
	paper    bool
	symmetry bool // take states for one that differ in the names of values and of equal servers only
	// agreement checks I1 alone, so that a trace shows what a broken rule leads to in the end.
	agreement bool
	rules     exRules // zero: those that ship
	// Rules of the Replica to leave out.
	early bool // a server's own promise and own vote reach its proposer before they are saved
	reuse bool // a server that crashed uses its ballots again

	exOwnership
}

// An exSpace is an exConfig with all tables made, and with the layout of a state in words: one word for each server, so
// that exchanging equal servers is exchanging words, and one for the rest.
//
//	server that saves at once:  Acceptor | replies sent
//	server that takes time:     save | durable Acceptor | snapshot that is being saved | votes saved | replies, 2 bits each
//	the rest:                   Prepares sent | ballots that ask | ballots whose proposer died | Accepts sent | crashes
//
// A reply is 0 not said, 1 held until a later Save has begun and ended, 2 held until the Save that runs has ended, 3
// sent. Messages sent stay for ever: a lost one is one that nobody receives, a duplicate is one that is received
// twice.
type exSpace struct {
	exConfig
	*exRoles
	n         int
	quorums   []paxos.Set
	proposers [][]*exProposer // by ballot and own value
	classes   [][2]int        // from, to: servers that are equal

	role, durable, snapshot, votes, low, high               exField // of a server
	prepared, asking, dead, accepts, crashed                exField // of the rest
	pairsAsync, pairsSync, pairsRest, rolesAsync, rolesSync uint64
}

// An exField is a run of bits in a word.
type exField struct{ shift, width int }

func (f exField) get(word uint64) uint64      { return word >> f.shift & (1<<f.width - 1) }
func (f exField) put(value uint64) uint64     { return value << f.shift }
func (f exField) after(width int) exField     { return exField{f.shift + f.width, width} }
func (f exField) all() uint64                 { return f.put(1<<f.width - 1) }
func (f exField) pairs(pattern uint64) uint64 { return f.put(pattern & (1<<f.width - 1)) }

// An exServer is one server, unpacked.
type exServer struct {
	role     int    // index of its Acceptor, or of its save if its storage takes time
	durable  int    // index of the Acceptor on stable storage
	snapshot int    // 1 + index of the Acceptor in the Save that runs; 0: none runs
	votes    uint64 // which votes were ever on stable storage: bit ballot*values+value
	// Replies, each in one set at most.
	sent, running, gathering uint64
}

// An exRest is what belongs to no acceptor.
type exRest struct {
	prepared uint64 // by ballot: the Prepare is out
	asking   uint64 // by ballot: its proposer has sent its Accept
	dead     uint64 // by ballot: its proposer died in a crash
	accepts  uint64 // by ballot*values+value: this Accept is out
	crashes  uint64 // how many there were
}

// newExSpace makes the tables, and returns an error if a state does not fit in words of 64 bits.
func newExSpace(c exConfig) (*exSpace, error) {
	if c.rules.step == nil {
		c.rules = exShipping
	}
	var ballots []paxos.Ballot
	for k, owner := range c.owners {
		ballots = append(ballots, paxos.Ballot{Round: c.round(k), Server: paxos.ServerID(owner) + 1})
	}
	values := []paxos.Value{"", "a"}[:c.wanted]
	x := &exSpace{exConfig: c, n: c.quorum.Size(), quorums: exQuorums(c.quorum, c.paper)}
	x.exRoles = newExRoles(ballots, values, c.async > 0, c.rules, c.instance)
	if err := x.layOut(); err != nil {
		return nil, err
	}
	for _, b := range ballots {
		var own []*exProposer
		for _, v := range values {
			own = append(own, newExProposer(x.exRoles, b, v, c.quorum))
		}
		x.proposers = append(x.proposers, own)
	}
	x.class(0, c.async, func(i, j int) bool { return x.owned(i) == 0 && x.owned(j) == 0 && exEqual(c.quorum, i, j) })
	x.class(c.async, x.n, func(i, j int) bool { return !x.ownsInstance(i) && !x.ownsInstance(j) && exEqual(c.quorum, i, j) })
	return x, nil
}

func (x *exSpace) layOut() error {
	ballots, replies, states := len(x.ballots), len(x.replies), bits.Len(uint(len(x.acceptors)))
	choices := ballots * len(x.values)
	x.role = exField{0, states}
	x.high = x.role.after(replies)
	if x.async > 0 {
		x.role = exField{0, bits.Len(uint(len(x.saves)))}
		x.durable = x.role.after(states)
		x.snapshot = x.durable.after(states)
		x.votes = x.snapshot.after(choices)
		x.low = x.votes.after(replies)
		x.high = x.low.after(replies)
	}
	x.prepared = exField{0, ballots}
	x.asking = x.prepared.after(ballots)
	x.dead = x.asking.after(ballots)
	x.accepts = x.dead.after(choices)
	x.crashed = x.accepts.after(3)
	if x.high.shift+x.high.width > 64 || x.n > exMost {
		return fmt.Errorf("explore: %d states of an acceptor, %d of a save and %d replies do not fit in a word",
			len(x.acceptors), len(x.saves), replies)
	}
	var pairs uint64
	for i, p := range x.replies {
		if other := slices.Index(x.replies, x.otherReply(p)); p.value == 0 && other != i {
			if other != i+1 {
				return fmt.Errorf("explore: %s and %s are not side by side", x.replyText(p), x.replyText(x.replies[other]))
			}
			pairs |= 1 << i
		}
	}
	const even = 0x5555555555555555
	x.pairsRest = x.accepts.pairs(even)
	x.pairsSync = x.high.pairs(pairs)
	x.pairsAsync = x.votes.pairs(even) | x.low.pairs(pairs) | x.high.pairs(pairs)
	x.rolesSync = x.role.all()
	x.rolesAsync = x.role.all() | x.durable.all() | x.snapshot.all()
	return nil
}

// class splits the servers from a to b into runs of equal ones.
func (x *exSpace) class(a, b int, equal func(i, j int) bool) {
	for from := a; from < b; {
		to := from + 1
		for to < b && equal(from, to) {
			to++
		}
		x.classes = append(x.classes, [2]int{from, to})
		from = to
	}
}

// owned returns the ballots of server i.
func (x *exSpace) owned(i int) (ballots uint64) {
	for b, owner := range x.owners {
		if owner == i {
			ballots |= 1 << b
		}
	}
	return ballots
}

// exEqual reports whether acceptors i and j can be exchanged without a difference to q.
func exEqual(q paxos.Quorum, i, j int) bool {
	for s := paxos.Set(0); s <= paxos.All(q.Size()); s++ {
		exchanged := s
		if s.Has(i) != s.Has(j) {
			exchanged ^= 1<<i | 1<<j
		}
		if q.Phase1(s) != q.Phase1(exchanged) || q.Phase2(s) != q.Phase2(exchanged) {
			return false
		}
	}
	return true
}

func (x *exSpace) initial() []uint64 {
	state := make([]uint64, x.n+1)
	for i := range x.n {
		state[i] = x.pack(i, exServer{role: 0})
	}
	return state
}

// pack and unpack server i. Index 0 is the zero Acceptor, and the zero save.
func (x *exSpace) pack(i int, s exServer) uint64 {
	word := x.role.put(uint64(s.role))
	if i >= x.async {
		return word | x.syncSent().put(s.sent)
	}
	return word | x.durable.put(uint64(s.durable)) | x.snapshot.put(uint64(s.snapshot)) | x.votes.put(s.votes) |
		x.low.put(s.gathering|s.sent) | x.high.put(s.running|s.sent)
}

func (x *exSpace) unpack(i int, word uint64) exServer {
	if i >= x.async {
		role := int(x.role.get(word))
		return exServer{role: role, durable: role, sent: x.syncSent().get(word)}
	}
	low, high := x.low.get(word), x.high.get(word)
	return exServer{
		role: int(x.role.get(word)), durable: int(x.durable.get(word)), snapshot: int(x.snapshot.get(word)),
		votes: x.votes.get(word), sent: low & high, running: high &^ low, gathering: low &^ high,
	}
}

// syncSent is where a server that saves at once has its replies: the layout is that of the others, with gaps.
func (x *exSpace) syncSent() exField { return x.high }

func (x *exSpace) packRest(r exRest) uint64 {
	return x.prepared.put(r.prepared) | x.asking.put(r.asking) | x.dead.put(r.dead) | x.accepts.put(r.accepts) |
		x.crashed.put(r.crashes)
}

func (x *exSpace) unpackRest(word uint64) exRest {
	return exRest{x.prepared.get(word), x.asking.get(word), x.dead.get(word), x.accepts.get(word), x.crashed.get(word)}
}

// Canonical sorts equal servers, and takes the lesser of the state and the one with the values exchanged.
func (m *exModel) Canonical(state []uint64) {
	x := m.exSpace
	if !x.symmetry {
		return
	}
	x.sortServers(state)
	if len(x.values) < 2 {
		return
	}
	other := m.other[:len(state)]
	for i, word := range state[:x.n] {
		other[i] = x.exchanged(i, word)
	}
	other[x.n] = exExchangePairs(state[x.n], x.pairsRest)
	x.sortServers(other)
	if slices.Compare(other, state) < 0 {
		copy(state, other)
	}
}

func (x *exSpace) sortServers(state []uint64) {
	for _, c := range x.classes {
		for i := c[0] + 1; i < c[1]; i++ {
			for j := i; j > c[0] && state[j] < state[j-1]; j-- {
				state[j], state[j-1] = state[j-1], state[j]
			}
		}
	}
}

// exchanged returns the word of server i with the two values exchanged.
func (x *exSpace) exchanged(i int, word uint64) uint64 {
	role := int(x.role.get(word))
	if i >= x.async {
		return exExchangePairs(word&^x.rolesSync, x.pairsSync) | x.role.put(uint64(x.acceptorOther[role]))
	}
	other := exExchangePairs(word&^x.rolesAsync, x.pairsAsync) | x.role.put(uint64(x.saveOther[role])) |
		x.durable.put(uint64(x.acceptorOther[x.durable.get(word)]))
	if s := x.snapshot.get(word); s > 0 {
		other |= x.snapshot.put(uint64(x.acceptorOther[s-1]) + 1)
	}
	return other
}

// exExchangePairs exchanges each bit in low with the one above it.
func exExchangePairs(word, low uint64) uint64 {
	return word&^(low|low<<1) | word&low<<1 | word>>1&low
}
