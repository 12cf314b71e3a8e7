package oracle

import "github.com/singledecree/paxos"

// A stand is all that is known of a standing ballot: it is promised for all ordinary names at once.
type stand struct {
	life  uint64    // of the server that stands
	stood []*Server // acceptors of which an answer was delivered to that life
}

// An answered is the last answer of an acceptor to a Stand.
type answered struct {
	ballot paxos.Ballot
	names  map[string]bool
}
