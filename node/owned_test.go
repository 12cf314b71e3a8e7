package node_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func TestNodeMint(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		name, err := c.nodes[1].Mint("ticket")
		require.NoError(t, err)
		assert.Equal(t, "$1.1.1/ticket", name)
		d := propose(t, c.nodes[1], name, "Ada")
		assert.Equal(t, paxos.Decision{Instance: name, Value: "Ada", Ballot: paxos.Ballot{Round: 0, Server: 1}}, d)
		assert.Equal(t, paxos.Value("Ada"), propose(t, c.nodes[2], name, "Bob").Value)
		assert.Equal(t, paxos.Value("Ada"), c.agreed(name))
		counters := c.nodes[1].Status().Counters
		assert.Equal(t, [2]uint64{1, 1}, [2]uint64{counters.Owned, counters.Attempts})
		assert.Zero(t, counters.Sent[paxos.KindPrepare])

		for _, bad := range []string{"a\nb", "\xff", strings.Repeat("x", 249)} {
			_, err := c.nodes[1].Mint(bad)
			e := opError(t, err)
			assert.Equal(t, "mint", e.Op)
			assert.ErrorIs(t, err, paxos.ErrName)
			assert.False(t, e.Unknown())
		}
		again, err := c.nodes[1].Mint(strings.Repeat("x", 248))
		require.NoError(t, err, "255 bytes")
		propose(t, c.nodes[1], again, "v")

		require.NoError(t, c.nodes[1].Close())
		later, err := c.nodes[1].Mint("ticket")
		require.NoError(t, err, "it asks nobody")
		n := c.start(1)
		next, err := n.Mint("ticket")
		require.NoError(t, err)
		assert.Equal(t, "$1.2.1/ticket", next)
		d = propose(t, n, later, "Cyd")
		assert.Equal(t, paxos.Value("Cyd"), d.Value)
		assert.NotZero(t, d.Ballot.Round, "it is of an earlier start")
		assert.Zero(t, propose(t, n, next, "Dan").Ballot.Round)
	})
}

// Names are fresh, whoever mints them at the same time.
func TestNodeMintsForManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}, Learners: []paxos.ServerID{9}})
		c.startAll()
		var mu sync.Mutex
		var callers sync.WaitGroup
		seen := map[string]bool{}
		for _, id := range c.ids() {
			for range 4 {
				callers.Go(func() {
					for range 50 {
						name, err := c.nodes[id].Mint("job")
						require.NoError(t, err)
						mu.Lock()
						assert.False(t, seen[name], name)
						seen[name] = true
						mu.Unlock()
						d, err := c.nodes[id].Propose(context.Background(), name, paxos.Value(name))
						require.NoError(t, err)
						assert.Equal(t, paxos.Value(name), d.Value)
						assert.Equal(t, id != 9, d.Ballot.Round == 0, "server 9 does not vote")
					}
				})
			}
		}
		callers.Wait()
		assert.Len(t, seen, 800)
		for _, id := range c.ids() {
			assert.Equal(t, id == 9, c.nodes[id].Status().Counters.Owned == 0)
		}
	})
}

// A server that was down gets decisions of owned instances as all others: they are listed, and their names taken.
func TestNodeCatchesUpWithOwned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		require.NoError(t, c.nodes[3].Close())
		var names []string
		for i := range 20 {
			minted, err := c.nodes[1].Mint("job")
			require.NoError(t, err)
			names = append(names, minted, paxos.Owned(2, fmt.Sprint("job ", i)), fmt.Sprint("job ", i))
		}
		for _, name := range names {
			propose(t, c.nodes[1], name, "v")
			propose(t, c.nodes[2], name, "w")
		}
		time.Sleep(time.Second) // the last one is on the disks of the others by then
		n := c.start(3)
		require.NoError(t, n.Ready(soon(t)))
		for _, name := range names {
			d, ok, err := n.Peek(context.Background(), name)
			require.NoError(t, err)
			assert.True(t, ok, name)
			assert.Equal(t, paxos.Value("v"), d.Value)
		}
	})
}
