package node_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A recorder is an Observer that keeps all that it is told. With a gate, its Save and RoundTrip hang until the gate is closed.
type recorder struct {
	gate chan struct{}

	mu    sync.Mutex
	calls []node.Call
	from  []context.Context
	saves []node.Save
	trips []paxos.RoundTrip
}

func (r *recorder) Call(ctx context.Context, c node.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.from = append(r.calls, c), append(r.from, ctx)
}

func (r *recorder) Save(s node.Save) {
	if r.gate != nil {
		<-r.gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saves = append(r.saves, s)
}

func (r *recorder) RoundTrip(trip paxos.RoundTrip) {
	if r.gate != nil {
		<-r.gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trips = append(r.trips, trip)
}

// take returns what came since the last take.
func (r *recorder) take() (calls []node.Call, saves []node.Save, trips []paxos.RoundTrip) {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls, saves, trips = r.calls, r.saves, r.trips
	r.calls, r.from, r.saves, r.trips = nil, nil, nil, nil
	return calls, saves, trips
}

func (r *recorder) lastCall(t *testing.T) (node.Call, context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(t, r.calls)
	return r.calls[len(r.calls)-1], r.from[len(r.from)-1]
}

// observed starts a cluster of 3, of which server 1 has the recorder as its Observer. A packet takes 1 ms.
func observed(t *testing.T, seen *recorder) *testCluster {
	c := newTestCluster(t, membersOf(3))
	c.net.latency = time.Millisecond
	c.config = func(cfg *node.Config) {
		if cfg.ID == 1 {
			cfg.Observer = seen
		}
	}
	c.startAll()
	return c
}

// An Observer gets calls, Saves and round trips, with their durations. Here a Save of server 1 takes 5 ms.
func TestNodeObserves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &recorder{}
		c := observed(t, seen)
		time.Sleep(10 * time.Second)
		seen.take()
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "save" {
				time.Sleep(5 * time.Millisecond)
			}
			return nil
		}, nil)
		began := time.Now()
		propose(t, c.nodes[1], "lunch", "burger")
		took := time.Since(began)
		time.Sleep(time.Second)
		calls, saves, trips := seen.take()
		require.Len(t, calls, 1)
		assert.Equal(t, node.Call{Op: "propose", Instance: "lunch", Outcome: node.OutcomeOK, Began: calls[0].Began, Duration: took}, calls[0])
		assert.True(t, calls[0].Began.Equal(began))
		assert.Equal(t, []paxos.RoundTrip{{Kind: paxos.KindPrepare, Duration: 2 * time.Millisecond}, {Kind: paxos.KindAccept, Duration: 2 * time.Millisecond}}, trips)
		require.NotEmpty(t, saves)
		records := 0
		for _, s := range saves {
			records += s.Records
			assert.Equal(t, 5*time.Millisecond, s.Duration)
			assert.NoError(t, s.Err)
		}
		assert.Positive(t, records)
		last := saves[len(saves)-1]
		assert.Equal(t, []int{1, len("lunch") + len("burger")}, []int{last.Records, last.Bytes})

		_, ok, err := c.nodes[1].Read(t.Context(), "dinner")
		require.NoError(t, err)
		assert.False(t, ok)
		time.Sleep(time.Second)
		calls, _, trips = seen.take()
		assert.Equal(t, "read", calls[0].Op)
		assert.Equal(t, []paxos.RoundTrip{{Kind: paxos.KindQuery, Duration: 2 * time.Millisecond}}, trips)
	})
}

// Each call is told once, with the context of its caller, whatever its end.
func TestNodeObservesEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		seen := &recorder{}
		c := observed(t, seen)
		n := c.nodes[1]
		ctx := context.WithValue(soon(t), key{}, "mine")
		late, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		gone, leave := context.WithCancel(ctx)
		leave()
		for i, tt := range []struct {
			call     func() error
			op, name string
			outcome  node.Outcome
		}{
			{func() error { _, err := n.Propose(ctx, "job", "v"); return err }, "propose", "job", node.OutcomeOK},
			{func() error { _, err := n.Propose(ctx, "", "v"); return err }, "propose", "", node.OutcomeRefused},
			{func() error { _, err := n.Propose(ctx, "job2", paxos.Value(make([]byte, 2<<20))); return err }, "propose", "job2", node.OutcomeRefused},
			{func() error { _, _, err := n.Read(ctx, "job"); return err }, "read", "job", node.OutcomeOK},
			{func() error { _, err := n.Wait(late, "other"); return err }, "wait", "other", node.OutcomeTimeout},
			{func() error { _, err := n.Wait(gone, "other"); return err }, "wait", "other", node.OutcomeCanceled},
			{func() error { _, _, err := n.Peek(ctx, "job"); return err }, "peek", "job", node.OutcomeOK},
			{func() error { _, _, err := n.Peek(ctx, "\n"); return err }, "peek", "\n", node.OutcomeRefused},
			{func() error { return n.Ready(ctx) }, "ready", "", node.OutcomeOK},
			{func() error { return n.Settled(ctx) }, "settled", "", node.OutcomeOK},
			{func() error { return n.Stand(ctx) }, "stand", "", node.OutcomeOK},
			{func() error { return n.Forget(ctx, paxos.OneName("job")) }, "forget", "", node.OutcomeOK},
			{func() error { return n.Forget(ctx, paxos.NameRange{From: "b", To: "a"}) }, "forget", "", node.OutcomeRefused},
			{func() error { _, err := n.Propose(ctx, "job", "v"); return err }, "propose", "job", node.OutcomeForgotten},
			{func() error { _, err := n.Change(ctx, paxos.Members{}); return err }, "change", "", node.OutcomeRefused},
			{func() error { n.Close(); return n.Ready(ctx) }, "ready", "", node.OutcomeClosed},
		} {
			err := tt.call()
			require.Len(t, seen.calls, i+1, "%d: %s", i, tt.op)
			got, from := seen.lastCall(t)
			assert.Equal(t, node.Call{Op: tt.op, Instance: tt.name, Outcome: tt.outcome, Began: got.Began, Duration: got.Duration, Err: err}, got, "%d", i)
			assert.Equal(t, "mine", from.Value(key{}))
		}
		n.Status()
		n.Metrics()
		assert.Len(t, seen.calls, 16, "these are no calls that anybody waits for")
	})
}

func TestOutcomeOf(t *testing.T) {
	for want, errs := range map[node.Outcome][]error{
		node.OutcomeOK:        {nil},
		node.OutcomeTimeout:   {context.DeadlineExceeded},
		node.OutcomeCanceled:  {context.Canceled},
		node.OutcomeBusy:      {paxos.ErrBusy},
		node.OutcomeForgotten: {&paxos.ForgottenError{}},
		node.OutcomeConflict:  {paxos.ErrConflict},
		node.OutcomeRefused:   {paxos.ErrName, paxos.ErrTooLarge, paxos.ErrNotReady},
		node.OutcomeClosed:    {paxos.ErrClosed, paxos.ErrNotMember, fmt.Errorf("%w: %w", paxos.ErrClosed, errors.New("disk"))},
		node.OutcomeBroken:    {&paxos.SafetyError{}},
		node.OutcomeFailed:    {errors.New("disk"), paxos.ErrRounds},
	} {
		for _, err := range errs {
			assert.Equal(t, want, node.OutcomeOf(err))
			if err != nil {
				assert.Equal(t, want, node.OutcomeOf(&paxos.OpError{Op: "propose", Err: err}))
			}
		}
	}
}

// While Save and RoundTrip hang, the server goes on. Close names the Observer.
func TestNodeObserverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &recorder{gate: make(chan struct{})}
		c := observed(t, seen)
		time.Sleep(time.Second)
		const many = 5000
		decideMuch(t, c, "job", many)
		calls, saves, trips := seen.take()
		assert.Len(t, calls, many, "no call waits for the others of the Observer")
		assert.Empty(t, saves)
		assert.Empty(t, trips)
		require.EqualError(t, c.nodes[1].Close(), "paxos: close: Config.Observer has not returned")
		close(seen.gate)
		synctest.Wait()
		_, saves, trips = seen.take()
		assert.LessOrEqual(t, len(saves)+len(trips), 1, "after a Close only that returns which hung")
	})
}

// decideMuch has so many instances decided at server 1, side by side.
func decideMuch(t *testing.T, c *testCluster, prefix string, many int) {
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() { propose(t, c.nodes[1], fmt.Sprint(prefix, "/", i), "v") })
	}
	all.Wait()
}

// Of a busy server the Observer is told of the first round trips in each 100 ms, and of no more until it has taken these.
func TestNodeObservesAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &recorder{}
		c := observed(t, seen)
		time.Sleep(10 * time.Second)
		seen.take()
		for round := range 3 {
			decideMuch(t, c, fmt.Sprint("round/", round), 1000) // within 10 ms
			time.Sleep(time.Second)
			_, saves, trips := seen.take()
			assert.Len(t, trips, 256)
			assert.NotEmpty(t, saves)
		}
	})
}

// Metrics agree with Status, at work and after the end.
func TestNodeMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		n := c.nodes[1]
		propose(t, n, "lunch", "burger")
		time.Sleep(time.Minute)
		same := func() paxos.Metrics {
			m, s := n.Metrics(), n.Status()
			assert.Equal(t, []any{s.ID, s.Boot, s.Index, s.Calls, s.Open, s.Orphaned, s.Counters, s.Settled, s.StorageWait, s.NoQuorum},
				[]any{m.ID, m.Boot, m.Index, m.Calls, m.Open, m.Orphaned, m.Counters, m.Settled, m.StorageWait, m.NoQuorum})
			return m
		}
		m := same()
		assert.True(t, m.Running)
		assert.GreaterOrEqual(t, m.Uptime, time.Minute)
		assert.Len(t, m.Peers, 2)
		assert.Equal(t, uint64(1), m.Counters.Decided)
		n.Close()
		assert.False(t, same().Running)
	})
}
