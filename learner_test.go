package paxos

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A heardVote is the news that an acceptor accepted a value, as a learner gets it.
type heardVote struct {
	from int
	vote
}

func voteOf(i int, round uint64, server ServerID, v Value) heardVote {
	return heardVote{i, vote{Ballot{round, server}, v}}
}

// learnAll steps l through all votes.
func learnAll(t *testing.T, l Learner, all ...heardVote) Learner {
	t.Helper()
	for _, h := range all {
		var err error
		l, err = l.Step(h.from, h.ballot, h.value)
		require.NoError(t, err)
	}
	return l
}

func TestLearner(t *testing.T) {
	flexible, err := Flexible(4, 3, 2)
	require.NoError(t, err)
	weighted, err := Weighted([]int{3, 1, 1})
	require.NoError(t, err)
	for _, c := range []struct {
		name  string
		q     Quorum
		votes []heardVote
		want  Value
		ok    bool
	}{
		{"nothing heard", Majority(3), nil, "", false},
		{"one vote of three", Majority(3), []heardVote{voteOf(0, 1, 1, "a")}, "", false},
		{"two of three", Majority(3), []heardVote{voteOf(0, 1, 1, "a"), voteOf(2, 1, 1, "a")}, "a", true},
		{"one of one", Majority(1), []heardVote{voteOf(0, 1, 1, "a")}, "a", true},
		{"half is no majority", Majority(4), []heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 1, 1, "a")}, "", false},
		{"a duplicate counts once", Majority(3), []heardVote{voteOf(0, 1, 1, "a"), voteOf(0, 1, 1, "a")}, "", false},
		{"P15: equal values in different ballots do not add up", Majority(5),
			[]heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 2, 1, "a"), voteOf(2, 3, 1, "a")}, "", false},
		{"P15: nor with a majority over two ballots", Majority(5),
			[]heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 1, 1, "a"), voteOf(2, 2, 1, "a"), voteOf(3, 2, 1, "a")}, "", false},
		{"P15: nor in the ballots of two servers in a round", Majority(3),
			[]heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 1, 2, "a")}, "", false},
		{"P15: a vote that moved on no longer counts in its old ballot", Majority(3),
			[]heardVote{voteOf(0, 1, 1, "a"), voteOf(0, 2, 1, "b"), voteOf(1, 1, 1, "a")}, "", false},
		{"P15: news of an older vote changes nothing", Majority(3),
			[]heardVote{voteOf(0, 2, 1, "b"), voteOf(0, 1, 1, "a"), voteOf(1, 2, 1, "b")}, "b", true},
		{"P16: the empty value is chosen like any other", Majority(3),
			[]heardVote{voteOf(0, 1, 1, ""), voteOf(1, 1, 1, "")}, "", true},
		{"P16: one vote for it is one vote", Majority(3), []heardVote{voteOf(0, 1, 1, "")}, "", false},
		{"a vote in round 0 is a vote", Majority(3), []heardVote{voteOf(0, 0, 1, "a"), voteOf(1, 0, 1, "a")}, "a", true},
		{"the zero ballot is none", Majority(3),
			[]heardVote{voteOf(0, 0, 0, "a"), voteOf(1, 0, 0, "a"), voteOf(2, 0, 0, "a")}, "", false},
		{"P20: positions out of range", Majority(3),
			[]heardVote{voteOf(-1, 1, 1, "a"), voteOf(3, 1, 1, "a"), voteOf(64, 1, 1, "a"), voteOf(0, 1, 1, "a")}, "", false},
		{"phase 2 decides", flexible, []heardVote{voteOf(0, 1, 1, "a"), voteOf(3, 1, 1, "a")}, "a", true},
		{"weights decide", weighted, []heardVote{voteOf(1, 1, 1, "a"), voteOf(2, 1, 1, "a")}, "", false},
		{"the heavy one is enough", weighted, []heardVote{voteOf(0, 1, 1, "a")}, "a", true},
		{"what was chosen stays when votes move on", Majority(3), []heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 1, 1, "a"),
			voteOf(0, 2, 1, "a"), voteOf(1, 3, 1, "a")}, "a", true},
		{"it may be chosen again", Majority(3), []heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 1, 1, "a"),
			voteOf(1, 2, 1, "a"), voteOf(2, 2, 1, "a")}, "a", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, ok := learnAll(t, NewLearner(c.q), c.votes...).Chosen()
			assert.Equal(t, c.ok, ok)
			assert.Equal(t, c.want, v)
		})
	}
}

func TestLearnerSafetyErrors(t *testing.T) {
	twice, second := "two acceptors voted for different values in one ballot", "two values were chosen"
	for _, c := range []struct {
		name   string
		heard  []heardVote
		last   heardVote
		values [2]Value
		reason string
	}{
		{"P17: two acceptors, one ballot, two values",
			[]heardVote{voteOf(0, 1, 1, "a")}, voteOf(1, 1, 1, "b"), [2]Value{"a", "b"}, twice},
		{"P17: one acceptor, one ballot, two values",
			[]heardVote{voteOf(0, 1, 1, "a")}, voteOf(0, 1, 1, "b"), [2]Value{"a", "b"}, twice},
		{"P17: the empty value is another one",
			[]heardVote{voteOf(0, 1, 1, "")}, voteOf(2, 1, 1, "b"), [2]Value{"", "b"}, twice},
		{"P17: old news can prove it too",
			[]heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 2, 1, "b")}, voteOf(1, 1, 1, "c"), [2]Value{"a", "c"}, twice},
		{"a second value is chosen above", []heardVote{voteOf(0, 1, 1, "a"), voteOf(1, 1, 1, "a"), voteOf(1, 2, 1, "b")},
			voteOf(2, 2, 1, "b"), [2]Value{"a", "b"}, second},
		{"P16: also an empty one", []heardVote{voteOf(0, 1, 1, ""), voteOf(1, 1, 1, ""), voteOf(1, 2, 1, "b")},
			voteOf(2, 2, 1, "b"), [2]Value{"", "b"}, second},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := learnAll(t, NewLearner(Majority(3)), c.heard...)
			next, err := l.Step(c.last.from, c.last.ballot, c.last.value)
			var broken *SafetyError
			require.ErrorAs(t, err, &broken)
			assert.Equal(t, SafetyError{Ballot: c.last.ballot, Values: c.values, Reason: c.reason}, *broken)
			assert.Equal(t, l, next)
		})
	}
}

// A Learner is a value: one that was stepped in two ways gives two learners, and none writes into another's votes.
func TestLearnerStepLeavesTheOldAsItWas(t *testing.T) {
	old := learnAll(t, NewLearner(Majority(3)), voteOf(0, 1, 1, "a"))
	left := learnAll(t, old, voteOf(1, 1, 1, "a"))
	right := learnAll(t, old, voteOf(1, 2, 1, "b"))
	_, ok := old.Chosen()
	assert.False(t, ok)
	v, ok := left.Chosen()
	assert.True(t, ok)
	assert.Equal(t, Value("a"), v)
	_, ok = right.Chosen()
	assert.False(t, ok)
	assert.Equal(t, []vote{{Ballot{1, 1}, "a"}, {}, {}}, old.votes)
	assert.Equal(t, []vote{{Ballot{1, 1}, "a"}, {Ballot{2, 1}, "b"}, {}}, right.votes)
}

// P20: every vote in every state that any votes lead to, from every position, in range or not.
func TestLearnerP20EveryVoteInEveryState(t *testing.T) {
	const n = 3
	start := NewLearner(Majority(n))
	seen, reasons, chosen, steps := map[string]bool{}, map[string]bool{}, 0, 0
	for todo := []Learner{start}; len(todo) > 0; todo = todo[1:] {
		l := todo[0]
		if _, ok := l.Chosen(); ok {
			chosen++
		}
		for _, b := range []Ballot{{}, {0, 1}, {1, 1}, {1, 2}} {
			for _, v := range []Value{"", "a"} {
				for _, i := range []int{-1, 0, 1, 2, n, MaxAcceptors} {
					next, err := l.Step(i, b, v)
					if fault := learnerFault(l, i, b, v, next, err); fault != "" {
						require.Fail(t, fault, "vote of %d for %q in %s in %+v: next %+v, error %v", i, v, b, l, next, err)
					}
					if err != nil {
						reasons[err.(*SafetyError).Reason] = true
					}
					steps++
					if key := fmt.Sprintf("%+v", next); !seen[key] {
						seen[key] = true
						todo = append(todo, next)
					}
				}
			}
		}
	}
	assert.Len(t, reasons, 2, "both SafetyErrors: %v", reasons)
	assert.Positive(t, chosen, "no state in which a value is chosen")
	t.Logf("%d states, %d of them with a chosen value, %d steps", len(seen), chosen, steps)
}

// learnerFault holds one step against the invariants written above Learner, and says what is wrong; empty: nothing.
func learnerFault(l Learner, i int, b Ballot, v Value, next Learner, err error) string {
	relevant := i >= 0 && i < l.quorum.Size() && b != Ballot{}
	if _, ok := err.(*SafetyError); err != nil && !ok {
		return "the error is no SafetyError"
	}
	if (err != nil || !relevant) && (!slices.Equal(l.votes, next.votes) || l.chosen != next.chosen || l.value != next.value) {
		return "a vote that counts for nothing changed something"
	}
	if !relevant && err != nil {
		return "a SafetyError from a vote that counts for nothing"
	}
	values := map[Ballot]Value{}
	for at, now := range next.votes {
		before := vote{}
		if l.votes != nil {
			before = l.votes[at]
		}
		if now != before && (at != i || now != vote{b, v} || !before.ballot.Less(now.ballot)) {
			return "a vote moved otherwise than to a higher ballot of the acceptor that cast it"
		}
		if other, ok := values[now.ballot]; ok && other != now.value {
			return "one ballot has two values"
		}
		values[now.ballot] = now.value
	}
	was, ok := l.Chosen()
	is, still := next.Chosen()
	switch {
	case ok && (!still || was != is):
		return "what was chosen did not stay"
	case !ok && still && (v != is || !next.quorum.Phase2(next.voters(b))):
		return "chosen without a quorum of votes in one ballot"
	case next.quorum != l.quorum:
		return "the quorum changed"
	}
	return ""
}

// A learnerModel is a second learner, deliberately dumb: it keeps every vote it ever heard of, and counts by majority.
type learnerModel struct {
	n     int
	votes []heardVote
}

// latest returns the acceptor's vote in the highest ballot.
func (h *learnerModel) latest(i int) (last vote) {
	for _, v := range h.votes {
		if v.from == i && last.ballot.Compare(v.ballot) < 0 {
			last = v.vote
		}
	}
	return last
}

// chosenNow returns the value for which a majority's latest votes are in one ballot.
func (h *learnerModel) chosenNow() (Value, bool) {
	for i := range h.n {
		count, of := 0, h.latest(i)
		for j := range h.n {
			if of.ballot != (Ballot{}) && h.latest(j) == of {
				count++
			}
		}
		if 2*count > h.n {
			return of.value, true
		}
	}
	return "", false
}

// FuzzLearner runs any sequence of votes through a Learner and through the model that keeps them all. The first byte says
// how many acceptors there are.
func FuzzLearner(f *testing.F) {
	f.Add([]byte{4, 13, 0x12, 0, 26, 0x13, 0, 39, 0x14, 0})
	f.Add([]byte{2, 13, 0x02, 0, 26, 0x02, 0, 26, 0x14, 0, 39, 0x14, 0})
	f.Add([]byte{2, 13, 0x12, 0, 26, 0x22, 0})
	addRandomRuns(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		n := int(data[0]%5) + 1
		l, model := NewLearner(Majority(n)), learnerModel{n: n}
		var known Value
		var ok bool
		for i, m := range fuzzedRoleMessages(data[1:]) {
			next, err := l.Step(i, m.Ballot, m.Value)
			require.Empty(t, learnerFault(l, i, m.Ballot, m.Value, next, err),
				"vote of %d for %q in %s in %+v", i, m.Value, m.Ballot, l)
			if l = next; err != nil || i < 0 || i >= n || m.Ballot.IsZero() {
				continue
			}
			model.votes = append(model.votes, heardVote{i, vote{m.Ballot, m.Value}})
			if v, now := model.chosenNow(); now {
				require.False(t, ok && v != known, "two values were chosen and no one said so")
				known, ok = v, true
			}
			v, chosen := l.Chosen()
			require.Equal(t, ok, chosen)
			require.Equal(t, known, v)
		}
	})
}
