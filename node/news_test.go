package node_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// The news of a decision leaves in the packet that asks for the next one, if that follows at once, and else by itself.
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

// If a peer asks for many large decisions at once, a server holds few of their values at a time: those that were read leave before more are
// read.
func TestNodeAnswersWithFewLargeValuesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const decisions, size = 32, 1 << 20
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) { cfg.Limits.Cache = 1 }
		c.startAll()
		var packet paxos.Packet // as server 2 sends them
		c.net.obey(func(p paxos.Packet, _ paxos.Message) []time.Duration {
			if p.From == 2 && p.To == 1 {
				packet = p
			}
			return onTime
		})
		v := paxos.Value(strings.Repeat("x", size))
		var asked []paxos.Message
		for i := range decisions {
			name := fmt.Sprint("job ", i)
			propose(t, c.nodes[1], name, v)
			asked = append(asked, paxos.Message{Kind: paxos.KindQuery, Instance: name, Ballot: paxos.Ballot{Round: 1, Server: 2}})
		}
		time.Sleep(time.Second)
		require.NoError(t, c.nodes[2].Close())

		var mu sync.Mutex // several Loads run at a time
		held, most, answered := 0, 0, 0
		c.store(1).hooks(nil, func(call storageCall) error {
			mu.Lock()
			defer mu.Unlock()
			if call.op == "load" {
				held += size
				most = max(most, held)
			}
			return nil
		})
		c.net.obey(func(p paxos.Packet, m paxos.Message) []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			if p.From == 1 && m.Kind == paxos.KindDecided {
				held -= size
				answered++
			}
			return onTime
		})
		packet.Messages = asked
		c.ends[1].arrive(packet, nil)
		synctest.Wait()
		assert.InDelta(t, decisions, answered, 1, "but for one that is in memory")
		assert.LessOrEqual(t, most, 17<<20)
	})
}
