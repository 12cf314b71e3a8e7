package node_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// standsReady waits until the standing ballot of a server can be used.
func standsReady(t *testing.T, n *node.Node) {
	t.Helper()
	for range 1000 {
		if n.Metrics().Standing.Ready {
			return
		}
		time.Sleep(testLatency)
	}
	require.Fail(t, "its ballot is not ready", "%+v", n.Metrics().Standing)
}

// A server that was asked to stand decides with attempts in its standing ballot alone, and loses it when another one is asked.
func TestNodeStand(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		for _, id := range []paxos.ServerID{2, 3, 2} {
			n := c.nodes[id]
			require.NoError(t, n.Stand(soon(t)))
			require.NoError(t, n.Stand(soon(t)), "it stands already")
			standsReady(t, n)
			before := n.Metrics()
			propose(t, n, fmt.Sprint("job ", id, before.Counters.Stands), "done")
			after := n.Metrics()
			assert.Equal(t, before.Counters.Attempts+1, after.Counters.Attempts)
			assert.Equal(t, before.Counters.Standing+1, after.Counters.Standing)
			assert.Equal(t, before.Counters.Stands, after.Counters.Stands)
			for _, other := range c.ids() {
				assert.Equal(t, other == id, c.nodes[other].Metrics().Standing.Ready, "server %d stands", other)
			}
		}
	})
}

// Config.NoStanding is about what a server does by itself.
func TestNodeStandWithNoStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) { cfg.NoStanding = true }
		c.startAll()
		require.NoError(t, c.nodes[1].Stand(soon(t)))
		standsReady(t, c.nodes[1])
	})
}

func TestNodeStandRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := membersOf(3)
		m.Learners = []paxos.ServerID{4}
		c := newTestCluster(t, m)
		c.startAll()
		err := opError(t, c.nodes[4].Stand(soon(t)))
		assert.EqualError(t, err, "paxos: stand: server 4 does not vote, so it can't stand")
		assert.True(t, err.Unsent)
		assert.Zero(t, c.nodes[4].Metrics().Counters.Stands)

		gone, leave := context.WithCancel(context.Background())
		leave()
		require.ErrorIs(t, c.nodes[1].Stand(gone), context.Canceled)
		assert.Zero(t, c.nodes[1].Metrics().Counters.Stands)

		require.NoError(t, c.nodes[1].Close())
		require.ErrorIs(t, c.nodes[1].Stand(soon(t)), paxos.ErrClosed)
	})
}

// While a change is not settled, no server can stand.
func TestNodeStandWhileJoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 3)
		c.start(4)
		synctest.Wait()
		c.stop(3) // so that it takes longer to settle
		next := paxos.Members{Cluster: c.began.Cluster, Acceptors: []paxos.ServerID{1, 2, 4}}
		_, err := c.nodes[1].Change(soon(t), next)
		require.NoError(t, err)
		_, settled := c.nodes[1].Configuration()
		require.False(t, settled)
		require.EqualError(t, c.nodes[1].Stand(soon(t)), "paxos: stand: configuration 1 is not settled yet, so no server can stand")
		require.NoError(t, c.nodes[1].Settled(soon(t)))
		require.NoError(t, c.nodes[1].Stand(soon(t)))
		standsReady(t, c.nodes[1])
	})
}

// A server hands a proposal to the server that stands, and has its decision. If its context ends while it waits for that, the outcome is
// unknown: the other server may get the value decided.
func TestNodeForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		propose(t, c.nodes[2], "job a", "done") // servers 2 and 3 know how long a classic attempt takes
		propose(t, c.nodes[3], "job b", "done")
		require.NoError(t, c.nodes[1].Stand(soon(t)))
		standsReady(t, c.nodes[1])
		propose(t, c.nodes[1], "job 1", "done") // and that server 1 is at work
		d := propose(t, c.nodes[3], "job 2", "done")
		assert.Equal(t, c.nodes[1].Metrics().Standing.Promised, d.Ballot)
		assert.EqualValues(t, 1, c.nodes[3].Metrics().Counters.Forwards)
		assert.EqualValues(t, 1, c.nodes[1].Metrics().Counters.Forwarded)

		c.net.lose(paxos.KindForward)
		ctx, cancel := context.WithTimeout(context.Background(), 2*testLatency)
		defer cancel()
		_, err := c.nodes[2].Propose(ctx, "job 3", "done")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.True(t, paxos.Unknown(err), "%v", err)
		assert.False(t, opError(t, err).Unsent)
		assert.EqualValues(t, 1, c.nodes[2].Metrics().Counters.Forwards)
		assert.Zero(t, c.nodes[2].Metrics().Counters.Hedges)

		propose(t, c.nodes[2], "job 4", "done")
		after := c.nodes[2].Metrics().Counters
		assert.EqualValues(t, 2, after.Forwards)
		assert.NotZero(t, after.Hedges, "it goes on by itself")
	})
}
