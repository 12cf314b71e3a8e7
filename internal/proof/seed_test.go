package proof_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
	"github.com/singledecree/paxos/replica"
)

// A test for each row of the list of what the user's article says, S1 to S15, on real Replicas in a paxostest.Sim. It checks
// agreement and its kin after every event.

// newWorld returns a world that fails the test when an invariant is broken.
func newWorld(t *testing.T, c paxostest.SimConfig) *paxostest.Sim {
	t.Helper()
	c.Fail = func(err error) { require.NoError(t, err) }
	return paxostest.NewSim(c)
}

// untilSent runs until n messages that match have left.
func untilSent(w *paxostest.Sim, n int, m paxostest.Match) {
	w.Until(fmt.Sprintf("%d of %s are sent", n, m), func() bool { return w.Sent(m) >= n })
}

// requireSame requires that a call returned v.
func requireSame(t *testing.T, c *paxostest.Call, v paxos.Value) {
	t.Helper()
	require.True(t, c.Ended && c.Err == nil, "%s", c)
	require.Equal(t, v, c.Decision.Value, "%s", c)
}

// S1: nodes fail at any time, are slow, and restart. Every server crashes at every point of a decision, the running Save lost
// or kept, and starts again: whoever asks later gets one and the same value, and if the first caller was told it, that.
func TestS01AnyServerCrashesAtAnyPoint(t *testing.T) {
	points := 0
	for victim := paxos.ServerID(1); victim <= 3; victim++ {
		for _, kept := range []bool{false, true} {
			for point := 0; ; point++ {
				w := newWorld(t, paxostest.SimConfig{})
				if kept {
					w.SaveTime(victim, 3*time.Millisecond)
				}
				burger := w.Propose(1, "lunch", "burger")
				steps := 0
				for steps < point && w.Step() {
					steps++
				}
				if steps < point {
					break
				}
				points++
				if kept && w.Saving(victim) {
					w.CrashSaved(victim)
				} else {
					w.Crash(victim)
				}
				w.RunFor(5 * time.Millisecond)
				w.Restart(victim)
				pizza := w.Propose(victim, "lunch", "pizza")
				w.Run()
				require.True(t, pizza.Ended && pizza.Err == nil, "server %d, point %d: %s", victim, point, pizza)
				if burger.Err == nil {
					requireSame(t, burger, pizza.Decision.Value)
				}
			}
		}
	}
	assert.Greater(t, points, 100)
}

// S2: one node holds one role or more. Servers that do not vote propose and learn, and nobody counts them.
func TestS02ServersWithAndWithoutVote(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{Servers: 3, Learners: 2})
	told := w.Wait(5, "lunch")
	soup := w.Propose(4, "lunch", "soup")
	w.Run()
	requireSame(t, soup, "soup")
	requireSame(t, told, "soup")
	for id := paxos.ServerID(4); id <= 5; id++ {
		assert.Zero(t, w.Sent(paxostest.Match{To: id, Kind: paxos.KindPrepare})+w.Sent(paxostest.Match{To: id, Kind: paxos.KindAccept}))
		assert.Zero(t, w.Sent(paxostest.Match{From: id, Kind: paxos.KindPromise})+w.Sent(paxostest.Match{From: id, Kind: paxos.KindAccepted}))
		assert.True(t, w.Stored(id, "lunch").Chosen, "server %d keeps the decision", id)
	}

	// With two of three acceptors down, the learners do not help.
	w.Crash(2)
	w.Crash(3)
	dinner := w.Propose(4, "dinner", "soup")
	w.RunFor(time.Second)
	assert.False(t, dinner.Ended)
}

// S3: every node has stable storage. Its promises and votes survive a crash. It says nothing that is not saved. A
// server whose storage is empty does not start: it would have forgotten its promises.
func TestS03PromisesAndVotesSurvive(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{})
	high := paxos.Ballot{Round: 7, Server: 3}
	w.Inject(3, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: high})
	untilSent(w, 1, paxostest.Match{From: 2, Kind: paxos.KindPromise, Ballot: high})
	w.Crash(2)
	w.Restart(2)
	w.Run()
	low := paxos.Message{Kind: paxos.KindAccept, Instance: "lunch", Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: "burger"}
	w.Inject(1, 2, low)
	w.Run()
	assert.Equal(t, 1, w.Sent(paxostest.Match{From: 2, Kind: paxos.KindNack, Ballot: low.Ballot}))
	assert.Equal(t, paxos.Acceptor{Promised: high}, w.Stored(2, "lunch").Acceptor)

	w.Inject(3, 2, paxos.Message{Kind: paxos.KindAccept, Instance: "lunch", Ballot: high, Value: "pizza"})
	untilSent(w, 1, paxostest.Match{From: 2, Kind: paxos.KindAccepted, Ballot: high})
	w.Crash(2)
	w.Restart(2)
	assert.Equal(t, paxos.Acceptor{Promised: high, Accepted: high, Value: "pizza"}, w.Stored(2, "lunch").Acceptor)

	_, err := replica.New(0, replica.Config{Members: paxos.Members{Cluster: "world", Acceptors: []paxos.ServerID{1, 2, 3}}})
	assert.ErrorContains(t, err, "not formatted")
}

// S4: messages take long, are duplicated, are lost. Each message of a decision in turn, or all of a kind, meets each fate: the
// decision comes all the same, and every acceptor counts once.
func TestS04AnyMessageLateTwiceOrLost(t *testing.T) {
	fates := map[string]func(*paxostest.Sim, paxostest.Match){
		"late":       func(w *paxostest.Sim, m paxostest.Match) { w.Delay(m, 25*time.Millisecond) },
		"very late":  func(w *paxostest.Sim, m paxostest.Match) { w.Delay(m, 3*time.Second) },
		"twice":      func(w *paxostest.Sim, m paxostest.Match) { w.Repeat(m, 0) },
		"twice late": func(w *paxostest.Sim, m paxostest.Match) { w.Repeat(m, 33*time.Millisecond) },
		"lost":       (*paxostest.Sim).Drop,
	}
	for name, fate := range fates {
		t.Run(name, func(t *testing.T) {
			for _, first := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10} {
				for _, second := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10} {
					w := newWorld(t, paxostest.SimConfig{})
					for _, n := range []int{first, second} {
						if n > 0 {
							fate(w, paxostest.Match{Nth: n})
						}
					}
					burger := w.Propose(1, "lunch", "burger")
					w.RunFor(20 * time.Millisecond)
					pizza := w.Propose(3, "lunch", "pizza")
					w.Run()
					requireSame(t, burger, burger.Decision.Value)
					requireSame(t, pizza, burger.Decision.Value)
				}
			}
		})
	}
}

// S5: a majority is more than half: of 7 nodes, 4. Two majorities share a node, so two competing proposers never decide
// twice.
func TestS05Majorities(t *testing.T) {
	for n := 1; n <= paxos.MaxAcceptors; n++ {
		q, need := paxos.Majority(n), n/2+1
		require.NoError(t, paxos.CheckQuorum(q))
		assert.True(t, q.Phase1(paxos.All(need)) && q.Phase2(paxos.All(need)), "%d of %d", need, n)
		assert.False(t, q.Phase1(paxos.All(need-1)) || q.Phase2(paxos.All(need-1)), "%d of %d", need-1, n)
		assert.Greater(t, need+need, n, "two majorities share a node")
	}
	assert.True(t, paxos.Majority(7).Phase2(paxos.All(4)))
	assert.False(t, paxos.Majority(7).Phase2(paxos.All(3)))

	// The article's picture: one majority, 1 to 4, is choosing A, another one, 4 to 7, C; server 4 settles which. C begins
	// at any time before, while and after A is chosen.
	values := map[paxos.Value]int{}
	for start := range 60 {
		w := newWorld(t, paxostest.SimConfig{Servers: 7})
		for a := paxos.ServerID(1); a <= 3; a++ {
			for b := paxos.ServerID(5); b <= 7; b++ {
				w.Cut(a, b)
			}
		}
		a := w.Propose(1, "lunch", "A")
		w.RunFor(time.Duration(start) * time.Millisecond)
		c := w.Propose(7, "lunch", "C")
		w.Run()
		requireSame(t, a, c.Decision.Value)
		requireSame(t, c, c.Decision.Value)
		values[c.Decision.Value]++
	}
	assert.Len(t, values, 2, "each of them wins sometimes: %v", values)
}

// S6: a prepare carries a round ID, a server ID that breaks ties, and the value that the proposer wants.
func TestS06PrepareCarriesRoundServerAndValue(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{})
	burger := w.Propose(1, "lunch", "burger")
	pizza := w.Propose(3, "lunch", "pizza")
	var prepares []paxos.Message
	w.RunFor(0)
	for _, e := range w.Log() {
		if e.Kind == paxos.EventSend {
			prepares = append(prepares, e.Message)
		}
	}
	low, high := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 1, Server: 3}
	one := paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: low, Value: "burger"}
	other := paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: high, Value: "pizza"}
	assert.Equal(t, []paxos.Message{one, one, other, other}, prepares)
	assert.True(t, low.Less(high), "the server breaks the tie")
	assert.True(t, high.Less(paxos.Ballot{Round: 2, Server: 1}), "the round comes first")

	w.Run()
	assert.Equal(t, paxos.Decision{Instance: "lunch", Value: "pizza", Ballot: high}, pizza.Decision)
	requireSame(t, burger, "pizza")

	// Round IDs rise, over instances and restarts, and none is used twice: the world checks each.
	for range 3 {
		w.Crash(1)
		w.Restart(1)
		requireRising(t, w)
	}
}

// requireRising proposes in new instances on server 1, and requires that the ballots rise.
func requireRising(t *testing.T, w *paxostest.Sim) {
	t.Helper()
	last := paxos.Ballot{}
	for i := range 3 {
		instance := fmt.Sprintf("meal %d of day %d", i, w.StoredState(1).Boot)
		c := w.Propose(1, instance, "rice")
		w.Run()
		require.NoError(t, c.Err)
		require.True(t, last.Less(c.Decision.Ballot), "%s after %s", c.Decision.Ballot, last)
		last = c.Decision.Ballot
	}
}

// S7: an acceptor that has several prepares goes with the highest round, and promises; a lower one gets a refusal that names
// the higher ballot.
func TestS07HighestRoundGetsThePromise(t *testing.T) {
	ballots := []paxos.Ballot{{Round: 3, Server: 1}, {Round: 1, Server: 3}, {Round: 2, Server: 2}, {Round: 3, Server: 2},
		{Round: 3, Server: 1}}
	want := []string{"promise 3.1 @lunch", "nack 1.3 above 3.1 @lunch", "nack 2.2 above 3.1 @lunch", "promise 3.2 @lunch",
		"nack 3.1 above 3.2 @lunch"}
	var a paxos.Acceptor
	for i, b := range ballots {
		next, reply, err := a.Step(paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: b})
		require.NoError(t, err)
		assert.Equal(t, want[i], reply.String())
		a = next
	}

	// The same on a server, all of them in the order of the network.
	w := newWorld(t, paxostest.SimConfig{})
	for _, b := range ballots[:4] {
		if b.Server != 2 {
			w.Inject(b.Server, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: b})
		}
	}
	w.Run()
	assert.Equal(t, 1, w.Sent(paxostest.Match{From: 2, Kind: paxos.KindPromise, Ballot: ballots[0]}))
	assert.Equal(t, 1, w.Sent(paxostest.Match{From: 2, Kind: paxos.KindNack, Ballot: ballots[1]}))
}

// S8: with promises from a majority, and not before, the proposer asks for votes.
func TestS08AcceptsLeaveWithAMajorityOfPromises(t *testing.T) {
	for n := 1; n <= 9; n++ {
		w := newWorld(t, paxostest.SimConfig{Servers: n})
		w.Hold(paxostest.Match{Kind: paxos.KindPromise})
		c := w.Propose(1, "lunch", "burger")
		w.RunFor(50 * time.Millisecond)
		for others := 1; others <= n/2; others++ {
			require.Zero(t, w.Sent(paxostest.Match{Kind: paxos.KindAccept}), "n=%d: %d promises, the own one included", n, others)
			w.Release(paxostest.Match{Kind: paxos.KindPromise, Nth: 1})
			w.RunFor(15 * time.Millisecond)
		}
		require.Equal(t, n-1, w.Sent(paxostest.Match{Kind: paxos.KindAccept}), "n=%d: to every other acceptor", n)
		w.Run()
		requireSame(t, c, "burger")
	}
}

// S9: an acceptor accepts unless it has promised a higher round since; accepted, from a majority, ends the agreement.
func TestS09AcceptedUnlessPromisedMore(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{})
	low, high := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 2, Server: 2}
	w.Delay(paxostest.Match{From: 1, Kind: paxos.KindAccept}, 20*time.Millisecond)
	w.Drop(paxostest.Match{From: 2, To: 1, Kind: paxos.KindPrepare})
	burger := w.Propose(1, "lunch", "burger")
	untilSent(w, 2, paxostest.Match{From: 1, Kind: paxos.KindAccept})
	pizza := w.Propose(2, "lunch", "pizza")
	w.Run()
	assert.Equal(t, 2, w.Sent(paxostest.Match{To: 1, Kind: paxos.KindNack, Ballot: low}))
	assert.Zero(t, w.Sent(paxostest.Match{Kind: paxos.KindAccepted, Ballot: low}))
	assert.Equal(t, 2, w.Sent(paxostest.Match{To: 2, Kind: paxos.KindAccepted, Ballot: high}))
	assert.Equal(t, paxos.Decision{Instance: "lunch", Value: "pizza", Ballot: high}, pizza.Decision)
	requireSame(t, burger, "pizza")

	// "Unless" means higher: the promise of the very ballot is no obstacle, and neither is none at all.
	for _, promised := range []paxos.Ballot{{}, {Round: 1, Server: 1}} {
		_, reply, err := paxos.Acceptor{Promised: promised}.Step(paxos.Message{Kind: paxos.KindAccept, Ballot: low, Value: "burger"})
		require.NoError(t, err)
		assert.Equal(t, paxos.KindAccepted, reply.Kind)
	}
}

// S15: the article's picture. The accept of (1,1) burger reached one acceptor only; the prepare of (2,2) pizza comes; the promise
// of that acceptor returns (1,1) burger; the new proposer goes on with burger, under its own ballot (2,2).
func TestS15BurgerUnderBallot22(t *testing.T) {
	first, second := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 2, Server: 2}
	w := newWorld(t, paxostest.SimConfig{})
	w.Drop(paxostest.Match{From: 1, To: 2, Kind: paxos.KindAccept})
	w.Propose(1, "lunch", "burger")
	untilSent(w, 1, paxostest.Match{From: 3, Kind: paxos.KindAccepted, Ballot: first})
	w.Crash(1)
	w.RunFor(time.Second)
	pizza := w.Propose(2, "lunch", "pizza")
	w.Run()

	var got []string
	for _, e := range w.Log() {
		if e.Kind == paxos.EventReceive && e.Message.Ballot == second {
			got = append(got, fmt.Sprintf("%d -> %d: %s", e.Peer, e.Server, e.Message))
		}
	}
	assert.Equal(t, []string{
		`2 -> 3: prepare 2.2 "pizza" @lunch`,
		`3 -> 2: promise 2.2 (1.1 "burger") @lunch`,
		`2 -> 3: accept 2.2 "burger" @lunch`,
		`3 -> 2: accepted 2.2 @lunch`,
		`2 -> 3: chosen 2.2 @lunch`,
	}, got)
	want := paxos.Decision{Instance: "lunch", Value: "burger", Ballot: second}
	assert.Equal(t, want, pizza.Decision, "the caller who proposed pizza is told burger")
	for id := paxos.ServerID(2); id <= 3; id++ {
		rec := w.Stored(id, "lunch")
		assert.True(t, rec.Chosen)
		assert.Equal(t, paxos.Acceptor{Promised: second, Accepted: second, Value: "burger"}, rec.Acceptor)
	}
}
