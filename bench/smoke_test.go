package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestSmoke has each contestant do all that it can for 100 ms, or for longer if nothing was decided by then.
func TestSmoke(t *testing.T) {
	works := plan{
		{Floor: true, Disk: true, Servers: 1, Callers: 1, Value: floorBytes},
		{Floor: true, Disk: true, Servers: 1, Callers: 3, Value: floorBytes},
		{Servers: 3, Callers: 4, Value: 64},
		{Disk: true, Servers: 3, Callers: 4, Value: 64},
		{Disk: true, Servers: 3, Callers: 4, Value: leastCarried},
		{Disk: true, Servers: 3, Callers: 4, Value: 64, Contended: true},
		{Disk: true, Servers: 3, Callers: 4, Value: 64, Decided: 1000, Sweep: sweepDecided},
	}
	if !testing.Short() {
		works = append(works, pauseWorks()...)
		works = append(works, changeWorks(3000, 500)...)
	}
	done := map[string]bool{}
	for _, j := range jobs(works, nil, 25*time.Millisecond, 100*time.Millisecond) {
		heavy := strings.HasPrefix(j.Contestant, "dragonboat") || strings.HasPrefix(j.Contestant, "etcd,") || j.Contestant == "etcd"
		if done[j.Contestant] = true; testing.Short() && heavy || j.Work.Contended && !j.Ours || j.Work.Value == leastCarried && !j.Floor {
			continue
		}
		t.Run(j.id(), func(t *testing.T) {
			t.Parallel()
			checkResult(t, j, smoke(t, j))
		})
	}
	for _, c := range contestants() {
		assert.True(t, done[c.name] || testing.Short(), c.name)
	}
}

// smoke does the job in a child; a busy machine gets more time.
func smoke(t *testing.T, j job) (r result) {
	t.Helper()
	for {
		var err error
		if r, err = inChild(context.Background(), j, t.TempDir()); err == nil {
			return r
		}
		if !strings.Contains(err.Error(), "nothing was decided") || j.Window > 20*time.Second {
			require.NoError(t, err)
		}
		j.Window *= 4
	}
}

func checkResult(t *testing.T, j job, r result) {
	t.Helper()
	if j.Work.Change != "" {
		checkChanged(t, j, r.Changed)
		return
	}
	assert.Positive(t, r.PerSecond)
	if j.Work.Gap {
		assert.Positive(t, r.After)
		return
	}
	assert.Zero(t, r.Errors, r.Error)
	assert.LessOrEqual(t, r.P50, r.Max)
	assert.True(t, slices.IsSorted(r.Curve))
	if !j.Ours {
		return
	}
	require.NotNil(t, r.Messages)
	assert.Positive(t, *r.Messages)
	if j.Work.Disk {
		require.NotNil(t, r.Syncs)
		assert.Positive(t, *r.Syncs)
	}
	assert.Nil(t, r.Memory, "too few decisions to tell")
}

func checkChanged(t *testing.T, j job, c *changed) {
	t.Helper()
	require.NotNil(t, c)
	decided := float64(j.Work.Decided * (nameBytes + j.Work.Value))
	switch j.Work.Change {
	case changeImport:
		assert.Positive(t, c.Import)
		assert.Greater(t, c.Wire, 1.0, "all names and values were sent")
		return
	case forgetIdle:
		assert.Positive(t, c.Call)
		for at := range phaseCount {
			assert.Positive(t, c.Memory[at])
			assert.Greater(t, c.Disk[at], 0.0)
		}
		assert.Greater(t, c.Disk[phaseBefore], 3*decided, "three servers have all of it")
		return
	case forgetBusy:
		assert.Positive(t, c.Call)
	}
	for _, p := range c.Phases {
		assert.Positive(t, p.Seconds)
		assert.Positive(t, p.Worst)
		assert.LessOrEqual(t, p.Middle, p.Worst)
	}
	if j.Ours && j.Work.replaces() {
		assert.Positive(t, c.Settled)
		assert.LessOrEqual(t, c.Settled, c.Phases[phaseDuring].Seconds)
	}
}

func TestChildRefuses(t *testing.T) {
	_, err := inChild(context.Background(), job{Contestant: "nobody"}, t.TempDir())
	assert.ErrorContains(t, err, "no contestant is named nobody")
	_, err = inChild(context.Background(), job{Contestant: "paxos"}, "/nowhere")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestPreload holds that servers that were loaded with decisions know them, and don't ask each other for them.
func TestPreload(t *testing.T) {
	c, err := way{ask: named}.start(setup{work{Disk: true, Servers: 3, Callers: 1, Value: 64, Decided: leastDecided}, t.TempDir()})
	require.NoError(t, err)
	cluster := c.(*paxosCluster)
	assert.InDelta(t, 200, c.counts().perDecided, 180, "bytes of memory per decided instance: of the right order, at least")
	t.Cleanup(func() {
		for i, n := range cluster.nodes.get() {
			assert.NoError(t, n.Close())
			assert.NoError(t, cluster.transports[i].Close())
			assert.NoError(t, cluster.logs[i].Close())
		}
	})
	for _, n := range cluster.nodes.get() {
		status := n.Status()
		assert.Less(t, status.Counters.Sent[paxos.KindPull], uint64(50), "to list all names takes more")
		assert.Zero(t, status.Counters.Fetched)
		assert.EqualValues(t, leastDecided, status.Index)
		for _, i := range []uint64{1, 10_000, leastDecided} {
			d, ok, err := n.Peek(t.Context(), "x"+nameOf(i)[1:])
			require.NoError(t, err)
			require.True(t, ok)
			assert.Equal(t, paxos.Value(valuesFor(1, 64)[0]), d.Value)
		}
	}
	require.NoError(t, c.propose(t.Context(), 0, nameOf(1), "new"))
}
