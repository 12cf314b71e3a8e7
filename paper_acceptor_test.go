package paxos

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// 2.2: "An acceptor can ignore any request without compromising safety."
func TestPaper22AcceptorMayIgnoreAnyRequest(t *testing.T) {
	// Two attempts of six requests each, every request taken or ignored, then a third that one acceptor ignores.
	chosen := 0
	for taken := range uint32(1 << 12) {
		for ignores := range 3 {
			w := newPaperWorld(t, 3)
			for n, v := range []Value{"a", "b"} {
				b := w.begin(uint64(n+1), ServerID(n+1), v)
				for i := range 6 {
					switch {
					case taken>>(6*n+i)&1 == 0:
					case i < 3:
						w.prepare(b, i)
					case w.attempts[b].Accept().Kind != 0:
						w.accept(b, i-3)
					}
				}
			}
			w.propose(3, 3, "c", (ignores+1)%3, (ignores+2)%3)
			all := w.chosen()
			for i := range all {
				require.Equal(t, all[0].value, all[i].value, "taken: %012b, acceptor %d ignores the third", taken, ignores)
			}
			chosen += len(all)
		}
	}
	assert.Greater(t, chosen, 3<<12, "the third always has its proposal chosen, often it is not alone")
}

// 2.2: "It can always respond to a prepare request."
func TestPaper22AlwaysRespondsToAPrepare(t *testing.T) {
	paperHistories(t, func(w *paperWorld) {
		for _, b := range []Ballot{{1, 1}, {2, 2}, {9, 9}} {
			for _, a := range w.acceptors {
				_, reply, err := a.Step(Message{Kind: KindPrepare, Ballot: b})
				require.NoError(t, err)
				require.NotZero(t, reply.Kind, "%s: %s at %+v", w.name, b, a)
			}
		}
	})
}

// 2.2, P1a: "An acceptor can accept a proposal numbered n iff it has not responded to a prepare request having a number
// greater than n." Phase 2 (b) says the same.
func TestPaper22P1a(t *testing.T) {
	numbers := []Ballot{{1, 1}, {1, 2}, {2, 1}, {2, 2}, {3, 1}}
	for _, prepared := range numbers {
		for _, n := range numbers {
			w := newPaperWorld(t, 1)
			w.ask(0, Message{Kind: KindPrepare, Ballot: prepared})
			reply := w.ask(0, Message{Kind: KindAccept, Ballot: n, Value: "a"})
			can := !n.Less(prepared)
			assert.Equal(t, can, reply.Kind == KindAccepted, "accept %s after prepare %s", n, prepared)
			assert.Equal(t, can, len(w.votes) == 1, "accept %s after prepare %s", n, prepared)
		}
	}
}

// 2.2: "So we have the acceptor ignore such a prepare request." (one numbered below its promise)
func TestPaper22IgnoresALowerPrepare(t *testing.T) {
	w := newPaperWorld(t, 1)
	w.ask(0, Message{Kind: KindPrepare, Ballot: Ballot{3, 1}})
	before := w.acceptors[0]
	reply := w.ask(0, Message{Kind: KindPrepare, Ballot: Ballot{2, 9}})
	assert.Equal(t, Message{Kind: KindNack, Ballot: Ballot{2, 9}, Promised: Ballot{3, 1}}, reply, "no promise, only the reason")
	assert.Equal(t, before, w.acceptors[0])
}

// 2.2: "We also have it ignore a prepare request for a proposal it has already accepted."
func TestPaper22IgnoresAPrepareOfWhatItAccepted(t *testing.T) {
	w := newPaperWorld(t, 3)
	b := w.propose(1, 1, "a", 0, 1)
	before := w.acceptors[0]
	reply := w.ask(0, w.requests[0])
	assert.Equal(t, Message{Kind: KindAccepted, Ballot: b}, reply, "no promise: it says again that it accepted")
	assert.Equal(t, before, w.acceptors[0])
	w.tell(0, reply)
}

// 2.2: "an acceptor needs to remember only the highest-numbered proposal that it has ever accepted and the number of the
// highest-numbered prepare request to which it has responded"
func TestPaper22RemembersTwoThings(t *testing.T) {
	paperHistories(t, func(w *paperWorld) {
		for i, a := range w.acceptors {
			want := Acceptor{}
			for _, v := range w.votes {
				if v.from == i && want.Accepted.Less(v.ballot) {
					want.Accepted, want.Value = v.ballot, v.value
				}
			}
			want.Promised = want.Accepted
			for _, r := range w.replies {
				if r.from == i && r.m.Kind == KindPromise && want.Promised.Less(r.m.Ballot) {
					want.Promised = r.m.Ballot
				}
			}
			require.Equal(t, want, a, "%s: acceptor %d", w.name, i)
		}
	})
}

// 2.2: "the proposer can always abandon a proposal and forget all about it—as long as it never tries to issue another
// proposal with the same number"
func TestPaper22AProposalCanBeForgotten(t *testing.T) {
	// The proposer of 1.1 forgets, at each point of its attempt, and its server begins anew in 2.1.
	for asked := 0; asked <= 6; asked++ {
		w := newPaperWorld(t, 3)
		old := w.begin(1, 1, "a")
		for i := range asked {
			if i < 3 {
				w.prepare(old, i)
			} else {
				w.accept(old, i-3)
			}
		}
		delete(w.attempts, old)
		next := w.propose(2, 1, "b", 1, 2)
		require.True(t, w.attempts[next].Chosen(), "after %d requests", asked)
		want := Value("b")
		if asked > 4 {
			want = "a"
		}
		assert.Equal(t, want, w.attempts[next].Value(), "after %d requests", asked)
		for _, p := range w.chosen() {
			assert.Equal(t, want, p.value, "after %d requests", asked)
		}
	}
	// With the same number again it goes wrong, and the acceptor says so.
	w := newPaperWorld(t, 3)
	b := w.propose(1, 1, "a", 0, 1)
	_, _, err := w.acceptors[0].Step(Message{Kind: KindAccept, Ballot: b, Value: "b"})
	assert.ErrorAs(t, err, new(*SafetyError))
}

// 2.2: "it should probably inform the proposer, who should then abandon its proposal"
func TestPaper22InformsTheProposer(t *testing.T) {
	w := newPaperWorld(t, 3)
	low, high := w.begin(1, 1, "a"), w.begin(5, 2, "b")
	w.prepare(low, 0, 1)
	w.prepare(high, 0, 1, 2)
	w.accept(low, 0)
	_, ok := w.attempts[low].Superseded()
	assert.False(t, ok, "one refusal of three: the two others could still accept")
	w.accept(low, 2)
	above, ok := w.attempts[low].Superseded()
	assert.True(t, ok)
	assert.Equal(t, high, above, "it knows what to beat")
	w.prepare(w.begin(2, 1, "a"), 0, 1)
	_, ok = w.attempts[Ballot{2, 1}].Superseded()
	assert.True(t, ok, "the same in phase 1")
}

// 2.2: "This is a performance optimization that does not affect correctness."
func TestPaper22InformingDoesNotAffectCorrectness(t *testing.T) {
	// Whether a proposer hears a refusal or not, it asks for the same, and the same counts as chosen.
	refusals := 0
	paperHistories(t, func(w *paperWorld) {
		last := w.replies[max(0, len(w.replies)-1):]
		if len(last) == 0 || last[0].m.Kind != KindNack {
			return
		}
		refusals++
		p := w.attempts[last[0].m.Ballot]
		next, out, err := p.Step(last[0].from, last[0].m)
		require.NoError(t, err)
		require.Zero(t, out)
		require.Equal(t, []any{p.Value(), p.Chosen(), p.Accept()}, []any{next.Value(), next.Chosen(), next.Accept()}, w.name)
	})
	assert.Positive(t, refusals)
}
