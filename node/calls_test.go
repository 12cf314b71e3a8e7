package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A stuckCall brings a call of server 1 of 3 to a phase, in which it stays until release.
type stuckCall struct {
	name    string
	begin   func(t *testing.T, c *testCluster, ctx context.Context) (call <-chan outcome, release func())
	phase   string
	text    string // of the error, up to why the call ended
	unknown bool
}

func stuckCalls() []stuckCall {
	return []stuckCall{
		{name: "load", phase: "load", begin: stuckInLoad, text: `paxos: propose "lunch": `},
		{name: "prepare", phase: "prepare", begin: stuckInPrepare, unknown: true,
			text: `paxos: propose "lunch": no quorum in prepare: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): `},
		{name: "own save", phase: "prepare", begin: stuckInSave, unknown: true,
			text: `paxos: propose "lunch": no quorum in prepare: 0 of 3 acceptors answered, majority(3) needs 2 (silent: 1, 2, 3): `},
		{name: "accept", phase: "accept", begin: stuckInAccept, unknown: true,
			text: `paxos: propose "lunch": no quorum in accept: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): `},
		{name: "backoff", phase: "backoff", begin: stuckInBackoff, unknown: true,
			text: `paxos: propose "lunch": no quorum in backoff: 3 of 3 acceptors answered, majority(3) needs 2 (refused: 2, 3): `},
		{name: "wait", phase: "query", begin: stuckInWait,
			text: `paxos: wait "lunch": no quorum in query: 3 of 3 acceptors answered, majority(3) needs 2: `},
		{name: "ready", phase: "query", begin: stuckInReady,
			text: `paxos: ready: no quorum in query: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): `},
	}
}

func stuckInLoad(t *testing.T, c *testCluster, ctx context.Context) (<-chan outcome, func()) {
	release := make(chan struct{})
	c.store(1).hooks(func(call storageCall) error {
		if call.op == "load" && call.instance == "lunch" {
			<-release
		}
		return nil
	}, nil)
	return proposing(ctx, c.nodes[1], "lunch", "burger"), sync.OnceFunc(func() { close(release) })
}

func stuckInPrepare(t *testing.T, c *testCluster, ctx context.Context) (<-chan outcome, func()) {
	c.net.cut(1)
	return proposing(ctx, c.nodes[1], "lunch", "burger"), c.net.heal
}

func stuckInSave(t *testing.T, c *testCluster, ctx context.Context) (<-chan outcome, func()) {
	c.net.cut(1)
	release := make(chan struct{})
	c.store(1).hooks(func(call storageCall) error {
		if call.op == "save" {
			<-release
		}
		return nil
	}, nil)
	return proposing(ctx, c.nodes[1], "lunch", "burger"), sync.OnceFunc(func() { close(release); c.net.heal() })
}

func stuckInAccept(t *testing.T, c *testCluster, ctx context.Context) (<-chan outcome, func()) {
	c.net.lose(paxos.KindAccept)
	call := proposing(ctx, c.nodes[1], "lunch", "burger")
	time.Sleep(5 * time.Millisecond)
	return call, c.net.heal
}

// Servers 2 and 3 have promised a higher ballot, and say so. The wait for the next one has begun, and no time goes by.
func stuckInBackoff(t *testing.T, c *testCluster, ctx context.Context) (<-chan outcome, func()) {
	c.net.obey(func(p paxos.Packet, m paxos.Message) []time.Duration {
		if m.Kind == paxos.KindAccept || m.Kind == paxos.KindPrepare && p.To == 1 {
			return isLost
		}
		return onTime
	})
	other, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := c.nodes[2].Propose(other, "lunch", "pizza")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	call := proposing(ctx, c.nodes[1], "lunch", "burger")
	time.Sleep(2 * testLatency)
	return call, c.net.heal
}

func stuckInWait(t *testing.T, c *testCluster, ctx context.Context) (<-chan outcome, func()) {
	call := waiting(ctx, c.nodes[1], "lunch")
	time.Sleep(5 * time.Millisecond)
	return call, func() {}
}

func stuckInReady(t *testing.T, c *testCluster, ctx context.Context) (<-chan outcome, func()) {
	c.net.cut(1)
	return inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, c.nodes[1].Ready(ctx) }), c.net.heal
}

func TestNodeContextEndsInEachPhase(t *testing.T) {
	for _, stuck := range stuckCalls() {
		t.Run(stuck.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, 3)
				cause := errors.New("lunch is over")
				ctx, cancel := context.WithCancelCause(context.Background())
				call, release := stuck.begin(t, c, ctx)
				defer release()
				pending(t, call)
				cancel(cause)
				got := <-call
				e := opError(t, got.err)
				assert.Equal(t, stuck.text+"context canceled: lunch is over", got.err.Error())
				assert.Equal(t, stuck.phase, e.Phase)
				assert.Equal(t, stuck.unknown, e.Unknown())
				assert.Equal(t, stuck.unknown, paxos.Unknown(got.err))
				assert.Zero(t, got.d)
				require.ErrorIs(t, got.err, context.Canceled)
				require.ErrorIs(t, got.err, cause)
				release()
				propose(t, c.nodes[1], "lunch", "kimbap") // the server goes on
				c.agreed("lunch")
			})
		})
	}
}

func TestNodeContextDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestCluster(t, membersOf(3)).start(1)
		cause := errors.New("too slow")
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, cause)
		defer cancel()
		began := time.Now()
		_, err := n.Wait(ctx, "lunch")
		assert.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, cause)
		assert.True(t, strings.HasSuffix(err.Error(), ": context deadline exceeded: too slow"), err.Error())
	})
}

func TestNodeContextEndedBeforeTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		propose(t, c.nodes[1], "lunch", "burger")
		synctest.Wait() // all has left
		before := len(c.net.messages())
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for name, err := range allCalls(ctx, c.nodes[1], "dinner") {
			e := opError(t, err)
			require.ErrorIs(t, err, context.Canceled, name)
			assert.False(t, e.Unknown(), name)
			assert.Equal(t, name, e.Op)
			assert.Empty(t, e.Phase)
		}
		time.Sleep(time.Minute)
		assert.Len(t, c.net.messages(), before, "nothing has left")
		for _, err := range c.nodes[1].Decisions(ctx, 0) {
			require.ErrorIs(t, err, context.Canceled)
		}
	})
}

// allCalls makes each kind of call, and returns its error by its name.
func allCalls(ctx context.Context, n *node.Node, instance string) map[string]error {
	errs := map[string]error{}
	_, errs["propose"] = n.Propose(ctx, instance, "soup")
	_, errs["wait"] = n.Wait(ctx, instance)
	_, _, errs["peek"] = n.Peek(ctx, instance)
	_, _, errs["read"] = n.Read(ctx, instance)
	errs["ready"] = n.Ready(ctx)
	return errs
}

func TestNodeLateDecisionBeatsTheCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		want := propose(t, c.nodes[1], "dinner", "soup")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		release := holdLoop(c)
		call := proposing(ctx, c.nodes[1], "dinner", "rice") // the loop finds both at once: the call, and its end
		pending(t, call)
		cancel()
		pending(t, call)
		release()
		got := <-call
		require.NoError(t, got.err)
		assert.Equal(t, want, got.d)
	})
}

// A context that ends at the moment of the decision ends no other call.
func TestNodeCancelHitsNoOtherCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 1)
		c.store(1).hooks(func(call storageCall) error { time.Sleep(testLatency); return nil }, nil)
		for i := range 500 {
			ctx, cancel := context.WithTimeout(context.Background(), 3*testLatency) // a Load and two Saves
			_, err := c.nodes[1].Propose(ctx, fmt.Sprint("lunch ", i), "burger")
			assert.True(t, err == nil || errors.Is(err, context.DeadlineExceeded))
			_, err = c.nodes[1].Propose(context.Background(), fmt.Sprint("dinner ", i), "soup")
			require.NoError(t, err)
			cancel()
			time.Sleep(time.Second)
		}
	})
}

// Close ends every call, wherever it is, and waits for the Save that runs.
func TestNodeCloseInEachPhase(t *testing.T) {
	for _, stuck := range stuckCalls() {
		t.Run(stuck.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, 3)
				subscribed := inBackground(func() (_ paxos.Decision, last error) {
					for _, err := range c.nodes[1].Decisions(context.Background(), 0) {
						last = err
					}
					return paxos.Decision{}, last
				})
				call, release := stuck.begin(t, c, context.Background())
				defer release()
				pending(t, call)
				closed := make(chan error, 9)
				for range cap(closed) {
					go func() { closed <- c.nodes[1].Close() }()
				}
				got := <-call
				e := opError(t, got.err)
				require.ErrorIs(t, got.err, paxos.ErrClosed)
				assert.Equal(t, stuck.unknown, e.Unknown())
				require.ErrorIs(t, (<-subscribed).err, paxos.ErrClosed)
				if synctest.Wait(); c.store(1).saving.Load() || stuck.name == "load" {
					assert.Empty(t, closed, "Close has not waited for the storage")
					assert.False(t, isDone(c.nodes[1]))
				}
				release()
				for range cap(closed) {
					require.NoError(t, <-closed)
				}
				require.NoError(t, c.nodes[1].Close(), "once more")
				checkClosed(t, c.nodes[1])
			})
		})
	}
}

func checkClosed(t *testing.T, n *node.Node) {
	t.Helper()
	assert.True(t, isDone(n))
	assert.NoError(t, n.Err())
	for name, err := range allCalls(soon(t), n, "dinner") {
		e := opError(t, err)
		require.ErrorIs(t, err, paxos.ErrClosed, name)
		assert.False(t, e.Unknown(), name)
		assert.Equal(t, name, e.Op)
	}
	for _, err := range n.Decisions(context.Background(), 0) {
		require.ErrorIs(t, err, paxos.ErrClosed)
	}
}

// Nothing leaves a server after Close, and nothing reaches its storage.
func TestNodeCloseIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		var calls []<-chan outcome
		for i := range 100 {
			calls = append(calls, proposing(context.Background(), c.nodes[paxos.ServerID(i%3+1)], fmt.Sprint(i), "burger"))
		}
		time.Sleep(3 * testLatency)
		c.nodes[1].Close()
		c.store(1).hooks(nil, nil)
		c.net.obey(func(p paxos.Packet, m paxos.Message) []time.Duration {
			assert.NotEqual(t, paxos.ServerID(1), p.From, "%v left after Close", m)
			return onTime
		})
		for i, call := range calls {
			if got := <-call; i%3 == 0 && got.err != nil {
				require.ErrorIs(t, got.err, paxos.ErrClosed)
			} else {
				require.NoError(t, got.err)
			}
		}
		assert.Zero(t, c.store(1).count(""))
	})
}

func TestNodeCloseOnTheDirectPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newDirectCluster(t, membersOf(3))
		c.start(1)
		calls := []<-chan outcome{proposing(context.Background(), c.nodes[1], "lunch", "burger"),
			waiting(context.Background(), c.nodes[1], "dinner")}
		time.Sleep(time.Second)
		require.NoError(t, c.nodes[1].Close())
		for _, call := range calls {
			require.ErrorIs(t, (<-call).err, paxos.ErrClosed)
		}
		checkClosed(t, c.nodes[1])
	})
}

// The proof that some server broke the protocol stops its instance, and no other.
func TestNodeSafetyError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		n := c.start(1)
		waits := waiting(context.Background(), n, "lunch")
		pending(t, waits)
		b := paxos.Ballot{Round: 7, Server: 2}
		liar := c.net.join(2)
		for i, v := range []paxos.Value{"burger", "pizza"} {
			liar.Send(paxos.Packet{To: 1, Store: 1, Boot: 1, Members: c.members.Fingerprint(), Seq: uint64(i + 1),
				Messages: []paxos.Message{{Kind: paxos.KindDecided, Instance: "lunch", Ballot: b, Value: v}}})
			time.Sleep(time.Second)
		}
		assert.Equal(t, paxos.Value("burger"), (<-waits).d.Value)
		_, err := n.Propose(context.Background(), "lunch", "soup")
		opError(t, err)
		var proof *paxos.SafetyError
		require.ErrorAs(t, err, &proof)
		assert.Equal(t, paxos.ServerID(2), proof.Server)
		assert.Equal(t, "lunch", proof.Instance)
		assert.Equal(t, uint64(1), n.Status().Counters.Faults)
		c.start(3)
		propose(t, n, "dinner", "soup")
		assert.False(t, isDone(n))
	})
}
