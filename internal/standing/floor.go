// Package standing has the rules of standing ballots, as values that know no time and no messages.
//
// A standing ballot is prepared for all ordinary names at once. Those are the names that do not begin with "$". A server asks every acceptor
// to stand by one of its ballots. An acceptor promises it for all ordinary names, and lists those of which it may know a vote or a decision.
// For a name that no list of a phase-1 quorum has, the server may then begin with the Accept: one round trip in place of two.
//
//	Floor    of the acceptor: the promise, and how durable it is
//	Answer   of the acceptor: what it says with that promise, about all names
//	Ballot   of the server that stands: who has answered, and for which names the ballot may be used
//
// A classic attempt of any server works beside it, as ever. A standing ballot is a ballot like any other, for each name by itself.
// The explorer of this package shows that no two values are chosen, and that two are when a rule is left out.
package standing

import (
	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
)

// A Floor is the highest standing ballot that an acceptor has promised, and the stage of that promise. It is a comparable value. The zero
// Floor has promised nothing.
//
// Invariants: the promise never goes down. It refuses from its Step on, durable or not. A crash takes back what is not saved, and no answer
// has left by then.
type Floor struct {
	promised paxos.Ballot
	stage    durable.Stage
}

// Stored returns the Floor of a start: b is what the storage has.
func Stored(b paxos.Ballot) Floor { return Floor{promised: b} }

// Promised returns the highest standing ballot that was promised. The acceptor refuses by it now: see [paxos.Floor.Stand].
func (f Floor) Promised() paxos.Ballot { return f.promised }

// Step promises the standing ballot s. ok is false if a higher one is promised. That refusal names [Floor.Promised], and leaves at once.
//
// The [Answer] is made in the same Step, and does not change afterwards. It leaves when the stage wait has passed.
//
// The same s again is promised again, with an Answer of its own.
func (f Floor) Step(s paxos.Ballot) (next Floor, wait durable.Stage, ok bool) {
	if s.Less(f.promised) {
		return f, durable.Saved, false
	}
	if f.promised != s {
		f = Floor{promised: s, stage: durable.Dirty}
	}
	return f, f.stage, true
}

// Begin is the Floor after a Save has begun. The snapshot of that Save holds the present promise.
func (f Floor) Begin() Floor {
	f.stage = f.stage.Begin()
	return f
}

// End is the Floor after the Save that began last is durable. A promise since then is still dirty.
func (f Floor) End() Floor {
	f.stage = f.stage.End()
	return f
}
