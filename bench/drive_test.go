package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A slowCluster decides after a while, or fails. It counts what it was asked for.
type slowCluster struct {
	takes time.Duration
	fails bool

	mu    sync.Mutex
	names map[string]int
	until time.Time
}

func (c *slowCluster) propose(_ context.Context, _ int, name, _ string) error {
	c.mu.Lock()
	c.names[name]++
	wait := max(c.takes, time.Until(c.until))
	c.mu.Unlock()
	time.Sleep(wait)
	if c.fails {
		return errors.New("no luck")
	}
	return nil
}

func (c *slowCluster) stopOne() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(500 * time.Millisecond)
}

func (c *slowCluster) counts() counts { return counts{syncs: 6, messages: 10} }

func newSlowCluster() *slowCluster {
	return &slowCluster{takes: 10 * time.Millisecond, names: map[string]int{}}
}

func driveJob(callers int) job {
	return job{Work: work{Servers: 3, Callers: callers, Value: 8}, Warm: 105 * time.Millisecond, Window: time.Second}
}

// TestDrive holds that the calls that end within the window count, each with its own latency.
func TestDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster()
		r := drive(c, driveJob(4))
		assert.EqualValues(t, 400, r.Decisions)
		assert.EqualValues(t, 400, r.Calls)
		assert.InDelta(t, 400, r.PerSecond, 1e-6)
		assert.InEpsilon(t, 10_000, r.P50, 0.01)
		assert.InDelta(t, 10_000, r.Max, 1e-6)
		assert.Zero(t, *r.Syncs)
		assert.Zero(t, r.Errors)
		for name, times := range c.names {
			require.Equal(t, 1, times, name)
		}
		assert.Equal(t, 0.995, curveAt[len(r.Curve)-1], "400 calls say nothing of the 99.8 % and beyond")
	})
}

// TestDriveContended holds that all ask for the same names, and that a name counts once.
func TestDriveContended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, j := newSlowCluster(), driveJob(4)
		j.Work.Contended = true
		r := drive(c, j)
		assert.EqualValues(t, 100, r.Decisions)
		assert.EqualValues(t, 400, r.Calls)
		for name, times := range c.names {
			require.Equal(t, 4, times, name)
		}
	})
}

func TestDriveErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster()
		c.fails = true
		r := drive(c, driveJob(1))
		assert.Zero(t, r.Decisions)
		assert.Positive(t, r.Errors)
		assert.Equal(t, "no luck", r.Error)
		assert.Zero(t, r.PerSecond)
	})
}

// TestGap holds that the pause is measured from the last decision before the stop to the first after it.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gap(newSlowCluster(), job{Work: work{Gap: true, Servers: 3, Callers: 1}, Warm: 105 * time.Millisecond, Window: 3 * time.Second})
		assert.InDelta(t, 10, r.Before, 1e-6)
		assert.InDelta(t, 495, r.After, 1e-6, "the call that ran then ended 5 ms after the stop")
		assert.Positive(t, r.Decisions)
		time.Sleep(time.Second) // gap does not wait for its callers
	})
}

func TestPausesWithoutEnd(t *testing.T) {
	var p pauses
	start := time.Unix(1000, 0)
	p.begin(start)
	p.decided(start.Add(20 * time.Millisecond))
	p.cutAt(start.Add(30 * time.Millisecond))
	before, after, decisions := p.end(start.Add(time.Second))
	assert.Equal(t, 20*time.Millisecond, before)
	assert.Equal(t, 980*time.Millisecond, after, "nothing came any more: the pause lasts until the end")
	assert.Equal(t, 1, decisions)
}

func TestNamesAndValues(t *testing.T) {
	seen := map[string]bool{}
	for i := range uint64(10_000) {
		name := nameOf(i)
		require.Len(t, name, nameBytes)
		require.False(t, seen[name])
		seen[name] = true
	}
	values := valuesFor(256, 16)
	for _, v := range values {
		require.Len(t, v, 16)
		require.False(t, seen[v], "the values of two callers differ")
		seen[v] = true
	}
}

// TestReadCPU holds that what this process burns counts as its own, and not as others'.
func TestReadCPU(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("known on linux only")
	}
	before := readCPU()
	require.Eventually(t, func() bool {
		for x := range 10_000_000 {
			runtime.KeepAlive(x)
		}
		after := readCPU()
		return after.own-before.own > 0.1 && after.busy-before.busy > 0.1
	}, 20*time.Second, time.Millisecond)
}
