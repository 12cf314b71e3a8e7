package node_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// allPropose has every server propose a value of its own for each instance, and checks that all of them agree.
func allPropose(t *testing.T, c *testCluster, instances ...string) {
	t.Helper()
	calls := map[string][]<-chan outcome{}
	for _, name := range instances {
		for _, id := range c.ids() {
			calls[name] = append(calls[name], proposing(context.Background(), c.nodes[id], name, paxos.Value(fmt.Sprint("of ", id))))
		}
	}
	for _, name := range instances {
		value := c.agreed(name)
		for _, call := range calls[name] {
			got := <-call
			require.NoError(t, got.err)
			require.Equal(t, value, got.d.Value)
		}
	}
}

func TestNodeEachKindLostOnce(t *testing.T) {
	kinds := []paxos.Kind{paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindNack,
		paxos.KindChosen, paxos.KindDecided, paxos.KindQuery, paxos.KindState}
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := membersOf(3)
				m.Learners = []paxos.ServerID{4}
				c := newTestCluster(t, m)
				c.startAll()
				lost := map[string]bool{} // the first of the kind on each way is
				c.net.obey(func(p paxos.Packet, m paxos.Message) []time.Duration {
					way := fmt.Sprint(p.From, p.To)
					if m.Kind != kind || lost[way] {
						return onTime
					}
					lost[way] = true
					return isLost
				})
				waits := waiting(context.Background(), c.nodes[4], "lunch")
				time.Sleep(10 * time.Millisecond)
				allPropose(t, c, "lunch")
				require.NoError(t, (<-waits).err)
				propose(t, c.nodes[1], "dinner", "soup")
				c.agreed("dinner")
				c.net.heal()
				assert.NotEmpty(t, lost, "there was none of this kind")
			})
		})
	}
}

// Drop any one message: all servers still agree (P21).
func TestNodeAnyOneMessageLost(t *testing.T) {
	run := func(t *testing.T, drop int) (sent int) {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, 3)
			n := 0
			c.net.obey(func(paxos.Packet, paxos.Message) []time.Duration {
				if n++; n == drop {
					return isLost
				}
				return onTime
			})
			began := time.Now()
			allPropose(t, c, "lunch")
			assert.Less(t, time.Since(began), 10*time.Second, "without message %d", drop)
			sent = len(c.net.messages())
		})
		return sent
	}
	total := run(t, 0)
	assert.GreaterOrEqual(t, total, 10)
	for drop := 1; drop <= total; drop++ {
		run(t, drop)
	}
}

func TestNodeRandomLossDelayAndRepetition(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, 3)
				random := rand.New(rand.NewPCG(seed, 0))
				c.net.obey(func(paxos.Packet, paxos.Message) []time.Duration {
					late := time.Duration(random.Int64N(int64(50 * time.Millisecond)))
					switch x := random.Float64(); {
					case x < 0.3:
						return isLost
					case x < 0.4:
						return []time.Duration{0, late}
					case x < 0.5:
						return []time.Duration{late}
					}
					return onTime
				})
				var names []string
				for i := range 30 {
					names = append(names, fmt.Sprint("job ", i))
				}
				allPropose(t, c, names...)
			})
		})
	}
}

func TestNodeMinorityDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(5))
		for _, id := range []paxos.ServerID{1, 3, 4} { // 2 and 5 never started
			c.start(id)
		}
		began := time.Now()
		propose(t, c.nodes[3], "lunch", "burger")
		assert.Less(t, time.Since(began), 10*testLatency, "the loss of a minority is no pause")
		assert.Equal(t, paxos.Value("burger"), c.agreed("lunch"))
		c.start(5) // late, it learns by asking
		assert.Equal(t, paxos.Value("burger"), c.agreed("lunch"))
	})
}

func TestNodeMajorityDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		n := c.start(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := n.Propose(ctx, "lunch", "burger")
		e := opError(t, err)
		assert.Equal(t, `paxos: propose "lunch": no quorum in prepare: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context deadline exceeded`, err.Error())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.True(t, e.Unknown(), "the Prepare carried the value as a hint")
		assert.True(t, paxos.Unknown(err))
		assert.Equal(t, "propose", e.Op)
		assert.Equal(t, "lunch", e.Instance)
		assert.Equal(t, "prepare", e.Phase)
		assert.Equal(t, paxos.ServerID(1), e.Ballot.Server)
		assert.Equal(t, []paxos.ServerID{1}, e.Answered)
		assert.Equal(t, []paxos.ServerID{2, 3}, e.Silent)
		assert.Empty(t, e.Refused)
		call := proposing(context.Background(), n, "lunch", "pizza")
		time.Sleep(time.Minute)
		pending(t, call)
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = n.Propose(ctx, "lunch", "burger")
		assert.True(t, paxos.Unknown(err), "it came late, but its value is under way")
		_, err = n.Wait(ctx, "lunch")
		assert.False(t, paxos.Unknown(err))
		c.start(3) // the majority is back
		require.NoError(t, (<-call).err)
		c.agreed("lunch")
	})
}

// A storage that fails at any of its calls stops its server, which says why, and nothing leaves it any more (P23).
func TestNodeStorageFailsAtTheNthCall(t *testing.T) {
	// The run: everybody proposes, one after the other; the records of the decisions ride along.
	run := func(t *testing.T, c *testCluster) (calls []<-chan outcome) {
		for i := range 6 {
			id := paxos.ServerID(i%3 + 1)
			if n := c.nodes[id]; n != nil {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				t.Cleanup(cancel)
				calls = append(calls, proposing(ctx, n, fmt.Sprint("job ", i), "burger"))
			}
			time.Sleep(20 * time.Millisecond)
		}
		return calls
	}
	total := 0
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.store(1).hooks(nil, nil)
		c.startAll()
		for _, call := range run(t, c) {
			require.NoError(t, (<-call).err)
		}
		total = c.store(1).count("")
	})
	assert.Greater(t, total, 20)
	for n := 1; n <= total; n++ {
		for _, how := range []string{"undone", "done", "once"} {
			synctest.Test(t, func(t *testing.T) {
				c := newTestCluster(t, membersOf(3))
				failed := failAt(c, n, how)
				c.start(2)
				c.start(3)
				if _, err := c.tryStart(context.Background(), 1); err != nil {
					require.True(t, failed.Load())
					require.ErrorIs(t, err, errTest)
					assert.Contains(t, err.Error(), "paxos: start: ")
				}
				checkStorageFailed(t, c, run(t, c), n)
				_, err := c.tryStart(context.Background(), 1)
				assert.True(t, err != nil || how == "once", "a dead storage starts no server")
				assert.True(t, err == nil || errors.Is(err, errTest))
			})
		}
	}
}

// failAt lets the n-th call of the storage of server 1 fail, undone or done, and all later ones. Or it fails once, and later ones fail only
// if it was a Save. No answer may leave the server after it.
func failAt(c *testCluster, n int, how string) *atomic.Bool {
	failed, dead := new(atomic.Bool), new(atomic.Bool)
	hook := func(call storageCall) error {
		if call.total < n || call.total > n && !dead.Load() {
			return nil
		}
		failed.Store(true)
		if how != "once" || call.op == "save" {
			dead.Store(true)
		}
		return errTest
	}
	if how == "done" {
		c.store(1).hooks(nil, hook)
	} else {
		c.store(1).hooks(hook, nil)
	}
	c.net.obey(func(p paxos.Packet, m paxos.Message) []time.Duration {
		switch m.Kind {
		case paxos.KindPromise, paxos.KindAccepted, paxos.KindNack, paxos.KindState:
			if p.From == 1 && failed.Load() {
				c.t.Errorf("%v left after call %d of the storage had failed", m, n)
			}
		}
		return onTime
	})
	return failed
}

// checkStorageFailed checks how server 1 stopped because of its storage, if it started at all.
func checkStorageFailed(t *testing.T, c *testCluster, calls []<-chan outcome, n int) {
	t.Helper()
	one := c.nodes[1]
	for _, call := range calls {
		got := <-call
		if got.err == nil {
			continue
		}
		require.NotNil(t, one)
		opError(t, got.err)
		require.ErrorIs(t, got.err, errTest, "call %d", n)
	}
	if one != nil {
		<-one.Done()
		require.ErrorIs(t, one.Err(), errTest, "call %d", n)
		assert.Contains(t, one.Err().Error(), "storage: ")
		assert.Equal(t, one.Err(), one.Status().Err)
		_, err := one.Propose(context.Background(), "more", "")
		require.ErrorIs(t, err, paxos.ErrClosed)
		require.ErrorIs(t, err, errTest, "it says why")
		require.NoError(t, one.Close())
		require.ErrorIs(t, one.Err(), errTest, "also after Close")
	}
	delete(c.nodes, 1)
	propose(t, c.nodes[2], "dinner", "soup")
	c.agreed("dinner")
}

// A Load that fails stops the server: its error never means that there is no record.
func TestNodeLoadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		release := make(chan struct{})
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "load" {
				<-release
				return errTest
			}
			return nil
		}, nil)
		n := c.nodes[1]
		calls := []<-chan outcome{proposing(context.Background(), n, "lunch", "burger"), proposing(context.Background(), n, "dinner", "soup"),
			inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, waitForPeek(n, "lunch") })}
		pending(t, calls[2])
		close(release)
		for i, call := range calls {
			require.ErrorIs(t, (<-call).err, errTest, "call %d", i)
		}
		<-n.Done()
		require.ErrorIs(t, n.Err(), errTest)
		assert.Regexp(t, `^storage: load "(lunch|dinner)": `, n.Err().Error())
	})
}

func waitForPeek(n *node.Node, instance string) error {
	_, _, err := n.Peek(context.Background(), instance)
	return err
}

// The calls that the loop has not begun end with it, too.
func TestNodeStorageFailsWhileCallsWaitForTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.storage[1] = c.store(1).Storage // where the loop saves by itself
		c.startAll()
		n := c.nodes[1]
		// Else the loop may wait at the gate with a packet of its start, and take the calls and the cancellation together.
		synctest.Wait()
		require.Error(t, c.storage[1].Save(paxos.Batch{Records: []paxos.Record{{}}})) // it is dead
		gate := make(chan struct{})
		c.ends[1].gate.Store(&gate)
		calls := []<-chan outcome{proposing(context.Background(), n, "lunch", "burger")}
		pending(t, calls[0]) // the loop sends the Prepare, and then saves the own promise
		ctx, cancel := context.WithCancel(context.Background())
		calls = append(calls, proposing(context.Background(), n, "dinner", "soup"), waiting(ctx, n, "dinner"),
			inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, n.Ready(context.Background()) }),
			inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, waitForPeek(n, "lunch") }),
			inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, n.Status().Err }))
		pending(t, calls[5])
		cancel()
		pending(t, calls[2])
		c.ends[1].gate.Store(nil)
		close(gate)
		for i, call := range calls {
			require.ErrorContains(t, (<-call).err, "storage: paxos: memory storage: dead since a Save failed", "call %d", i)
		}
		<-n.Done()
	})
}

// On the direct path a Save fails when somebody else has saved a later start.
func TestNodeMemoryStorageFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newDirectCluster(t, membersOf(3))
		c.startAll()
		waits := waiting(context.Background(), c.nodes[1], "dinner")
		pending(t, waits)
		state, err := c.storage[1].Server()
		require.NoError(t, err)
		state.Boot++
		require.NoError(t, c.storage[1].Save(paxos.Batch{Server: &state}))
		propose(t, c.nodes[2], "lunch", "burger")
		<-c.nodes[1].Done()
		require.ErrorContains(t, c.nodes[1].Err(), "storage: paxos: memory storage: ServerState.Boot: 1 after 2")
		assert.Equal(t, c.nodes[1].Err(), errors.Unwrap((<-waits).err))
		_, err = c.tryStart(context.Background(), 1)
		require.ErrorContains(t, err, "dead since a Save failed")
	})
}

func TestNodeTransportFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		waits := waiting(context.Background(), c.nodes[1], "dinner")
		pending(t, waits)
		c.ends[1].fail(errTest)
		<-c.nodes[1].Done()
		require.ErrorIs(t, c.nodes[1].Err(), errTest)
		assert.Contains(t, c.nodes[1].Err().Error(), "transport: ")
		require.ErrorIs(t, (<-waits).err, errTest)
		c.start(1) // the storage is well
		propose(t, c.nodes[1], "lunch", "burger")
	})
	synctest.Test(t, func(t *testing.T) {
		c := newDirectCluster(t, membersOf(3))
		c.startAll()
		c.memory.Join(1)
		<-c.nodes[1].Done()
		require.ErrorContains(t, c.nodes[1].Err(), "has joined again")
	})
}

// Two processes on copies of one storage: the one that the others heard second is refused, and stops. Nobody else does.
func TestNodeTwoProcessesOfOneServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		twin := copyOf(t, c.store(1).Storage)
		c.startAll()
		propose(t, c.nodes[1], "lunch", "burger") // the others know the first
		n, err := node.Start(context.Background(), node.Config{ID: 1, Members: c.members, Storage: twin, Transport: c.net.join(1)})
		require.NoError(t, err)
		defer n.Close()
		_, err = n.Propose(context.Background(), "dinner", "soup")
		require.ErrorContains(t, err, "two processes run as server 1 on copies of one storage")
		<-n.Done()
		require.ErrorContains(t, n.Err(), "paxos: server 1 is refused by server")
	})
}

// Servers that disagree on the members take nothing from each other, both show it, and nobody stops.
func TestNodeMembersDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.start(1)
		c.start(2)
		c.members.Quorum, _ = paxos.Flexible(3, 2, 3)
		c.storage[3] = newTestStorage(t)
		require.NoError(t, paxos.Format(c.storage[3], 3, c.members))
		c.start(3)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := c.nodes[3].Propose(ctx, "lunch", "burger")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		propose(t, c.nodes[1], "dinner", "soup")
		for _, id := range c.ids() {
			s := c.nodes[id].Status()
			require.NoError(t, s.Err)
			require.False(t, isDone(c.nodes[id]))
			for _, p := range s.Peers {
				if id == 3 || p.ID == 3 {
					assert.NotEmpty(t, p.Refused, "server %d about %d", id, p.ID)
					assert.Positive(t, p.Dropped)
					assert.Contains(t, p.Refused, "members")
				} else {
					assert.Empty(t, p.Refused, "server %d about %d", id, p.ID)
				}
			}
		}
		_, ok, err := c.nodes[3].Peek(context.Background(), "dinner")
		require.NoError(t, err)
		assert.False(t, ok)
	})
}
