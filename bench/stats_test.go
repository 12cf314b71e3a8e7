package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	assert.Equal(t, 2.0, median([]float64{3, 1, 2}))
	assert.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
	assert.Equal(t, 7.0, median([]float64{7}))
	assert.True(t, math.IsNaN(median(nil)))
	values := []float64{3, 1, 2}
	median(values)
	assert.Equal(t, []float64{3, 1, 2}, values, "the values stay as they were")
}

// TestHistogram compares quantiles with those of the sorted latencies.
func TestHistogram(t *testing.T) {
	const seed = 7
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	var halves [2]histogram
	var all []time.Duration
	for i := range 50_000 {
		d := time.Duration(math.Exp(random.Float64() * 23)) // 1 ns to 10 s
		halves[i%2].record(d)
		all = append(all, d)
	}
	h := halves[0]
	h.add(&halves[1])
	slices.Sort(all)
	require.EqualValues(t, len(all), h.n)
	assert.Equal(t, all[len(all)-1], h.max, "the longest is exact")
	for _, q := range []float64{0, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := float64(all[int(q*float64(len(all)-1))])
		assert.InEpsilon(t, want, float64(h.quantile(q)), 1.0/128+1e-9, "%v", q)
	}
	assert.Zero(t, (&histogram{}).quantile(0.5))
}

// TestBuckets holds that each latency is in a bucket whose middle is near, up to the longest there is.
func TestBuckets(t *testing.T) {
	last := -1
	for d := time.Duration(1); d < 1<<maxExponent; d += 1 + d/200 {
		b := bucketOf(d)
		require.GreaterOrEqual(t, b, last, "buckets rise")
		require.InEpsilon(t, float64(d), float64(middleOf(b)), 1.0/128+1e-9)
		last = b
	}
	var h histogram
	assert.Equal(t, len(h.counts)-1, bucketOf(math.MaxInt64))
	assert.Equal(t, 0, bucketOf(-1))
}

func someRun(round int, contestant string, ours bool, w work, perSecond float64) run {
	return run{round, job{Work: w, Contestant: contestant, Ours: ours}, result{PerSecond: perSecond, Decisions: 1}}
}

// TestRatios holds that ratios are taken within a round, since the machine drifts, and to the peer that is best at that work.
func TestRatios(t *testing.T) {
	one, two := work{Servers: 3, Callers: 1}, work{Servers: 3, Callers: 16}
	runs := []run{
		someRun(0, "us", true, one, 20), someRun(0, "a", false, one, 10), someRun(0, "b", false, one, 5), someRun(0, "us", true, two, 8), someRun(0, "b", false, two, 4),
		someRun(1, "us", true, one, 300), someRun(1, "a", false, one, 100), someRun(1, "b", false, one, 50), someRun(1, "us", true, two, 9), someRun(1, "b", false, two, 3),
		someRun(2, "us", true, one, 40), someRun(2, "a", false, one, 10), someRun(2, "b", false, one, 50),
	}
	var got []string
	for _, r := range rowsOf(runs) {
		got = append(got, fmt.Sprintf("%d %s %d: %v/s, %v", r.Work.Callers, r.Contestant, r.Rounds, r.PerSecond, *r.Ratio))
	}
	// At 1 caller b is best: its median is 50.
	assert.Equal(t, []string{"1 us 3: 40/s, 4", "1 a 3: 10/s, 2", "1 b 3: 50/s, 1", "16 us 2: 8.5/s, 2.5", "16 b 2: 3.5/s, 1"}, got)
}

// TestFloorsAreNoPeers holds that a floor has a ratio, too, and that none is taken to it.
func TestFloorsAreNoPeers(t *testing.T) {
	floor := someRun(0, "floor", false, work{}, 80)
	floor.Job.Floor = true
	rows := rowsOf([]run{someRun(0, "us", true, work{}, 20), floor, someRun(0, "peer", false, work{}, 10)})
	var got []float64
	for _, r := range rows {
		got = append(got, *r.Ratio)
	}
	assert.Equal(t, []float64{2, 8, 1}, got)
}

func TestRowsWithoutPeers(t *testing.T) {
	rows := rowsOf([]run{someRun(0, "us", true, work{}, 20)})
	require.Len(t, rows, 1)
	assert.Nil(t, rows[0].Ratio)
	assert.Equal(t, "–", ratioText(rows[0].Ratio))
	assert.Empty(t, rowsOf(nil))
}

// TestMedianResult holds that what some runs don't know does not count, and that a curve ends where one of them ends.
func TestMedianResult(t *testing.T) {
	syncs := func(v float64) *float64 { return &v }
	runs := []run{
		{Result: result{P50: 1, Syncs: syncs(2), Curve: []float64{1, 2, 3}, OtherCPU: 0.1}},
		{Result: result{P50: 5, Syncs: syncs(4), Curve: []float64{3, 4}, Errors: 2}},
		{Result: result{P50: 3, Curve: []float64{2, 9, 9}, OtherCPU: 0.31}},
	}
	r := rowOf(runs)
	assert.Equal(t, 3.0, r.Result.P50)
	assert.Equal(t, 3.0, *r.Result.Syncs)
	assert.Nil(t, r.Result.Messages)
	assert.Equal(t, []float64{2, 4}, r.Result.Curve)
	assert.True(t, r.Busy)
	assert.Equal(t, 2, r.Errors)
	assert.False(t, rowOf(runs[:2]).Busy)
}
