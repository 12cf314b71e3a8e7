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

// While one Save runs, the next batch gathers: one Save serves all instances that wait.
func TestNodeGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 1)
		release := make(chan struct{})
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "save" && call.n == 1 {
				<-release
			}
			return nil
		}, nil)
		calls := []<-chan outcome{proposing(context.Background(), c.nodes[1], "first", "burger")}
		pending(t, calls[0])
		for i := range 100 {
			calls = append(calls, proposing(context.Background(), c.nodes[1], fmt.Sprint(i), "burger"))
		}
		pending(t, calls[100])
		require.Equal(t, 1, c.store(1).count("save"))
		close(release)
		for _, call := range calls {
			require.NoError(t, (<-call).err)
		}
		assert.LessOrEqual(t, c.store(1).count("save"), 3, "one for the promises, one for the votes")
		time.Sleep(time.Second)
		assert.LessOrEqual(t, c.store(1).count("save"), 5, "one for a standing ballot, and one for the decisions")
	})
}

// The same for a server that only answers: each peer's packets gather, too.
func TestNodeGroupCommitOfAnAcceptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.cut(3)
		release := make(chan struct{})
		c.store(2).hooks(func(call storageCall) error {
			if call.op == "save" && call.n == 1 {
				<-release
			}
			return nil
		}, nil)
		var calls []<-chan outcome
		for i := range 100 {
			calls = append(calls, proposing(context.Background(), c.nodes[1], fmt.Sprint(i), "burger"))
			time.Sleep(time.Microsecond) // a packet for each
		}
		time.Sleep(10 * time.Millisecond)
		require.Equal(t, 1, c.store(2).count("save"))
		close(release)
		for _, call := range calls {
			require.NoError(t, (<-call).err)
		}
		assert.LessOrEqual(t, c.store(2).count("save"), 10, "one for each call and phase would be 200")
	})
}

// A batch has a limit, and records that do not fit wait for the next. Every Save is within the limit.
func TestNodeBatchLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		const most = 4 << 10
		c.config = func(cfg *node.Config) { cfg.Limits.MaxBatch, cfg.Limits.MaxPacket = most, most }
		for _, id := range c.ids() {
			c.store(id).hooks(func(call storageCall) error {
				size := 0
				for _, r := range call.batch.Records {
					size += len(r.Instance) + len(r.Acceptor.Value)
				}
				time.Sleep(10 * time.Millisecond)
				assert.True(t, size <= most || len(call.batch.Records) == 1, "a Batch of %d bytes", size)
				return nil
			}, nil)
		}
		c.startAll()
		value := paxos.Value(make([]byte, 1500))
		var calls []<-chan outcome
		for i := range 60 {
			v := value
			if i%20 == 0 {
				v = paxos.Value(make([]byte, 10_000))
			}
			calls = append(calls, proposing(context.Background(), c.nodes[paxos.ServerID(i%3+1)], fmt.Sprint(i), v))
		}
		for _, call := range calls {
			require.NoError(t, (<-call).err)
		}
		for i := range 60 {
			c.agreed(fmt.Sprint(i))
		}
	})
}
