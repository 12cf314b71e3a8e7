package paxos

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// 2.2: "The failure of the acceptor makes any further progress impossible." (of a single acceptor)
func TestPaper22OneAcceptorCannotFail(t *testing.T) {
	alone, three := newPaperWorld(t, 1), newPaperWorld(t, 3)
	b := alone.begin(1, 1, "a")
	assert.Zero(t, alone.attempts[b].Accept(), "its acceptor is down, so nothing follows")
	three.propose(1, 1, "a", 0, 2)
	assert.Len(t, three.chosen(), 1, "of three, one may be down")
}

// 2.2: "any two majorities have at least one acceptor in common"
func TestPaper22AnyTwoMajoritiesMeet(t *testing.T) {
	for n := 1; n <= 9; n++ {
		q := Majority(n)
		for s := Set(0); s <= All(n); s++ {
			require.Equal(t, s.Len() >= n/2+1, q.Phase1(s), "%s %s", q, s)
			require.Equal(t, q.Phase1(s), q.Phase2(s), "%s %s", q, s)
			require.False(t, q.Phase1(s) && q.Phase2(All(n)&^s), "%s: %s and all others are two majorities", q, s)
		}
	}
}

// 2.2, P1: "An acceptor must accept the first proposal that it receives." P1a subsumes it.
func TestPaper22P1AcceptsTheFirstProposal(t *testing.T) {
	for _, b := range []Ballot{{1, 1}, {7, 3}, {MaxRound, 1}} {
		for _, v := range []Value{"a", ""} {
			w := newPaperWorld(t, 1)
			reply := w.ask(0, Message{Kind: KindAccept, Ballot: b, Value: v})
			assert.Equal(t, KindAccepted, reply.Kind)
			assert.Equal(t, []heardVote{{0, vote{b, v}}}, w.votes)
		}
	}
}

// 2.2: "every acceptor has accepted a value, but no single value is accepted by a majority of them"
func TestPaper22SplitVotesChooseNothing(t *testing.T) {
	w, l := newPaperWorld(t, 3), NewLearner(Majority(3))
	for i, v := range []Value{"a", "b", "c"} {
		w.ask(i, Message{Kind: KindAccept, Ballot: Ballot{1, ServerID(i + 1)}, Value: v})
		l = learnAll(t, l, w.votes[i])
	}
	assert.Len(t, w.votes, 3)
	assert.Empty(t, w.chosen())
	_, ok := l.Chosen()
	assert.False(t, ok)
}

// 2.2: "an acceptor must be allowed to accept more than one proposal"
func TestPaper22AcceptsMoreThanOneProposal(t *testing.T) {
	w := newPaperWorld(t, 3)
	first := w.begin(1, 1, "a")
	w.prepare(first, 0, 1)
	w.accept(first, 0)
	second := w.begin(2, 2, "b")
	w.prepare(second, 1, 2)
	w.accept(second, 0, 1)
	assert.Equal(t, []heardVote{voteOf(0, 1, 1, "a"), voteOf(0, 2, 2, "b"), voteOf(1, 2, 2, "b")}, w.votes)
	assert.Equal(t, []paperProposal{{second, "b"}}, w.chosen())
}

// 2.2: "To prevent confusion, we require that different proposals have different numbers." A break of it is reported.
func TestPaper22DifferentProposalsHaveDifferentNumbers(t *testing.T) {
	w := newPaperWorld(t, 3)
	b := w.propose(1, 1, "a", 0, 1)
	_, _, err := w.acceptors[0].Step(Message{Kind: KindAccept, Ballot: b, Value: "b"})
	assert.ErrorAs(t, err, new(*SafetyError), "the acceptor")
	_, err = learnAll(t, NewLearner(Majority(3)), w.votes[0]).Step(2, b, "b")
	assert.ErrorAs(t, err, new(*SafetyError), "the learner")
	p, _, err := NewProposer(Ballot{2, 2}, "c", Majority(3)).Step(0, w.ask(0, Message{Kind: KindPrepare, Ballot: Ballot{2, 2}}))
	require.NoError(t, err)
	_, _, err = p.Step(2, Message{Kind: KindPromise, Ballot: Ballot{2, 2}, Accepted: b, Value: "b"})
	assert.ErrorAs(t, err, new(*SafetyError), "the proposer")
}

// 2.2: "A value is chosen when a single proposal with that value has been accepted by a majority of the acceptors."
func TestPaper22ChosenByASingleProposal(t *testing.T) {
	votes := []heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 1, 1, "a"), voteOf(2, 2, 2, "a"), voteOf(3, 2, 2, "a")}
	l := learnAll(t, NewLearner(Majority(5)), votes...)
	_, ok := l.Chosen()
	assert.False(t, ok, "four of five accepted the value, but no majority a single proposal")
	v, ok := learnAll(t, l, voteOf(4, 2, 2, "a")).Chosen()
	assert.True(t, ok)
	assert.Equal(t, Value("a"), v)
}

// 2.2: "We can allow multiple proposals to be chosen, but we must guarantee that all chosen proposals have the same value."
func TestPaper22MultipleProposalsCanBeChosen(t *testing.T) {
	w := newPaperWorld(t, 3)
	for round := range uint64(9) {
		w.propose(round+1, 1+ServerID(round%3), Value('a'+rune(round)), int(round%3), int(round+1)%3)
	}
	require.Len(t, w.chosen(), 9)
	for _, p := range w.chosen() {
		assert.Equal(t, Value("a"), p.value)
	}
}

// 2.2: "Since numbers are totally ordered"
func TestPaper22NumbersAreTotallyOrdered(t *testing.T) {
	all := []Ballot{{}, {0, 1}, {0, 1<<64 - 1}, {1, 1}, {1, 2}, {2, 1}, {MaxRound, 1}, {MaxRound, 1<<64 - 1}, {1<<64 - 1, 1}}
	for i, a := range all {
		for j, b := range all {
			require.Equal(t, i < j, a.Less(b), "%s < %s", a, b)
			require.Equal(t, i == j, a.Compare(b) == 0, "%s = %s", a, b)
		}
	}
}

// 2.2, P2: "If a proposal with value v is chosen, then every higher-numbered proposal that is chosen has value v."
func TestPaper22P2(t *testing.T) {
	paperHistories(t, func(w *paperWorld) {
		all := w.chosen()
		for i := range all {
			require.Equal(t, all[0].value, all[i].value, "%s: %v", w.name, all)
		}
	})
}

// 2.2, P2a: "If a proposal with value v is chosen, then every higher-numbered proposal accepted by any acceptor has value v."
func TestPaper22P2a(t *testing.T) {
	paperHistories(t, func(w *paperWorld) {
		for _, p := range w.chosen() {
			for _, v := range w.votes {
				require.False(t, p.number.Less(v.ballot) && v.value != p.value, "%s: chosen %v, accepted %v", w.name, p, v)
			}
		}
	})
}

// 2.2, P2b: "If a proposal with value v is chosen, then every higher-numbered proposal issued by any proposer has value v."
func TestPaper22P2b(t *testing.T) {
	paperHistories(t, func(w *paperWorld) {
		for _, p := range w.chosen() {
			for _, later := range w.issued {
				require.False(t, p.number.Less(later.number) && later.value != p.value, "%s: chosen %v, issued %v", w.name, p, later)
			}
		}
	})
}

// 2.2: "a proposal could be chosen with some particular acceptor c never having received any proposal. Suppose a new
// proposer 'wakes up' and issues a higher-numbered proposal with a different value."
func TestPaper22AProposerWakesUp(t *testing.T) {
	w := newPaperWorld(t, 3)
	w.propose(1, 1, "a", 0, 1)
	require.Zero(t, w.acceptors[2])
	b := w.begin(2, 2, "b")
	w.prepare(b, 2)
	assert.Zero(t, w.attempts[b].Accept(), "acceptor c alone does not let it issue anything")
	w.prepare(b, 1)
	w.accept(b, 2)
	assert.Equal(t, Value("a"), w.acceptors[2].Value)
}

// 2.2, P2c: "if a proposal with value v and number n is issued, then there is a set S consisting of a majority of
// acceptors such that either (a) no acceptor in S has accepted any proposal numbered less than n, or (b) v is the value of
// the highest-numbered proposal among all proposals numbered less than n accepted by the acceptors in S."
func TestPaper22P2c(t *testing.T) {
	a, b := 0, 0
	paperHistories(t, func(w *paperWorld) {
		for _, p := range w.issued {
			found := false
			for s := Set(0); s <= All(len(w.acceptors)) && !found; s++ {
				if 2*s.Len() <= len(w.acceptors) {
					continue
				}
				highest := vote{}
				for _, v := range w.votes {
					if s.Has(v.from) && v.ballot.Less(p.number) && highest.ballot.Less(v.ballot) {
						highest = v.vote
					}
				}
				switch {
				case highest == vote{}:
					a++
					found = true
				case highest.value == p.value:
					b++
					found = true
				}
			}
			require.True(t, found, "%s: issued %v after %v", w.name, p, w.votes)
		}
	})
	assert.Positive(t, a)
	assert.Positive(t, b)
}

// 2.2, algorithm 1 (a): it asks for "A promise never again to accept a proposal numbered less than n".
func TestPaper22PrepareExtractsAPromise(t *testing.T) {
	w := newPaperWorld(t, 3)
	low := w.begin(1, 2, "a")
	w.prepare(low, 0, 1)
	high := w.begin(2, 1, "b")
	w.prepare(high, 0)
	w.accept(low, 0, 1)
	assert.Equal(t, []heardVote{voteOf(1, 1, 2, "a")}, w.votes, "acceptor 0 has promised, acceptor 1 has not")
}

// 2.2, algorithm 1 (b): and for "The proposal with the highest number less than n that it has accepted, if any."
func TestPaper22PrepareAsksForTheHighestAccepted(t *testing.T) {
	w := newPaperWorld(t, 1)
	prepare := func(round uint64) Message { return w.ask(0, Message{Kind: KindPrepare, Ballot: Ballot{round, 1}}) }
	assert.Equal(t, Message{Kind: KindPromise, Ballot: Ballot{1, 1}}, prepare(1), "nothing accepted yet")
	for round := uint64(2); round < 9; round += 2 {
		v := Value('a' + rune(round))
		w.ask(0, Message{Kind: KindAccept, Ballot: Ballot{round, 1}, Value: v})
		want := Message{Kind: KindPromise, Ballot: Ballot{round + 1, 1}, Accepted: Ballot{round, 1}, Value: v}
		assert.Equal(t, want, prepare(round+1))
	}
}

// 2.2, algorithm 2: "If the proposer receives the requested responses from a majority of the acceptors, then it can issue
// a proposal".
func TestPaper22IssuesWithAMajorityOnly(t *testing.T) {
	for n := 1; n <= 7; n++ {
		w := newPaperWorld(t, n)
		b := w.begin(1, 1, "a")
		for i := range n {
			w.prepare(b, i)
			assert.Equal(t, i+1 > n/2, len(w.issued) == 1, "%d of %d", i+1, n)
		}
	}
}

// 2.2, algorithm 2: "v is the value of the highest-numbered proposal among the responses"
func TestPaper22IssuesTheHighestNumberedValue(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}} {
		w := newPaperWorld(t, 5)
		for i, v := range []Value{"low", "high", "middle"} {
			number := []Ballot{{1, 1}, {2, 2}, {2, 1}}[i]
			w.ask(i, Message{Kind: KindAccept, Ballot: number, Value: v})
		}
		b := w.begin(3, 3, "own")
		w.prepare(b, order...)
		assert.Equal(t, []paperProposal{{b, "high"}}, w.issued, "asked in order %v", order)
	}
}

// 2.2, algorithm 2: "or is any value selected by the proposer if the responders reported no proposals"
func TestPaper22IssuesItsOwnValueIfNoneIsReported(t *testing.T) {
	w := newPaperWorld(t, 3)
	w.ask(0, Message{Kind: KindPrepare, Ballot: Ballot{1, 1}, Value: "hint"})
	w.ask(2, Message{Kind: KindAccept, Ballot: Ballot{1, 1}, Value: "a"})
	b := w.begin(2, 2, "own")
	w.prepare(b, 0, 1)
	assert.Equal(t, []paperProposal{{b, "own"}}, w.issued, "acceptor 2 is not among the responders")
}

// 2.2, algorithm 2: "This need not be the same set of acceptors that responded to the initial requests."
func TestPaper22AcceptMayGoToOthers(t *testing.T) {
	w := newPaperWorld(t, 5)
	b := w.begin(1, 1, "a")
	w.prepare(b, 0, 1, 2)
	w.accept(b, 2, 3, 4)
	assert.True(t, w.attempts[b].Chosen())
	assert.Equal(t, []paperProposal{{b, "a"}}, w.chosen())
}

// 2.2: "requests and/or responses for the proposal may arrive at their destinations long after the proposal was abandoned"
func TestPaper22LateMessagesOfAnAbandonedProposal(t *testing.T) {
	w := newPaperWorld(t, 3)
	old := w.begin(1, 1, "a")
	w.prepare(old, 0, 1)
	late := []heardMessage{}
	for i := range 3 {
		late = append(late, heardMessage{i, w.ask(i, w.attempts[old].Accept())})
	}
	// "a" is chosen, but its proposer has given up. The promises and votes of 1.1 reach the attempt 2.1 of the same server.
	next := w.begin(2, 1, "b")
	p := w.attempts[next]
	for _, m := range append(late, w.replies...) {
		after, out, err := p.Step(m.from, m.m)
		require.NoError(t, err)
		assert.Zero(t, out)
		assert.Equal(t, p, after)
	}
	w.prepare(next, 1, 2)
	w.accept(next, 1, 2)
	w.ask(0, w.requests[0])
	w.ask(1, w.requests[1])
	assert.Equal(t, []paperProposal{{old, "a"}, {next, "a"}}, w.chosen())
}

// 2.2: "A proposer can make multiple proposals, so long as it follows the algorithm for each one."
func TestPaper22AProposerMakesMultipleProposals(t *testing.T) {
	w := newPaperWorld(t, 3)
	first, second := w.begin(1, 1, "a"), w.begin(2, 1, "b")
	w.prepare(first, 0, 1)
	w.prepare(second, 1, 2)
	w.accept(second, 1, 2)
	w.accept(first, 0, 1)
	assert.Equal(t, []paperProposal{{second, "b"}}, w.chosen(), "both attempts of one server run at once")
	third := w.propose(3, 1, "c", 0, 1)
	assert.Equal(t, []paperProposal{{second, "b"}, {third, "b"}}, w.chosen())
}
