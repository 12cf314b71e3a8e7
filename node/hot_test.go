package node_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A call that is cancelled before it has begun ends all the same, behind thousands of others; and so does it when the Node closes.
func TestNodeCancelsWhatHasNotBegun(t *testing.T) {
	for _, closes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, 3)
			n := c.nodes[1]
			release := holdLoop(c)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			var calls []<-chan outcome
			for range 5000 {
				calls = append(calls, waiting(ctx, n, "hot"))
			}
			peek := inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, waitForPeek(n, "hot") })
			time.Sleep(2 * time.Second) // all are cancelled, and the loop has begun none
			want := context.DeadlineExceeded
			if closes {
				closed := make(chan error, 1)
				go func() { closed <- n.Close() }()
				defer func() { require.NoError(t, <-closed) }()
				synctest.Wait()
				want = paxos.ErrClosed
			}
			release()
			for _, call := range calls {
				require.ErrorIs(t, (<-call).err, want)
			}
			if closes {
				<-peek
			} else {
				require.NoError(t, (<-peek).err)
				assert.Equal(t, 1, n.Status().Calls, "that of holdLoop")
			}
		})
	}
}
