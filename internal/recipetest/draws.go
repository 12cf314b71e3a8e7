package recipetest

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// draws are the moments and the fates of calls. A seed decides them. No two moments are equal, so that a seed also decides the order of
// what happens at them.
type draws struct {
	mu    sync.Mutex
	rand  *rand.Rand
	taken map[time.Time]bool
	// How often a call ends without an answer, is refused, or takes its process along.
	failing, refusing, crashing float64
	slow                        time.Duration // the most that a call takes, mostly
}

func newDraws(seed uint64) *draws {
	x := rand.New(rand.NewPCG(seed, 19))
	d := &draws{rand: x, taken: map[time.Time]bool{}, slow: time.Duration(1+x.IntN(50)) * time.Millisecond}
	if x.IntN(4) > 0 {
		d.failing = 0.4 * x.Float64()
	}
	if x.IntN(4) > 0 {
		d.refusing = 0.1 * x.Float64()
	}
	if x.IntN(4) > 0 {
		d.crashing = 0.08 * x.Float64()
	}
	return d
}

// A fate is what becomes of a call.
type fate struct {
	arrives, answered time.Time
	refused           bool // it did nothing, and says so
	failed            bool // nobody learns what it did
	lost              bool // it did nothing
	dormant           bool // it does what it does when another call comes
}

func (d *draws) fate() fate {
	d.mu.Lock()
	defer d.mu.Unlock()
	begin := time.Now()
	f := fate{arrives: d.moment(begin, d.slow), refused: d.rand.Float64() < d.refusing, failed: d.rand.Float64() < d.failing}
	if !f.failed {
		f.answered = d.moment(f.arrives, d.slow)
		return f
	}
	f.answered = d.moment(begin, d.slow)
	switch d.rand.IntN(4) {
	case 0:
		f.lost = true
	case 1:
		f.dormant = true
	case 2:
		f.arrives = d.moment(f.answered, 50*d.slow) // long after the call has failed
	}
	return f
}

// moment draws one after from, up to most later, that nothing else has. The caller holds mu.
func (d *draws) moment(from time.Time, most time.Duration) time.Time {
	at := from.Add(1 + time.Duration(d.rand.Int64N(int64(most))))
	for d.taken[at] {
		at = at.Add(1)
	}
	d.taken[at] = true
	return at
}

// within draws a moment from now on.
func (d *draws) within(most time.Duration) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.moment(time.Now(), most)
}

// pause waits until a moment, or for the end of ctx.
func (d *draws) pause(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func (d *draws) chance(p float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.Float64() < p
}

func (d *draws) intN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.IntN(n)
}
