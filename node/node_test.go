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
)

func TestNodeConcurrentProposersAgree(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		const instances = 40
		calls := map[string][]<-chan outcome{}
		for i := range instances {
			name := fmt.Sprint("job ", i)
			for _, id := range c.ids() {
				value := paxos.Value(fmt.Sprint("of server ", id))
				calls[name] = append(calls[name], proposing(context.Background(), c.nodes[id], name, value))
			}
		}
		for name, outcomes := range calls {
			value := c.agreed(name)
			assert.Contains(t, []paxos.Value{"of server 1", "of server 2", "of server 3"}, value, "nobody proposed it")
			for _, o := range outcomes {
				got := <-o
				require.NoError(t, got.err)
				assert.Equal(t, value, got.d.Value)
				assert.Equal(t, name, got.d.Instance)
				assert.False(t, got.d.Ballot.IsZero())
			}
		}
	})
}

func TestNodeDuelsEnd(t *testing.T) {
	for n := 2; n <= 9; n++ { // P21
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, n)
				began := time.Now()
				var calls []<-chan outcome
				for _, id := range c.ids() {
					calls = append(calls, proposing(context.Background(), c.nodes[id], "lunch", paxos.Value(fmt.Sprint(id))))
				}
				value := c.agreed("lunch")
				for _, call := range calls {
					got := <-call
					require.NoError(t, got.err)
					assert.Equal(t, value, got.d.Value)
				}
				assert.Less(t, time.Since(began), 10*time.Second)
			})
		})
	}
}

func TestNodeTwoCallersOfOneInstance(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		first := proposing(context.Background(), c.nodes[1], "lunch", "burger")
		second := proposing(context.Background(), c.nodes[1], "lunch", "pizza")
		third := waiting(context.Background(), c.nodes[1], "lunch")
		want := <-first
		require.NoError(t, want.err)
		assert.Equal(t, want, <-second)
		assert.Equal(t, want, <-third)
		assert.Equal(t, uint64(1), c.nodes[1].Status().Counters.Attempts, "one attempt serves both")
		assert.Equal(t, want.d, propose(t, c.nodes[1], "lunch", "kimbap"), "asking again gets it again")
	})
}

func TestNodeLosingIsNoError(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		assert.Equal(t, paxos.Value("burger"), propose(t, c.nodes[1], "lunch", "burger").Value)
		assert.Equal(t, paxos.Value("burger"), propose(t, c.nodes[2], "lunch", "pizza").Value)
		assert.Equal(t, paxos.Value("burger"), c.agreed("lunch"))
	})
}

func TestNodeEmptyAndBinaryValues(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) { // P16
		for _, v := range []paxos.Value{"", "\x00", "\xff\xfe"} {
			name := fmt.Sprintf("%q", string(v))
			assert.Equal(t, v, propose(t, c.nodes[1], name, v).Value)
			assert.Equal(t, v, propose(t, c.nodes[2], name, "another").Value)
			assert.Equal(t, v, c.agreed(name))
		}
	})
}

func TestNodeWait(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		var before []<-chan outcome
		for _, id := range c.ids() {
			before = append(before, waiting(context.Background(), c.nodes[id], "lunch"))
		}
		time.Sleep(time.Minute)
		for _, call := range before {
			pending(t, call)
		}
		want := propose(t, c.nodes[2], "lunch", "burger")
		began := time.Now()
		for _, call := range before {
			got := <-call
			require.NoError(t, got.err)
			assert.Equal(t, want.Value, got.d.Value)
		}
		assert.Less(t, time.Since(began), 100*time.Millisecond, "each is told, none has to ask")
		for _, id := range c.ids() { // after
			d, err := c.nodes[id].Wait(context.Background(), "lunch")
			require.NoError(t, err)
			assert.Equal(t, want.Value, d.Value)
		}
	})
}

func TestNodeWaitAsksWhenChosenWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.lose(paxos.KindChosen)
		early := waiting(context.Background(), c.nodes[3], "lunch")
		time.Sleep(10 * time.Millisecond)
		propose(t, c.nodes[1], "lunch", "burger")
		late, err := c.nodes[2].Wait(context.Background(), "lunch")
		require.NoError(t, err)
		assert.Equal(t, paxos.Value("burger"), late.Value)
		assert.Equal(t, paxos.Value("burger"), (<-early).d.Value)
	})
}

// A proposer that died after its value was chosen has told nobody: those who wait find the votes.
func TestNodeWaitFindsWhatADeadProposerGotChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.lose(paxos.KindAccepted, paxos.KindChosen)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.nodes[1].Propose(ctx, "lunch", "burger")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		c.nodes[1].Close()
		c.net.heal()
		d, err := c.nodes[2].Wait(context.Background(), "lunch")
		require.NoError(t, err)
		assert.Equal(t, paxos.Value("burger"), d.Value)
	})
}

func TestNodeReady(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		for _, id := range c.ids() {
			require.NoError(t, c.nodes[id].Ready(context.Background()))
			require.NoError(t, c.nodes[id].Ready(context.Background()), "again")
		}
	})
}

func TestNodeReadyNeedsAQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		require.NoError(t, c.nodes[1].Ready(context.Background()))
		c.net.cut(2, 3)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := c.nodes[1].Ready(ctx)
		e := opError(t, err)
		assert.Equal(t, "paxos: ready: no quorum in query: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context deadline exceeded", err.Error())
		assert.Equal(t, []paxos.ServerID{2, 3}, e.Silent)
		assert.False(t, e.Unknown())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		healed := inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, c.nodes[1].Ready(context.Background()) })
		time.Sleep(time.Minute)
		pending(t, healed)
		c.net.cut(3)
		require.NoError(t, (<-healed).err, "two of three are enough")
	})
}

// Ready is about now: answers from before the call do not count.
func TestNodeReadyTakesNoOldAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.obey(func(_ paxos.Packet, m paxos.Message) []time.Duration {
			if m.Kind == paxos.KindState {
				return []time.Duration{100 * time.Millisecond}
			}
			return onTime
		})
		first := inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, c.nodes[1].Ready(context.Background()) })
		time.Sleep(50 * time.Millisecond) // the answers to the first question are under way
		c.net.cut(2, 3)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.nodes[1].Ready(ctx), context.DeadlineExceeded)
		c.net.heal()
		require.NoError(t, (<-first).err)
	})
}

func TestNodeStatus(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		propose(t, c.nodes[1], "lunch", "burger")
		call := waiting(context.Background(), c.nodes[1], "dinner")
		time.Sleep(100 * time.Millisecond)
		s := c.nodes[1].Status()
		assert.Equal(t, paxos.ServerID(1), s.ID)
		assert.Equal(t, uint64(1), s.Boot)
		assert.NotZero(t, s.Store)
		assert.Equal(t, `cluster "test", acceptors 1,2,3 majority(3)`, s.Members)
		assert.Equal(t, 1, s.Calls)
		assert.Equal(t, 1, s.Open)
		assert.Equal(t, uint64(1), s.Index)
		assert.Equal(t, uint64(1), s.Counters.Decided)
		assert.NoError(t, s.Err)
		require.Len(t, s.Peers, 2)
		for i, p := range s.Peers {
			assert.Equal(t, paxos.ServerID(i+2), p.ID)
			assert.True(t, p.Votes)
			assert.Equal(t, uint64(1), p.Boot)
			assert.Positive(t, p.Heard)
			assert.Empty(t, p.Refused)
		}
		c.nodes[1].Close()
		require.ErrorIs(t, (<-call).err, paxos.ErrClosed)
		last := c.nodes[1].Status()
		assert.Zero(t, last.Calls)
		assert.Equal(t, uint64(1), last.Index)
		assert.NoError(t, last.Err)
		assert.NoError(t, c.nodes[1].Err())
	})
}

// A decision of a single server, too, stands on its storage before anybody hears of it (P24).
func TestNodeAloneAnswersAfterItsSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 1)
		release := make(chan struct{})
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "save" && call.n == 2 { // the first holds the promise, the second the vote
				<-release
			}
			return nil
		}, nil)
		call := proposing(context.Background(), c.nodes[1], "lunch", "burger")
		time.Sleep(time.Minute)
		pending(t, call)
		close(release)
		d := <-call
		require.NoError(t, d.err)
		// The power fails now.
		c.storage[1] = copyOf(t, c.store(1).Storage)
		rec, err := c.storage[1].Load("lunch")
		require.NoError(t, err)
		assert.False(t, rec.Chosen, "the record of the decision is not there yet")
		assert.Equal(t, paxos.Acceptor{Promised: d.d.Ballot, Accepted: d.d.Ballot, Value: "burger"}, rec.Acceptor)
		assert.Equal(t, paxos.Value("burger"), propose(t, c.start(1), "lunch", "pizza").Value)
	})
}

func TestNodeAlone(t *testing.T) {
	onBothPaths(t, 1, func(t *testing.T, c *testCluster) {
		require.NoError(t, c.nodes[1].Ready(context.Background()))
		assert.Equal(t, paxos.Value("burger"), propose(t, c.nodes[1], "lunch", "burger").Value)
		assert.Equal(t, paxos.Value("burger"), c.agreed("lunch"))
	})
}

func TestNodeThatOnlyLearns(t *testing.T) {
	for _, make := range []func(*testing.T, paxos.Members) *testCluster{newDirectCluster, newTestCluster} {
		synctest.Test(t, func(t *testing.T) {
			m := membersOf(3)
			m.Learners = []paxos.ServerID{7, 9}
			c := make(t, m)
			c.startAll()
			require.NoError(t, c.nodes[7].Ready(context.Background()))
			waits := waiting(context.Background(), c.nodes[9], "lunch")
			assert.Equal(t, paxos.Value("burger"), propose(t, c.nodes[7], "lunch", "burger").Value)
			assert.Equal(t, paxos.Value("burger"), (<-waits).d.Value)
			assert.Equal(t, paxos.Value("burger"), c.agreed("lunch"))
			propose(t, c.nodes[2], "dinner", "soup")
			time.Sleep(time.Second)
			d, ok, err := c.nodes[9].Peek(context.Background(), "dinner")
			require.NoError(t, err)
			assert.True(t, ok, "a learner is told, without asking")
			assert.Equal(t, paxos.Value("soup"), d.Value)
			sent := c.nodes[7].Status().Counters.Sent
			for _, k := range []paxos.Kind{paxos.KindPromise, paxos.KindAccepted, paxos.KindState, paxos.KindNack} {
				assert.Zero(t, sent[k], "it must not vote")
			}
		})
	}
}

// After a restart a server must not use a ballot again (P5), and it keeps what it promised and learned.
func TestNodeRestart(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		first := propose(t, c.nodes[1], "lunch", "burger")
		time.Sleep(time.Second)
		for _, id := range c.ids() {
			require.NoError(t, c.nodes[id].Close())
		}
		c.startAll()
		next := propose(t, c.nodes[1], "dinner", "soup")
		assert.Greater(t, next.Ballot.Round, first.Ballot.Round)
		assert.Equal(t, uint64(2), c.nodes[1].Status().Boot)
		assert.Equal(t, paxos.Value("burger"), propose(t, c.nodes[2], "lunch", "pizza").Value)
	})
}

func TestNodeRestartFinishesWhatItVotedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.lose(paxos.KindAccepted)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.nodes[1].Propose(ctx, "lunch", "burger")
		require.True(t, paxos.Unknown(err))
		for _, id := range c.ids() {
			c.nodes[id].Close()
		}
		c.net.heal()
		c.startAll()
		assert.Equal(t, paxos.Value("burger"), propose(t, c.nodes[3], "lunch", "pizza").Value)
	})
}

// Two callers that offer equal bytes both find their value chosen; with a nonce in it, one does (docs/guarantees.md).
func TestEqualValuesBothWin(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		winners := func(instance string, values ...paxos.Value) (n int) {
			var calls []<-chan outcome
			for i, v := range values {
				calls = append(calls, proposing(soon(t), c.nodes[paxos.ServerID(i+1)], instance, v))
			}
			for i, call := range calls {
				o := <-call
				require.NoError(t, o.err)
				if o.d.Value == values[i] {
					n++
				}
			}
			return n
		}
		assert.Equal(t, 3, winners("job 6", "worker", "worker", "worker"))
		assert.Equal(t, 1, winners("job 7", "worker a", "worker b", "worker c"))
	})
}
