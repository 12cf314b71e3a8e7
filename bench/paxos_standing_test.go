package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func startStanding(t *testing.T, way way, w work) *paxosCluster {
	t.Helper()
	way.ask = named
	started, err := way.start(setup{w, t.TempDir()})
	require.NoError(t, err)
	c := started.(*paxosCluster)
	t.Cleanup(func() {
		for i, n := range c.nodes.get() {
			assert.NoError(t, n.Close())
			assert.NoError(t, c.transports[i].Close())
			assert.NoError(t, c.logs[i].Close())
		}
	})
	return c
}

// TestNextStands holds that another server stands after that, and that a way may ask the first one from the beginning.
func TestNextStands(t *testing.T) {
	c := startStanding(t, way{spread: true, off: true, asked: true}, work{Disk: true, Servers: 3, Callers: 3, Value: 64})
	for _, want := range []int{0, 1, 2, 0} {
		if c.standing() != want {
			require.NoError(t, c.nextStands(t.Context()))
		}
		assert.Equal(t, want, c.standing())
		require.NoError(t, c.propose(t.Context(), want, nameOf(uint64(10+want)), "here"))
	}
	forwards := uint64(0)
	for i := range uint64(30) {
		require.NoError(t, c.propose(t.Context(), int(i), nameOf(100+i), "v"))
	}
	for _, n := range c.nodes.get() {
		forwards += n.Metrics().Counters.Forwards
	}
	assert.Zero(t, forwards)
}

// TestFrozen holds that a server that stands still answers nobody and keeps its connections, and that callers elsewhere go on.
func TestFrozen(t *testing.T) {
	c := startStanding(t, way{spread: true}, work{Disk: true, Servers: 3, Callers: 3, Value: 64, Gap: true, Frozen: true})
	require.NoError(t, c.stands(t.Context(), 1))
	c.stopOne()
	require.EqualValues(t, 1, c.stopped.Load(), "the server that stands")
	there := make(chan error, 1)
	go func() {
		_, err := c.nodes.get()[1].Propose(t.Context(), nameOf(1), "at the server that stands still")
		there <- err
	}()
	for i := range 6 {
		require.NoError(t, c.propose(t.Context(), i, nameOf(uint64(2+i)), "elsewhere"))
	}
	assert.Empty(t, there, "it has no answer")
	for _, i := range []int{0, 2} {
		for _, peer := range c.transports[i].Stats().Peers {
			assert.True(t, peer.Out && peer.In, "server %d at server %d", peer.ID, i+1)
		}
	}
	c.gates[1].still.Unlock()
	require.NoError(t, <-there)
	d, err := c.nodes.get()[1].Propose(t.Context(), nameOf(2), "too late")
	require.NoError(t, err)
	assert.Equal(t, paxos.Value("elsewhere"), d.Value)
}
