package paxos

import (
	"cmp"
	"slices"
	"time"
)

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
	// Alone: this server knows of no value to finish it with, and the others, asked once, knew no decision. It waits for
	// the next proposal.
	Alone bool
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

// maxBroken is how many proofs of a broken protocol Status shows.
const maxBroken = 16

// Status returns how the server is now.
func (r *Replica) Status(now time.Duration) Status {
	r.input(now)
	s := Status{ID: r.id, Store: r.saves.state.Store, Boot: r.saves.state.Boot, Members: r.members.String(), Calls: len(r.calls),
		Open: r.table.open + len(r.table.evicted), Index: r.saves.index, Counters: r.counters, Broken: slices.Clone(r.broken), Err: r.stop}
	s.StorageWait = r.saveWait()
	if r.quorums.lost {
		s.NoQuorum = max(r.now-r.quorums.since, 1)
	}
	s.Instances = r.oldest(1000)
	for i := range r.peers {
		p := &r.peers[i]
		heard := time.Duration(-1)
		if p.heard {
			heard = r.now - p.heardAt
		}
		s.Peers = append(s.Peers, PeerStatus{ID: p.id, Votes: p.position >= 0, Heard: heard, Store: p.store, Boot: p.boot,
			Index: p.index, Refused: p.refused, Dropped: p.dropped, Limits: p.limits})
	}
	return s
}

// oldest lists what is open, and known to be: the oldest first, at most so many.
func (r *Replica) oldest(most int) []OpenInstance {
	l := openList{most: most}
	for _, inst := range r.table.byName {
		if inst.chosen || inst.loading || inst.name == readyName {
			continue
		}
		b := inst.save.Promised
		if b.Less(inst.attempt.ballot) {
			b = inst.attempt.ballot
		}
		l.add(OpenInstance{inst.name, r.now - inst.since, b, inst.calls.len(), inst.alone})
	}
	for _, e := range r.table.evicted {
		l.add(OpenInstance{Instance: e.name, Age: r.now - e.since, Ballot: e.promised})
	}
	l.trim()
	return slices.Clip(l.all)
}

// An openList keeps the oldest of what is added to it, and few beside them: there may be a million, and all else waits for a Status.
type openList struct {
	all  []OpenInstance
	most int
	full bool // all begins with so many, the oldest first: who is younger than the last of them is none of the oldest
}

func (l *openList) add(o OpenInstance) {
	if l.full && olderFirst(o, l.all[l.most-1]) > 0 {
		return
	}
	if l.all = append(l.all, o); len(l.all) >= 2*l.most {
		l.trim()
	}
}

// trim puts what there is in order, and forgets what is more than so many.
func (l *openList) trim() {
	slices.SortFunc(l.all, olderFirst)
	l.all = l.all[:min(len(l.all), l.most)]
	l.full = len(l.all) == l.most
}

func olderFirst(a, b OpenInstance) int {
	return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.Instance, b.Instance))
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
