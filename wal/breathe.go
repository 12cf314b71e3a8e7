package wal

import (
	"runtime"
	"time"
)

// The worker and the Saves share a machine, which may have few cores: whoever computes for long keeps a Save, whose sync is done, from
// going on. So the worker works in small pieces, and rests for as long as each took. It does not if no Saves come, nor if
// one waits for it.

const (
	// shortPiece is work after which it need not rest yet.
	shortPiece = 100 * time.Microsecond
	// longestRest is for how long it rests at most.
	longestRest = time.Millisecond
	// writeRest is for how long it rests at least between two pieces that it writes, so that it need not wait for the first: like a sync, that would
	// hold a processor. See giveWay.
	writeRest = longestRest / 4
)

// breathe is called by the worker between pieces of its work, when it holds no lock. A segment that is needed goes first. If there is
// no space for it, whoever needs it knows, and what was begun goes on.
func (l *Log) breathe() error {
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
	l.rest(0)
	return nil
}

// rest rests, if it is time to, and so long at least.
func (l *Log) rest(least time.Duration) {
	if l.options.inline || l.quiet.Load() || l.rush {
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
		l.rested = time.Now()
	}
}

// giveWay lets others go on while what was written is on its way to the disk. A sync holds a processor as long as it waits, until Go's
// runtime notices, which may take as long as the sync; so what can be waited for without it should be. Where nobody else has
// anything to do, this takes less than a microsecond.
func giveWay() {
	const times = 4
	for range times {
		runtime.Gosched()
	}
}
