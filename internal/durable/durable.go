// Package durable has the rule for when a reply may leave: after the Save that makes durable what the reply asserts.
//
// A server has at most one Save out: the running one. Changes that come meanwhile gather for the next one. The content of a reply is
// fixed at its Step (Paxos Made Simple, 2.5: an acceptor records its intended response in stable storage before actually
// sending the response). The reply leaves when a sufficient Save has ended: its snapshot was taken at or after the latest
// change that the Step saw. A Save that ends later, with an older snapshot, is not enough. A duplicate that changes nothing
// waits for the same Save as the first message.
package durable

import "github.com/singledecree/paxos"

// A Stage says how durable the latest change of something is. A reply that waits for a Stage leaves as follows:
//
//   - Saved: it waits for nothing.
//   - Flushing: it waits for the end of the Save that runs.
//   - Dirty: it waits for the end of a Save that begins later.
type Stage uint8

// The stages.
const (
	Saved    Stage = iota // on stable storage
	Flushing              // in the snapshot of the Save that runs
	Dirty                 // newer than any snapshot: the next Save will hold it
)

// Begin is the Stage after a Save has begun. The snapshot of that Save holds the present state.
func (s Stage) Begin() Stage { return min(s, Flushing) }

// End is the Stage after the Save that began last is durable. A change since then is still dirty.
func (s Stage) End() Stage {
	if s == Flushing {
		return Saved
	}
	return s
}

// An Acceptor is the state of one acceptor together with its Stage. It is one small comparable value, so the explorer
// clones and hashes exactly the value that ships.
type Acceptor struct {
	paxos.Acceptor       // volatile: the next Step sees it
	Stage          Stage // where the latest change of Acceptor stands
}

// Step answers m. The reply waits for the stage wait to pass. On an error there is no reply, and next is s.
func (s Acceptor) Step(m paxos.Message) (next Acceptor, reply paxos.Message, wait Stage, err error) {
	next = s
	if next.Acceptor, reply, err = s.Acceptor.Step(m); next.Acceptor != s.Acceptor {
		next.Stage = Dirty
	}
	return next, reply, next.Stage, err
}
