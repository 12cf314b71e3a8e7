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

import "github.com/singledecree/paxos"

// A Stage says how durable the latest change of a Floor is.
type Stage uint8

// The stages.
const (
	Saved    Stage = iota // on stable storage
	Flushing              // in the snapshot of the Save that runs
	Dirty                 // newer than any snapshot: the next Save will hold it
)

// A Floor is the highest standing ballot that an acceptor has promised, and the stage of that promise. It is a comparable value. The zero
// Floor has promised nothing.
//
// Invariants: the promise never goes down. It refuses from its Step on, durable or not. A crash takes back what is not saved, and no answer
// has left by then.
type Floor struct {
	promised paxos.Ballot
	stage    Stage
}

// Stored returns the Floor of a start: b is what the storage has.
func Stored(b paxos.Ballot) Floor { return Floor{promised: b} }

// Promised returns the highest standing ballot that was promised. The acceptor refuses by it now: see [paxos.Floor.Stand].
func (f Floor) Promised() paxos.Ballot { return f.promised }

// Step promises the standing ballot s. ok is false if a higher one is promised. That refusal names [Floor.Promised], and leaves at once.
//
// The [Answer] is made in the same Step, and does not change afterwards. It leaves when the stage wait has passed:
//
//   - Saved: it waits for nothing.
//   - Flushing: it waits for the end of the Save that runs.
//   - Dirty: it waits for the end of a Save that begins later.
//
// The same s again is promised again, with an Answer of its own.
func (f Floor) Step(s paxos.Ballot) (next Floor, wait Stage, ok bool) {
	if s.Less(f.promised) {
		return f, Saved, false
	}
	if f.promised != s {
		f = Floor{promised: s, stage: Dirty}
	}
	return f, f.stage, true
}

// Begin is the Floor after a Save has begun. The snapshot of that Save holds the present promise.
func (f Floor) Begin() Floor {
	f.stage = min(f.stage, Flushing)
	return f
}

// End is the Floor after the Save that began last is durable. A promise since then is still dirty.
func (f Floor) End() Floor {
	if f.stage == Flushing {
		f.stage = Saved
	}
	return f
}
