package node_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// pass lets that time pass in the bubble, and all that happens in it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// isForgotten checks that every call of that server for the instance says that these names are forgotten.
func isForgotten(t *testing.T, n *node.Node, instance string, names paxos.NameRange) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err1 := n.Propose(ctx, instance, "again")
	_, _, err2 := n.Read(ctx, instance)
	_, err3 := n.Wait(ctx, instance)
	_, _, err4 := n.Peek(ctx, instance)
	for _, err := range []error{err1, err2, err3, err4} {
		require.ErrorIs(t, err, paxos.ErrForgotten)
		var forgotten *paxos.ForgottenError
		require.ErrorAs(t, err, &forgotten)
		assert.Equal(t, names, forgotten.Names)
		assert.Equal(t, instance, opError(t, err).Instance)
	}
}

// told is what a subscriber read: a name, or the names that were forgotten.
func told(t *testing.T, n *node.Node, after uint64, within ...paxos.NameRange) (all []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Second, cancel)
	for learned, err := range n.Decisions(ctx, after, within...) {
		var forgotten *paxos.ForgottenError
		switch {
		case errors.As(err, &forgotten):
			all = append(all, "forgotten "+forgotten.Names.String())
			assert.NotZero(t, learned.Index)
			assert.Zero(t, learned.Decision)
		case err != nil:
			require.ErrorIs(t, err, context.Canceled)
		default:
			all = append(all, learned.Instance)
		}
	}
	return all
}

func storedNames(t *testing.T, s paxos.Storage) (names []string) {
	t.Helper()
	decided, err := s.Decided(0, 1000)
	require.NoError(t, err)
	for _, d := range decided {
		names = append(names, d.Instance)
	}
	return names
}

func TestNodeForgetsARange(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		names := paxos.Prefix("job/")
		for i := range 20 {
			propose(t, c.nodes[1], fmt.Sprintf("job/%d", i), "v")
		}
		propose(t, c.nodes[1], "lunch", "pizza")
		c.agreed("lunch")
		pass(time.Second) // its record is saved by itself
		require.NoError(t, c.nodes[3].Close())
		require.NoError(t, c.nodes[1].Forget(context.Background(), names))
		pass(time.Minute)
		for _, id := range c.ids()[:2] {
			isForgotten(t, c.nodes[id], "job/7", names)
			isForgotten(t, c.nodes[id], "job/new", names)
			assert.Equal(t, []string{"lunch", "$forgotten/0"}, storedNames(t, c.storage[id]))
			assert.Equal(t, []string{"lunch", "forgotten " + names.String()}, told(t, c.nodes[id], 0))
			assert.Equal(t, []paxos.NameRange{names}, c.nodes[id].Status().Forgotten)
		}
		assert.Equal(t, []string{"lunch"}, told(t, c.nodes[1], 0, paxos.Prefix("lu")))
		assert.Equal(t, []string{"forgotten " + names.String()}, told(t, c.nodes[1], 0, paxos.Prefix("job/2"), paxos.Prefix("x")))

		c.start(3) // it was away, and learns of it
		assert.Equal(t, paxos.Value("pizza"), c.agreed("lunch"))
		pass(time.Minute)
		isForgotten(t, c.nodes[3], "job/7", names)
		assert.Equal(t, []string{"lunch", "$forgotten/0"}, storedNames(t, c.storage[3]))

		require.NoError(t, c.nodes[2].Forget(context.Background(), paxos.NameRange{From: "jo", To: "job/5"}), "it joins the other")
		pass(time.Minute)
		all := paxos.NameRange{From: "jo", To: names.To}
		for _, id := range c.ids() {
			require.NoError(t, c.nodes[id].Close())
			isForgotten(t, c.start(id), "job/0", all) // after a restart, too
			assert.Equal(t, []string{"lunch", "$forgotten/0"}, storedNames(t, c.storage[id]))
		}
		propose(t, c.nodes[1], "jp", "v")
	})
}

func TestNodeForgetsOneName(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		for _, name := range []string{"a", "b", "c"} {
			propose(t, c.nodes[1], name, "v")
			c.agreed(name)
			pass(time.Second)
		}
		wait := waiting(context.Background(), c.nodes[2], "never")
		require.NoError(t, c.nodes[3].Forget(context.Background(), paxos.OneName("b")))
		require.NoError(t, c.nodes[3].Forget(context.Background(), paxos.OneName("never")), "nothing was decided there")
		assert.ErrorIs(t, (<-wait).err, paxos.ErrForgotten)
		require.NoError(t, c.nodes[3].Forget(context.Background(), paxos.OneName("b")), "again")
		pass(time.Minute)
		for _, id := range c.ids() {
			isForgotten(t, c.nodes[id], "b", paxos.OneName("b"))
			assert.Equal(t, []string{"a", "c", `forgotten "b" "b\x00"`, `forgotten "never" "never\x00"`}, told(t, c.nodes[id], 0))
			require.NoError(t, c.nodes[id].Close())
			isForgotten(t, c.start(id), "b", paxos.OneName("b"))
		}
		require.NoError(t, c.nodes[1].Forget(context.Background(), paxos.Prefix("b")), "the range takes the place of the name")
		pass(time.Minute)
		for _, id := range c.ids() {
			assert.Equal(t, []string{"a", "c", "never", "$forgotten/0"}, storedNames(t, c.storage[id]))
		}
	})
}

func TestNodeRefusesToForget(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		n := c.nodes[1]
		forget := func(names paxos.NameRange) *paxos.OpError {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return opError(t, n.Forget(ctx, names))
		}
		assert.EqualError(t, forget(paxos.NameRange{From: "b", To: "a"}), `paxos: forget: range of names from "b" to "a" is empty`)
		assert.ErrorIs(t, forget(paxos.OneName("$x")), paxos.ErrName)
		waiting(context.Background(), n, "stuck/1")
		pass(time.Second)
		for _, names := range []paxos.NameRange{paxos.OneName("stuck/1"), paxos.Prefix("st")} {
			err := forget(names)
			assert.ErrorIs(t, err, paxos.ErrBusy)
			assert.ErrorContains(t, err, `a call waits for instance "stuck/1": decide it before it is forgotten`)
			assert.False(t, err.Unknown())
		}
		propose(t, n, "stuck/1", "given up")
		require.NoError(t, n.Forget(context.Background(), paxos.Prefix("st")))

		require.NoError(t, c.nodes[2].Close())
		require.NoError(t, c.nodes[3].Close())
		for _, names := range []paxos.NameRange{paxos.Prefix("far/"), paxos.OneName("far")} {
			err := forget(names)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.ErrorContains(t, err, "no quorum in forget: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3)")
			assert.True(t, err.Unknown())
		}
		isForgotten(t, n, "far/1", paxos.Prefix("far/"))
		c.start(2)
		c.start(3)
		require.NoError(t, n.Forget(context.Background(), paxos.Prefix("far/")), "again")
	})
}
