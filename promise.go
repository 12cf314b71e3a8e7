package paxos

import (
	"cmp"
	"slices"
)

// The promise of a server for an instance is the highest of these:
//
//   - the Promised of its record;
//   - the base of the configuration that the server has learned last, which is its seal: it answers no ballot of a
//     configuration before that one;
//   - the greatest Ballot of all, if the instance is forgotten. Its record says so, or a range of names that covers it.
//
// A promise only rises. So each of the three may be raised at any time, in any order, and again.

// Forget returns the Acceptor of a forgotten instance. It has promised the greatest Ballot of all, and nothing else is left.
func (a Acceptor) Forget() Acceptor { return Acceptor{Promised: forgottenBallot()} }

// Import takes over what an acceptor of the configuration before c remembers of the instance. a is the acceptor of c that asks.
// The source must have learned c, so that it votes in no earlier configuration any more.
//
// A vote of the source counts up to the base of c. A source that stays may have voted in c, and that vote shows that its value is
// safe for all below c. But it must not look like a vote of a, which has cast none. So a never answers with an Accepted because
// of an Import, and a [Learner] never counts one. If one of the two has forgotten the instance, it is forgotten.
//
// Imports may come in any order, and again. After an Import from each member of a phase-1 quorum of the configuration before, a
// is complete for c. If a value was chosen below c, then a has that value.
func (a Acceptor) Import(source Acceptor, c uint64) Acceptor {
	if a.Promised.IsForgotten() || source.Promised.IsForgotten() {
		return a.Forget()
	}
	b := source.Accepted
	if base := Base(c); base.Less(b) {
		b = base
	}
	if !a.Accepted.Less(b) {
		return a
	}
	a.Accepted, a.Value = b, source.Value
	if a.Promised.Less(b) {
		a.Promised = b
	}
	return a
}

// A Floor is what a server has promised for all instances, or for ranges of them. Nothing of it is in a record of the instance.
// The zero Floor has promised nothing. Its methods are not safe for concurrent use.
type Floor struct {
	configuration uint64
	forgotten     []NameRange // in the order of names; no two of them touch
}

// MaxForgotten is the most ranges that a [Floor] holds. Ranges that touch count as one.
const MaxForgotten = 4096

// Seal notes that the server has learned configuration c. From then on it answers no ballot of a configuration before c. A Seal
// below an earlier one changes nothing.
func (f *Floor) Seal(c uint64) { f.configuration = max(f.configuration, c) }

// Configuration returns the configuration of the last Seal.
func (f *Floor) Configuration() uint64 { return f.configuration }

// Forget adds a range of forgotten names. It returns the range that holds them now, which is larger if r touches others. An
// empty range changes nothing. If f would hold more than [MaxForgotten] ranges, ok is false, and f is as before.
func (f *Floor) Forget(r NameRange) (merged NameRange, ok bool) {
	if r.From >= r.To {
		return r, true
	}
	from, _ := slices.BinarySearchFunc(f.forgotten, r.From, func(e NameRange, name string) int { return cmp.Compare(e.To, name) })
	to := from
	for ; to < len(f.forgotten) && f.forgotten[to].From <= r.To; to++ {
		r = NameRange{min(r.From, f.forgotten[to].From), max(r.To, f.forgotten[to].To)}
	}
	if from == to && len(f.forgotten) >= MaxForgotten {
		return r, false
	}
	f.forgotten = slices.Replace(f.forgotten, from, to, r)
	return r, true
}

// Forgotten returns the range of forgotten names that holds the instance, if there is one.
func (f *Floor) Forgotten(instance string) (r NameRange, ok bool) {
	i, _ := slices.BinarySearchFunc(f.forgotten, instance, func(e NameRange, name string) int {
		if e.To <= name {
			return -1
		}
		return 1
	})
	if i == len(f.forgotten) || instance < f.forgotten[i].From {
		return NameRange{}, false
	}
	return f.forgotten[i], true
}

// Ranges returns the ranges of forgotten names, in their order. The result is the caller's.
func (f *Floor) Ranges() []NameRange { return slices.Clone(f.forgotten) }

// Promised returns what is promised for the instance, whatever its record says.
func (f *Floor) Promised(instance string) Ballot {
	if _, ok := f.Forgotten(instance); ok {
		return forgottenBallot()
	}
	return Base(f.configuration)
}

// Raise returns the acceptor of the instance as it answers: with what its record a has promised, or f if that is more.
func (f *Floor) Raise(instance string, a Acceptor) Acceptor {
	switch p := f.Promised(instance); {
	case p.IsForgotten():
		return a.Forget()
	case a.Promised.Less(p):
		a.Promised = p
	}
	return a
}

// Prefix returns the range of all names that begin with prefix. The prefix "" gives the range of all names.
func Prefix(prefix string) NameRange {
	for end := []byte(prefix); len(end) > 0; end = end[:len(end)-1] {
		if last := &end[len(end)-1]; *last < 0xff {
			*last++
			return NameRange{prefix, string(end)}
		}
	}
	return NameRange{prefix, "\xff"} // above all names, which are UTF-8
}

// Has reports whether the name is in r.
func (r NameRange) Has(name string) bool { return r.From <= name && name < r.To }
