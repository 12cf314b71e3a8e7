package paxos

// A vote is the latest acceptance of an acceptor that a learner has heard of.
type vote struct {
	ballot Ballot
	value  Value
}

// A Learner finds out which value is chosen, from the votes that acceptors report (Paxos Made Simple, 2.3). Section 2.2 says:
// "a value is chosen when a single proposal with that value has been accepted by a majority of the acceptors". So a Learner
// counts each ballot by itself: equal values accepted in different ballots do not add up.
//
// It keeps only the latest vote of each acceptor. A Learner is a value: [Learner.Step] returns another one and leaves the
// old one as it was. The zero Learner is not usable: see [NewLearner].
//
// Invariants: the vote of an acceptor only moves to a higher ballot. A chosen value stays.
type Learner struct {
	quorum Quorum
	votes  []vote // by acceptor; never written once Step has returned it
	chosen bool
	value  Value
}

// NewLearner returns a Learner that has heard no vote, for the quorum q.
func NewLearner(q Quorum) Learner { return Learner{quorum: q} }

// Step takes the news that the acceptor at the given position accepted v in ballot b. A vote that is not above the latest one
// of the same acceptor is old news, and changes nothing. Neither does a zero ballot, which is no vote.
//
// The error is a [*SafetyError]: one ballot has two values, or a second value is chosen. In that case next is l.
func (l Learner) Step(acceptor int, b Ballot, v Value) (next Learner, err error) {
	if b.IsZero() || acceptor < 0 || acceptor >= l.quorum.Size() {
		return l, nil
	}
	for _, other := range l.votes {
		if other.ballot == b && other.value != v {
			return l, &SafetyError{Ballot: b, Values: [2]Value{other.value, v},
				Reason: "two acceptors voted for different values in one ballot"}
		}
	}
	if l.votes != nil && !l.votes[acceptor].ballot.Less(b) {
		return l, nil
	}
	next = l
	next.votes = make([]vote, l.quorum.Size())
	copy(next.votes, l.votes)
	next.votes[acceptor] = vote{b, v}
	if !next.quorum.Phase2(next.voters(b)) {
		return next, nil
	}
	if l.chosen && l.value != v {
		return l, &SafetyError{Ballot: b, Values: [2]Value{l.value, v}, Reason: "two values were chosen"}
	}
	next.chosen, next.value = true, v
	return next, nil
}

// voters returns the acceptors whose latest vote is in ballot b.
func (l Learner) voters(b Ballot) (s Set) {
	for i, v := range l.votes {
		if v.ballot == b {
			s = s.With(i)
		}
	}
	return s
}

// Highest returns the vote in the highest ballot among all that were heard. The ballot is zero if no vote was heard.
func (l Learner) Highest() (b Ballot, v Value) {
	for _, other := range l.votes {
		if b.Less(other.ballot) {
			b, v = other.ballot, other.value
		}
	}
	return b, v
}

// IsZero reports whether l is the zero Learner, which is not usable.
func (l Learner) IsZero() bool { return l.quorum == nil }

// Chosen returns the chosen value. ok is false while the learner knows of none.
func (l Learner) Chosen() (v Value, ok bool) { return l.value, l.chosen }
