package paxos

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// learner returns what a learner knows that asked the acceptors at these positions what they have accepted (2.3).
func (w *paperWorld) learner(at ...int) Learner {
	l := NewLearner(Majority(len(w.acceptors)))
	for _, i := range at {
		l = learnAll(w.t, l, heardVote{i, vote{w.acceptors[i].Accepted, w.acceptors[i].Value}})
	}
	return l
}

// 2.3: "a learner must find out that a proposal has been accepted by a majority of acceptors"
func TestPaper23LearnsFromAMajority(t *testing.T) {
	for n := 1; n <= 7; n++ {
		l := NewLearner(Majority(n))
		for i := range n {
			l = learnAll(t, l, voteOf(i, 1, 1, "a"))
			_, ok := l.Chosen()
			assert.Equal(t, i+1 > n/2, ok, "%d of %d", i+1, n)
		}
	}
}

// 2.3: "to have each acceptor, whenever it accepts a proposal, respond to all learners"; here it responds to the proposer,
// whose server is the distinguished learner.
func TestPaper23AcceptorsRespondWhenTheyAccept(t *testing.T) {
	w := newPaperWorld(t, 3)
	b := w.begin(1, 1, "a")
	w.prepare(b, 0, 1, 2)
	for i := range 3 {
		reply := w.ask(i, w.attempts[b].Accept())
		assert.Equal(t, Message{Kind: KindAccepted, Ballot: b}, reply)
		w.tell(i, reply)
		assert.Equal(t, i >= 1, w.attempts[b].Chosen(), "%d of 3 have responded", i+1)
	}
}

// 2.3: "Because of message loss, a value could be chosen with no learner ever finding out."
func TestPaper23ChosenAndNoLearnerKnows(t *testing.T) {
	w := newPaperWorld(t, 3)
	b := w.begin(1, 1, "a")
	w.prepare(b, 0, 1)
	w.ask(0, w.attempts[b].Accept())
	w.tell(1, w.ask(1, w.attempts[b].Accept()))
	assert.Equal(t, []paperProposal{{b, "a"}}, w.chosen())
	assert.False(t, w.attempts[b].Chosen(), "the answer of acceptor 0 was lost")
	_, ok := w.learner().Chosen()
	assert.False(t, ok)
}

// 2.3: "failure of an acceptor could make it impossible to know whether or not a majority had accepted a particular
// proposal"
func TestPaper23AFailureHidesTheChoice(t *testing.T) {
	worlds := [2]*paperWorld{newPaperWorld(t, 3), newPaperWorld(t, 3)}
	for i, w := range worlds {
		b := w.begin(1, 1, "a")
		w.prepare(b, 0, 1, 2)
		w.accept(b, 0)
		if i == 1 {
			w.accept(b, 2)
		}
	}
	require.Empty(t, worlds[0].chosen())
	require.Len(t, worlds[1].chosen(), 1)
	// Acceptor 2 is down. The learner hears the same in both worlds, and must not claim to know.
	assert.Equal(t, worlds[0].learner(0, 1), worlds[1].learner(0, 1))
	_, ok := worlds[1].learner(0, 1).Chosen()
	assert.False(t, ok)
	v, ok := worlds[1].learner(0, 1, 2).Chosen()
	assert.True(t, ok, "without the failure it would know")
	assert.Equal(t, Value("a"), v)
}

// 2.3: "In that case, learners will find out what value is chosen only when a new proposal is chosen." and "it can have a
// proposer issue a proposal".
func TestPaper23ANewProposalFindsOut(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		w := newPaperWorld(t, 3)
		b := w.begin(1, 1, "a")
		w.prepare(b, 0, 1, 2)
		w.accept(b, 2)
		want := Value("b")
		if hidden {
			w.accept(b, 0)
			want = "a"
		}
		// Acceptor 2 is down: was "a" chosen? The learner's server proposes "b" to the others.
		_, ok := w.learner(0, 1).Chosen()
		require.False(t, ok)
		next := w.propose(2, 3, "b", 0, 1)
		assert.True(t, w.attempts[next].Chosen())
		v, ok := w.learner(0, 1).Chosen()
		assert.True(t, ok)
		assert.Equal(t, want, v, "chosen before: %v", hidden)
		for _, p := range w.chosen() {
			assert.Equal(t, want, p.value)
		}
	}
}

// 2.4: "two proposers each keep issuing a sequence of proposals with increasing numbers, none of which are ever chosen"
func TestPaper24TheDuelNeverEnds(t *testing.T) {
	w := newPaperWorld(t, 3)
	last := w.begin(1, 1, "p")
	w.prepare(last, 0, 1, 2)
	for round := uint64(2); round < 500; round++ {
		// The other one completes phase 1 before the first one's accept requests arrive.
		next := w.begin(round, 1+ServerID(round+1)%2, []Value{"p", "q"}[(round+1)%2])
		w.prepare(next, 0, 1, 2)
		w.accept(last, 0, 1, 2)
		above, ok := w.attempts[last].Superseded()
		require.True(t, ok)
		require.Equal(t, next, above)
		last = next
	}
	assert.Empty(t, w.votes)
	assert.Len(t, w.issued, 499, "every proposal was issued")
}

// 2.4: "If the distinguished proposer can communicate successfully with a majority of acceptors, and if it uses a proposal
// with number greater than any already used, then it will succeed in issuing a proposal that is accepted."
func TestPaper24TheDistinguishedProposerSucceeds(t *testing.T) {
	ended := 0
	paperHistories(t, func(w *paperWorld) {
		if ended++; ended%100 != 0 {
			return
		}
		// Whatever came before: it reaches a majority, the last ones, with a number above all of the history's. It plays
		// with copies of the acceptors, as the history goes on.
		p, acceptors := NewProposer(Ballot{4, 1}, "d", Majority(len(w.acceptors))), slices.Clone(w.acceptors)
		for _, phase := range []func(Proposer) Message{Proposer.Prepare, Proposer.Accept} {
			m := phase(p)
			require.NotZero(t, m.Kind, w.name)
			for i := (len(acceptors) - 1) / 2; i < len(acceptors); i++ {
				next, reply, err := acceptors[i].Step(m)
				require.NoError(t, err)
				acceptors[i] = next
				p, _, err = p.Step(i, reply)
				require.NoError(t, err)
			}
		}
		require.True(t, p.Chosen(), w.name)
	})
}

// 2.4: "By abandoning a proposal and trying again if it learns about some request with a higher proposal number, the
// distinguished proposer will eventually choose a high enough proposal number."
func TestPaper24TriesAgainWithAHigherNumber(t *testing.T) {
	w := newPaperWorld(t, 3)
	for i, b := range []Ballot{{7, 2}, {90, 3}, {4, 2}} {
		w.ask(i, Message{Kind: KindPrepare, Ballot: b})
	}
	round, tries := uint64(1), 0
	for {
		b := w.begin(round, 1, "a")
		w.prepare(b, 0, 1, 2)
		if above, ok := w.attempts[b].Superseded(); ok {
			require.True(t, b.Less(above))
			round = above.Round + 1
			tries++
			require.Less(t, tries, 4)
			continue
		}
		w.accept(b, 0, 1, 2)
		assert.True(t, w.attempts[b].Chosen())
		break
	}
	assert.Equal(t, 1, tries, "the refusals name the number to beat, so one is enough")
	assert.Equal(t, uint64(91), round)
}

// 2.4: "safety is ensured regardless of the success or failure of the election"
func TestPaper24SafeWhoeverIsElected(t *testing.T) {
	// Two servers both take themselves for the elected one. Their steps interleave in every possible way.
	const steps = 6
	decided := map[Value]int{}
	for order := range uint(1 << (2 * steps)) {
		w := newPaperWorld(t, 3)
		attempts, done := [2]Ballot{w.begin(1, 1, "a"), w.begin(1, 2, "b")}, [2]int{}
		for i := range 2 * steps {
			who := order >> i & 1
			b, at := attempts[who], (done[who]+int(who))%3
			switch {
			case done[who] < 3:
				w.prepare(b, at)
			case w.attempts[b].Accept().Kind != 0:
				w.accept(b, at)
			}
			done[who]++
		}
		if done[0] != steps {
			continue
		}
		all := w.chosen()
		for _, p := range all {
			require.Equal(t, all[0].value, p.value, "order %012b", order)
		}
		if len(all) > 0 {
			decided[all[0].value]++
		}
	}
	assert.Positive(t, decided["a"])
	assert.Positive(t, decided["b"])
}

// 2.5: "Response messages are tagged with the corresponding proposal number to prevent confusion."
func TestPaper25ResponsesAreTagged(t *testing.T) {
	paperHistories(t, func(w *paperWorld) {
		for i, a := range w.acceptors {
			for _, m := range w.requests {
				m.Instance = "lunch"
				_, reply, err := a.Step(m)
				require.NoError(t, err)
				if reply.Ballot != m.Ballot || reply.Instance != m.Instance {
					require.Fail(t, "a response without its tag", "%s: acceptor %d answers %+v with %+v", w.name, i, m, reply)
				}
			}
		}
	})
}

// 2.5: "Different proposers choose their numbers from disjoint sets of numbers, so two different proposers never issue a
// proposal with the same number."
func TestPaper25NumbersAreDisjoint(t *testing.T) {
	seen := map[Ballot]string{}
	for _, server := range []ServerID{1, 2, 3, 1<<64 - 1} {
		for _, round := range []uint64{1, 2, 3, MaxRound} {
			b, who := Ballot{round, server}, fmt.Sprintf("round %d of server %d", round, server)
			require.NotContains(t, seen, b, who)
			for other := range seen {
				require.NotZero(t, b.Compare(other), "%s and %s", who, seen[other])
			}
			seen[b] = who
			assert.Equal(t, b, NewProposer(b, "a", Majority(3)).Prepare().Ballot)
		}
	}
}
