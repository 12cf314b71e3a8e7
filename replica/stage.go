package replica

import "github.com/singledecree/paxos"

// A stage says how durable the latest change of something is. A server has at most one Save out: the running one. What
// changes meanwhile gathers for the next.
type stage uint8

const (
	saved     stage = iota // on stable storage
	running                // in the snapshot of the Save that runs
	gathering              // newer than any snapshot: the next Save will hold it
)

// A save is one acceptor's state together with how durable it is. It is one small comparable value, so that the explorer
// clones and hashes exactly what ships.
//
// The rule it holds (Paxos Made Simple, 2.5: an acceptor records its intended response in stable storage before actually
// sending the response): the content of a reply is fixed at its Step, and it leaves when a Save has ended whose snapshot
// was taken at or after the latest change that the Step saw. A Save that ended later, but had been given an older
// snapshot, is not enough. A duplicate that changes nothing waits for the same Save as the first, not for less.
type save struct {
	paxos.Acceptor       // volatile: what the next Step sees
	stage          stage // where the latest change of Acceptor stands
}

// step answers m. The reply waits until nothing that it rests on is above stage saved: if wait is running, until the Save
// that runs has ended; if gathering, until one that begins later has.
func (s save) step(m paxos.Message) (next save, reply paxos.Message, wait stage, err error) {
	a, reply, err := s.Acceptor.Step(m)
	if err != nil {
		return s, paxos.Message{}, saved, err
	}
	if a != s.Acceptor {
		s = save{a, gathering}
	}
	return s, reply, s.stage, nil
}

// begin is called when a Save begins whose snapshot holds the Acceptor as it is now.
func (s save) begin() save {
	if s.stage == gathering {
		s.stage = running
	}
	return s
}

// end is called when the Save that began last is durable. A change since then is still gathering.
func (s save) end() save {
	if s.stage == running {
		s.stage = saved
	}
	return s
}
