package paxos

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A heardMessage is one message as a proposer gets it.
type heardMessage struct {
	from int
	m    Message
}

// The messages of ballot 2.1, the attempt of these tests.
var ballot21 = Ballot{2, 1}

func promise21(i int, accepted Ballot, v Value) heardMessage {
	return heardMessage{i, Message{Kind: KindPromise, Instance: "i", Ballot: ballot21, Accepted: accepted, Value: v}}
}

func accepted21(i int) heardMessage {
	return heardMessage{i, Message{Kind: KindAccepted, Instance: "i", Ballot: ballot21}}
}

func nack21(i int, promised Ballot) heardMessage {
	return heardMessage{i, Message{Kind: KindNack, Instance: "i", Ballot: ballot21, Promised: promised}}
}

// hearAll steps p through all messages, and returns what came out of the last.
func hearAll(t *testing.T, p Proposer, all ...heardMessage) (Proposer, Message) {
	t.Helper()
	var out Message
	for _, h := range all {
		var err error
		p, out, err = p.Step(h.from, h.m)
		require.NoError(t, err)
	}
	return p, out
}

// Round 0 has no phase 1: its owner asks for votes at once, for its own value whatever a promise to it says, and counts votes
// and refusals as in any other.
func TestProposerOfRound0(t *testing.T) {
	zero := Ballot{0, 1}
	answer := func(k Kind) Message { return Message{Kind: k, Instance: "i", Ballot: zero} }
	p := NewProposer(zero, "own", Majority(3))
	assert.Zero(t, p.Prepare())
	assert.Equal(t, Message{Kind: KindAccept, Ballot: zero, Value: "own"}, p.Accept())
	assert.Equal(t, Value("own"), p.Value())
	assert.False(t, p.Chosen())
	_, over := p.Superseded()
	assert.False(t, over)

	p, out := hearAll(t, p, heardMessage{0, answer(KindAccepted)}, heardMessage{0, answer(KindAccepted)}, heardMessage{1, answer(KindPromise)})
	assert.Zero(t, out, "the Accept came out at the beginning")
	assert.False(t, p.Chosen(), "one has voted, twice, and one sent what answers nothing")
	refused, _ := hearAll(t, p, heardMessage{1, Message{Kind: KindNack, Ballot: zero, Promised: Ballot{1, 2}}},
		heardMessage{2, Message{Kind: KindNack, Ballot: zero, Promised: Ballot{2, 3}}})
	above, over := refused.Superseded()
	assert.True(t, over)
	assert.Equal(t, Ballot{2, 3}, above)
	p, _ = hearAll(t, p, heardMessage{2, answer(KindAccepted)})
	assert.True(t, p.Chosen())
	assert.Equal(t, Value("own"), p.Value())
	_, _, err := p.Step(1, Message{Kind: KindPromise, Ballot: zero, Accepted: zero, Value: "x"})
	assert.ErrorAs(t, err, new(*SafetyError), "nobody promises what it has voted in")
}

func TestProposerTakesTheValueOfTheHighestVote(t *testing.T) {
	low, high, none := Ballot{1, 1}, Ballot{1, 2}, Ballot{}
	for _, c := range []struct {
		name  string
		heard []heardMessage
		want  Value
	}{
		{"no vote: its own", []heardMessage{promise21(0, none, ""), promise21(1, none, "")}, "own"},
		{"a value without a ballot is no vote", []heardMessage{promise21(0, none, "x"), promise21(1, none, "")}, "own"},
		{"one vote, reported first", []heardMessage{promise21(0, low, "a"), promise21(1, none, "")}, "a"},
		{"one vote, reported last", []heardMessage{promise21(0, none, ""), promise21(1, low, "a")}, "a"},
		{"two votes, the higher first", []heardMessage{promise21(0, high, "b"), promise21(1, low, "a")}, "b"},
		{"two votes, the higher last", []heardMessage{promise21(0, low, "a"), promise21(1, high, "b")}, "b"},
		{"two votes in one ballot", []heardMessage{promise21(0, low, "a"), promise21(2, low, "a")}, "a"},
		{"P16: the empty value is a vote", []heardMessage{promise21(0, none, ""), promise21(1, low, "")}, ""},
		{"P16: also against a lower one", []heardMessage{promise21(0, low, "a"), promise21(1, high, "")}, ""},
		{"a vote of round 0 is a vote", []heardMessage{promise21(0, Ballot{0, 3}, "a"), promise21(1, none, "")}, "a"},
		{"and is below round 1", []heardMessage{promise21(0, Ballot{0, 3}, "a"), promise21(1, low, "b")}, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, out := hearAll(t, NewProposer(ballot21, "own", Majority(3)), c.heard...)
			want := Message{Kind: KindAccept, Instance: "i", Ballot: ballot21, Value: c.want}
			assert.Equal(t, want, out)
			assert.Equal(t, c.want, p.Value())
			want.Instance = ""
			assert.Equal(t, want, p.Accept(), "for sending again")
		})
	}
}

func TestProposerBegins(t *testing.T) {
	p := NewProposer(ballot21, "own", Majority(3))
	assert.Equal(t, Message{Kind: KindPrepare, Ballot: ballot21, Value: "own"}, p.Prepare(), "S6: it carries the value")
	assert.Zero(t, p.Accept())
	assert.Equal(t, ballot21, p.Ballot())
	assert.Equal(t, Value("own"), p.Value())
	assert.False(t, p.Chosen())
	assert.Zero(t, p.Answered())
	above, ok := p.Superseded()
	assert.False(t, ok)
	assert.Zero(t, above)
}

func TestProposerCountsAcceptorsNotMessages(t *testing.T) {
	none := Ballot{}
	start := NewProposer(ballot21, "own", Majority(3))
	t.Run("a duplicate promise counts once", func(t *testing.T) {
		p, out := hearAll(t, start, promise21(0, none, ""), promise21(0, none, ""), promise21(0, none, ""))
		assert.Zero(t, out)
		assert.Equal(t, Set(0b001), p.Answered())
	})
	t.Run("a duplicate vote counts once", func(t *testing.T) {
		p, _ := hearAll(t, start, promise21(0, none, ""), promise21(1, none, ""), accepted21(0), accepted21(0))
		assert.False(t, p.Chosen())
		p, _ = hearAll(t, p, accepted21(2))
		assert.True(t, p.Chosen())
	})
	t.Run("half is no majority", func(t *testing.T) {
		p, out := hearAll(t, NewProposer(ballot21, "own", Majority(4)), promise21(0, none, ""), promise21(1, none, ""))
		assert.Zero(t, out)
		p, out = hearAll(t, p, promise21(2, none, ""))
		require.Equal(t, KindAccept, out.Kind)
		p, _ = hearAll(t, p, accepted21(0), accepted21(3))
		assert.False(t, p.Chosen())
	})
	t.Run("the Accept comes out once", func(t *testing.T) {
		p, _ := hearAll(t, start, promise21(0, none, ""), promise21(1, none, ""))
		for _, late := range []heardMessage{promise21(2, none, ""), promise21(0, none, ""), accepted21(1)} {
			_, out := hearAll(t, p, late)
			assert.Zero(t, out)
		}
	})
	t.Run("a late promise does not change the value that is out", func(t *testing.T) {
		p, _ := hearAll(t, start, promise21(0, none, ""), promise21(1, Ballot{1, 1}, "a"), promise21(2, Ballot{1, 2}, "b"))
		assert.Equal(t, Value("a"), p.Value())
		assert.Equal(t, Value("a"), p.Accept().Value)
	})
	t.Run("promises and votes may come from different acceptors", func(t *testing.T) {
		p, _ := hearAll(t, NewProposer(ballot21, "own", Majority(5)), promise21(0, none, ""), promise21(1, none, ""),
			promise21(2, none, ""), accepted21(2), accepted21(3), accepted21(4))
		assert.True(t, p.Chosen())
		assert.Equal(t, Set(0b11100), p.Answered())
	})
	t.Run("phase 1 and phase 2 have quorums of their own", func(t *testing.T) {
		q, err := Flexible(5, 4, 2)
		require.NoError(t, err)
		p, out := hearAll(t, NewProposer(ballot21, "own", q),
			promise21(0, none, ""), promise21(1, none, ""), promise21(2, none, ""))
		assert.Zero(t, out)
		p, _ = hearAll(t, p, promise21(3, none, ""), accepted21(4))
		assert.False(t, p.Chosen())
		p, _ = hearAll(t, p, accepted21(0))
		assert.True(t, p.Chosen())
	})
}

func TestProposerCountsItsExactBallotOnly(t *testing.T) {
	none, q := Ballot{}, Majority(3)
	// P3: a count that outlives its ballot makes one promise a quorum.
	t.Run("P3: after a full round that was superseded, one promise is no quorum", func(t *testing.T) {
		old, _ := hearAll(t, NewProposer(ballot21, "own", q), promise21(0, none, ""), promise21(1, none, ""),
			nack21(0, Ballot{3, 2}), nack21(1, Ballot{3, 2}))
		above, ok := old.Superseded()
		require.True(t, ok)
		next := Ballot{above.Round + 1, 1}
		p, out, err := NewProposer(next, "own", q).Step(0, Message{Kind: KindPromise, Ballot: next})
		require.NoError(t, err)
		assert.Zero(t, out)
		assert.Zero(t, p.Accept())
	})
	for name, other := range map[string]Ballot{"older": {1, 1}, "newer": {3, 1}, "of another server": {2, 2}, "zero": {}} {
		t.Run("P4: messages of a ballot that is "+name, func(t *testing.T) {
			p, _ := hearAll(t, NewProposer(ballot21, "own", q), promise21(0, none, ""))
			asking, _ := hearAll(t, p, promise21(1, none, ""), accepted21(0))
			for _, k := range []Kind{KindPromise, KindAccepted, KindNack} {
				late := Message{Kind: k, Ballot: other, Promised: Ballot{9, 9}, Accepted: Ballot{1, 1}, Value: "x"}
				for _, from := range []Proposer{p, asking} {
					next, out, err := from.Step(2, late)
					assert.NoError(t, err)
					assert.Zero(t, out)
					assert.Equal(t, from, next)
				}
			}
		})
	}
}

func TestProposerSuperseded(t *testing.T) {
	none, above := Ballot{}, Ballot{3, 2}
	promised := []heardMessage{promise21(0, none, ""), promise21(1, none, "")}
	for _, c := range []struct {
		name    string
		heard   []heardMessage
		want    bool
		above   Ballot
		refused Set
	}{
		{"one refusal of three is none", []heardMessage{nack21(0, above)}, false, above, 0b001},
		{"two are", []heardMessage{nack21(0, above), nack21(1, above)}, true, above, 0b011},
		{"one twice is one", []heardMessage{nack21(0, above), nack21(0, above)}, false, above, 0b001},
		{"the highest ballot counts", []heardMessage{nack21(0, Ballot{4, 1}), nack21(1, above)}, true, Ballot{4, 1}, 0b011},
		{"whichever comes first", []heardMessage{nack21(0, above), nack21(1, Ballot{4, 1})}, true, Ballot{4, 1}, 0b011},
		{"two refused their votes", append(slices.Clone(promised), nack21(1, above), nack21(2, above)), true, above, 0b110},
		{"a refusal in phase 1 counts in phase 2", append(slices.Concat([]heardMessage{nack21(2, above)}, promised),
			nack21(0, above)), true, above, 0b101},
		{"who promised first and then refused will not vote", []heardMessage{promise21(0, none, ""),
			nack21(0, above), nack21(1, above)}, true, above, 0b011},
		{"P20: an Accepted outweighs a later Nack", append(slices.Clone(promised), accepted21(0),
			nack21(0, above), nack21(2, above)), false, above, 0b100},
		{"P20: and an earlier one", append(slices.Clone(promised), nack21(0, above),
			accepted21(0), nack21(2, above)), false, above, 0b100},
		{"chosen is never superseded", append(slices.Clone(promised), accepted21(0), accepted21(1), nack21(0, above),
			nack21(1, above), nack21(2, above)), false, above, 0b100},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := hearAll(t, NewProposer(ballot21, "own", Majority(3)), c.heard...)
			above, ok := p.Superseded()
			assert.Equal(t, c.want, ok)
			assert.Equal(t, c.above, above)
			assert.Equal(t, c.refused, p.Refused())
		})
	}
	t.Run("who cannot be in phase 2 can still complete phase 1", func(t *testing.T) {
		q, err := Flexible(3, 3, 1)
		require.NoError(t, err)
		p, _ := hearAll(t, NewProposer(ballot21, "own", q), promise21(0, none, ""), nack21(0, above))
		_, ok := p.Superseded()
		assert.False(t, ok, "acceptor 0 has promised, and one vote of 1 or 2 is enough")
		p, _ = hearAll(t, p, nack21(1, above))
		_, ok = p.Superseded()
		assert.True(t, ok, "phase 1 wants all three")
	})
}

func TestProposerSafetyErrors(t *testing.T) {
	start := NewProposer(ballot21, "own", Majority(3))
	one, _ := hearAll(t, start, promise21(0, Ballot{1, 1}, "a"))
	asking, _ := hearAll(t, one, promise21(1, Ballot{}, ""))
	twice := "two acceptors voted for different values in one ballot"
	before := "an acceptor voted in a ballot before any value was asked for"
	for _, c := range []struct {
		name   string
		from   Proposer
		heard  heardMessage
		ballot Ballot
		reason string
	}{
		{"P5: a vote before any value was asked for", one, accepted21(1), ballot21, before},
		{"P5: a promise reports a vote in its own ballot", start, promise21(0, ballot21, "a"), ballot21,
			"a promise reports a vote in ballot 2.1, which is not below its own"},
		{"a promise reports a vote above its own ballot", start, promise21(0, Ballot{2, 2}, "a"), ballot21,
			"a promise reports a vote in ballot 2.2, which is not below its own"},
		{"the same once the Accept is out", asking, promise21(2, Ballot{7, 1}, "a"), ballot21,
			"a promise reports a vote in ballot 7.1, which is not below its own"},
		{"P17: two values in one ballot", one, promise21(1, Ballot{1, 1}, "b"), Ballot{1, 1}, twice},
		{"P17: the empty one too", one, promise21(1, Ballot{1, 1}, ""), Ballot{1, 1}, twice},
		{"P17: from the same acceptor", one, promise21(0, Ballot{1, 1}, "b"), Ballot{1, 1}, twice},
		{"P17: once the Accept is out", asking, promise21(2, Ballot{1, 1}, "b"), Ballot{1, 1}, twice},
	} {
		t.Run(c.name, func(t *testing.T) {
			next, out, err := c.from.Step(c.heard.from, c.heard.m)
			var broken *SafetyError
			require.ErrorAs(t, err, &broken)
			assert.Equal(t, c.reason, broken.Reason)
			assert.Equal(t, c.ballot, broken.Ballot)
			assert.Equal(t, "i", broken.Instance)
			if c.reason == twice {
				assert.Equal(t, [2]Value{"a", c.heard.m.Value}, broken.Values)
			}
			assert.Equal(t, c.from, next)
			assert.Zero(t, out)
		})
	}
}

// P9: once a value is chosen, every later proposer ends with it, whichever quorum voted and whichever promises.
func TestProposerP9EveryLaterProposerEndsWithTheChosenValue(t *testing.T) {
	flexible, err := Flexible(5, 4, 2)
	require.NoError(t, err)
	grid, err := Grid(2, 3)
	require.NoError(t, err)
	for _, q := range []Quorum{Majority(1), Majority(2), Majority(3), Majority(4), Majority(5), flexible, grid} {
		for _, v := range []Value{"chosen", ""} {
			t.Run("P9: "+q.String()+" "+string(v), func(t *testing.T) {
				all := All(q.Size())
				for voters := Set(0); voters <= all; voters++ {
					for promisers := Set(0); promisers <= all; promisers++ {
						if !q.Phase2(voters) || !q.Phase1(promisers) {
							continue
						}
						got := laterProposal(t, q, voters, promisers, v)
						require.Equal(t, v, got, "chosen by %v, a later proposer asked %v", voters, promisers)
					}
				}
			})
		}
	}
}

// laterProposal has voters accept v in ballot 1.1, and returns what a proposer of ballot 2.1 asks for once promisers have
// answered it.
func laterProposal(t *testing.T, q Quorum, voters, promisers Set, v Value) Value {
	acceptors := make([]Acceptor, q.Size())
	for i := range acceptors {
		if voters.Has(i) {
			next, _, err := acceptors[i].Step(Message{Kind: KindAccept, Ballot: Ballot{1, 1}, Value: v})
			require.NoError(t, err)
			acceptors[i] = next
		}
	}
	p := NewProposer(ballot21, "own", q)
	for i := range acceptors {
		if promisers.Has(i) {
			_, reply, err := acceptors[i].Step(p.Prepare())
			require.NoError(t, err)
			p, _, err = p.Step(i, reply)
			require.NoError(t, err)
		}
	}
	require.Equal(t, KindAccept, p.Accept().Kind)
	return p.Accept().Value
}

// P20: every message in every state that any messages at all lead to, from every position, in range or not.
func TestProposerP20EveryMessageInEveryState(t *testing.T) {
	var messages []Message
	for m := range everyRoleMessage([]Ballot{{}, {1, 1}, {1, 2}, ballot21, {2, 2}}, "", "b") {
		// Fields that a kind does not have are left alone by Step; one combination of them is enough.
		if m.Kind == KindPromise || m.Promised == m.Accepted || m.Kind == KindNack && m.Accepted.IsZero() {
			messages = append(messages, m)
		}
	}
	const n = 2
	start := NewProposer(ballot21, "own", Majority(n))
	seen, reasons, steps := map[Proposer]bool{start: true}, map[string]bool{}, 0
	for todo := []Proposer{start}; len(todo) > 0; todo = todo[1:] {
		p := todo[0]
		for _, m := range messages {
			for _, i := range []int{-1, 0, 1, n, MaxAcceptors} {
				next, out, err := p.Step(i, m)
				if fault := proposerFault(p, i, m, next, out, err); fault != "" {
					require.Fail(t, fault, "%+v from %d in %+v: next %+v, out %+v, error %v", m, i, p, next, out, err)
				}
				if err != nil {
					reasons[err.(*SafetyError).Reason] = true
				}
				if steps++; !seen[next] {
					seen[next] = true
					todo = append(todo, next)
				}
			}
		}
	}
	assert.Len(t, reasons, 4, "two ballots not below, a vote too early, two values: %v", slices.Collect(maps.Keys(reasons)))
	t.Logf("%d states, %d steps", len(seen), steps)
}

// proposerFault holds one step against the invariants written above Proposer, and says what is wrong; empty: nothing.
func proposerFault(p Proposer, i int, m Message, next Proposer, out Message, err error) string {
	relevant := m.Ballot == p.ballot && i >= 0 && i < p.quorum.Size() &&
		(m.Kind == KindPromise || m.Kind == KindAccepted || m.Kind == KindNack)
	if _, ok := err.(*SafetyError); err != nil && !ok {
		return "the error is no SafetyError"
	}
	if (err != nil || !relevant) && (next != p || out != Message{}) {
		return "a message that counts for nothing changed something"
	}
	if !relevant && err != nil {
		return "a SafetyError from a message that counts for nothing"
	}
	_, was := p.Superseded()
	_, is := next.Superseded()
	switch only := Set(0).With(max(0, min(i, MaxAcceptors-1))); {
	case next.ballot != p.ballot || next.own != p.own || next.quorum != p.quorum:
		return "the attempt became another"
	case p.promised&^next.promised|p.accepted&^next.accepted|p.refused&^next.refused != 0:
		return "an answer was forgotten"
	case (next.promised&^p.promised|next.accepted&^p.accepted|next.refused&^p.refused)&^only != 0:
		return "an answer counts for another acceptor"
	case next.highest.Less(p.highest) || next.above.Less(p.above):
		return "a highest ballot went down"
	case !next.highest.Less(next.ballot):
		return "it takes a value from its own ballot or above"
	case next.asking != next.quorum.Phase1(next.promised):
		return "the Accept is out without a quorum of promises, or is not with one"
	case !next.asking && next.accepted != 0:
		return "votes before the Accept"
	case (out.Kind == KindAccept) != (next.asking && !p.asking) || out.Kind != 0 && out.Kind != KindAccept:
		return "the Accept came out at the wrong time"
	case out.Kind != 0 && out != Message{Kind: KindAccept, Instance: m.Instance, Ballot: p.ballot, Value: next.Value()}:
		return "a wrong Accept"
	case p.asking && next.Value() != p.Value():
		return "the value changed after it was asked for"
	case next.highest.IsZero() && next.Value() != next.own:
		return "a value from nowhere"
	case p.Chosen() && !next.Chosen():
		return "chosen no more"
	case next.Chosen() && is:
		return "chosen and superseded"
	case was && !is && m.Kind == KindNack:
		return "a refusal gave hope"
	case next.Answered()&next.Refused() != next.Refused():
		return "who refused did not answer"
	}
	return ""
}
