// Package oracle judges a cluster by what its servers say and save, whatever network, disks and script do. It shares no code with the
// servers that it judges, but for the words of the root package.
//
// A test tells an [Oracle] of every event. An error that it returns proves a bug.
//
//	I1  At most one value of an instance is ever chosen, over the history of all votes cast.
//	I2  What is asked for, voted for and chosen was proposed by some call.
//	I3  On a disk, promises and the ballots of votes never go down, nor does any number of the ServerState.
//	I4  On a disk, no vote is above the promise.
//	I5  No reply but a Nack leaves before the disk implies what it asserts. A decision implies everything. No packet leaves before
//	    its Boot is on the disk. And no ballot is used above the rounds that the disk has reserved.
//	I6  A ballot has one value, and belongs to one life of its server. From round 1 on, it has one use: an attempt in one
//	    instance, or one question. (A hint is not its ballot's value.)
//	I7  Every Accept is justified by a phase-1 quorum of exactly its ballot, and asks for the value of the highest vote
//	    that quorum reported. Round 0 has no such quorum: only a voter that the instance's name says owns it uses that, in the
//	    start that the name says, if it says one, else with its own vote on its disk (I5). A standing ballot has one use in each
//	    ordinary name, in one life. The acceptors of a phase-1 quorum have promised it for all of them, and never vote below it there.
//	I8  What a server has learned, or says is chosen, has a phase-2 quorum in one ballot.
//	I9  What calls return never changes; an Index never means another decision.
//	    I8 and I9 hold for a server, too, that was made anew where one was lost: all else that such a server says is for nobody.
//	I11 What a disk says of its server's pulls is true: all that the other had decided, up to that Index of that store, is on it.
//	I12 Nothing comes of what a server says before its Store is on the disk here: no answer leaves, and no promise of it counts for I7.
//	I13 What is forgotten, some call asked to forget. It stays forgotten on a disk, whose server says nothing else of it. Calls are told
//	    so when it is on the disk. After a Forget returned well, no ballot that began later is chosen, and no read finds nothing.
//	I14 Configurations are decided one after the other, each when a phase-2 quorum is complete for the one before. A server enters only
//	    what was decided, and never goes back. In a ballot of a configuration its acceptors vote, and its quorum counts.
//	S2  A server that does not vote casts no vote.
//	S10 No server sends itself a message.
//
// "Chosen" means that a phase-2 quorum has voted in one ballot. A vote is one that a disk held, or one that an Accepted told of. The
// second kind is needed, since not every vote is on a disk as such. Several changes of an instance may be saved as the last one.
//
// Scripts must demand I10 themselves: when faults stop, open instances get decided.
package oracle

import (
	"iter"

	"github.com/singledecree/paxos"
)

// An Oracle is told of every event of a cluster, and returns an error for each that breaks an invariant. It is for one goroutine.
type Oracle struct {
	// Lenient leaves out the instances that a server lied about: see [Oracle.Forged].
	Lenient bool
	// Unseen says that a test plays servers of which the Oracle sees neither disks nor packets. It then leaves out what only a view of
	// all servers can tell: I1, I2, I7 but for round 0, I8, I12, and that calls return what was chosen.
	Unseen bool

	configurations []*configuration // by number
	latest         paxos.Configuration
	servers        []*Server
	instances      map[string]*history
	uses           map[paxos.Ballot]string // of round 1 and above: the instance that each was used in
	standing       map[paxos.Ballot]*stand
	answers        []answered                            // by place of the server
	indexes        map[uint64]map[uint64]string          // by Store: the instance saved at each Index
	ranges         map[uint64]map[uint64]paxos.NameRange // by Store: the names forgotten at each Index
	toForget       nameSet                               // that calls asked to forget
	forgot         nameSet                               // of them, those that a quorum has forgotten, as a call was told
}

// New returns an Oracle for the servers of m, whose disks are formatted. It keeps the servers, and reads them whenever it is told of one.
func New(m paxos.Members, servers []*Server) *Oracle {
	o := &Oracle{configurations: []*configuration{newConfiguration(m)}, latest: paxos.Configuration{Members: m}, servers: servers, instances: map[string]*history{}, uses: map[paxos.Ballot]string{},
		standing: map[paxos.Ballot]*stand{}, answers: make([]answered, len(servers)),
		indexes: map[uint64]map[uint64]string{}, ranges: map[uint64]map[uint64]paxos.NameRange{}}
	for i, s := range servers {
		s.place, s.first = i, s.Disk.State.Store
	}
	return o
}

// server returns the server of that ID, or nil.
func (o *Oracle) server(id paxos.ServerID) *Server {
	if n := uint64(id) - 1; n < uint64(len(o.servers)) && o.servers[n].ID == id {
		return o.servers[n]
	}
	for _, s := range o.servers {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (o *Oracle) history(name string) *history {
	h := o.instances[name]
	if h == nil {
		h = &history{name: name, own: make([][]ownVote, len(o.servers))}
		h.owner, h.boot = ownerOf(name)
		o.instances[name] = h
	}
	return h
}

// Quorum returns what the Oracle counts the votes of the last configuration with.
func (o *Oracle) Quorum() paxos.Quorum { return o.configurations[len(o.configurations)-1].quorum }

// A Fact is what the Oracle knows of an instance.
type Fact struct {
	Chosen bool
	Value  paxos.Value // the chosen one
	Forged bool        // a server lied about it, and Lenient is set: it is not checked
}

func (h *history) fact() Fact { return Fact{Chosen: h.chosen, Value: h.value, Forged: h.forged} }

// Fact returns what is known of an instance; zero: nothing.
func (o *Oracle) Fact(instance string) Fact {
	if h := o.instances[instance]; h != nil {
		return h.fact()
	}
	return Fact{}
}

// Facts returns what is known of each instance, in no order.
func (o *Oracle) Facts() iter.Seq2[string, Fact] {
	return func(yield func(string, Fact) bool) {
		for name, h := range o.instances {
			if !yield(name, h.fact()) {
				return
			}
		}
	}
}
