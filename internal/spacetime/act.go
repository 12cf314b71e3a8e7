package spacetime

import (
	"cmp"
	"slices"
	"time"
)

// byAct sorts the events of one lane at one instant into the order of an act: ends, arrivals, their consequences, sent messages, and the
// begin of a save. The clock knows no order there, and the diagram needs fewer half arrows. Messages that were lost at once are taken out,
// and returned as lost: they are no part of the receiver's life.
func byAct(lanes int, events []Event) (sorted []Event, lost map[int]bool) {
	sent, lost := map[int]Event{}, map[int]bool{}
	for _, e := range events {
		if e.Kind == Send {
			sent[e.Message] = e
		}
		if e.Kind == Lose && sent[e.Message].At == e.At {
			lost[e.Message] = true
		}
	}
	events = slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Kind == Lose && lost[e.Message] })
	acts := make([]act, lanes)
	for i, e := range events {
		lane := e.Lane
		if e.Kind == Arrive || e.Kind == Lose {
			lane = sent[e.Message].Peer
		}
		a := &acts[lane]
		if rank(e) == 0 || a.at != e.At {
			a.sort(events)
		}
		if a.at = e.At; rank(e) != 0 {
			a.places = append(a.places, i)
		}
	}
	for i := range acts {
		acts[i].sort(events)
	}
	return events, lost
}

// An act is what one lane does at one instant: the places of the events.
type act struct {
	at     time.Duration
	places []int
}

// sort sorts the events at the places of the act, and begins another one.
func (a *act) sort(events []Event) {
	sorted := make([]Event, len(a.places))
	for i, place := range a.places {
		sorted[i] = events[place]
	}
	slices.SortStableFunc(sorted, func(a, b Event) int { return cmp.Compare(rank(a), rank(b)) })
	for i, place := range a.places {
		events[place] = sorted[i]
	}
	a.places = a.places[:0]
}

// rank is the place of e in an act; 0: it ends one.
func rank(e Event) int {
	switch e.Kind {
	case End:
		return 1
	case Arrive, Lose:
		return 2
	case Note:
		return 3
	case Send:
		return 4
	case Begin:
		return 5
	}
	return 0
}
