package main

import (
	"slices"
	"time"
)

// The phases of a run in which something changes beside the callers.
const (
	phaseBefore = iota
	phaseDuring
	phaseAfter
	phaseCount
)

// cuts are the moments between which the phases lie: the first begins at cuts[0], the last ends at cuts[phaseCount].
type cuts [phaseCount + 1]time.Duration

// at is the phase of a moment within the cuts.
func (c cuts) at(t time.Duration) int {
	switch {
	case t < c[phaseDuring]:
		return phaseBefore
	case t < c[phaseAfter]:
		return phaseDuring
	default:
		return phaseAfter
	}
}

// A phase is what the callers noticed in one part of a run.
type phase struct {
	Seconds   float64
	PerSecond float64 // decisions
	Worst     float64 // milliseconds: the longest pause of any caller
	Middle    float64 // likewise, of the caller in the middle when they are put in the order of their longest pauses
}

// phasesOf makes phases of the moments at which the successful calls of each caller ended, in their order.
func phasesOf(callers [][]time.Duration, c cuts) (p [phaseCount]phase) {
	var worst [phaseCount][]float64
	var calls [phaseCount]int
	for _, ends := range callers {
		longest, n := pausesOf(ends, c)
		for i := range p {
			worst[i] = append(worst[i], float64(longest[i])/1e6)
			calls[i] += n[i]
		}
	}
	for i := range p {
		p[i].Seconds = (c[i+1] - c[i]).Seconds()
		if p[i].Seconds > 0 {
			p[i].PerSecond = float64(calls[i]) / p[i].Seconds
		}
		p[i].Worst, p[i].Middle = slices.Max(worst[i]), median(worst[i])
	}
	return p
}

// pausesOf returns the longest pause of one caller in each phase, and its calls. A pause is the time between two ends of its
// calls; the first begins with the first phase, and the last ends with the last. A pause belongs to the phase in which it
// ends. It also belongs to the one in the middle if any of it lies there, since the change may be the cause.
func pausesOf(ends []time.Duration, c cuts) (longest [phaseCount]time.Duration, calls [phaseCount]int) {
	last := c[phaseBefore]
	note := func(now time.Duration) {
		at := c.at(now)
		longest[at] = max(longest[at], now-last)
		if last < c[phaseAfter] && now >= c[phaseDuring] {
			longest[phaseDuring] = max(longest[phaseDuring], now-last)
		}
		last = now
	}
	for _, end := range ends {
		if end >= c[phaseBefore] && end < c[phaseCount] {
			calls[c.at(end)]++
			note(end)
		}
	}
	note(c[phaseCount])
	return longest, calls
}
