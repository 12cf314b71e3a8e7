package node_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// A channel that was made in a bubble must not leave it, as it would in a pool that all Nodes share: the next bubble would
// die of it. So users can test with synctest, too.
func TestNodesInOneBubbleAfterAnother(t *testing.T) {
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			nodes, stop, err := memory.Cluster(memory.Config{})
			require.NoError(t, err)
			defer stop()
			propose(t, nodes[0], "lunch", "burger")
		})
	}
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	defer stop()
	propose(t, nodes[0], "lunch", "burger")
}

// Status is no call that a limit could refuse: it answers also when MaxCalls calls wait for the loop.
func TestNodeStatusWhenBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) { cfg.Limits.MaxCalls = 1 }
		c.startAll()
		release := holdLoop(c)
		call := proposing(context.Background(), c.nodes[1], "lunch", "burger")
		pending(t, call)
		status := make(chan paxos.Status, 1)
		go func() { status <- c.nodes[1].Status() }()
		synctest.Wait()
		release()
		<-call
		select {
		case s := <-status:
			assert.NoError(t, s.Err)
		case <-time.After(time.Hour):
			t.Error("Status has not returned")
		}
	})
}

// The error of a cancelled call is the caller's. The one that Trace was given does not change any more. (With -race this was a data race.)
func TestNodeTraceSharesNoErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		var traced []error
		c.config = func(cfg *node.Config) {
			cfg.Trace = func(_ context.Context, e paxos.Event) {
				if e.Kind == paxos.EventDone {
					assert.Contains(t, e.Err.Error(), "no quorum in prepare")
					traced = append(traced, e.Err)
				}
			}
		}
		n := c.start(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := n.Propose(ctx, "lunch", "burger")
		e := opError(t, err)
		n.Close()
		require.Len(t, traced, 1)
		assert.NotSame(t, e, traced[0])
	})
}

// A transport that ends with ErrClosed, as one of this library may, is no Close of the Node.
func TestNodeTransportEndsWithErrClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		n := c.start(1)
		c.ends[1].fail(fmt.Errorf("tcp: %w", paxos.ErrClosed))
		<-n.Done()
		assert.EqualError(t, n.Err(), "transport: tcp: server is closed")
		assert.Equal(t, n.Err(), n.Status().Err)
	})
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		c.config = func(cfg *node.Config) { c.ends[1].fail(fmt.Errorf("tcp: %w", paxos.ErrClosed)) }
		c.store(1).hooks(func(call storageCall) error { time.Sleep(time.Second); return nil }, nil)
		_, err := c.tryStart(context.Background(), 1)
		assert.EqualError(t, err, "paxos: start: transport: tcp: server is closed")
	})
}

// A chatterbox is a Transport that always has one more empty packet.
// Its Send blocks, as none may.
type chatterbox struct {
	begin, release chan struct{}
	received       atomic.Int64
}

func (b *chatterbox) Send(paxos.Packet) { <-b.release }

func (b *chatterbox) Receive(ctx context.Context) (paxos.Packet, error) {
	select {
	case <-b.begin:
	case <-ctx.Done():
	}
	if b.received.Add(1) > 1<<17 {
		<-ctx.Done()
	}
	return paxos.Packet{}, ctx.Err()
}

// While the loop is held up, what waits for it is bounded, be it packets without any message.
func TestNodeInboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		box := &chatterbox{begin: make(chan struct{}), release: make(chan struct{})}
		c.config = func(cfg *node.Config) { cfg.Transport = box }
		n := c.start(1)
		close(box.begin)
		synctest.Wait()
		assert.Less(t, box.received.Load(), int64(1<<17), "it takes packets for ever")
		close(box.release)
		assert.NoError(t, n.Status().Err)
		synctest.Wait()
		assert.Greater(t, box.received.Load(), int64(1<<17), "it goes on")
		n.Close()
	})
}

// A Trace that hangs costs events, not what an operator should know.
func TestNodeLogsBesideAHungTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		var out logBuffer
		release := make(chan struct{})
		c.config = func(cfg *node.Config) {
			cfg.Logger = out.logger()
			cfg.Trace = func(context.Context, paxos.Event) { <-release }
		}
		n := c.start(1)
		flood(c, 1)
		c.ends[1].fail(errTest)
		synctest.Wait()
		close(release)
		<-n.Done()
		assert.Contains(t, out.String(), `msg="server stopped"`)
	})
}

// Events that wait for a Trace keep values alive: their bytes are bounded, too, and there is room again when it has taken them.
func TestNodeTraceBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		release, bytes := make(chan struct{}), 0
		c.config = func(cfg *node.Config) {
			cfg.Trace = func(_ context.Context, e paxos.Event) { <-release; bytes += len(e.Message.Value) }
		}
		n := c.start(1)
		synctest.Wait() // it hangs now
		for i := range 40 {
			propose(t, n, fmt.Sprint(i), paxos.Value(strings.Repeat(fmt.Sprint(i%10), 1<<20)))
		}
		close(release)
		synctest.Wait()
		taken := bytes
		assert.LessOrEqual(t, taken, 64<<20+1<<20)
		propose(t, n, "lunch", paxos.Value(strings.Repeat("x", 1<<20)))
		n.Close()
		assert.GreaterOrEqual(t, bytes, taken+1<<20)
	})
}

// After Close the caller may close the storage, so a subscriber must not go on to read it; nor after its context ended.
func TestNodeDecisionsEndAtOnce(t *testing.T) {
	for _, how := range []string{"close", "cancel"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, 1)
				decideMany(t, c, 0, 10)
				time.Sleep(time.Second)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var last error
				shown := 0
				for _, err := range c.nodes[1].Decisions(ctx, 0) {
					if last = err; err != nil {
						break
					}
					if shown++; how == "close" {
						c.nodes[1].Close()
						c.store(1).hooks(nil, nil)
					} else {
						cancel()
					}
				}
				assert.Equal(t, 1, shown)
				if how == "close" {
					require.ErrorIs(t, last, paxos.ErrClosed)
					assert.Zero(t, c.store(1).count(""), "calls of the storage after Close")
				} else {
					require.ErrorIs(t, last, context.Canceled)
				}
			})
		})
	}
}

// A refusal is logged when it comes, not when there is something else to do.
func TestNodeLogsARefusalAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.start(1)
		c.members.Quorum, _ = paxos.Flexible(3, 2, 3)
		c.storage[3] = newTestStorage(t)
		require.NoError(t, paxos.Format(c.storage[3], 3, c.members))
		var out logBuffer
		c.config = func(cfg *node.Config) { cfg.Logger = out.logger() }
		c.start(3)
		ctx, cancel := context.WithTimeout(context.Background(), testLatency)
		defer cancel()
		_, err := c.nodes[3].Propose(ctx, "lunch", "burger")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Hour)
		assert.Contains(t, out.String(), `msg="peer refused" cluster=test server=3 peer=1 err="it refuses this server: `)
	})
}

// Two servers that refuse each other say so, and do not say it again with every packet.
func TestNodeLogsARefusalOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		var out logBuffer
		c.config = func(cfg *node.Config) { cfg.Logger = out.logger() }
		c.start(1)
		c.members.Quorum, _ = paxos.Flexible(3, 2, 3)
		c.storage[3] = newTestStorage(t)
		require.NoError(t, paxos.Format(c.storage[3], 3, c.members))
		c.start(3)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		one := proposing(ctx, c.nodes[1], "lunch", "burger")
		_, err := c.nodes[3].Propose(ctx, "lunch", "burger")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, (<-one).err, context.DeadlineExceeded)
		assert.LessOrEqual(t, strings.Count(out.String(), "peer refused"), 8)
	})
}

// A Wait offers no value, so its outcome is never unknown, whatever a Propose beside it does.
func TestNodeWaitIsNeverUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.lose(paxos.KindAccept)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		call := proposing(ctx, c.nodes[1], "lunch", "")
		time.Sleep(100 * time.Millisecond)
		_, err := c.nodes[1].Wait(ctx, "lunch")
		assert.False(t, paxos.Unknown(err))
		assert.True(t, paxos.Unknown((<-call).err))
	})
}

// A caller who was told that its value never left can rely on it, also when no hint carried it.
func TestNodeNotUnknownIsCertain(t *testing.T) {
	for _, v := range []paxos.Value{"", paxos.Value(strings.Repeat("x", 100_000))} { // neither is ever hinted
		synctest.Test(t, func(t *testing.T) {
			c := started(t, 3)
			ctx, cancel := context.WithTimeout(context.Background(), testLatency)
			defer cancel()
			_, err := c.nodes[1].Propose(ctx, "lunch", v)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.False(t, paxos.Unknown(err))
			time.Sleep(time.Minute)
			assert.Equal(t, paxos.Value("pizza"), propose(t, c.nodes[2], "lunch", "pizza").Value)
		})
	}
}

// Many who ask whether the server is ready, each before the one before has its answer, all get one.
func TestNodeReadyForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.net.latency = 50 * time.Millisecond
		c.startAll()
		var calls []<-chan outcome
		for range 200 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			calls = append(calls, inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, c.nodes[1].Ready(ctx) }))
			time.Sleep(10 * time.Millisecond)
		}
		for _, call := range calls {
			require.NoError(t, (<-call).err)
		}
	})
}
