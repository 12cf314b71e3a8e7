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
	cut           time.Time // calls that end later are after it; zero: it has not come
	before, after time.Duration
	decisions     int
}

// begin starts the count. Earlier calls do not count.
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

// decided notes a decision.
func (p *pauses) decided(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause(now)
	p.decisions++
}

// end ends the count. Later calls do not count, and a pause that has begun lasts until now.
func (p *pauses) end(now time.Time) (before, after time.Duration, decisions int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause(now)
	return p.before, p.after, p.decisions
}

// pause notes that nothing was decided since the last time. p.mu is held.
func (p *pauses) pause(now time.Time) {
	pause := now.Sub(p.last)
	if p.cut.IsZero() {
		p.before = max(p.before, pause)
	} else {
		p.after = max(p.after, pause)
	}
	p.last = now
}

// gap has callers propose, and stops a server after a third of the window. A caller whose call failed, as it does at a
// server that has stopped, tries again after a millisecond with another name.
func gap(c cluster, j job) result {
	ctx, cancel := context.WithTimeout(context.Background(), j.Warm+j.Window)
	defer cancel()
	var (
		p      pauses
		next   atomic.Uint64
		errors atomic.Int64
	)
	p.begin(time.Now())
	for i, value := range valuesFor(j.Work.Callers, j.Work.Value) {
		go func() {
			for ctx.Err() == nil {
				one, cancel := context.WithTimeout(ctx, time.Second)
				err := c.propose(one, i, nameOf(next.Add(1)), value)
				cancel()
				switch {
				case err == nil:
					p.decided(time.Now())
				case ctx.Err() == nil:
					errors.Add(1)
					time.Sleep(time.Millisecond)
				}
			}
		}()
	}
	time.Sleep(j.Warm)
	began, cpu := time.Now(), readCPU()
	p.begin(began)
	time.Sleep(j.Window / 3)
	p.cutAt(time.Now())
	c.stopOne()
	<-ctx.Done()
	seconds, after := time.Since(began).Seconds(), readCPU()
	before, pause, decisions := p.end(time.Now())
	return result{Decisions: uint64(decisions), Calls: uint64(decisions), Seconds: seconds, PerSecond: float64(decisions) / seconds,
		Before: float64(before) / 1e6, After: float64(pause) / 1e6, Errors: int(errors.Load()),
		OtherCPU: max(0, after.busy-cpu.busy-(after.own-cpu.own)) / seconds}
}
