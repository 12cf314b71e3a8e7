package node_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
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

// hangLoads has each Load of these names on server 1 hang until release, which may be called more than once.
func hangLoads(c *testCluster, hangs func(instance string) bool) (release func()) {
	gate := make(chan struct{})
	c.store(1).hooks(func(call storageCall) error {
		if call.op == "load" && hangs(call.instance) {
			<-gate
		}
		return nil
	}, nil)
	return sync.OnceFunc(func() { close(gate) })
}

// onTimeOut checks that a call ends when its context does, after d.
func onTimeOut(t *testing.T, d time.Duration, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	began := time.Now()
	require.ErrorIs(t, f(ctx), context.DeadlineExceeded)
	assert.Equal(t, d, time.Since(began))
}

// A Load that hangs holds up its own instance, and nothing else: not other instances, Peek, Status or contexts. When it returns, the
// instance goes on.
func TestNodeALoadThatHangsHoldsUpItsInstanceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		n := c.nodes[1]
		propose(t, n, "warm", "soup")
		release := hangLoads(c, func(instance string) bool { return instance == "cold" })
		defer release()
		began := time.Now()
		onTimeOut(t, 100*time.Millisecond, func(ctx context.Context) error { _, err := n.Propose(ctx, "cold", "v"); return err })
		onTimeOut(t, 100*time.Millisecond, func(ctx context.Context) error { _, _, err := n.Peek(ctx, "cold"); return err })
		assert.Equal(t, 200*time.Millisecond, time.Since(began))
		cold := proposing(context.Background(), n, "cold", "v")
		pending(t, cold)
		began = time.Now()
		_, ok, err := n.Peek(context.Background(), "warm")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.NoError(t, n.Status().Err)
		assert.Zero(t, time.Since(began))
		propose(t, n, "other", "v")
		propose(t, c.nodes[2], "another", "v")
		c.agreed("another")
		assert.Less(t, time.Since(began), 100*time.Millisecond)
		release()
		require.NoError(t, (<-cold).err)
		c.agreed("cold")
	})
}

// Close and Done come as they do for a Save that hangs.
func TestNodeCloseAlthoughALoadHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		n := c.nodes[1]
		release := hangLoads(c, func(string) bool { return true })
		calls := []<-chan outcome{proposing(context.Background(), n, "cold", "v"),
			inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, waitForPeek(n, "peeked") })}
		pending(t, calls[1])
		began := time.Now()
		closed := make(chan error)
		go func() { closed <- n.Close() }()
		for _, call := range calls {
			require.ErrorIs(t, (<-call).err, paxos.ErrClosed)
		}
		assert.Zero(t, time.Since(began), "calls do not wait for the storage")
		require.EqualError(t, <-closed, "paxos: close: a Load has not returned: the storage is still in use")
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.True(t, isDone(n))
		release()
		synctest.Wait()
	})
}

// Reads that hang leave readers for others: as many as hang, up to 240, and after 100 ms.
func TestNodeReadsThatHangLeaveReadersForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		n := c.nodes[1]
		release := hangLoads(c, func(instance string) bool { return instance[0] == 'c' })
		defer release()
		var calls []<-chan outcome
		for i := range 240 {
			calls = append(calls, proposing(context.Background(), n, fmt.Sprint("cold ", i), "v"))
		}
		pending(t, calls[239])
		for i := range 40 {
			began := time.Now()
			propose(t, n, fmt.Sprint("other ", i), "v")
			assert.LessOrEqual(t, time.Since(began), 240/16*100*time.Millisecond+100*time.Millisecond)
		}
		began := time.Now()
		propose(t, n, "the last", "v")
		assert.Less(t, time.Since(began), 100*time.Millisecond, "by now those that hang are known")
		release()
		for _, call := range calls {
			require.NoError(t, (<-call).err)
		}
	})
}

// A slow disk with tens of thousands of reads due delays no context, Status or Close, and is not asked for more than 16 reads at a time.
func TestNodeSlowReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		n := c.nodes[1]
		var running, most atomic.Int64
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "load" {
				if now := running.Add(1); now > most.Load() {
					most.Store(now)
				}
				time.Sleep(50 * time.Millisecond)
				running.Add(-1)
			}
			return nil
		}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		var calls []<-chan outcome
		for i := range 20_000 {
			calls = append(calls, waiting(ctx, n, fmt.Sprint("cold ", i)))
		}
		pending(t, calls[0])
		time.Sleep(time.Second)
		began := time.Now()
		assert.Equal(t, 20_000, n.Status().Calls)
		assert.Zero(t, time.Since(began))
		onTimeOut(t, 10*time.Millisecond, func(ctx context.Context) error { _, err := n.Propose(ctx, "more", "v"); return err })
		began = time.Now()
		cancel()
		for _, call := range calls {
			require.ErrorIs(t, (<-call).err, context.Canceled)
		}
		require.NoError(t, n.Close())
		assert.LessOrEqual(t, time.Since(began), 50*time.Millisecond, "no read begins any more")
		assert.LessOrEqual(t, most.Load(), int64(16))
	})
}

// Calls of Peek that come again and again take one reader while the Load of their name hangs.
func TestNodePeeksOfANameShareAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		n := c.nodes[1]
		release := hangLoads(c, func(instance string) bool { return instance == "cold" })
		for range 1000 {
			onTimeOut(t, 10*time.Millisecond, func(ctx context.Context) error { _, _, err := n.Peek(ctx, "cold"); return err })
		}
		assert.Equal(t, 1, c.store(1).count("load"))
		began := time.Now()
		_, ok, err := n.Peek(context.Background(), "other")
		require.NoError(t, err)
		assert.False(t, ok)
		assert.Zero(t, time.Since(began))
		call := inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, waitForPeek(n, "cold") })
		pending(t, call)
		release()
		require.NoError(t, (<-call).err)
		assert.Equal(t, 3, c.store(1).count("load"), "one for all that came while the first hung")
	})
}

// A Peek shows what was saved when it began, also while an earlier Peek of that name reads.
func TestNodePeekIsNotAnsweredByAnEarlierRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		c.config = func(cfg *node.Config) { cfg.Limits.Cache = 1 }
		n := c.start(1)
		gate := make(chan struct{})
		c.store(1).hooks(nil, func(call storageCall) error { // it has read, and does not return
			if call.op == "load" && call.instance == "lunch" && call.n == 1 {
				<-gate
			}
			return nil
		})
		peek := func() <-chan outcome {
			return inBackground(func() (paxos.Decision, error) {
				d, _, err := n.Peek(context.Background(), "lunch")
				return d, err
			})
		}
		early := peek()
		pending(t, early)
		propose(t, n, "lunch", "burger")
		propose(t, n, "dinner", "soup") // which leaves no room for lunch in memory
		time.Sleep(time.Second)
		late := peek()
		pending(t, late)
		close(gate)
		assert.Empty(t, (<-early).d)
		assert.Equal(t, paxos.Value("burger"), (<-late).d.Value)
	})
}

// A subscriber's context ends on time, whatever of the storage hangs, and so it is with Close.
func TestNodeDecisionsOfAStorageThatHangs(t *testing.T) {
	for _, op := range []string{"load", "decided"} {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, 1)
			n := c.nodes[1]
			propose(t, n, "lunch", "burger")
			time.Sleep(time.Second)
			gate := make(chan struct{})
			c.store(1).hooks(func(call storageCall) error {
				if call.op == op {
					<-gate
				}
				return nil
			}, nil)
			follow := func(ctx context.Context) (last error) {
				for _, err := range n.Decisions(ctx, 0) {
					last = err
				}
				return last
			}
			onTimeOut(t, time.Second, follow)
			call := inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, follow(context.Background()) })
			pending(t, call)
			began := time.Now()
			require.ErrorContains(t, n.Close(), "has not returned")
			require.ErrorIs(t, (<-call).err, paxos.ErrClosed)
			assert.Equal(t, 2*time.Second, time.Since(began))
			close(gate)
			synctest.Wait()
		})
	}
}

// Whatever read of a start hangs, its context ends it.
func TestStartContextEndsWhileAReadHangs(t *testing.T) {
	for _, op := range []string{"server", "undecided", "decided"} {
		synctest.Test(t, func(t *testing.T) {
			c := newTestCluster(t, membersOf(3))
			gate := make(chan struct{})
			c.store(1).hooks(func(call storageCall) error {
				if call.op == op {
					<-gate
				}
				return nil
			}, nil)
			onTimeOut(t, time.Second, func(ctx context.Context) error {
				_, err := c.tryStart(ctx, 1)
				require.ErrorContains(t, err, "paxos: start: the storage has not been read yet, and is in use until that returns: ")
				return err
			})
			close(gate)
			synctest.Wait()
			c.start(1)
		})
	}
}

// An ownLoads has another Load than the MemoryStorage that it embeds, whose LoadNow it has, too.
type ownLoads struct {
	*memory.Storage
	loads *atomic.Int64
	_     []int // so that it can't be compared
}

func (s ownLoads) Load(instance string) (paxos.Record, error) {
	s.loads.Add(1)
	return s.Storage.Load(instance)
}

// A Load is a call of the Storage that Start was given, not of one that is embedded in it.
func TestNodeAsksTheStorageThatItWasGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		s := ownLoads{Storage: c.store(1).Storage, loads: new(atomic.Int64)}
		c.storage[1] = s
		n := c.start(1)
		propose(t, n, "lunch", "burger")
		assert.Equal(t, int64(1), s.loads.Load())
		require.NoError(t, waitForPeek(n, "dinner"))
		assert.Equal(t, int64(2), s.loads.Load())
	})
}

// A halfPrompt answers at once what it does not have, as package wal does, and counts the other reads.
type halfPrompt struct{ *testStorage }

func (s *halfPrompt) Self() paxos.Storage { return s }

func (s *halfPrompt) LoadNow(instance string) (paxos.Record, bool) {
	rec, _ := s.Storage.Load(instance)
	return paxos.Record{}, rec == paxos.Record{}
}

func (s *halfPrompt) DecidedNow(uint64, int) ([]paxos.Named, bool) { return nil, false }

// A record that a PromptStorage has at once is not read.
func TestNodeReadsNothingThatIsKnownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		c.config = func(cfg *node.Config) { cfg.Limits.Cache = 1 }
		s := &halfPrompt{c.store(1)}
		c.storage[1] = s
		n := c.start(1)
		for i := range 10 {
			propose(t, n, fmt.Sprint("job ", i), "v")
			require.NoError(t, waitForPeek(n, fmt.Sprint("no job ", i)))
		}
		time.Sleep(time.Second)
		assert.Zero(t, s.count("load"))
		d, ok, err := n.Peek(context.Background(), "job 0")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, paxos.Value("v"), d.Value)
		assert.Equal(t, paxos.Value("v"), propose(t, n, "job 1", "w").Value)
		assert.Equal(t, 2, s.count("load"))
	})
}

// Reads that hang have other readers beside them, whatever was read last. A value of 1 MiB leaves room for 16 reads at a time.
func TestNodeReadsThatHangAfterALargeValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.startAll()
		propose(t, c.nodes[1], "big", paxos.Value(strings.Repeat("v", 1<<20)))
		time.Sleep(time.Second)
		require.NoError(t, c.nodes[1].Close())
		n := c.start(1)
		_, err := n.Wait(soon(t), "big") // a Load of 1 MiB
		require.NoError(t, err)
		release := hangLoads(c, func(instance string) bool { return instance[0] == 'c' })
		defer release()
		for i := range 16 {
			proposing(context.Background(), n, fmt.Sprint("cold ", i), "v")
		}
		synctest.Wait()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err = n.Propose(ctx, "other", "v")
		require.NoError(t, err)
	})
}

func TestNodePeek(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		peek := func(name string) (paxos.Decision, bool) {
			t.Helper()
			d, ok, err := c.nodes[1].Peek(context.Background(), name)
			require.NoError(t, err)
			return d, ok
		}
		d, ok := peek("lunch")
		assert.False(t, ok)
		assert.Zero(t, d)
		want := propose(t, c.nodes[1], "lunch", "burger")
		d, ok = peek("lunch")
		assert.True(t, ok)
		assert.Equal(t, want, d)
	})
}

func TestNodePeekInTheStorageOnly(t *testing.T) {
	for _, path := range []string{"direct", "general"} {
		synctest.Test(t, func(t *testing.T) {
			c := newTestCluster(t, membersOf(3))
			if path == "direct" {
				c = newDirectCluster(t, membersOf(3))
			}
			c.config = func(cfg *node.Config) { cfg.Limits.Cache = 1 }
			c.startAll()
			var want []paxos.Decision
			for i := range 10 {
				want = append(want, propose(t, c.nodes[1], fmt.Sprint(i), "burger"))
			}
			time.Sleep(time.Second)
			assert.Zero(t, c.nodes[1].Status().Open)
			for _, w := range want { // nine of them have left memory
				d, ok, err := c.nodes[1].Peek(context.Background(), w.Instance)
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, w, d)
				assert.Equal(t, w.Value, propose(t, c.nodes[2], w.Instance, "pizza").Value)
			}
			c.nodes[1].Close()
			n := c.start(1) // and after a restart all of them have
			for _, w := range want {
				d, ok, err := n.Peek(context.Background(), w.Instance)
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, w, d)
			}
		})
	}
}

// An accepted value is not chosen, so Peek does not show it (P22).
func TestNodePeekShowsNoVotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.lose(paxos.KindAccepted)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.nodes[1].Propose(ctx, "lunch", "burger")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		rec, err := c.storage[2].Load("lunch")
		require.NoError(t, err)
		require.Equal(t, paxos.Value("burger"), rec.Acceptor.Value, "server 2 has voted")
		for range 2 {
			_, ok, err := c.nodes[2].Peek(context.Background(), "lunch")
			require.NoError(t, err)
			assert.False(t, ok)
			c.nodes[2].Close()
			c.start(2)
		}
	})
}
