package wal

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// The worker rests for as long as it has worked, unless nobody gains by it, or somebody waits.
func TestWorkerRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Log{}
		restedAtLeast := func(least, worked time.Duration) time.Duration {
			began := time.Now()
			l.rested = began.Add(-worked)
			l.rest(least)
			return time.Since(began)
		}
		rested := func(worked time.Duration) time.Duration { return restedAtLeast(0, worked) }
		require.Zero(t, rested(shortPiece), "it need not yet")
		require.Equal(t, 300*time.Microsecond, rested(300*time.Microsecond))
		require.Equal(t, longestRest, rested(time.Hour))
		require.Equal(t, writeRest, restedAtLeast(writeRest, shortPiece))
		require.Equal(t, 300*time.Microsecond, restedAtLeast(writeRest, 300*time.Microsecond))
		l.waited = true
		require.Zero(t, restedAtLeast(writeRest, time.Hour), "a Save waits for a segment")
		l.waited, l.rush = false, true
		require.Zero(t, rested(time.Hour), "there is too much garbage")
		l.rush = false
		l.resting.Store(true)
		require.Zero(t, rested(time.Hour), "no Saves come")
	})
}

// A segment that is needed is prepared between two pieces of other work; not again and again where there is no space for it.
func TestBreatheSeesToTheNextSegment(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	l.prepared = nil // the one that there is stays unused
	require.NoError(t, l.breathe())
	require.NotNil(t, l.prepared)

	l.prepared = nil
	fs.Limit = 1
	require.NoError(t, l.breathe(), "what was begun goes on")
	require.True(t, outOfSpace(l.failed), "whoever needs it is told")
	fs.Limit = 0
	require.NoError(t, l.breathe())
	require.Nil(t, l.prepared, "it waits until somebody asks")

	l.stopping = true
	require.ErrorIs(t, l.breathe(), errStopping)
	l.stopping = false
}

// The bytes of a Save begin their way to the disk before others go on, and before the Save waits for them: one write, one start, one sync.
func TestSaveStartsWhatItSyncs(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	before := len(fs.Ops())
	require.NoError(t, l.Save(paxos.Batch{Records: []paxos.Record{voted("a", 1, "pizza"), promised("b", 2)}}))
	ops := fs.Ops()[before:]
	require.Len(t, ops, 3)
	require.Equal(t, []disktest.OpKind{disktest.OpWrite, disktest.OpStart, disktest.OpSync}, []disktest.OpKind{ops[0].Kind, ops[1].Kind, ops[2].Kind})
	require.Equal(t, ops[0].At, ops[1].At)
	require.Equal(t, []string{ops[0].Name, ops[0].Name}, []string{ops[1].Name, ops[2].Name})
	require.NoError(t, l.Close())
}
