package replica

import "github.com/singledecree/paxos"

// A stage says how durable the latest change of something is. A server has at most one Save out: the running one. What
// changes meanwhile gathers for the next.
type stage uint8

const (
	saved    stage = iota // on stable storage
	flushing              // in the snapshot of the Save that runs
	dirty                 // newer than any snapshot: the next Save will hold it
)

// An acceptorState is the state of one acceptor together with how durable it is. It is one small comparable value, so that the explorer
// clones and hashes exactly what ships.
//
// The rule it holds (Paxos Made Simple, 2.5: an acceptor records its intended response in stable storage before actually
// sending the response): the content of a reply is fixed at its Step, and it leaves when a Save has ended whose snapshot
// was taken at or after the latest change that the Step saw. A Save that ended later, but had been given an older
// snapshot, is not enough. A duplicate that changes nothing waits for the same Save as the first, not for less.
type acceptorState struct {
	paxos.Acceptor       // volatile: what the next Step sees
	stage          stage // where the latest change of Acceptor stands
}

// step answers m. The reply waits until nothing that it rests on is above stage saved: if wait is flushing, until the Save
// that runs has ended; if dirty, until one that begins later has.
func (s acceptorState) step(m paxos.Message) (next acceptorState, reply paxos.Message, wait stage, err error) {
	a, reply, err := s.Acceptor.Step(m)
	if err != nil {
		return s, paxos.Message{}, saved, err
	}
	if a != s.Acceptor {
		s = acceptorState{a, dirty}
	}
	return s, reply, s.stage, nil
}

// begin is called when a Save begins whose snapshot holds the Acceptor as it is now.
func (s acceptorState) begin() acceptorState {
	if s.stage == dirty {
		s.stage = flushing
	}
	return s
}

// end is called when the Save that began last is durable. A change since then is still dirty.
func (s acceptorState) end() acceptorState {
	if s.stage == flushing {
		s.stage = saved
	}
	return s
}
