package node

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// Thousands of callers of one name begin or give up at one moment. A turn takes some of them, and answers Peek and Status, which came
// after all of them; a turn follows for the others, and for those that come meanwhile.
func TestNodePeekPassesThousandsOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := bootedNode(t)
		running := func() int { return len(n.calls.calls) - len(n.calls.free) }
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := 0
		come := func(callers int) {
			for range callers {
				go func() { n.Wait(ctx, "hot"); n.mu.Lock(); ended++; n.mu.Unlock() }()
			}
			synctest.Wait()
		}
		turn := func() {
			require.Len(t, n.wake, 1, "a turn follows")
			before := running()
			var asked atomic.Int64
			go func() { n.Status(); asked.Add(1) }()
			synctest.Wait()
			go func() {
				_, ok, err := n.Peek(context.Background(), "hot")
				assert.NoError(t, err)
				assert.False(t, ok)
				asked.Add(1)
			}()
			synctest.Wait()
			<-n.wake
			require.NoError(t, n.turn())
			synctest.Wait()
			assert.Equal(t, int64(2), asked.Load(), "they have been answered")
			assert.LessOrEqual(t, max(running()-before, before-running()), portion)
		}
		come(3*portion + 1)
		turn()
		come(portion)
		for running() < 4*portion+1 {
			turn()
		}
		cancel()
		synctest.Wait()
		for running() > 0 {
			turn()
		}
		assert.Equal(t, 4*portion+1, ended)
		n.stop(paxos.ErrClosed)
	})
}

// Callers whose calls have failed are not waited for: few of them call again at once.
func TestNodeGathersNobodyWhoFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := bootedNode(t)
		ctx, cancel := context.WithCancel(context.Background())
		yields := 0
		n.yield = func() { yields++ }
		turn := func() {
			synctest.Wait()
			<-n.wake
			require.NoError(t, n.turn())
			n.gather()
		}
		for range 3 {
			go n.Wait(ctx, "lunch")
		}
		turn()
		cancel()
		turn()
		synctest.Wait()
		assert.Zero(t, len(n.calls.calls)-len(n.calls.free))
		assert.Zero(t, yields)
		n.stop(paxos.ErrClosed)
	})
}
