package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
)

// A badConfig is what is wrong with a Config that is well otherwise, and how the error begins.
type badConfig struct {
	want string
	edit func(*node.Config)
}

// disjoint is a quorum system that lets two values be chosen.
type disjoint struct{}

func (disjoint) Size() int { return 3 }

func (disjoint) Phase1(s paxos.Set) bool { return s.Len() >= 1 }

func (disjoint) Phase2(s paxos.Set) bool { return s.Len() >= 1 }

func (disjoint) String() string { return "disjoint" }

func badConfigs() []badConfig {
	large := membersOf(65).Acceptors
	return []badConfig{
		{"Config.ID: 0 ", func(c *node.Config) { c.ID = 0 }},
		{"Config.ID: server 4 is not in Config.Members", func(c *node.Config) { c.ID = 4 }},
		{"Config.ID: 2, but the storage belongs to server 1", func(c *node.Config) { c.ID = 2 }},
		{"Config.Storage: nil", func(c *node.Config) { c.Storage = nil }},
		{"Config.Transport: nil", func(c *node.Config) { c.Transport = nil }},
		{"Config.Storage: nil", func(c *node.Config) { c.Storage = (*memory.Storage)(nil) }}, // beside an error that was not looked at
		{"Config.Transport: nil", func(c *node.Config) { c.Transport = (*tcp.Transport)(nil) }},
		{"Config.Transport: it belongs to server 2, but Config.ID is 1", func(c *node.Config) { c.Transport = memory.NewNetwork().Join(2) }},
		{"Config.Members.Cluster: name is empty", func(c *node.Config) { c.Members.Cluster = "" }},
		{"Config.Members.Cluster: name has 256 bytes", func(c *node.Config) { c.Members.Cluster = strings.Repeat("x", 256) }},
		{"Config.Members.Cluster: name ", func(c *node.Config) { c.Members.Cluster = "\xff" }},
		{"Config.Members.Acceptors: 0 servers: want 1 to 64", func(c *node.Config) { c.Members.Acceptors = nil }},
		{"Config.Members.Acceptors: 65 servers: want 1 to 64", func(c *node.Config) { c.Members.Acceptors = large }},
		{"Config.Members.Acceptors: server 1 after 2", func(c *node.Config) { c.Members.Acceptors = []paxos.ServerID{2, 1, 3} }},
		{"Config.Members.Acceptors: server 2 after 2", func(c *node.Config) { c.Members.Acceptors = []paxos.ServerID{1, 2, 2} }},
		{"Config.Members.Acceptors: server 0 ", func(c *node.Config) { c.Members.Acceptors = []paxos.ServerID{0, 1, 2} }},
		{"Config.Members.Learners: 1025 servers", func(c *node.Config) { c.Members.Learners = make([]paxos.ServerID, 1025) }},
		{"Config.Members.Learners: server 5 after 5", func(c *node.Config) { c.Members.Learners = []paxos.ServerID{5, 5} }},
		{"Config.Members.Learners: server 0 ", func(c *node.Config) { c.Members.Learners = []paxos.ServerID{0} }},
		{"Config.Members.Learners: server 3 is an acceptor", func(c *node.Config) { c.Members.Learners = []paxos.ServerID{3} }},
		{"Config.Members.Quorum: majority(4) counts 4 acceptors", func(c *node.Config) { c.Members.Quorum = paxos.Majority(4) }},
		{"Config.Members.Quorum: paxos: quorum disjoint: ", func(c *node.Config) { c.Members.Quorum = disjoint{} }},
		{"Config.Observer: a nil pointer", func(c *node.Config) { c.Observer = (*recorder)(nil) }},
		{"Config.Limits.MaxValue: ", func(c *node.Config) { c.Limits.MaxValue = 1<<20 + 1 }},
		{"Config.Limits.MaxHint: ", func(c *node.Config) { c.Limits.MaxHint = -1 }},
		{"Config.Limits.MaxPacket: 1: want 4096 to 67108864, or 0 for the default", func(c *node.Config) { c.Limits.MaxPacket = 1 }},
		{"Config.Limits.MaxBatch: ", func(c *node.Config) { c.Limits.MaxBatch = 1 << 30 }},
		{"Config.Limits.MaxOpen: ", func(c *node.Config) { c.Limits.MaxOpen = -1 }},
		{"Config.Limits.MaxCalls: ", func(c *node.Config) { c.Limits.MaxCalls = 1 << 25 }},
		{"Config.Limits.Cache: ", func(c *node.Config) { c.Limits.Cache = -1 }},
		{"Config.Timing.Phase: ", func(c *node.Config) { c.Timing.Phase = time.Microsecond }},
		{"Config.Timing.MaxBackoff: ", func(c *node.Config) { c.Timing.MaxBackoff = -time.Second }},
		{"Config.Timing.Silence: ", func(c *node.Config) { c.Timing.Silence = 2 * time.Hour }},
		{"Config.Timing.MaxSilence: ", func(c *node.Config) { c.Timing.MaxSilence = 1 }},
	}
}

func TestStartNamesTheBadField(t *testing.T) {
	for _, bad := range badConfigs() {
		t.Run(bad.want, func(t *testing.T) {
			c := newTestCluster(t, membersOf(3))
			c.config = bad.edit
			_, err := c.tryStart(context.Background(), 1)
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), "paxos: start: "+bad.want), "%v", err)
			assert.Zero(t, c.store(1).count("save")-1, "nothing was saved since Format")
			c.config = nil
			c.start(1)
		})
	}
}

func TestStartRefusesTheStorage(t *testing.T) {
	other := membersOf(3)
	other.Cluster = "other"
	five := membersOf(5)
	flexible := membersOf(3)
	flexible.Quorum, _ = paxos.Flexible(3, 3, 1)
	for want, m := range map[string]*paxos.Members{
		"storage is not formatted: call Format once":                                          nil,
		`storage belongs to cluster "other", Members.Cluster is "test"`:                       &other,
		"storage votes under acceptors 1,2,3,4,5 majority(5), Members says 1,2,3 majority(3)": &five,
		"storage votes under acceptors 1,2,3 flexible(3,3,1), Members says 1,2,3 majority(3)": &flexible,
	} {
		c := newTestCluster(t, membersOf(3))
		c.storage[1] = newTestStorage(t)
		if m != nil {
			require.NoError(t, paxos.Format(c.storage[1], 1, *m))
		}
		_, err := c.tryStart(context.Background(), 1)
		require.ErrorContains(t, err, "paxos: start: "+want)
	}
}

// A part of a storage that is older than the rest can hold a state that knows nothing of a decision: Start says so, and says which.
func TestStartRefusesAnIndexAboveLast(t *testing.T) {
	for last, want := range map[uint64]string{
		6: `paxos: start: storage: Record "lunch": Index: 7, above ServerState.Last, 6: a part of the storage is older than the rest`,
		7: "",
	} {
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) { cfg.Storage = olderState{cfg.Storage, last} }
		s := c.store(1)
		state, err := s.Storage.Server()
		require.NoError(t, err)
		state.Last = 7
		b := paxos.Ballot{Round: 1, Server: 1}
		require.NoError(t, s.Storage.Save(paxos.Batch{Server: &state, Records: []paxos.Record{{Instance: "lunch", Chosen: true, Index: 7,
			Acceptor: paxos.Acceptor{Promised: b, Accepted: b, Value: "kimbap"}}}}))
		n, err := c.tryStart(context.Background(), 1)
		if want == "" {
			require.NoError(t, err)
			require.NoError(t, n.Close())
			continue
		}
		require.EqualError(t, err, want)
		assert.Equal(t, "start", opError(t, err).Op)
	}
}

// An olderState is a Storage with the Last of an earlier time.
type olderState struct {
	paxos.Storage
	last uint64
}

func (s olderState) Server() (paxos.ServerState, error) {
	state, err := s.Storage.Server()
	state.Last = s.last
	return state, err
}

func TestStartContextEndsWhileTheFirstSaveHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		release := make(chan struct{})
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "save" {
				<-release
			}
			return nil
		}, nil)
		cause := errors.New("no patience")
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, cause)
		defer cancel()
		start := inBackground(func() (paxos.Decision, error) {
			_, err := c.tryStart(ctx, 1)
			return paxos.Decision{}, err
		})
		time.Sleep(time.Minute)
		close(release)
		synctest.Wait() // the Save that hung has returned, so another may begin
		err := (<-start).err
		assert.EqualError(t, err, "paxos: start: the storage has not saved yet: context deadline exceeded: no patience")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, cause)
		assert.Empty(t, c.net.messages())
		c.start(1)
		c.start(2)
		propose(t, c.nodes[1], "lunch", "burger")
	})
}

// Nothing leaves a server before its first Save is durable.
func TestStartSaysNothingBeforeItsFirstSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.start(1)
		c.start(2)
		c.store(3).hooks(func(call storageCall) error {
			if call.op == "save" && call.n == 1 {
				time.Sleep(time.Minute)
				for _, sent := range c.net.messages() {
					assert.False(t, strings.HasPrefix(sent, "3 ->"), sent)
				}
			}
			return nil
		}, nil)
		began := time.Now()
		call := proposing(context.Background(), c.nodes[1], "lunch", "burger") // asks 3, too
		ready := inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, c.nodes[1].Ready(context.Background()) })
		c.start(3)
		assert.Equal(t, time.Minute, time.Since(began))
		require.NoError(t, (<-call).err)
		require.NoError(t, (<-ready).err)
	})
}

// Packets that come before a server's first Save is done wait in the Transport, which bounds them. The server could only keep them.
func TestNodeReceivesNothingBeforeItsFirstSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.start(1)
		c.start(2)
		c.store(3).hooks(func(call storageCall) error {
			if call.op == "save" && call.n == 1 {
				time.Sleep(time.Minute)
				assert.NotZero(t, c.ends[3].waiting())
			}
			return nil
		}, nil)
		value := strings.Repeat("x", 1000)
		for i := range 100 {
			propose(t, c.nodes[1], fmt.Sprint("job ", i), paxos.Value(value))
		}
		c.start(3)
		synctest.Wait()
		assert.Zero(t, c.ends[3].waiting())
		for i := range 100 {
			d, err := c.nodes[3].Wait(context.Background(), fmt.Sprint("job ", i))
			require.NoError(t, err)
			assert.Equal(t, paxos.Value(value), d.Value)
		}
	})
}
