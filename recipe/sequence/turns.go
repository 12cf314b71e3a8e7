package sequence

import (
	"slices"
	"time"
)

// lately is for how many slots a writer counts after it wrote.
const lately = 64

// maxWriters bounds the writers that take turns.
const maxWriters = 32

// A seat is a writer that wrote lately.
type seat struct {
	writer uint64
	last   uint64 // the last slot that it wrote
	steady bool   // it wrote twice within lately slots, and has not missed a turn since
}

// turns says whose turn it is, from the writers of the last slots. All Logs that know the same slots agree on it. Nothing but
// speed depends on that. The zero turns is ready.
type turns struct {
	seats []seat        // the one that wrote longest ago comes first
	cost  time.Duration // about how long a slot takes
}

// wrote notes the writer of a slot. A steady writer that comes before its turn shows that those before it have nothing to say.
func (t *turns) wrote(writer, slot uint64) {
	t.seats = slices.DeleteFunc(t.seats, func(s seat) bool { return s.last+lately < slot })
	next := seat{writer: writer, last: slot}
	if i := slices.IndexFunc(t.seats, func(s seat) bool { return s.writer == writer }); i >= 0 {
		if t.seats[i].steady {
			for j := range i {
				t.seats[j].steady = false
			}
		}
		next.steady = true
		t.seats = slices.Delete(t.seats, i, i+1)
	}
	if len(t.seats) == maxWriters {
		t.seats = slices.Delete(t.seats, 0, 1)
	}
	t.seats = append(t.seats, next)
}

// took notes how long a slot took.
func (t *turns) took(d time.Duration) {
	if t.cost == 0 {
		t.cost = d
	}
	t.cost += (d - t.cost) / 8
}

// patience returns how long the writer waits for others before it proposes in the next slot: a few times the cost of a slot
// for each writer before it. A writer that is not steady has to win a slot first, so it waits for nobody.
func (t *turns) patience(writer uint64) time.Duration {
	before := 0
	for _, s := range t.seats {
		switch {
		case s.writer == writer && s.steady:
			return time.Duration(before) * min(max(4*t.cost, 2*time.Millisecond), 200*time.Millisecond)
		case s.steady:
			before++
		}
	}
	return 0
}
