package paxos

import "time"

// Counters count the work of a server since it started.
type Counters struct {
	Sent     [19]uint64 // messages sent, by Kind
	Received [19]uint64 // messages taken, by Kind
	Packets  uint64     // packets sent
	Saves    uint64     // Saves begun
	Records  uint64     // records in those Saves
	Attempts uint64     // ballots begun
	Owned    uint64     // those of them in round 0, of an instance that the server owns
	// Superseded counts the attempts that met a higher ballot. Resends counts the messages that went again to silent acceptors.
	Superseded, Resends uint64
	Takeovers           uint64 // attempts begun to finish an instance of another server
	Fetched             uint64 // decisions asked for because another server had listed them
	Decided             uint64 // decisions learned
	Changes             uint64 // configurations entered
	Dropped             uint64 // messages that were not valid, or for which there was no room
	// Unwatched counts the undecided instances that left memory for want of room, and that this server no longer watches. It
	// finishes such an instance when somebody asks for it, or after its next start. It watches 16 x Limits.MaxOpen instances
	// that have left memory, or 4,096 if that is more.
	Unwatched      uint64
	DroppedPackets uint64 // packets that were refused or late
	Strangers      uint64 // those of them that came from no member, or were for another server
	Faults         uint64 // proofs that some server broke the protocol
}

// A PeerStatus is the knowledge of a server about another.
type PeerStatus struct {
	ID    ServerID
	Votes bool
	Heard time.Duration // since its last packet; negative: never heard
	Store uint64        // its storage: with another one it is refused; 0: it was never met
	Boot  uint64
	Index uint64 // its last durable decision
	// Taken is the Index of this server up to which it has all decisions, as it has said. 0: it has not said so. A server says so
	// when it pulls, and it pulls from acceptors.
	Taken   uint64
	Refused string // why its packets are refused, or that it refuses those of this server; empty: neither
	Dropped uint64 // its packets that were not taken
	// Limits says in words how its MaxValue and MaxPacket differ from those of this server. Empty: they are the same, or not
	// known.
	Limits string
	// Complete says that it is an acceptor of this server's configuration, and remembers all that the acceptors before remembered. It
	// has said so since this server started. A change may be settled before all acceptors are complete.
	Complete bool
}

// An OpenInstance is an instance that has begun and of which the server knows no decision.
type OpenInstance struct {
	Instance string
	Age      time.Duration // since it came into memory
	Ballot   Ballot        // the highest ballot that this server has promised or tried; zero: none
	Calls    int           // calls on this server that wait for it
	// Orphaned says that this server knows of no value to finish the instance with. The others were asked once, and knew no
	// decision. The instance waits for the next proposal.
	Orphaned bool
}

// An ImportStatus tells how far an acceptor of a new configuration has taken over what other acceptors remember. It is zero if there is
// nothing to take over.
type ImportStatus struct {
	Sources int // the acceptors from which it imports
	Done    int // those of them from which all is here, and durable
	// Records is how many of the Goal decisions of the sources are here, and durable. A source is in both numbers when it has told all
	// its undecided instances.
	Records, Goal uint64
}

// Status is the state of a server, for people and monitors. A Node fills in Err.
type Status struct {
	ID      ServerID
	Store   uint64
	Boot    uint64
	Members string // cluster, acceptors and quorum, in words
	// Configuration is the number of the configuration under which this server lives. 0: the members never changed.
	Configuration uint64
	// Settled says that a phase-2 quorum of the configuration is complete, as far as this server knows. Servers that are not in it
	// are not needed any more.
	Settled bool
	Import  ImportStatus
	Calls   int // calls that wait
	Open    int // undecided instances, in memory or to come back to it
	// Instances are the oldest of the open instances, 1,000 at most, the oldest first.
	Instances []OpenInstance
	// NoQuorum is the time for which no quorum has answered this server's attempts and questions. 0: a quorum answers. A server
	// that asks nothing notices within two Timing.Pull that no quorum is there, or that one is there again. Peers shows the
	// silent servers.
	NoQuorum time.Duration
	// StorageWait is the time since the running Save began. 0: none runs. For a Node it may also be the time since the oldest
	// running Load began. Some milliseconds are normal. Seconds mean that the disk does not answer.
	StorageWait time.Duration
	Index       uint64 // the highest Index whose record is durable
	Counters    Counters
	// Forgotten are the ranges of names that this server has forgotten, in the order of names. Single names are not in it.
	Forgotten []NameRange
	// Broken has the last 16 proofs that some server broke the protocol, the oldest first. They stay until the process ends.
	// Counters.Faults counts all of them. A cluster with such a proof needs a person: see [SafetyError].
	Broken []*SafetyError
	Peers  []PeerStatus
	Err    error // why the server stopped; nil: it runs
}
