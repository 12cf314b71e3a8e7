package tables

import (
	"slices"
	"strings"

	"github.com/singledecree/paxos"
)

// Drops are ranges of names that were dropped while their records are still in the tables. Has says of each whether it is gone. A
// sweep takes these records out, one after the other, as slowly as its caller likes. So to drop a range takes no time for its names.
//
// A range counts only for records that were put before it. Drops remembers which were put in it later. The zero Drops is empty.
type Drops struct {
	spans []span            // ascending; none is empty, none meets another
	last  uint64            // number of the last drop
	late  map[uint32]uint64 // records that were put in a span: by number, the last drop before that

	sweeping bool     // a pass is under way
	at       uint32   // the pass has seen all numbers below this one
	again    []uint32 // lower ones that a record has got that the pass has not seen
	pass     uint64   // the last drop before the pass
	swept    uint64   // the same of the last pass that ended
}

// A span is a range of names, and the last drop that has it.
type span struct {
	names paxos.NameRange
	drop  uint64
}

// Pending reports whether there are ranges that no whole pass has swept.
func (d *Drops) Pending() bool { return len(d.spans) > 0 }

// Add drops the names in the ranges. It takes time for the ranges that are pending, and none for the records.
func (d *Drops) Add(ranges []paxos.NameRange) {
	ranges = union(ranges)
	if len(ranges) == 0 {
		return
	}
	d.last++
	old := slices.Clone(d.spans)
	spans := make([]span, 0, len(old)+2*len(ranges))
	for _, r := range ranges {
		for len(old) > 0 && old[0].names.To <= r.From {
			spans, old = append(spans, old[0]), old[1:]
		}
		if len(old) > 0 && old[0].names.From < r.From {
			spans = append(spans, span{paxos.NameRange{From: old[0].names.From, To: r.From}, old[0].drop})
		}
		spans = append(spans, span{r, d.last})
		for len(old) > 0 && old[0].names.To <= r.To {
			old = old[1:]
		}
		if len(old) > 0 {
			old[0].names.From = max(old[0].names.From, r.To)
		}
	}
	d.spans = append(spans, old...)
}

// union returns ranges with the same names, ascending, of which no two meet or touch.
func union(ranges []paxos.NameRange) []paxos.NameRange {
	all := slices.DeleteFunc(slices.Clone(ranges), func(r paxos.NameRange) bool { return r.From >= r.To })
	slices.SortFunc(all, func(a, b paxos.NameRange) int { return strings.Compare(a.From, b.From) })
	joined := all[:0]
	for _, r := range all {
		if n := len(joined); n > 0 && r.From <= joined[n-1].To {
			joined[n-1].To = max(joined[n-1].To, r.To)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// A State is what Add may change. It stays as it is.
type State struct{ spans []span }

// State returns the ranges of now.
func (d *Drops) State() State { return State{d.spans} }

// Back takes back all drops since s. Meanwhile no pass may have gone on.
func (d *Drops) Back(s State) { d.spans = s.spans }

// Done says that no dropped record of that very range is there any more. If Add was called with it last, the range is no longer pending.
func (d *Drops) Done(names paxos.NameRange) {
	if i, ok := d.find(names.From); ok && d.spans[i].names == names {
		d.spans = slices.Concat(d.spans[:i], d.spans[i+1:])
		d.settle()
	}
}

// find returns the span with that name.
func (d *Drops) find(name string) (i int, ok bool) {
	i, _ = slices.BinarySearchFunc(d.spans, name, func(s span, name string) int {
		if s.names.To <= name {
			return -1
		}
		return 1 // the first of these is searched
	})
	return i, i < len(d.spans) && d.spans[i].names.From <= name
}

// Has reports whether the record at that number, which has that name, is dropped.
func (d *Drops) Has(at uint32, name string) bool {
	return len(d.spans) > 0 && d.has(at, name)
}

func (d *Drops) has(at uint32, name string) bool {
	i, ok := d.find(name)
	return ok && d.late[at] < d.spans[i].drop
}

// Put notes that a record of that name was put at that number just now: it is new there, or has taken the place of a dropped one. It
// returns what Unput needs to take that back.
func (d *Drops) Put(at uint32, name string) (before uint64) {
	if len(d.spans) == 0 {
		return 0
	}
	before = d.late[at]
	if _, ok := d.find(name); ok {
		if d.late == nil {
			d.late = map[uint32]uint64{}
		}
		d.late[at] = d.last
	}
	return before
}

// Unput takes back a Put that returned before.
func (d *Drops) Unput(at uint32, before uint64) { d.keep(at, before) }

func (d *Drops) keep(at uint32, late uint64) {
	if late == 0 {
		delete(d.late, at)
		return
	}
	d.late[at] = late
}

// Remove says that the record at that number is taken out, and that the last one, which has the highest number, gets its number.
func (d *Drops) Remove(at, last uint32) {
	if d.sweeping && at < min(d.at, last) && (last >= d.at || len(d.again) > 0) {
		d.again = append(d.again, at)
	}
	if len(d.late) > 0 {
		d.keep(at, d.late[last])
		delete(d.late, last)
	}
}

// Next returns which of n records a pass looks at next, or false at the end of the pass; the call after that begins another one. The
// caller takes the record out if it is dropped, and else calls Keep. Between two steps it may do anything.
func (d *Drops) Next(n uint32) (at uint32, ok bool) {
	if !d.sweeping {
		d.sweeping, d.pass, d.at = true, d.last, 0
	}
	if d.at < n {
		return d.at, true
	}
	for end := len(d.again) - 1; end >= 0; end-- {
		if d.again = d.again[:end+1]; d.again[end] < n {
			return d.again[end], true
		}
	}
	d.sweeping, d.swept, d.again = false, d.pass, nil
	d.spans = slices.DeleteFunc(slices.Clone(d.spans), func(s span) bool { return s.drop <= d.pass })
	d.settle()
	return 0, false
}

// Keep says that the record of which Next has returned the number, among n, is not dropped.
func (d *Drops) Keep(n uint32) {
	if d.at >= n {
		d.again = d.again[:len(d.again)-1]
		return
	}
	if len(d.late) > 0 && d.late[d.at] <= d.swept { // every span that it counted for is gone
		delete(d.late, d.at)
	}
	d.at++
}

// settle gives memory back if nothing is pending.
func (d *Drops) settle() {
	if len(d.spans) == 0 {
		d.spans, d.late, d.sweeping, d.again = nil, nil, false, nil
	}
}

// skips is how many dropped records Above passes in one call, about.
const skips = 4 * Chunk

// Above calls add with the places in o with an Index above after of records that are not dropped, at most most of them. If it would
// have to pass very many dropped ones, it stops: more is true then, and the next call goes on after next. So the caller can let others go on.
func (d *Drops) Above(o *Order, after uint64, most int, name func(at uint32) string, add func(Place)) (next uint64, more bool) {
	for skipped := 0; most > 0; {
		if skipped >= skips {
			return after, true
		}
		runs, n := o.Above(after, min(most, Chunk))
		if n == 0 {
			break
		}
		for _, run := range runs {
			for _, p := range run {
				if after = p.Index; d.Has(p.At, name(p.At)) {
					skipped++
					continue
				}
				add(p)
				most--
			}
		}
	}
	return after, false
}
