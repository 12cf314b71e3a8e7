package proof_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// Forwarded calls, and their troubles (docs/design.md#4.16). Messages take 1 ms, and so do Saves.

// forwardClassic is how long a classic attempt takes in newForwards, and forwardTook a forwarded call.
const (
	forwardClassic = 4*ms + 2*ms
	forwardTook    = 4*ms + ms
)

// newForwards returns servers of which server 1 stands, and has used its ballot. All others forward their calls to it, and have done so once.
func newForwards(t *testing.T, servers int) *paxostest.Sim {
	w := newWorld(t, paxostest.SimConfig{Servers: servers, Delay: ms, SaveTime: ms})
	decides := func(id paxos.ServerID, name string, took time.Duration) {
		c := w.Propose(id, name, "v")
		w.RunFor(20 * ms)
		requireSame(t, c, "v")
		require.Equal(t, took, c.Took, "%s", c)
	}
	for id := 2; id <= servers; id++ {
		decides(paxos.ServerID(id), fmt.Sprint("first/", id), forwardClassic)
	}
	w.Stand(1)
	w.RunFor(20 * ms)
	decides(1, "used", 3*ms)
	for id := 2; id <= servers; id++ {
		decides(paxos.ServerID(id), fmt.Sprint("forwarded/", id), forwardTook)
	}
	return w
}

// forwardWorst is how long a forwarded call takes at most if one server does not answer. It waits for as long as an attempt usually takes, and
// for 8 ms more at most. Then a classic attempt begins, which has nobody to fight with.
const forwardWorst = forwardClassic + 8*ms + forwardClassic

// The server that stands stops at any point of a forwarded decision, for good or for a while. The call ends after one hedge, and the calls after it
// wait for one more at most.
func TestForwardStandingServerStops(t *testing.T) {
	for _, n := range []int{3, 5} {
		for stop := time.Duration(0); stop <= forwardTook; stop += ms / 2 {
			for name, stops := range map[string]func(w *paxostest.Sim){
				"crash": func(w *paxostest.Sim) { w.Crash(1) },
				"pause": func(w *paxostest.Sim) { w.Pause(1) },
				"a short pause": func(w *paxostest.Sim) {
					w.Pause(1)
					w.At(w.Now()+9*ms, func() { w.Resume(1) })
				},
				"a long pause": func(w *paxostest.Sim) {
					w.Pause(1)
					w.At(w.Now()+3*time.Second, func() { w.Resume(1) })
				},
				"a restart": func(w *paxostest.Sim) {
					w.Crash(1)
					w.Restart(1)
				},
				"cut off": func(w *paxostest.Sim) { w.Isolate(1) },
				"not heard": func(w *paxostest.Sim) {
					for id := 2; id <= n; id++ {
						w.CutOneWay(1, paxos.ServerID(id))
					}
				},
			} {
				w := newForwards(t, n)
				c := w.Propose(2, "x", "v")
				other := w.Propose(3, "y", "v")
				w.RunFor(stop)
				stops(w)
				w.RunFor(forwardWorst)
				requireSame(t, c, "v")
				requireSame(t, other, "v")
				assert.LessOrEqual(t, max(c.Took, other.Took), forwardWorst, "%s after %s", name, stop)
				if name == "a short pause" || name == "a restart" {
					continue // it is heard again
				}
				next := w.Propose(2, "next", "v") // it may be forwarded, if the server was heard since the one before was
				w.RunFor(forwardWorst + 2*ms)     // the call before has made the usual time longer
				requireSame(t, next, "v")
				forwards := w.Sent(paxostest.Match{Kind: paxos.KindForward})
				last := w.Propose(2, "last", "v")
				w.RunFor(5 * time.Second)
				requireSame(t, last, "v")
				assert.Equal(t, forwards, w.Sent(paxostest.Match{Kind: paxos.KindForward}), "%s after %s", name, stop)
				assert.Less(t, last.Took, forwardClassic+ms, "%s after %s", name, stop)
			}
		}
	}
}

// Any one message of a forwarded decision is lost, or comes twice, or comes very late. The call ends after one hedge at most.
func TestForwardLosesAMessage(t *testing.T) {
	for _, m := range []paxostest.Match{{Kind: paxos.KindForward}, {Kind: paxos.KindAccept, To: 2}, {Kind: paxos.KindAccept, To: 3}, {Kind: paxos.KindAccepted, From: 2},
		{Kind: paxos.KindAccepted, From: 3}, {Kind: paxos.KindChosen, To: 2}, {Kind: paxos.KindChosen, To: 3}} {
		m.Instance = "x"
		for name, breaks := range map[string]func(w *paxostest.Sim){
			"lost":  func(w *paxostest.Sim) { w.Drop(m) },
			"twice": func(w *paxostest.Sim) { w.Repeat(m, 2*ms) },
			"late":  func(w *paxostest.Sim) { w.Delay(m, time.Second) },
		} {
			w := newForwards(t, 3)
			forwards := w.Status(1).Counters.Forwarded
			breaks(w)
			c := w.Propose(2, "x", "v")
			w.RunFor(3 * time.Second)
			requireSame(t, c, "v")
			assert.LessOrEqual(t, c.Took, forwardWorst, "%s %s", m, name)
			counters := w.Status(2).Counters
			hedges := m.Kind == paxos.KindForward || m.Kind == paxos.KindChosen && m.To == 2
			assert.Equal(t, hedges && name != "twice", counters.Hedges == 1, "%s %s", m, name)
			assert.Equal(t, uint64(2), counters.Forwards, "%s %s", m, name)
			if m.Kind == paxos.KindForward && name != "twice" {
				assert.Equal(t, forwards, w.Status(1).Counters.Forwarded, "%s %s: it is decided when the Forward comes", m, name)
			} else {
				assert.Equal(t, forwards+1, w.Status(1).Counters.Forwarded, "%s %s", m, name)
			}
		}
	}
}

// A server that has started again stands no more. It refuses what is forwarded to it, and the other server goes on at once.
func TestForwardRefused(t *testing.T) {
	w := newForwards(t, 3)
	w.Crash(1)
	w.Restart(1)
	w.RunFor(10 * ms)
	c := w.Propose(2, "x", "v")
	w.RunFor(20 * ms)
	requireSame(t, c, "v")
	assert.Equal(t, 2*ms+forwardClassic, c.Took)
	assert.Equal(t, 1, w.Sent(paxostest.Match{Kind: paxos.KindNack, From: 1, To: 2, Instance: "x"}))
	assert.Zero(t, w.Status(2).Counters.Hedges)
}

// Two servers forward different values for the same name, and the server that stands has one of its own. One attempt decides for all.
func TestForwardJoins(t *testing.T) {
	for _, own := range []bool{false, true} {
		w := newForwards(t, 5)
		attempts := w.Status(1).Counters.Attempts
		calls := []*paxostest.Call{w.Propose(2, "x", "two"), w.Propose(3, "x", "three"), w.Propose(4, "x", "four")}
		if w.RunFor(ms + ms/2); own {
			calls = append(calls, w.Propose(1, "x", "one"))
		}
		w.RunFor(20 * ms)
		for _, c := range calls {
			requireSame(t, c, "two")
			assert.LessOrEqual(t, c.Took, forwardTook)
		}
		assert.Equal(t, attempts+1, w.Status(1).Counters.Attempts)
		assert.Equal(t, uint64(1+3), w.Status(1).Counters.Forwarded-1)
	}
}

// Members change while calls are forwarded. All end, and those that are forwarded after it, too.
func TestForwardAcrossAChange(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{Servers: 3, Learners: 1, Delay: ms, SaveTime: ms})
	w.Stand(1)
	var calls []*paxostest.Call
	for i := range 400 {
		w.At(time.Duration(i+20)*5*ms, func() {
			by := paxos.ServerID(1 + i%4)
			calls = append(calls, w.Propose(by, fmt.Sprint("job/", i), paxos.Value(fmt.Sprint("of ", by))))
		})
	}
	var change *paxostest.Call
	w.At(time.Second, func() {
		change = w.Change(1, paxos.Members{Acceptors: []paxos.ServerID{1, 2, 4}, Learners: []paxos.ServerID{3}})
	})
	w.RunFor(900 * ms)
	before := w.Status(2).Counters.Forwards
	require.Greater(t, before, uint64(30))
	w.RunFor(10 * time.Second)
	require.True(t, change.Ended && change.Err == nil, "%s", change)
	for _, c := range calls {
		require.True(t, c.Ended && c.Err == nil, "%s", c)
	}
	assert.Greater(t, w.Status(4).Counters.Forwards+w.Status(2).Counters.Forwards, before)
}

// Half of the messages are lost for a while. All calls end, and agree.
func TestForwardOnALossyNetwork(t *testing.T) {
	for seed := range uint64(20) {
		w := newForwards(t, 3)
		for i := range 40 {
			w.Drop(paxostest.Match{From: paxos.ServerID(1 + i%3), To: paxos.ServerID(1 + (i+1+int(seed)%2)%3), Nth: 1 + int(seed) + i*3})
		}
		var calls []*paxostest.Call
		for i := range 60 {
			w.At(w.Now()+time.Duration(i)*ms, func() {
				calls = append(calls, w.Propose(paxos.ServerID(1+i%3), fmt.Sprint("job/", i/4), paxos.Value(fmt.Sprint("of ", i%3))))
			})
		}
		w.RunFor(10 * time.Second)
		values := map[string]paxos.Value{}
		for _, c := range calls {
			require.True(t, c.Ended && c.Err == nil, "seed %d: %s", seed, c)
			if v, ok := values[c.Instance]; ok {
				require.Equal(t, v, c.Decision.Value, "seed %d: %s", seed, c)
			}
			values[c.Instance] = c.Decision.Value
		}
		assert.NotZero(t, w.Status(1).Counters.Forwarded)
	}
}
