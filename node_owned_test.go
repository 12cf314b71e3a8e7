package paxos_test

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
	"github.com/singledecree/paxos/paxostest"
)

// An uncontended decision, by how its instance is named: what it sends, and how long it takes where a message takes 10 ms and a
// Save 1 ms. That is one round trip with a Save at its end where the name was minted, the owner's own Save before that where it
// was made by Owned, and two round trips with a Save each everywhere else.
func TestOwnedDecisionsTakeOneRoundTrip(t *testing.T) {
	const delay, save = 10 * time.Millisecond, time.Millisecond
	for _, n := range []int{3, 5} {
		for _, tt := range []struct {
			says  string
			name  func(w *paxostest.Sim) string
			takes time.Duration
			saves int // of the owner, one after the other, before the decision is known
			rest  int // Prepares and Promises
		}{
			{"minted", func(w *paxostest.Sim) string { return w.Mint(1, "lunch") }, 2*delay + save, 1, 0},
			{"owned", func(*paxostest.Sim) string { return paxos.Owned(1, "lunch") }, 2*delay + 2*save, 1, 0},
			{"owned by another", func(*paxostest.Sim) string { return paxos.Owned(2, "lunch") }, 2 * (2*delay + save), 2, n - 1},
			{"nobody's", func(*paxostest.Sim) string { return "lunch" }, 2 * (2*delay + save), 2, n - 1},
		} {
			t.Run(fmt.Sprintf("%s, %d servers", tt.says, n), func(t *testing.T) {
				w := newWorld(t, paxostest.SimConfig{Servers: n, Delay: delay, SaveTime: save})
				before := w.Status(1).Counters
				call := w.Propose(1, tt.name(w), "burger")
				began := w.Now()
				w.Until("it is decided", func() bool { return call.Ended })
				assert.Equal(t, tt.takes, w.Now()-began)
				assert.Equal(t, paxos.Value("burger"), call.Decision.Value)
				after := w.Status(1).Counters
				assert.Equal(t, uint64(tt.saves), after.Saves-before.Saves)
				w.Run()
				for kind, want := range map[paxos.Kind]int{paxos.KindPrepare: tt.rest, paxos.KindPromise: tt.rest, paxos.KindAccept: n - 1,
					paxos.KindAccepted: n - 1, paxos.KindChosen: n - 1} {
					assert.Equal(t, want, w.Sent(paxostest.Match{Kind: kind}), "%v", kind)
				}
				assert.Equal(t, 3*(n-1)+2*tt.rest, w.Sent(paxostest.Match{}), "and nothing else")
			})
		}
	}
}

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
