package paxos_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// What was chosen leaves in the packet that asks for the next decision, if that follows at once, and by itself else.
func TestNodeNewsLeaveWithWhatFollows(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		const decisions = 300
		require.NoError(t, c.nodes[1].Ready(soon(t)))
		synctest.Wait()
		before := c.nodes[1].Status().Counters
		for i := range decisions {
			propose(t, c.nodes[1], fmt.Sprint("job ", i), "v")
		}
		time.Sleep(2 * testLatency)
		for _, id := range c.ids() {
			_, ok, err := c.nodes[id].Peek(soon(t), fmt.Sprint("job ", decisions-1))
			require.NoError(t, err)
			assert.True(t, ok, "server %d has heard of the last of them, too", id)
		}
		after := c.nodes[1].Status().Counters
		assert.Equal(t, uint64(2*decisions), after.Sent[paxos.KindChosen]-before.Sent[paxos.KindChosen])
		// Without that it would be three packets to each of two peers for each decision. Pulls add a few.
		assert.Less(t, after.Packets-before.Packets, uint64(5*decisions))
	})
}

// A server that is closed right after it told a caller what was decided tells the others, too.
func TestNodeCloseTellsTheNews(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		require.NoError(t, c.nodes[1].Ready(soon(t)))
		for i := range 20 {
			name := fmt.Sprint("job ", i)
			propose(t, c.nodes[1], name, "v")
			require.NoError(t, c.nodes[1].Close())
			began := time.Now()
			for _, id := range []paxos.ServerID{2, 3} {
				_, err := c.nodes[id].Wait(soon(t), name)
				require.NoError(t, err)
			}
			assert.LessOrEqual(t, time.Since(began), 2*testLatency, "nobody had to find out")
			c.start(1)
			require.NoError(t, c.nodes[1].Ready(soon(t)))
		}
	})
}
