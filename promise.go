package paxos

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The promise of a server for an instance is the highest of these:
//
//   - the Promised of its record;
//   - the base of the configuration that the server has learned last, which is its seal: it answers no ballot of a
//     configuration before that one;
//   - the highest standing ballot that the server has promised, if the name of the instance is ordinary: it does not begin with "$";
//   - the greatest Ballot of all, if the instance is forgotten. Its record says so, or a range of names that covers it.
//
// A promise only rises. So each of them may be raised at any time, in any order, and again.

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
	standing      Ballot
	forgotten     []NameRange // in the order of names; no two of them touch
}

// MaxForgotten is the most ranges of names that a server may be asked to forget. Ranges that touch count as one.
const MaxForgotten = 4096

// Seal notes that the server has learned configuration c. From then on it answers no ballot of a configuration before c. A Seal
// below an earlier one changes nothing.
func (f *Floor) Seal(c uint64) { f.configuration = max(f.configuration, c) }

// Configuration returns the configuration of the last Seal.
func (f *Floor) Configuration() uint64 { return f.configuration }

// Stand notes that the server has promised the standing ballot b. That is a promise for all ordinary names at once: those that do not
// begin with "$". A Stand below an earlier one changes nothing.
func (f *Floor) Stand(b Ballot) {
	if f.standing.Less(b) {
		f.standing = b
	}
}

// Standing returns the highest standing ballot that the server has promised.
func (f *Floor) Standing() Ballot { return f.standing }

// Forget adds a range of forgotten names. It returns the range that holds them now, which is larger if r touches others. An
// empty range changes nothing. Forget knows no limit: see [Floor.Room].
func (f *Floor) Forget(r NameRange) (merged NameRange) {
	if r.From >= r.To {
		return r
	}
	from, to := f.touching(r)
	for _, e := range f.forgotten[from:to] {
		r = NameRange{min(r.From, e.From), max(r.To, e.To)}
	}
	f.forgotten = slices.Replace(f.forgotten, from, to, r)
	return r
}

// Room reports whether f holds at most [MaxForgotten] ranges after a Forget of r.
func (f *Floor) Room(r NameRange) bool {
	from, to := f.touching(r)
	return from < to || len(f.forgotten) < MaxForgotten
}

// touching returns which ranges of f touch r: those from from on, below to.
func (f *Floor) touching(r NameRange) (from, to int) {
	from, _ = slices.BinarySearchFunc(f.forgotten, r.From, func(e NameRange, name string) int { return cmp.Compare(e.To, name) })
	for to = from; to < len(f.forgotten) && f.forgotten[to].From <= r.To; to++ {
	}
	return from, to
}

// Forgotten returns the range of forgotten names that holds the instance, if there is one. No range holds the names that
// servers keep for themselves: see [NameRange.Instances].
func (f *Floor) Forgotten(instance string) (r NameRange, ok bool) {
	if len(f.forgotten) == 0 || isInternal(instance) {
		return NameRange{}, false
	}
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
	if Base(f.configuration).Less(f.standing) && !strings.HasPrefix(instance, "$") {
		return f.standing
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

// Step answers m with a record a of m.Instance: see [Acceptor.Step]. The promise is that of the record, or f if that is more. A refusal
// leaves the record as it is, so nothing of f comes into it, and its Nack needs no Save.
func (f *Floor) Step(a Acceptor, m Message) (next Acceptor, reply Message, err error) {
	next, reply, err = f.Raise(m.Instance, a).Step(m)
	if err != nil || reply.Kind == 0 || reply.Kind == KindNack {
		next = a
	}
	return next, reply, err
}

// Check returns nil if r can be forgotten: it is not empty, and neither bound is longer than a name can be. The error wraps
// [ErrName].
func (r NameRange) Check() error {
	if r.From >= r.To {
		return nameError(fmt.Sprintf("range of names from %s to %s is empty", shownBound(r.From), shownBound(r.To)))
	}
	for _, bound := range []string{r.From, r.To} {
		if len(bound) > MaxName+1 {
			return nameError(fmt.Sprintf("bound of a range of names has %d bytes, at most %d are allowed", len(bound), MaxName+1))
		}
	}
	if name, ok := r.One(); ok {
		return CheckInstance(name)
	}
	return nil
}

// shownBound is a bound of a range for an error: cut to what is readable.
func shownBound(s string) string { return strconv.Quote(s[:min(len(s), MaxName)]) }

// ParseNameRange reads the text form that [NameRange.String] writes, and nothing else. It checks the range: see
// [NameRange.Check].
func ParseNameRange(s string) (NameRange, error) {
	const most = 4*2*(MaxName+1) + 5
	from, err := strconv.QuotedPrefix(s[:min(len(s), most)])
	if err == nil && len(s) > len(from) {
		var r NameRange
		var err1, err2 error
		r.From, err1 = strconv.Unquote(from)
		r.To, err2 = strconv.Unquote(s[len(from)+1:])
		if err1 == nil && err2 == nil && r.String() == s {
			return r, r.Check()
		}
	}
	return NameRange{}, errRangeText
}

var errRangeText = errors.New("paxos: not a range of names: want two quoted bounds")
