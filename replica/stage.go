package replica

import "github.com/singledecree/paxos"

// A stage says how durable the latest change of something is. A server has at most one Save out: the running one. Changes
// that come meanwhile gather for the next one.
type stage uint8

const (
	saved    stage = iota // on stable storage
	flushing              // in the snapshot of the Save that runs
	dirty                 // newer than any snapshot: the next Save will hold it
)

// An acceptorState is the state of one acceptor together with its stage. It is one small comparable value, so the explorer
// clones and hashes exactly the value that ships.
//
// It holds one rule (Paxos Made Simple, 2.5: an acceptor records its intended response in stable storage before actually
// sending the response). The content of a reply is fixed at its Step. The reply leaves when a sufficient Save has ended:
// its snapshot was taken at or after the latest change that the Step saw. A Save that ends later, with an older
// snapshot, is not enough. A duplicate that changes nothing waits for the same Save as the first message.
type acceptorState struct {
	paxos.Acceptor       // volatile: the next Step sees it
	stage          stage // where the latest change of Acceptor stands
}

// step answers m. On an error there is no reply, and next is s. The reply waits for the stage wait to pass:
//
//   - saved: it waits for nothing.
//   - flushing: it waits for the end of the Save that runs.
//   - dirty: it waits for the end of a Save that begins later.
func (s acceptorState) step(m paxos.Message) (next acceptorState, reply paxos.Message, wait stage, err error) {
	next = s
	if next.Acceptor, reply, err = s.Acceptor.Step(m); next.Acceptor != s.Acceptor {
		next.stage = dirty
	}
	return next, reply, next.stage, err
}

// begin is the stage after a Save has begun. The snapshot of that Save holds the present state.
func (s stage) begin() stage { return min(s, flushing) }

// end is the stage after the Save that began last is durable. A change since then is still dirty.
func (s stage) end() stage {
	if s == flushing {
		return saved
	}
	return s
}
