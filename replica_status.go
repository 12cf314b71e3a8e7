package paxos

import "time"

// Counters count what a server has done since it started.
type Counters struct {
	Sent     [16]uint64 // messages, by Kind
	Received [16]uint64 // messages taken, by Kind
	Packets  uint64     // sent
	Saves    uint64     // begun
	Records  uint64     // in those Saves
	Attempts uint64     // ballots begun
	// Superseded counts the attempts that met a higher ballot, Resends the messages sent again to the silent.
	Superseded, Resends uint64
	Decided             uint64 // instances learned to be decided
	Dropped             uint64 // messages that were not valid, or found no room
	DroppedPackets      uint64 // packets that were refused or late
	Strangers           uint64 // those of them that came from no member, or were for another server
	Faults              uint64 // proofs that some server broke the protocol
}

// A PeerStatus is what a server knows of another.
type PeerStatus struct {
	ID      ServerID
	Votes   bool
	Heard   time.Duration // since its last packet; negative: never heard
	Store   uint64
	Boot    uint64
	Index   uint64 // its last durable decision
	Refused string // why its packets are refused, or that it refuses ours; empty: it isn't so
	Dropped uint64 // its packets that were not taken
}

// Status says how a server is. A Node fills in Err.
type Status struct {
	ID       ServerID
	Store    uint64
	Boot     uint64
	Members  string // cluster, acceptors and quorum, in words
	Calls    int    // that wait
	Open     int    // instances in memory that are not decided
	Index    uint64 // the highest Index whose record is durable
	Counters Counters
	Peers    []PeerStatus
	Err      error // why the server stopped; nil: it runs
}

// Status returns how the server is now.
func (r *Replica) Status(now time.Duration) Status {
	r.input(now)
	s := Status{ID: r.id, Store: r.saves.state.Store, Boot: r.saves.state.Boot, Members: r.members.String(), Calls: len(r.calls),
		Open: r.table.open, Index: r.saves.index, Counters: r.counters, Err: r.stop}
	for i := range r.peers {
		p := &r.peers[i]
		heard := time.Duration(-1)
		if p.heard {
			heard = r.now - p.heardAt
		}
		s.Peers = append(s.Peers, PeerStatus{ID: p.id, Votes: p.position >= 0, Heard: heard, Store: p.store, Boot: p.boot,
			Index: p.index, Refused: p.refused, Dropped: p.dropped})
	}
	return s
}

// event notes what happened, if anybody wants to know. Where it happens often, the caller asks r.trace first: an Event is
// large.
func (r *Replica) event(e Event) {
	if !r.trace {
		return
	}
	e.At, e.Server, e.Boot = r.now, r.id, r.saves.state.Boot
	r.events = append(r.events, e)
}
