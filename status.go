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
	Owned    uint64     // those of them in round 0, of an instance that the server owns
	// Superseded counts the attempts that met a higher ballot, Resends the messages sent again to the silent.
	Superseded, Resends uint64
	Takeovers           uint64 // attempts begun to finish what another server had begun
	Fetched             uint64 // decisions asked for because another server's list had them
	Decided             uint64 // instances learned to be decided
	Dropped             uint64 // messages that were not valid, or found no room
	// Unwatched counts the undecided instances that left memory for want of room, and that this server will not finish before
	// somebody asks for them, or it starts again: it remembers 16 x Limits.MaxOpen of them, or 4,096 where that is more.
	Unwatched      uint64
	DroppedPackets uint64 // packets that were refused or late
	Strangers      uint64 // those of them that came from no member, or were for another server
	Faults         uint64 // proofs that some server broke the protocol
}

// A PeerStatus is what a server knows of another.
type PeerStatus struct {
	ID      ServerID
	Votes   bool
	Heard   time.Duration // since its last packet; negative: never heard
	Store   uint64        // the only storage that it is taken with; 0: it was never met
	Boot    uint64
	Index   uint64 // its last durable decision
	Refused string // why its packets are refused, or that it refuses ours; empty: it isn't so
	Dropped uint64 // its packets that were not taken
	// Limits says in words how its MaxValue and MaxPacket differ from those of this server; empty: they don't, or it has not
	// said.
	Limits string
}

// An OpenInstance is an instance that a server knows to be begun and not to be decided.
type OpenInstance struct {
	Instance string
	Age      time.Duration // since it came into memory
	Ballot   Ballot        // the highest that this server has promised, or tried; zero: none
	Calls    int           // that wait for it here
	// Orphaned: this server knows of no value to finish it with, and the others, asked once, knew no decision. It waits for
	// the next proposal.
	Orphaned bool
}

// Status says how a server is. A Node fills in Err.
type Status struct {
	ID      ServerID
	Store   uint64
	Boot    uint64
	Members string // cluster, acceptors and quorum, in words
	Calls   int    // that wait
	Open    int    // instances that are not decided, in memory or to come back to it
	// Instances are those of them that have been open for longest, 1,000 at most, the oldest first.
	Instances []OpenInstance
	// NoQuorum is for how long no quorum has answered this server's attempts and questions; 0: the last ones were answered.
	// It ends with the next that is. A server that asks nothing notices within two Timing.Pull that no quorum is there, or is
	// there again. Peers shows which servers are silent.
	NoQuorum time.Duration
	// StorageWait is for how long the Save that is out has been; 0: none is. Of a Node it may also be that of the oldest Load. Some ms
	// are the rule; what lasts for seconds is a disk that does not answer.
	StorageWait time.Duration
	Index       uint64 // the highest Index whose record is durable
	Counters    Counters
	// Broken holds proofs that some server broke the protocol: the last 16, the oldest first. They stay until the process ends, and
	// Counters.Faults counts all. While there is one, this cluster is not well: see SafetyError.
	Broken []*SafetyError
	Peers  []PeerStatus
	Err    error // why the server stopped; nil: it runs
}
