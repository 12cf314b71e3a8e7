package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// The work of the servers for each other, on real Nodes.

func TestNodeRead(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		ctx := context.Background()
		d, ok, err := c.nodes[1].Read(ctx, "lunch")
		require.NoError(t, err)
		assert.False(t, ok, "nothing was chosen")
		assert.Zero(t, d)
		want := propose(t, c.nodes[1], "lunch", "burger")
		for _, id := range c.ids() {
			d, ok, err := c.nodes[id].Read(ctx, "lunch")
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, want.Value, d.Value)
		}
	})
}

func TestNodeReadWithoutQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.cut(2, 3)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, ok, err := c.nodes[1].Read(ctx, "lunch")
		assert.False(t, ok)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.False(t, paxos.Unknown(err))
		assert.Equal(t, `paxos: read "lunch": no quorum in query: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context deadline exceeded`, err.Error())
	})
}

// A server that was down, or cut off, when instances were decided gets them all without being asked.
func TestNodeCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		propose(t, c.nodes[1], "first", "burger")
		require.NoError(t, c.nodes[3].Close())
		for i := range 300 {
			propose(t, c.nodes[1+paxos.ServerID(i%2)], fmt.Sprint("job ", i), paxos.Value(fmt.Sprint("by ", i)))
		}
		time.Sleep(time.Second) // the last decision is on the disks
		n := c.start(3)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.NoError(t, n.Ready(ctx), "the catch-up takes no longer than that")
		seen := map[string]paxos.Value{}
		last := uint64(0)
		for l, err := range n.Decisions(ctx, 0) {
			require.NoError(t, err)
			require.Greater(t, l.Index, last)
			require.NotContains(t, seen, l.Instance)
			seen[l.Instance], last = l.Value, l.Index
			if len(seen) == 301 {
				break
			}
		}
		for i := range 300 {
			assert.Equal(t, paxos.Value(fmt.Sprint("by ", i)), seen[fmt.Sprint("job ", i)])
		}
		d, err := n.Wait(ctx, "job 7")
		require.NoError(t, err)
		assert.Equal(t, paxos.Value("by 7"), d.Value)
	})
}

// The proposer dies, and nobody calls anything: the others finish what it began (S12, S14).
func TestNodeOthersFinish(t *testing.T) {
	for _, lost := range []paxos.Kind{paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted} {
		t.Run(lost.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, 3)
				c.net.lose(lost)
				call := proposing(context.Background(), c.nodes[1], "lunch", "burger")
				time.Sleep(20 * time.Millisecond)
				require.NoError(t, c.nodes[1].Close())
				require.ErrorIs(t, (<-call).err, paxos.ErrClosed)
				c.net.heal()
				time.Sleep(3 * time.Second)
				for _, id := range []paxos.ServerID{2, 3} {
					d, ok, err := c.nodes[id].Peek(context.Background(), "lunch")
					require.NoError(t, err)
					assert.True(t, ok, "server %d knows", id)
					assert.Equal(t, paxos.Value("burger"), d.Value)
				}
			})
		})
	}
}

func TestNodeStatusListsWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.cut(1)
		first := proposing(soon(t), c.nodes[1], "lunch", "burger")
		time.Sleep(time.Second)
		second := proposing(soon(t), c.nodes[1], "dinner", "soup")
		third := proposing(soon(t), c.nodes[1], "dinner", "rice")
		time.Sleep(2 * time.Second)
		s := c.nodes[1].Status()
		require.Len(t, s.Instances, 2)
		assert.Equal(t, paxos.OpenInstance{Instance: "lunch", Age: 3 * time.Second, Ballot: s.Instances[0].Ballot, Calls: 1}, s.Instances[0])
		assert.Equal(t, "dinner", s.Instances[1].Instance)
		assert.Equal(t, 2*time.Second, s.Instances[1].Age)
		assert.Equal(t, 2, s.Instances[1].Calls)
		assert.Equal(t, paxos.ServerID(1), s.Instances[0].Ballot.Server)
		assert.Greater(t, s.NoQuorum, time.Second)
		c.net.heal()
		for _, call := range []<-chan outcome{first, second, third} {
			require.NoError(t, (<-call).err)
		}
		s = c.nodes[1].Status()
		assert.Empty(t, s.Instances)
		assert.Zero(t, s.NoQuorum)
	})
}

// A lost quorum is one line in the log, however many calls time out meanwhile, and its end is another.
func TestNodeLogsALostQuorumOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) {
			if cfg.ID == 1 {
				cfg.Logger = log.logger()
			}
		}
		c.startAll()
		c.net.cut(2, 3)
		for i := range 50 {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			_, err := c.nodes[1].Propose(ctx, fmt.Sprint("job ", i), "v")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(log.String(), "no quorum answers"), log.String())
		assert.Contains(t, log.String(), `silent="[2 3]"`)
		assert.NotContains(t, log.String(), "answers again")
		c.net.heal()
		propose(t, c.nodes[1], "lunch", "burger")
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(log.String(), "a quorum answers again"), log.String())
		assert.LessOrEqual(t, strings.Count(log.String(), "\n"), 3, log.String())
	})
}

// Close and Done return although a Save hangs, and say so; nothing comes of that Save. The storage has all that the server knew when it was
// closed: a start finds the decision without asking anybody.
func TestNodeCloseSavesWhatWaits(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		want := propose(t, c.nodes[1], "lunch", "burger")
		rec, err := c.storage[1].Load("lunch")
		require.NoError(t, err)
		require.False(t, rec.Chosen, "the record of a decision waits for a Save that something else needs")
		require.NoError(t, c.nodes[1].Close())
		rec, err = c.storage[1].Load("lunch")
		require.NoError(t, err)
		assert.True(t, rec.Chosen)
		assert.Equal(t, want.Value, rec.Acceptor.Value)
	})
}

func TestNodeCloseAlthoughASaveHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		release := make(chan struct{})
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "save" {
				<-release
			}
			return nil
		}, nil)
		c.net.cut(1)
		call := proposing(context.Background(), c.nodes[1], "lunch", "burger")
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		err := c.nodes[1].Close()
		require.ErrorContains(t, err, "a Save has not returned")
		assert.LessOrEqual(t, time.Since(began), 3*time.Second)
		assert.True(t, isDone(c.nodes[1]))
		require.ErrorIs(t, (<-call).err, paxos.ErrClosed)
		assert.Equal(t, err, c.nodes[1].Close(), "it says so again")
		require.NoError(t, c.nodes[1].Err(), "it was closed")
		close(release)
		synctest.Wait()
	})
}

// A server that stops by itself is done, too, although a Save hangs.
func TestNodeDoneAlthoughASaveHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		release := make(chan struct{})
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "save" {
				<-release
			}
			return nil
		}, nil)
		proposing(context.Background(), c.nodes[1], "lunch", "burger")
		time.Sleep(10 * time.Millisecond)
		broken := errors.New("cable cut")
		c.ends[1].fail(broken)
		<-c.nodes[1].Done()
		require.ErrorIs(t, c.nodes[1].Err(), broken)
		close(release)
		synctest.Wait()
	})
}
