package wal

import (
	"runtime"
	"time"
)

// The worker and the Saves share a machine that may have few cores. While the worker computes, a Save whose sync has ended may wait for a
// core. So the worker works in small pieces, and rests as long as each piece took. It does not rest if no Saves come, or if one waits for
// it.

const (
	// shortPiece is how long it may work without a rest.
	shortPiece = 100 * time.Microsecond
	// longestRest bounds a rest.
	longestRest = time.Millisecond
	// mostRest bounds a rest that is several times as long as a piece: a Save may wait for the worker.
	mostRest = 5 * time.Millisecond
	// writeRest is the least rest between two pieces that it writes. After it the first piece is on the disk, mostly, and to wait for it
	// takes no time. That wait would hold a processor, like a sync: see giveWay.
	writeRest = longestRest / 4
)

// breathe is called by the worker between pieces of its work, while it holds no lock. If a segment is needed, breathe prepares it first.
// If there is no space for it, a waiting Save is told, and the work goes on.
func (l *Log) breathe() error { return l.breatheFor(0) }

// breatheAfter is breathe, with a rest of so many times as long as it is since began, within mostRest.
func (l *Log) breatheAfter(began time.Time, times int) error {
	return l.breatheFor(min(time.Duration(times)*time.Since(began), mostRest))
}

// breatheFor is breathe, with a rest of at least that time.
func (l *Log) breatheFor(least time.Duration) error {
	l.plan.Lock()
	needed, stopping := l.prepared == nil && l.failed == nil, l.stopping
	l.plan.Unlock()
	if stopping {
		return errStopping
	}
	if needed {
		if err := l.prepareNext(); err != nil && !outOfSpace(err) {
			return err
		}
	}
	l.rest(least)
	return nil
}

// rest rests if it is time to, and for at least least.
func (l *Log) rest(least time.Duration) {
	if l.options.inline || l.resting.Load() || l.rush {
		return
	}
	l.plan.Lock()
	waited := l.waited
	l.plan.Unlock()
	if worked := time.Since(l.rested); worked > shortPiece {
		least = max(least, min(worked, longestRest))
	}
	if !waited && least > 0 {
		time.Sleep(least)
		giveWay() // a goroutine that wakes goes before those that are ready
		l.rested = time.Now()
	}
}

// giveWay lets other goroutines run while written data is on its way to the disk. A sync holds a processor as long as it waits, until
// Go's runtime notices. That may take as long as the sync, so it is better to wait without a system call first. The same is true for other
// calls that wait for the disk, such as the write of a new file. Goroutines that wait for that processor would wait, too. If no goroutine has
// work, giveWay takes less than a microsecond.
func giveWay() {
	const times = 4
	for range times {
		runtime.Gosched()
	}
}
