package proof_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// A server that asks nothing notices within two Timing.Pull that no quorum is there, whenever the others went, and that it is there
// again; and as long as it is there, nobody says that it is not. In each pair one Pull a Timing.Pull is enough for that.
func TestIdleServersNoticeALostQuorum(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5} {
		for moment := range 24 {
			w := newWorld(t, paxostest.SimConfig{Servers: n, Learners: 1, Seed: uint64(moment + 1), Timing: paxos.Timing{Pull: defaultPull}})
			learner := paxos.ServerID(n + 1)
			last := paxos.ServerID(1 + n - n/2) // of those that go: the others are no majority
			lost := func(id paxos.ServerID) bool { return w.Status(id).NoQuorum != 0 }
			for range 100 + moment {
				w.RunFor(defaultPull / 8)
				for id := paxos.ServerID(1); id <= learner; id++ {
					require.False(t, lost(id), "%d servers: server %d, after %d", n, id, moment)
				}
			}
			for id := paxos.ServerID(2); id <= last; id++ {
				w.Crash(id)
			}
			w.RunFor(2 * defaultPull)
			up := []paxos.ServerID{1, learner}
			for id := last + 1; id <= paxos.ServerID(n); id++ {
				up = append(up, id)
			}
			for _, id := range up {
				require.True(t, lost(id), "%d servers: server %d, after %d", n, id, moment)
			}
			w.RunFor(10 * defaultPull)
			for _, id := range up {
				require.True(t, lost(id), "%d servers: server %d, after %d", n, id, moment)
			}
			for id := paxos.ServerID(2); id <= last; id++ {
				w.Restart(id)
			}
			w.RunFor(2 * defaultPull)
			for id := paxos.ServerID(1); id <= learner; id++ {
				require.False(t, lost(id), "%d servers: server %d, after %d", n, id, moment)
			}
		}
	}
}

// While the quorum hangs on two servers, they hear each other all the time, and say little more than when all are there.
func TestIdlePairIsQuiet(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{Servers: 3, Timing: paxos.Timing{Pull: defaultPull}})
	w.RunFor(time.Minute)
	w.Crash(3)
	w.RunFor(time.Minute)
	before := w.Sent(paxostest.Match{})
	const intervals = 1000
	for range intervals {
		w.RunFor(defaultPull)
		require.Zero(t, w.Status(1).NoQuorum)
		require.Zero(t, w.Status(2).NoQuorum)
	}
	assert.LessOrEqual(t, w.Sent(paxostest.Match{})-before, intervals*3*9/8)
}

// A cut that heals is noticed in the same time, although nobody restarts.
func TestIdleServersNoticeAQuorumAgain(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{Servers: 3, Timing: paxos.Timing{Pull: defaultPull}})
	w.RunFor(time.Minute)
	w.Cut(1, 2)
	w.Cut(1, 3)
	w.RunFor(2 * defaultPull)
	require.NotZero(t, w.Status(1).NoQuorum)
	require.Zero(t, w.Status(2).NoQuorum, "two of three are one")
	w.Heal()
	w.RunFor(2 * defaultPull)
	require.Zero(t, w.Status(1).NoQuorum)
}
