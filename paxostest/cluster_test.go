package paxostest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxostest"
)

func TestExampleNewCluster(t *testing.T) { testDesk(t) }

// agreed checks that a server knows the decision, or learns it.
func agreed(t *testing.T, n *node.Node, instance string, want paxos.Value) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := n.Wait(ctx, instance)
	require.NoError(t, err)
	require.Equal(t, want, d.Value)
}

func propose(t *testing.T, n *node.Node, instance string, v paxos.Value) paxos.Value {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := n.Propose(ctx, instance, v)
	require.NoError(t, err)
	return d.Value
}

// inAndOut runs f in a bubble, and without one.
func inAndOut(t *testing.T, f func(t *testing.T)) {
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, f) })
	t.Run("in real time", func(t *testing.T) {
		t.Parallel()
		f(t)
	})
}

// Saved data is there after each end of a server, and after the end of all.
func TestClusterServersComeAndGo(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		c := paxostest.NewCluster(t, paxostest.ClusterConfig{})
		require.Equal(t, paxos.Value("burger"), propose(t, c.Node(1), "lunch", "burger"))
		require.Same(t, c.Node(1), c.Start(1), "it runs")
		for i, end := range []func(paxos.ServerID){c.Crash, c.Stop} {
			name := fmt.Sprint("dinner ", i)
			down := c.Node(1)
			end(1)
			end(1)
			_, err := down.Propose(t.Context(), "breakfast", "egg")
			require.ErrorIs(t, err, paxos.ErrClosed)
			require.Equal(t, paxos.Value("soup"), propose(t, c.Node(2), name, "soup"))
			up := c.Start(1)
			require.NotSame(t, down, up)
			agreed(t, up, "lunch", "burger")
			agreed(t, up, name, "soup")
		}
		for id := paxos.ServerID(1); id <= 3; id++ {
			c.Crash(id)
		}
		for id := paxos.ServerID(1); id <= 3; id++ {
			agreed(t, c.Start(id), "lunch", "burger")
		}
	})
}

// A server that has lost its disk is finished, and another one takes its place.
func TestClusterWipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := paxostest.NewCluster(t, paxostest.ClusterConfig{})
		propose(t, c.Node(1), "lunch", "burger")
		agreed(t, c.Node(3), "lunch", "burger")
		c.Wipe(3)
		state, err := c.Disk(3).Server()
		require.NoError(t, err)
		assert.Zero(t, state)
		four := c.Add(4)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = c.Node(1).Change(ctx, paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 4}})
		require.NoError(t, err)
		require.NoError(t, c.Node(1).Settled(ctx))
		agreed(t, four, "lunch", "burger")
		c.Crash(4)
		c.Stop(1)
		agreed(t, c.Start(4), "lunch", "burger")
		require.Equal(t, paxos.Value("soup"), propose(t, c.Node(4), "dinner", "soup"))
	})
}

func TestClusterMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var started []paxos.ServerID
		c := paxostest.NewCluster(t, paxostest.ClusterConfig{Members: paxos.Members{Acceptors: []paxos.ServerID{5, 7}, Learners: []paxos.ServerID{6}},
			Limits: paxos.Limits{MaxValue: 10}, Timing: paxos.Timing{Pull: time.Minute},
			Node: func(n *node.Config) {
				assert.Equal(t, time.Minute, n.Timing.Pull)
				assert.Equal(t, 10, n.Limits.MaxValue)
				started = append(started, n.ID)
			}})
		c.Crash(6)
		propose(t, c.Node(5), "lunch", "burger")
		agreed(t, c.Start(6), "lunch", "burger")
		assert.Equal(t, []paxos.ServerID{5, 7, 6, 6}, started)

		c = paxostest.NewCluster(t, paxostest.ClusterConfig{Servers: 5})
		c.Network.Partition(1, 2)
		propose(t, c.Node(5), "lunch", "burger")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Node(1).Propose(ctx, "dinner", "soup")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		c.Network.Heal()
		agreed(t, c.Node(1), "lunch", "burger")
	})
}

// votes returns how many disks hold a vote for the value.
func votes(t *testing.T, c *paxostest.Cluster, instance string, v paxos.Value) (n int) {
	for id := paxos.ServerID(1); id <= 3; id++ {
		rec, err := c.Disk(id).Load(instance)
		require.NoError(t, err)
		if rec.Acceptor.Value == v {
			n++
		}
	}
	return n
}

// A server crashes in the middle of a call: after its first Accept has left, or before any has.
func TestClusterCrashOn(t *testing.T) {
	for kind, want := range map[paxos.Kind]int{paxos.KindAccept: 1, paxos.KindPromise: 0} {
		synctest.Test(t, func(t *testing.T) {
			c := paxostest.NewCluster(t, paxostest.ClusterConfig{Network: paxostest.NetworkConfig{Delay: time.Millisecond}, SaveTime: time.Millisecond,
				Timing: paxos.Timing{Silence: 20 * time.Second, MaxSilence: 30 * time.Second}})
			m := paxostest.Match{Kind: kind, Instance: "lunch"}
			if kind == paxos.KindAccept {
				m.From = 1
			}
			c.CrashOn(2, paxostest.Match{})()
			c.CrashOn(1, m)
			before := c.Node(1)
			_, err := before.Propose(t.Context(), "lunch", "burger")
			require.Error(t, err)
			assert.True(t, paxos.Unknown(err))
			c.CrashOn(1, paxostest.Match{}) // it is down, so nothing happens
			time.Sleep(10 * time.Second)
			assert.Equal(t, want, votes(t, c, "lunch", "burger"), "%v", kind)
			got := propose(t, c.Start(1), "lunch", "pizza")
			if want == 0 {
				assert.Equal(t, paxos.Value("pizza"), got)
			}
			for id := paxos.ServerID(1); id <= 3; id++ {
				agreed(t, c.Node(id), "lunch", got)
			}
			require.Same(t, c.Node(1), c.Start(1), "it runs: each CrashOn works once")
			require.Same(t, c.Node(2), c.Start(2), "it runs: its CrashOn was taken back")
		})
	}
}

// Two disks that hang hold up a decision, and the end of the test does not wait for them.
func TestClusterDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		t.Cleanup(func() { assert.Less(t, time.Since(began), time.Second) }) // after the end of the cluster
		c := paxostest.NewCluster(t, paxostest.ClusterConfig{SaveTime: 10 * time.Millisecond})
		ready := time.Now()
		propose(t, c.Node(1), "lunch", "burger")
		assert.GreaterOrEqual(t, time.Since(ready), 20*time.Millisecond, "two saves in series")
		c.Disk(2).Hang()
		c.Disk(3).Hang()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Node(1).Propose(ctx, "dinner", "soup")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		c.Disk(2).Release()
		propose(t, c.Node(1), "dinner", "soup")
		c.Stop(3) // it hangs, so the process is killed
		agreed(t, c.Start(3), "dinner", "soup")
		c.Disk(3).Hang()
		propose(t, c.Node(1), "breakfast", "egg")
		began = time.Now()
	})
}

// A reporter is a testing.TB that notes what a Cluster tells it.
type reporter struct {
	testing.TB
	mu       sync.Mutex
	errors   []string
	logged   string
	cleanups []func()
}

func (r *reporter) Helper()                  {}
func (r *reporter) Context() context.Context { return context.Background() }
func (r *reporter) Output() io.Writer        { return io.Discard }
func (r *reporter) Cleanup(f func())         { r.cleanups = append(r.cleanups, f) }
func (r *reporter) Logf(format string, args ...any) {
	r.logged += fmt.Sprintf(format+"\n", args...)
}

func (r *reporter) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *reporter) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// report runs f as a test, and returns what it was told.
func report(f func(tb testing.TB)) *reporter {
	r := &reporter{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(r.cleanups); i > 0; i-- {
				r.cleanups[i-1]()
			}
		}()
		f(r)
	}()
	<-done
	return r
}

// deafTransport ends when it is told.
type deafTransport struct {
	paxos.Transport
	ends chan struct{}
}

func (d deafTransport) Receive(ctx context.Context) (paxos.Packet, error) {
	select {
	case <-d.ends:
		return paxos.Packet{}, errors.New("the cable is broken")
	case <-ctx.Done():
		return paxos.Packet{}, ctx.Err()
	}
}

// Errors of Nodes and mistakes of the test fail it. Faults that the test asks for are no errors.
func TestClusterFailsTheTest(t *testing.T) {
	for name, tt := range map[string]struct {
		want string
		run  func(tb testing.TB)
	}{
		"a Node that stops": {"server 2 has stopped: transport: the cable is broken", func(tb testing.TB) {
			ends := make(chan struct{})
			c := paxostest.NewCluster(tb, paxostest.ClusterConfig{Node: func(n *node.Config) {
				if n.ID == 2 {
					n.Transport = deafTransport{n.Transport, ends}
				}
			}})
			close(ends)
			<-c.Node(2).Done()
		}},
		"a broken protocol": {`server 1: paxos: protocol broken in "lunch"`, func(tb testing.TB) {
			c := paxostest.NewCluster(tb, paxostest.ClusterConfig{})
			c.Stop(2)
			state, err := c.Disk(2).Server()
			if err != nil {
				tb.Fatalf("%v", err)
			}
			liar := c.Network.Join(2)
			m := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}
			for i, v := range []paxos.Value{"burger", "pizza"} {
				liar.Send(paxos.Packet{To: 1, Store: state.Store, Boot: state.Boot + 1, Members: m.Fingerprint(), Seq: uint64(i + 1),
					Messages: []paxos.Message{{Kind: paxos.KindDecided, Instance: "lunch", Ballot: paxos.Ballot{Round: 7, Server: 2}, Value: v}}})
				time.Sleep(time.Second)
			}
		}},
		"a wiped disk":   {"server 1 does not start: ", func(tb testing.TB) { c := paxostest.NewCluster(tb, paxostest.ClusterConfig{}); c.Wipe(1); c.Start(1) }},
		"nobody":         {"there is no server 4", func(tb testing.TB) { paxostest.NewCluster(tb, paxostest.ClusterConfig{}).Crash(4) }},
		"a known server": {"server 1 is there already", func(tb testing.TB) { paxostest.NewCluster(tb, paxostest.ClusterConfig{}).Add(1) }},
		"too many":       {"paxostest: ClusterConfig.Servers: 65", func(tb testing.TB) { paxostest.NewCluster(tb, paxostest.ClusterConfig{Servers: 65}) }},
		"a bad Node": {"server 1 does not start: ", func(tb testing.TB) {
			paxostest.NewCluster(tb, paxostest.ClusterConfig{Limits: paxos.Limits{MaxValue: -1}})
		}},
		"a disk that fails": {"", func(tb testing.TB) {
			c := paxostest.NewCluster(tb, paxostest.ClusterConfig{})
			for range 2 {
				down := c.Node(1)
				c.Disk(1).Fail(paxostest.Failure{Op: paxostest.OpSave})
				if _, err := down.Propose(context.Background(), "lunch", "burger"); err == nil {
					tb.Errorf("its disk failed")
				}
				<-down.Done()
				if c.Start(1) == down {
					tb.Errorf("it is down")
				}
			}
			c.Disk(1).Fail(paxostest.Failure{Op: paxostest.OpSave})
			c.Node(1).Propose(context.Background(), "dinner", "soup")
			c.Stop(1)
			c.Start(1).Propose(context.Background(), "dinner", "soup")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := report(tt.run)
				if tt.want == "" {
					require.Empty(t, r.errors)
					return
				}
				require.Len(t, r.errors, 1)
				assert.Contains(t, r.errors[0], tt.want)
			})
		})
	}
}

// The seed is drawn, told before anything else, and gives the same faults again.
func TestClusterSeed(t *testing.T) {
	play := func(seed uint64) (arrived []uint64, told uint64) {
		synctest.Test(t, func(t *testing.T) {
			r := report(func(tb testing.TB) {
				c := paxostest.NewCluster(tb, paxostest.ClusterConfig{Network: paxostest.NetworkConfig{Seed: seed, Loss: 0.5}})
				from, to := c.Network.Join(8), c.Network.Join(9)
				for i := range uint64(200) {
					from.Send(numbered(9, i))
				}
				arrived = received(t, to)
			})
			require.Empty(t, r.errors)
			_, err := fmt.Sscanf(r.logged, "paxostest: NetworkConfig.Seed: %d\n", &told)
			require.NoError(t, err)
			assert.Equal(t, 1, strings.Count(r.logged, "\n"))
		})
		return arrived, told
	}
	first, seed := play(0)
	assert.NotZero(t, seed)
	again, told := play(seed)
	assert.Equal(t, seed, told)
	assert.Equal(t, first, again)
	other, told := play(0)
	assert.NotEqual(t, seed, told)
	assert.NotEqual(t, first, other)
}
