package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pauses knows the longest time without a decision anywhere, before and after a moment.
type pauses struct {
	mu            sync.Mutex
	last          time.Time // of the last decision
	cut           time.Time // what ends later is after; zero: it has not come
	before, after time.Duration
	decisions     int
}

// begin starts the count: what was before is of no interest.
func (p *pauses) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.before, p.decisions = now, 0, 0
}

func (p *pauses) cutAt(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = now
}

// decided notes a decision, or with end that there is none any more.
func (p *pauses) decided(now time.Time, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := now.Sub(p.last)
	if p.cut.IsZero() {
		p.before = max(p.before, pause)
	} else {
		p.after = max(p.after, pause)
	}
	p.last = now
	if !end {
		p.decisions++
	}
}

// gap has callers propose, and stops a server after a third of the window. A caller whose call failed, as it does at a
// server that has stopped, tries again after a millisecond with another name.
func gap(c cluster, j job) result {
	ctx, cancel := context.WithTimeout(context.Background(), j.Warm+j.Window)
	defer cancel()
	var (
		p       pauses
		next    atomic.Uint64
		errors  atomic.Int64
		callers sync.WaitGroup
	)
	p.begin(time.Now())
	for i, value := range valuesFor(j.Work.Callers, j.Work.Value) {
		callers.Go(func() {
			for ctx.Err() == nil {
				one, cancel := context.WithTimeout(ctx, time.Second)
				err := c.propose(one, i, nameOf(next.Add(1)), value)
				cancel()
				switch {
				case err == nil:
					p.decided(time.Now(), false)
				case ctx.Err() == nil:
					errors.Add(1)
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	time.Sleep(j.Warm)
	began, cpu := time.Now(), readCPU()
	p.begin(began)
	time.Sleep(j.Window / 3)
	p.cutAt(time.Now())
	c.stopOne()
	<-ctx.Done()
	seconds, after := time.Since(began).Seconds(), readCPU()
	p.decided(time.Now(), true)
	callers.Wait()
	return result{Decisions: uint64(p.decisions), Calls: uint64(p.decisions), Seconds: seconds, PerSecond: float64(p.decisions) / seconds,
		Before: float64(p.before) / 1e6, After: float64(p.after) / 1e6, Errors: int(errors.Load()),
		OtherCPU: max(0, after.busy-cpu.busy-(after.own-cpu.own)) / seconds}
}
