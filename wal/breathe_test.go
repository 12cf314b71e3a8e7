package wal

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
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
		l.quiet.Store(true)
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
