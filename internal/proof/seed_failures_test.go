package proof_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// S10: in phase 2, 1 of 3 acceptors fails: decided, as the proposer's own server counts as one, and no message is sent to
// oneself. A majority fails: no decision, and the caller is told who did not answer.
func TestS10AcceptorsFailInPhase2(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{})
	burger := w.Propose(1, "lunch", "burger")
	untilSent(w, 1, paxostest.Match{From: 3, Kind: paxos.KindPromise})
	w.Crash(3)
	w.Run()
	assert.Equal(t, paxos.Decision{Instance: "lunch", Value: "burger", Ballot: paxos.Ballot{Round: 1, Server: 1}}, burger.Decision)
	requireSent(t, w, map[paxos.Kind]int{paxos.KindPrepare: 2, paxos.KindPromise: 2, paxos.KindAccept: 2,
		paxos.KindAccepted: 1, paxos.KindChosen: 2})

	w = newWorld(t, paxostest.SimConfig{})
	burger = w.Propose(1, "lunch", "burger")
	untilSent(w, 1, paxostest.Match{From: 3, Kind: paxos.KindPromise})
	w.Crash(2)
	w.Crash(3)
	w.RunFor(time.Minute)
	require.False(t, burger.Ended, "no decision, and no error before the caller gives up")
	w.Cancel(burger)
	requireNoQuorum(t, burger, "accept", "paxos: propose \"lunch\": no quorum in accept: 1 of 3 acceptors answered, "+
		"majority(3) needs 2 (silent: 2, 3): context canceled")
}

// S11: the same in phase 1, where the promises are lost.
func TestS11AcceptorsFailInPhase1(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{})
	w.Drop(paxostest.Match{From: 3, Kind: paxos.KindPromise})
	burger := w.Propose(1, "lunch", "burger")
	w.Run()
	requireSame(t, burger, "burger")
	requireSent(t, w, map[paxos.Kind]int{paxos.KindPrepare: 2, paxos.KindPromise: 2, paxos.KindAccept: 2,
		paxos.KindAccepted: 2, paxos.KindChosen: 2})

	w = newWorld(t, paxostest.SimConfig{})
	w.Drop(paxostest.Match{Kind: paxos.KindPromise})
	burger = w.Propose(1, "lunch", "burger")
	w.RunFor(500 * time.Millisecond) // before another server takes over: that is S12
	require.False(t, burger.Ended)
	assert.Zero(t, w.Sent(paxostest.Match{Kind: paxos.KindAccept}), "nobody is asked for a vote")
	w.Cancel(burger)
	requireNoQuorum(t, burger, "prepare", "paxos: propose \"lunch\": no quorum in prepare: 1 of 3 acceptors answered, "+
		"majority(3) needs 2 (silent: 2, 3): context canceled")

	// The outcome was unknown, and rightly so: when promises come through again, what had left is decided after all.
	assert.True(t, paxos.Unknown(burger.Err))
	w.Clear()
	again := w.Propose(1, "lunch", "pizza")
	w.Run()
	requireSame(t, again, "burger")
}

// requireSent requires these counts of messages, and no others.
func requireSent(t *testing.T, w *paxostest.Sim, counts map[paxos.Kind]int) {
	t.Helper()
	sent := map[paxos.Kind]int{}
	for _, e := range w.Log() {
		if e.Kind == paxos.EventSend {
			require.NotEqual(t, e.Server, e.Peer, "a message to oneself")
			sent[e.Message.Kind]++
		}
	}
	require.Equal(t, counts, sent)
}

func requireNoQuorum(t *testing.T, c *paxostest.Call, phase, text string) {
	t.Helper()
	var op *paxos.OpError
	require.ErrorAs(t, c.Err, &op)
	require.ErrorIs(t, c.Err, context.Canceled)
	assert.Equal(t, phase, op.Phase)
	assert.Equal(t, []paxos.ServerID{1}, op.Answered)
	assert.Equal(t, []paxos.ServerID{2, 3}, op.Silent)
	assert.Empty(t, op.Refused)
	assert.True(t, op.Unknown())
	assert.EqualError(t, c.Err, text)
}

// S12: the proposer fails during the promise phase. One of the running servers is elected proposer and carries the agreement
// on, with the value that the Prepare carried, though nobody calls anything. It takes no longer than a silence, the turns of
// those before it in the ring, and two round trips with their saves.
func TestS12AnotherServerTakesOver(t *testing.T) {
	for _, servers := range []int{3, 5} {
		for point, match := range map[string]paxostest.Match{
			"after its prepares left": {From: 1, Kind: paxos.KindPrepare},
			"after promises left":     {To: 1, Kind: paxos.KindPromise},
		} {
			for _, heard := range []int{1, servers - 1} { // how many servers got the prepare
				w := newWorld(t, paxostest.SimConfig{Servers: servers})
				for id := 2; id <= servers-heard; id++ {
					w.Drop(paxostest.Match{From: 1, To: paxos.ServerID(id), Kind: paxos.KindPrepare})
				}
				burger := w.Propose(1, "lunch", "burger")
				untilSent(w, 1, match)
				w.Crash(1)
				require.Error(t, burger.Err)
				bound := w.Now() + time.Second + time.Duration(servers)*200*time.Millisecond + 100*time.Millisecond + 60*time.Millisecond + 2*time.Millisecond
				w.Run()
				for id := paxos.ServerID(2); int(id) <= servers; id++ {
					d, ok := w.Learned(id, "lunch")
					require.True(t, ok, "%d servers, %s, %d heard of it: server %d knows", servers, point, heard, id)
					assert.Equal(t, paxos.Value("burger"), d.Value)
				}
				assert.LessOrEqual(t, learnedLast(w), bound)
				w.Restart(1)
				w.Run()
				again := w.Propose(1, "lunch", "pizza")
				w.Run()
				requireSame(t, again, "burger")
			}
		}
	}
}

// learnedLast is when the last server learned something.
func learnedLast(w *paxostest.Sim) (at time.Duration) {
	for _, e := range w.Log() {
		if e.Kind == paxos.EventLearned {
			at = e.At
		}
	}
	return at
}

// S13: the proposer fails in the accept phase, and no acceptor received the accept. If no server knows its value either, since
// that was too large for a hint, the agreement stops there, until someone proposes; if one does, it finishes it. Nothing is
// ever decided twice, also when the proposer is back with a vote of its own on its disk.
func TestS13ProposerFailsAndNobodyHeardIt(t *testing.T) {
	for _, saved := range []bool{false, true} {
		w := newWorld(t, paxostest.SimConfig{Limits: paxos.Limits{MaxHint: 5}})
		w.Drop(paxostest.Match{From: 1, Kind: paxos.KindAccept})
		burger := w.Propose(1, "lunch", "burger")
		untilSent(w, 2, paxostest.Match{From: 1, Kind: paxos.KindAccept})
		if saved {
			w.RunFor(2 * time.Millisecond)
		}
		w.Crash(1)
		w.Clear()
		w.RunFor(time.Minute)
		require.Equal(t, saved, !w.Stored(1, "lunch").Acceptor.Accepted.IsZero())
		require.Zero(t, w.Sent(paxostest.Match{Kind: paxos.KindChosen}), "the agreement has stopped")
		require.Error(t, burger.Err)

		pizza := w.Propose(2, "lunch", "pizza")
		w.Run()
		assert.Equal(t, paxos.Value("pizza"), pizza.Decision.Value)
		w.Restart(1)
		again := w.Propose(1, "lunch", "burger")
		w.Run()
		requireSame(t, again, "pizza")
	}
	w := newWorld(t, paxostest.SimConfig{})
	w.Drop(paxostest.Match{From: 1, Kind: paxos.KindAccept})
	w.Propose(1, "lunch", "burger")
	untilSent(w, 2, paxostest.Match{From: 1, Kind: paxos.KindAccept})
	w.Crash(1)
	w.Run()
	for id := paxos.ServerID(2); id <= 3; id++ {
		d, ok := w.Learned(id, "lunch")
		require.True(t, ok)
		assert.Equal(t, paxos.Value("burger"), d.Value, "the prepares carried it")
	}
}

// S14: the proposer fails in the accept phase, and at least one acceptor received the accept: a new proposer whose majority
// holds that acceptor carries the earlier agreement on. One whose majority does not may decide otherwise, unless the value
// was chosen; it never decides twice.
func TestS14NewProposerCarriesOn(t *testing.T) {
	for heard := paxos.ServerID(2); heard <= 5; heard++ {
		for down := paxos.ServerID(2); down <= 5; down++ {
			if down == heard {
				continue
			}
			w := newWorld(t, paxostest.SimConfig{Servers: 5})
			for to := paxos.ServerID(2); to <= 5; to++ {
				if to != heard {
					w.Drop(paxostest.Match{From: 1, To: to, Kind: paxos.KindAccept})
				}
			}
			w.Propose(1, "lunch", "burger")
			untilSent(w, 1, paxostest.Match{From: heard, Kind: paxos.KindAccepted})
			w.Crash(1)
			w.Crash(down)
			w.Run()
			// Servers 1 and another are down, so the three that are up are the only majority: it holds the one that heard.
			proposer := paxos.ServerID(2)
			if down == proposer {
				proposer = 3
			}
			kimbap := w.Propose(proposer, "lunch", "kimbap")
			w.Run()
			want := paxos.Decision{Instance: "lunch", Value: "burger", Ballot: paxos.Ballot{Round: 2, Server: proposer}}
			require.Equal(t, want, kimbap.Decision, "%d heard, %d is down: %v", heard, down, errors.Unwrap(kimbap.Err))
		}
	}
}
