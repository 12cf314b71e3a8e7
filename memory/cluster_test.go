package memory

import (
	"context"
	"fmt"
	"log/slog"
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

// started starts a cluster, and returns the ServerIDs of its nodes.
func started(t *testing.T, c Config) (nodes []*node.Node, ids []paxos.ServerID) {
	t.Helper()
	nodes, stop, err := Cluster(c)
	require.NoError(t, err)
	t.Cleanup(stop)
	for _, n := range nodes {
		ids = append(ids, n.Status().ID)
	}
	return nodes, ids
}

func TestClusterServers(t *testing.T) {
	for n, want := range map[int]int{0: 3, 1: 1, 2: 2, 64: 64} {
		synctest.Test(t, func(t *testing.T) {
			nodes, stop, err := Cluster(Config{Servers: n})
			require.NoError(t, err)
			defer stop()
			require.Len(t, nodes, want)
			_, err = nodes[want-1].Propose(t.Context(), "lunch", "burger")
			require.NoError(t, err)
			for i, node := range nodes {
				assert.Equal(t, paxos.ServerID(i+1), node.Status().ID)
				d, err := node.Wait(t.Context(), "lunch")
				require.NoError(t, err)
				assert.Equal(t, paxos.Value("burger"), d.Value)
			}
			stop()
			_, err = nodes[0].Propose(t.Context(), "dinner", "soup")
			assert.ErrorIs(t, err, paxos.ErrClosed)
		})
	}
}

func TestClusterMembers(t *testing.T) {
	two := paxos.Members{Cluster: "shop", Quorum: paxos.Majority(2), Acceptors: []paxos.ServerID{7, 9}, Learners: []paxos.ServerID{8}}
	nodes, ids := started(t, Config{Members: two})
	assert.Equal(t, []paxos.ServerID{7, 9, 8}, ids)
	c, _ := nodes[2].Configuration()
	assert.Equal(t, two, c.Members)

	nodes, ids = started(t, Config{Servers: 2, Members: paxos.Members{Learners: []paxos.ServerID{3}}})
	assert.Equal(t, []paxos.ServerID{1, 2, 3}, ids)
	d, err := nodes[2].Propose(t.Context(), "lunch", "burger")
	require.NoError(t, err)
	assert.Equal(t, paxos.Value("burger"), d.Value)
	c, _ = nodes[0].Configuration()
	assert.Equal(t, "memory", c.Members.Cluster)
}

// Each server gets what the Config says, and then what its Node changes.
func TestClusterConfig(t *testing.T) {
	var mu sync.Mutex
	var log strings.Builder
	traced := map[paxos.ServerID]bool{}
	nodes, stop, err := Cluster(Config{
		Limits: paxos.Limits{MaxValue: 10},
		Timing: paxos.Timing{Pull: time.Minute},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Trace: func(_ context.Context, e paxos.Event) {
			mu.Lock()
			defer mu.Unlock()
			traced[e.Server] = true
		},
		Node: func(c *node.Config) {
			assert.Equal(t, 10, c.Limits.MaxValue)
			assert.Equal(t, time.Minute, c.Timing.Pull)
			c.Limits.MaxValue = 20
		},
	})
	require.NoError(t, err)
	defer stop()
	_, err = nodes[0].Propose(t.Context(), "lunch", "spring rolls, and soup")
	require.ErrorIs(t, err, paxos.ErrTooLarge)
	_, err = nodes[0].Propose(t.Context(), "lunch", "spring rolls")
	require.NoError(t, err)
	stop()
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, map[paxos.ServerID]bool{1: true, 2: true, 3: true}, traced)
	for id := range 3 {
		assert.Contains(t, log.String(), fmt.Sprintf("cluster=memory server=%d", id+1))
	}
}

func TestClusterRefuses(t *testing.T) {
	one := []paxos.ServerID{1}
	for want, c := range map[string]Config{
		"Config.Servers: -1, want 1 to 64, or 0 for 3":          {Servers: -1},
		"Config.Servers: 65, want 1 to 64, or 0 for 3":          {Servers: 65},
		"Config.Servers: 2, but Config.Members has 1 Acceptors": {Servers: 2, Members: paxos.Members{Acceptors: one}},
		"Config.Members.Learners: server 1 is an acceptor too":  {Members: paxos.Members{Learners: one}},
		"Config.Limits.MaxValue: -1":                            {Limits: paxos.Limits{MaxValue: -1}},
		"Config.Storage: nil":                                   {Node: func(c *node.Config) { c.Storage = nil }},
	} {
		nodes, stop, err := Cluster(c)
		require.ErrorContains(t, err, want)
		assert.Empty(t, nodes)
		stop()
	}
}
